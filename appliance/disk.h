/* An agent's disk: qcow2 files, each standing on the one before. */
#ifndef BERTH_DISK_H
#define BERTH_DISK_H

#include <stdbool.h>

#include "err.h"

#define DISK_NAME_MAX 24 /* "d_" and letters and digits: also a node's name for QEMU */

/*
 * Makes a sparse qcow2 file of gib GiB that the slot's uid may write. `on`: the bare name of the
 * file it stands on, in the same folder, or NULL. -EEXIST if there is one; 507 disk-full, 503
 * qemu-missing.
 */
int disk_make(const char *path, const char *on, unsigned gib, unsigned slot, struct err *err);
/* From now on nobody writes it: others may stand on it. Its bytes are not synced here. */
int disk_freeze(const char *path, struct err *err);
bool disk_name_valid(const char *name);
/* The name of the file that the header names as the one below, "" none. Bytes are untrusted. */
int disk_stands_on(const char *path, char ret[DISK_NAME_MAX + 1], struct err *err);
/* True if nothing was ever written to it. */
bool disk_is_blank(const char *path);

#endif
