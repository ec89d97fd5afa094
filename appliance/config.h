/* The settings of an appliance: STATE/berth.conf, one table of keys. */
#ifndef BERTH_CONFIG_H
#define BERTH_CONFIG_H

#include <stdint.h>
#include <stdio.h>

#include "err.h"
#include "limit.h"

#define CONFIG_LIST_MAX 16
#define CONFIG_RESOLVERS_MAX 3
#define CONFIG_IDLE_MIN 8 /* s, or 0 */

/* Filled by config_load. Strings are inside; nothing to free. */
struct config {
	char listen[128]; /* ADDR:PORT of the gateway */
	char hosts[CONFIG_LIST_MAX]
		  [256]; /* further values of Host that are ours, "" ends the list */
	char origins[CONFIG_LIST_MAX][256]; /* further Origins that browsers may come from */
	char image[17];                     /* default image: 16 hex digits, or "" for the newest */
	unsigned memory_mib, cpus, disk_gib; /* of a new agent that does not say */
	char on_crash[8];                    /* "restart" or "stop" */
	unsigned idle_suspend_s;             /* of a new agent that does not say; 0 never */
	unsigned memory_reserve_mib;         /* of the host's memory that no start may touch */
	unsigned warm;                       /* new agents begin from a warm template */
	unsigned log_pictures;               /* small pictures go to the action log */
	unsigned stop_timeout_s;             /* for a guest to power off before QEMU is killed */
	unsigned browser_timeout_s; /* for the browser to come up before a start is called done */
	/* Not public, and yet agents may reach them by name: "10.1.0.0/16", "" ends the list. */
	char private_networks[CONFIG_LIST_MAX][20];
	char resolvers[CONFIG_LIST_MAX][64]; /* name servers, "" ends the list; none: the host's */
	char upstream_proxy[300];            /* "http://HOST:PORT", "socks5://HOST:PORT", or "" */
	struct limits limits;                /* of a new agent that does not say */
	unsigned upstream_proxy_names;       /* it is given names, not addresses */
	char upstream_proxy_auth_file[256];  /* "user:password"; below STATE if not absolute */
};

/* The defaults. */
void config_init(struct config *c);
/* Defaults, then STATE/berth.conf if there is one. An unknown key or a wrong value is refused,
 * naming file and line. */
int config_load(const char *state, struct config *ret, struct err *err);
/* private_networks as BERTH_POLICY_ALLOW_PRIVATE has them: "10.1.0.0/16,192.168.7.0/24". */
void config_private_networks(const struct config *c, char out[CONFIG_LIST_MAX * 20]);
/* upstream_proxy in its parts: "http" or "socks5" in kind, which has 8 bytes. */
int config_proxy_split(
	const char *text, char kind[8], char host[256], uint16_t *port, struct err *err);
/* Every key with its default and meaning, as a berth.conf that changes nothing. */
void config_help(FILE *out);

#endif
