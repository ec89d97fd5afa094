/* Giving up rights: the two processes of berth-policy keep what they need and nothing else, for
 * good. */
#ifndef BERTH_POLICY_PRIVS_H
#define BERTH_POLICY_PRIVS_H

#include <stdbool.h>

#include "err.h"

#define PRIVS_UID 3 /* docs/internals.md, "Processes" */

/*
 * Becomes PRIVS_UID where the user namespace has it, and keeps the one capability (or,
 * keep_net_admin false, none), no_new_privs, not dumpable. Any step that fails is an error: then
 * the process must end.
 */
int privs_drop(bool keep_net_admin, struct err *err);
/* Refuses the system calls that neither process makes: new programs and processes, namespaces,
 * ptrace, mounts… */
int privs_filter_syscalls(struct err *err);

#endif
