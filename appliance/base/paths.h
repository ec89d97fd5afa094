/* Where things are: the state folder's layout and the installed files. */
#ifndef BERTH_BASE_PATHS_H
#define BERTH_BASE_PATHS_H

#include "err.h"

/*
 * The state folder: BERTH_STATE, else /var/lib/berth for root, else $XDG_DATA_HOME/berth or
 * ~/.local/share/berth. Absolute; the caller's to free.
 */
char *paths_default_state(void);
/* STATE/format…; the caller's to free. */
__attribute__((format(printf, 2, 3))) char *path_in(const char *state, const char *fmt, ...);
/*
 * PREFIX/libexec/berth/NAME and PREFIX/share/berth/NAME, PREFIX found from the running program's
 * own place (PREFIX/bin/berth or PREFIX/libexec/berth/…), so that a staged installation finds its
 * own parts.
 */
char *path_libexec(const char *name);
char *path_share(const char *name);

#endif
