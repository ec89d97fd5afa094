/* What berthd says of the way out of all agents: name servers and a proxy. */
#ifndef BERTH_POLICY_SETTINGS_H
#define BERTH_POLICY_SETTINGS_H

#include <cjson/cJSON.h>

#include "proxy.h"
#include "resolv_conf.h"

struct settings {
	struct sockaddr_storage servers[RESOLV_SERVERS_MAX];
	size_t n_servers; /* 0: the host's */
	struct proxy proxy;
};

/* The arguments of `upstream.set`. All or nothing: 400 invalid-request. */
int settings_read(const cJSON *args, struct settings *ret, struct err *err);

#endif
