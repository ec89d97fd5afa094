/* Counters. One table names them all. */
#include "metrics.h"
#include "bytes.h"
#include "gateway_state.h"
#include "util.h"

#include <inttypes.h>
#include <string.h>

static uint64_t counters[METRIC_COUNT];

static const struct {
	const char *name, *help;
	bool milli; /* counted in thousandths of what it is shown in */
} names[METRIC_COUNT] = {
	[METRIC_REQUESTS] = {"berth_gateway_requests_total", "Requests whose head was read."},
	[METRIC_REFUSED] = {"berth_gateway_refused_total", "Requests answered with an error."},
	[METRIC_WS_OPENED] = {"berth_gateway_websockets_total", "WebSockets opened."},
	[METRIC_CDP_BLOCKED] = {"berth_gateway_cdp_blocked_total",
		"CDP messages the filter refused."},
	[METRIC_CDP_CLIENT_BYTES] = {"berth_gateway_cdp_client_bytes_total",
		"CDP bytes from clients."},
	[METRIC_CDP_BROWSER_BYTES] = {"berth_gateway_cdp_browser_bytes_total",
		"CDP bytes from browsers."},
	[METRIC_CDP_MESSAGES] = {"berth_gateway_cdp_messages_total", "CDP messages, both ways."},
	[METRIC_GUEST_PROTOCOL_ERRORS] = {"berth_gateway_guest_errors_total",
		"Guests that broke the channel's rules."},
	[METRIC_EXECS] = {"berth_gateway_execs_total", "Commands started in guests."},
	[METRIC_FILE_BYTES] = {"berth_gateway_file_bytes_total",
		"Bytes of files moved, both ways."},
	[METRIC_WAKES] = {"berth_gateway_wakes_total",
		"Agents woken for what waited on a connection that was open."},
	[METRIC_WAKES_FAILED] = {"berth_gateway_wakes_failed_total",
		"Those that could not be, so that the connections were ended."},
	[METRIC_WAKE_ANSWERS] = {"berth_gateway_wake_seconds_count",
		"First bytes of guests after such a wake."},
	[METRIC_WAKE_MS] = {"berth_gateway_wake_seconds_sum",
		"Seconds from the first thing that waited to that byte.", true},
};

void metric_add(enum metric m, uint64_t n)
{
	counters[m] += n;
}

uint64_t metric_get(enum metric m)
{
	return counters[m];
}

static void add_gauge(struct buf *b, const char *name, const char *help, uint64_t value)
{
	buf_addf(b, "# HELP %s %s\n# TYPE %s gauge\n%s %" PRIu64 "\n", name, help, name, name,
		value);
}

static void add_counter(struct buf *b, int i)
{
	const char *name = names[i].name;
	uint64_t v = counters[i];

	buf_addf(b, "# HELP %s %s\n# TYPE %s counter\n%s ", name, names[i].help, name, name);
	if (names[i].milli)
		buf_addf(b, "%" PRIu64 ".%03u\n", v / 1000, (unsigned)(v % 1000));
	else
		buf_addf(b, "%" PRIu64 "\n", v);
}

static size_t count_ws(const struct gateway *gw)
{
	size_t n = 0;

	for (const struct http_conn *c = gw->conns; c; c = c->next)
		n += c->state == CONN_WS;
	return n;
}

static uint64_t resident_bytes(void)
{
	AUTOFREE char *text = NULL;
	size_t len;
	unsigned long pages = 0;

	if (file_read(-100, "/proc/self/statm", 4096, &text, &len, NULL) == 0)
		sscanf(text, "%*u %lu", &pages);
	return (uint64_t)pages * 4096;
}

void metrics_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m)
{
	struct buf b;

	buf_init(&b, 65536);
	for (int i = 0; i < METRIC_COUNT; i++)
		add_counter(&b, i);
	add_gauge(&b, "berth_gateway_connections", "Open connections.", gw->n_conns);
	add_gauge(&b, "berth_gateway_websockets", "Open WebSockets.", count_ws(gw));
	add_gauge(&b, "berth_gateway_daemon_up", "1 while berthd answers.",
		daemon_link_up(gw->daemon));
	add_gauge(&b, "berth_gateway_resident_bytes", "Memory of this process.", resident_bytes());
	http_reply(c, 200, "text/plain; version=0.0.4; charset=utf-8", NULL, b.data, b.len);
	buf_done(&b);
}
