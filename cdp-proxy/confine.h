/* Giving up what the gateway does not need once its sockets are open. */
#ifndef BERTH_CONFINE_H
#define BERTH_CONFINE_H

#include "err.h"

#define GATEWAY_UID 2

/* True when started as root of a user namespace that knows uid and gid 2. */
int confine_has_own_uid(void);
/* Becomes uid and gid 2 where they exist; no capability in any set, no_new_privs. */
int confine(struct err *err);

#endif
