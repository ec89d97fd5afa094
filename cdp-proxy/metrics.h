/* Counters, and /metrics in Prometheus' text format. */
#ifndef BERTH_METRICS_H
#define BERTH_METRICS_H

#include "gateway.h"

uint64_t metric_get(enum metric m);
void metrics_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m);

#endif
