/* Chromium's discovery pages as this client may see them: rebuilt from known members, with our own
 * addresses. */
#ifndef BERTH_DISCOVERY_H
#define BERTH_DISCOVERY_H

#include "gateway.h"

/* discovery_serve() is in gateway.h. */

enum cdp_kind { CDP_OBJECT, CDP_ARRAY };

/* How a client reached us, for addresses in answers. */
struct discovery_base {
	const char *scheme; /* "ws" or "wss" */
	const char *host, *base, *token_query;
	bool drives; /* false: a viewer, who gets no address that drives */
};

/*
 * Pure functions over Chromium's answer (any bytes): the object of /json/version or of one target,
 * or the list of targets, rebuilt. NULL when it is not what Chromium would say. The result is the
 * caller's to delete.
 */
cJSON *discovery_version(const char *body, size_t n, const struct discovery_base *b);
cJSON *discovery_targets(const char *body, size_t n, const struct discovery_base *b);
cJSON *discovery_target(const char *body, size_t n, const struct discovery_base *b);

/* cJSON of bytes that are one strict JSON value of that kind, at most 4 MiB; else NULL. */
cJSON *discovery_parse(const char *body, size_t n, enum cdp_kind kind);

/* The id of the page in front in a list of targets: the browser has the one that was used last
 * first. NULL when there is none, or list is NULL; else the list's. */
const char *discovery_front(const cJSON *list);

#endif
