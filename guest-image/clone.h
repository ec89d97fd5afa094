/* Nothing that is random may be the same in two copies of this machine. */
#ifndef BERTH_INIT_CLONE_H
#define BERTH_INIT_CLONE_H

#include "err.h"

/* For this process and all that come of it: MADV_WIPEONFORK fails as on a kernel that does not know
 * it. Needs CAP_SYS_ADMIN. */
int clone_no_wipe_on_fork(struct err *err);

#endif
