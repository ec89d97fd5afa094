/* What the `stats` op counts, over the life of the process. */
#ifndef BERTH_POLICY_STATS_H
#define BERTH_POLICY_STATS_H

#include <stdint.h>

struct stats {
	uint64_t dns_queries, dns_denied, connections, denied;
	uint64_t limited; /* questions and connections refused by a limit */
};

#endif
