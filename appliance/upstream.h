/* The way out of all agents, as berth-policy is told it: name servers, and a proxy with its
 * credentials. */
#ifndef BERTH_UPSTREAM_H
#define BERTH_UPSTREAM_H

#include <cjson/cJSON.h>

#include "config.h"

/*
 * The arguments of berth-policy's `upstream.set` (docs/internals.md), the caller's to delete. NULL
 * and err when the file with the credentials cannot be read, is open to others, or is malformed.
 */
cJSON *upstream_settings(const struct config *c, const char *state, struct err *err);

#endif
