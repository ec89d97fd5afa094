/* What the `stats` op counts, over the life of the process. */
#ifndef BERTH_POLICY_STATS_H
#define BERTH_POLICY_STATS_H

#include <stdint.h>

struct stats {
	uint64_t dns_queries, dns_denied, connections, denied, bytes_up, bytes_down;
};

#endif
