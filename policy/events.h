/* Decisions and failures as events for berthd, at a bounded rate. */
#ifndef BERTH_POLICY_EVENTS_H
#define BERTH_POLICY_EVENTS_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define EVENTS_SLOTS 128        /* different decisions within one window */
#define EVENTS_WINDOW_MS 1000   /* the same decision within it is one entry with a count */
#define EVENTS_REASONS 64       /* reasons of denials that are counted apart */
#define EVENTS_FAILURES 8       /* kinds of failures at a time */
#define EVENTS_FAILURE_MS 10000 /* those of one kind within it are told as one more */

struct events;

/* What the way out stands on. */
enum health { HEALTH_RESOLVERS, HEALTH_PROXY, HEALTH_N };

/* One decision; strings are copied. name and rule may be "". addr is in network byte order, 0 for
 * none. */
struct egress {
	const char *name, *protocol, *rule; /* protocol: "dns", "tls", "http", "tcp" */
	const char *reason;                 /* a literal; "" when there is nothing to say */
	uint32_t addr;
	uint16_t port;      /* 0: none (a DNS question) */
	bool allow, learnt; /* learnt: allowed because the policy learns; else it were denied */
	uint64_t bytes_up, bytes_down, duration_ms;
	uint64_t times; /* that it was decided so; 0 is once */
};

/* send gets every event (not to be kept); it may drop it. */
struct events *events_new(
	uv_loop_t *loop, void (*send)(void *data, const cJSON *event), void *data);
void events_egress(struct events *e, const struct egress *entry);
/* Told on every change; they work at first. */
void events_health(struct events *e, enum health part, bool up, const char *detail);
/* {reason: how often something was denied for it}, over the life of the process. */
cJSON *events_denied_by(const struct events *e);
/* Bytes that went through in the process's life. */
void events_usage(struct events *e, uint64_t up, uint64_t down);
/* A failure. What has the same fmt, which is kept, is of one kind. */
__attribute__((format(printf, 2, 3))) void events_error(struct events *e, const char *fmt, ...);

#endif
