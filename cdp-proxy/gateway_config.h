/* berth.conf's [gateway] section. The owner of inih. */
#ifndef BERTH_GATEWAY_CONFIG_H
#define BERTH_GATEWAY_CONFIG_H

#include "err.h"

/* Owned by its reader; lists are NULL-terminated, lower case. */
struct gateway_config {
	char listen[64];
	char **hosts, **origins;
};

/* Defaults where the file or a key is missing; a key of this section that is not known is an error.
 */
int gateway_config_read(const char *path, struct gateway_config *ret, struct err *err);
void gateway_config_done(struct gateway_config *c);

#endif
