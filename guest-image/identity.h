/* Who this guest is, and what time it is: the host says so at boot and again after every resume. */
#ifndef BERTH_INIT_IDENTITY_H
#define BERTH_INIT_IDENTITY_H

#include "guest.h"

/* Clock, random generator, host name, machine-id. Spawns nothing. What fails is noted. */
void identity_apply(const struct guest_config *config);
/* The text of /etc/hosts with our line for `hostname` in place of an older one; the caller's to
 * free. */
char *identity_hosts(const char *old, const char *hostname);

#endif
