/* Counters. One table names them all. */
#include "metrics.h"
#include "bytes.h"
#include "gateway_state.h"
#include "json.h"
#include "util.h"

#include <inttypes.h>
#include <string.h>

#define METRICS_MAX (4u << 20)

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
	[METRIC_ACTIONS] = {"berth_gateway_actions_total",
		"Actions of models that were done or tried."},
	[METRIC_ACTIONS_LOST] = {"berth_gateway_actions_lost_total",
		"Those that berthd could not be told of, missing in the action log."},
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

/* What an agent's policy counts since its berth-policy started: a member of policy_stats each. */
static const struct {
	const char *member, *name, *type, *help;
} policy_counts[] = {
	{"dns_queries", "berth_policy_dns_queries_total", "counter", "Questions of the guest."},
	{"dns_denied", "berth_policy_dns_denied_total", "counter", "Those that were refused."},
	{"connections", "berth_policy_connections_total", "counter",
		"Connections that came to the relay."},
	{"limited", "berth_policy_limited_total", "counter",
		"Questions and connections refused by a limit."},
	{"bytes_up", "berth_policy_bytes_up_total", "counter", "Bytes from the guest, let out."},
	{"bytes_down", "berth_policy_bytes_down_total", "counter", "Bytes to the guest."},
	{"dropped_packets", "berth_policy_dropped_packets_total", "counter",
		"Packets that the wall refused."},
	{"pins", "berth_policy_pins", "gauge", "Addresses and ports that are open by name."},
};

/* berth-policy reads what guests send: its words are not trusted to be none but words. */
static void add_label(struct buf *b, const char *text)
{
	for (; *text; text++)
		if (*text >= ' ' && *text < 127 && *text != '"' && *text != '\\')
			buf_add(b, text, 1);
}

static void add_sample(
	struct buf *b, const char *name, const char *agent, const char *reason, const cJSON *value)
{
	buf_addf(b, "%s{agent=\"", name);
	add_label(b, agent);
	if (reason) {
		buf_add_str(b, "\",reason=\"");
		add_label(b, reason);
	}
	buf_addf(b, "\"} %.0f\n", cJSON_IsNumber(value) ? value->valuedouble : 0);
}

static void add_head(struct buf *b, const char *name, const char *type, const char *help)
{
	buf_addf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metrics_add_policies(struct buf *b, const cJSON *agents)
{
	static const char denied[] = "berth_policy_denied_total",
			  learns[] = "berth_policy_learning", limited[] = "berth_policy_used_up";
	static const char *const usage[][2] = {{"bytes_per_run", "berth_policy_run_bytes"},
		{"bytes_per_day", "berth_policy_day_bytes"}};
	const cJSON *a, *reason;

	for (size_t i = 0; i < ARRAY_SIZE(policy_counts); i++) {
		add_head(b, policy_counts[i].name, policy_counts[i].type, policy_counts[i].help);
		cJSON_ArrayForEach (a, agents) {
			const cJSON *stats = json_get(a, "policy_stats");

			if (stats)
				add_sample(b, policy_counts[i].name, json_str(a, "name", ""), NULL,
					json_get(stats, policy_counts[i].member));
		}
	}
	add_head(b, denied, "counter", "Questions and connections refused, by reason.");
	cJSON_ArrayForEach (a, agents) {
		cJSON_ArrayForEach (reason, json_get(json_get(a, "policy_stats"), "denied_by")) {
			add_sample(b, denied, json_str(a, "name", ""), reason->string, reason);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(usage); i++) {
		add_head(b, usage[i][1], "gauge", "Bytes both ways, over all its berth-policies.");
		cJSON_ArrayForEach (a, agents) {
			add_sample(b, usage[i][1], json_str(a, "name", ""), NULL,
				json_get(json_get(a, "usage"), usage[i][0]));
		}
	}
	add_head(b, limited, "gauge", "1 while a number of bytes is used up.");
	cJSON_ArrayForEach (a, agents) {
		buf_addf(b, "%s{agent=\"", limited);
		add_label(b, json_str(a, "name", ""));
		buf_addf(b, "\"} %d\n", cJSON_IsString(json_get(json_get(a, "usage"), "limited")));
	}
	add_head(b, learns, "gauge", "1 while the policy of an agent learns: every name is open.");
	cJSON_ArrayForEach (a, agents) {
		buf_addf(b, "%s{agent=\"", learns);
		add_label(b, json_str(a, "name", ""));
		buf_addf(b, "\"} %d\n", streq(json_str(a, "policy_mode", ""), "learn"));
	}
}

/* Waits for the agents; freed when its connection closes. */
struct asking {
	struct gateway *gw;
	struct http_conn *c;
	struct daemon_request *request;
};

/* Without berthd what the gateway itself counts is told all the same. */
static void on_agents(void *data, const cJSON *ok, const struct err *err)
{
	struct asking *asking = data;
	struct gateway *gw = asking->gw;
	struct http_conn *c = asking->c;
	struct buf b;

	asking->request = NULL;
	buf_init(&b, METRICS_MAX);
	for (int i = 0; i < METRIC_COUNT; i++)
		add_counter(&b, i);
	add_gauge(&b, "berth_gateway_connections", "Open connections.", gw->n_conns);
	add_gauge(&b, "berth_gateway_websockets", "Open WebSockets.", count_ws(gw));
	add_gauge(&b, "berth_gateway_daemon_up", "1 while berthd answers.",
		daemon_link_up(gw->daemon));
	add_gauge(&b, "berth_gateway_resident_bytes", "Memory of this process.", resident_bytes());
	if (ok)
		metrics_add_policies(&b, json_get(ok, "agents"));
	http_reply(c, 200, "text/plain; version=0.0.4; charset=utf-8", NULL, b.data, b.len);
	buf_done(&b);
}

static void on_close(void *data)
{
	struct asking *asking = data;

	if (asking->request)
		gateway_cancel(asking->request);
	free(asking);
}

static const struct http_owner owner = {.on_close = on_close};

void metrics_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m)
{
	struct asking *asking = xcalloc(1, sizeof(*asking));

	*asking = (struct asking){.gw = gw, .c = c};
	http_set_owner(c, &owner, asking);
	if (daemon_link_up(gw->daemon))
		asking->request = gateway_ask(gw, "agent.list", NULL, NULL, on_agents, asking);
	else
		on_agents(asking, NULL, NULL);
}
