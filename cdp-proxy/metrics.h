/* Counters, and /metrics in Prometheus' text format. */
#ifndef BERTH_METRICS_H
#define BERTH_METRICS_H

#include "bytes.h"
#include "gateway.h"

uint64_t metric_get(enum metric m);
/* What the policies of the agents (a list of them, as the API shows them) count. */
void metrics_add_policies(struct buf *b, const cJSON *agents);
void metrics_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m);

#endif
