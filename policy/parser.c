/*
 * The parser: the process that reads what guests send, and holds no right at all.
 *
 * It puts the modules together, each on what is below it:
 *
 *   control (berthd)                 resolver (the guest's DNS)      relay (the guest's TCP)
 *      |  rules, stats                   |           |                  |        |
 *   ruleset, events, settings     pins (wall)    lookup --- upstream ---'       dial, proxy
 *
 * Losing the wall ends the process at once, and so every connection: berthd starts both again.
 */
#include "parser.h"
#include "control.h"
#include "json.h"
#include "log.h"
#include "nft_text.h"
#include "privs.h"
#include "refusals.h"
#include "relay.h"
#include "resolver.h"
#include "settings.h"
#include "sock.h"
#include "util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

/* One for the process. */
struct parser {
	uv_loop_t loop;
	struct ruleset rules;
	struct pin_networks private_networks;
	struct stats stats;
	struct meter meter;
	struct wall_client *wall;
	struct pins *pins;
	struct settings settings;
	struct upstream *upstream;
	struct lookup *lookup, *proxy_lookup;
	struct events *events;
	struct resolver *resolver;
	struct relay *relay;
	struct control *control;
};

/* A policy.set that the wall has not acknowledged yet. */
struct change {
	struct parser *parser;
	struct control_request *request;
	struct pins_wait pins;
	size_t asked; /* answers about networks that are still to come, and the pins' */
	int result;
};

static void on_wall_lost(void *data, const char *why)
{
	struct parser *p = data;

	events_error(p->events, "the wall %s, so berth-policy ends: everything is closed", why);
	_exit(1);
}

static void on_event(void *data, const cJSON *event)
{
	struct parser *p = data;

	if (p->control)
		control_event(p->control, event);
}

static void finish_part(struct change *change, int result)
{
	if (result < 0)
		change->result = result;
	if (--change->asked > 0)
		return;
	if (change->result < 0) {
		log_error(
			"the wall did not take the change of the policy (%s): everything is closed",
			strerror(-change->result));
		_exit(1);
	}
	control_answer(change->request, cJSON_CreateObject());
	free(change);
}

static void on_pins_in_force(struct pins_wait *w, int result)
{
	finish_part(CONTAINER_OF(w, struct change, pins), result);
}

static void on_network_answer(void *data, const struct wall_answer *answer)
{
	finish_part(data, answer->result);
}

static void ask_networks(struct change *change, const struct wall_request *r)
{
	int result = wall_ask(change->parser->wall, r, on_network_answer, change);

	if (result == 0)
		change->asked++;
	else
		change->result = result;
}

static void ask_network(void *data, const struct ipv4_network *net, uint16_t port)
{
	ask_networks(data, &(struct wall_request){.op = WALL_NET,
				   .addr = htonl(net->net),
				   .bits = (uint16_t)__builtin_popcount(net->mask),
				   .port = port});
}

/* All of it or, on an error, nothing. */
static int take_policy(struct parser *p, const cJSON *policy, struct err *err)
{
	struct limits limits = limit_default();
	int r = limit_change(&limits, json_get(policy, "limits"), err);

	if (r == 0)
		r = ruleset_set(&p->rules, policy, err);
	if (r == 0)
		meter_set(&p->meter, &limits);
	return r;
}

static void op_policy_set(void *data, const cJSON *policy, struct control_request *r)
{
	struct parser *p = data;
	struct change *change;
	struct err err;

	if (take_policy(p, policy, &err) < 0) {
		control_refuse(r, &err);
		return;
	}
	change = xcalloc(1, sizeof(*change));
	*change = (struct change){.parser = p,
		.request = r,
		.pins = {.done = on_pins_in_force},
		.asked = 2}; /* the pins, and one that is let go below */
	relay_recheck(p->relay);
	ask_networks(change, &(struct wall_request){.op = WALL_NETS_BEGIN});
	ruleset_networks(&p->rules, ask_network, change);
	ask_networks(change, &(struct wall_request){.op = WALL_NETS_COMMIT});
	log_info("%zu rules are in force%s", p->rules.n, p->rules.learn ? ", in mode learn" : "");
	if (pins_follow(p->pins, &p->rules, &change->pins))
		change->asked--;
	finish_part(change, 0);
}

/* A stats request that waits for the wall's counters. */
struct counting {
	struct parser *parser;
	struct control_request *request;
};

static cJSON *counts_json(const struct wall_answer *answer, uint64_t *ret_refused)
{
	cJSON *o = cJSON_CreateObject();

	*ret_refused = 0;
	for (int i = 0; i < WALL_COUNTS; i++) {
		cJSON_AddNumberToObject(o, nft_text_count_name(i), (double)answer->counts[i]);
		*ret_refused += i < WALL_REFUSED_COUNT ? answer->counts[i] : 0;
	}
	return o;
}

static void on_counted(void *data, const struct wall_answer *answer)
{
	struct counting *counting = data;
	struct parser *p = counting->parser;
	cJSON *o = cJSON_CreateObject();
	uint64_t refused;

	cJSON_AddNumberToObject(o, "dns_queries", (double)p->stats.dns_queries);
	cJSON_AddNumberToObject(o, "dns_denied", (double)p->stats.dns_denied);
	cJSON_AddNumberToObject(o, "connections", (double)p->stats.connections);
	cJSON_AddNumberToObject(o, "denied", (double)p->stats.denied);
	cJSON_AddNumberToObject(o, "limited", (double)p->stats.limited);
	cJSON_AddNumberToObject(o, "bytes_up", (double)p->meter.up.bytes);
	cJSON_AddNumberToObject(o, "bytes_down", (double)p->meter.down.bytes);
	cJSON_AddNumberToObject(o, "pins", (double)pins_count(p->pins));
	cJSON_AddItemToObject(o, "packets", counts_json(answer, &refused));
	cJSON_AddNumberToObject(o, "dropped_packets", (double)refused);
	cJSON_AddItemToObject(o, "denied_by", events_denied_by(p->events));
	control_answer(counting->request, o);
	free(counting);
}

static void op_stats(void *data, struct control_request *r)
{
	struct parser *p = data;
	struct wall_request request = {.op = WALL_COUNTERS};
	struct counting *counting = xcalloc(1, sizeof(*counting));

	*counting = (struct counting){.parser = p, .request = r};
	if (wall_ask(p->wall, &request, on_counted, counting) < 0)
		on_counted(counting, &(struct wall_answer){0});
}

static void op_upstream_set(void *data, const cJSON *args, struct control_request *r)
{
	struct parser *p = data;
	struct settings settings;
	struct err err;

	if (settings_read(args, &settings, &err) < 0) {
		control_refuse(r, &err);
		return;
	}
	p->settings = settings;
	upstream_use(p->upstream, settings.servers, settings.n_servers);
	lookup_forget(p->lookup);
	lookup_forget(p->proxy_lookup);
	control_answer(r, cJSON_CreateObject());
}

static void on_usage(void *data, uint64_t up, uint64_t down)
{
	struct parser *p = data;

	events_usage(p->events, up, down);
}

static void op_budget_set(void *data, uint64_t bytes, const char *limit, struct control_request *r)
{
	struct parser *p = data;

	meter_budget(&p->meter, bytes, limit);
	control_answer(r, cJSON_CreateObject());
	/* A berthd that has just come missed what moved without it. */
	on_usage(p, p->meter.up.bytes, p->meter.down.bytes);
}

static void on_over(void *data)
{
	struct parser *p = data;

	log_info("%s: nothing gets through any more", p->meter.reason);
	relay_cut(p->relay, p->meter.reason);
}

static void on_resolver_health(void *data, bool up, const char *detail)
{
	struct parser *p = data;

	events_health(p->events, HEALTH_RESOLVERS, up, detail);
}

/* The wall hands them over when its rules are in force. */
static int receive_listeners(int wall, int ret[WALL_LISTENERS], struct err *err)
{
	for (int i = 0; i < WALL_LISTENERS; i++) {
		uint8_t which;
		ssize_t n = sock_recv_fd(wall, &which, 1, &ret[i]);

		if (n != 1 || which != i || ret[i] < 0)
			return err_set(err, EPROTO, "the wall did not come up");
	}
	return 0;
}

static int drop_rights(struct err *err)
{
	pid_t parent = getppid();
	int r = privs_drop(false, err);

	if (r < 0)
		return r;
	/* After the change of user, which clears it. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return err_sys(err, "cannot tie this process to its parent");
	if (getppid() != parent)
		return err_set(err, EPIPE, "the wall has ended");
	return privs_filter_syscalls(err);
}

static int set_up(
	struct parser *p, const struct parser_config *config, const int *listeners, struct err *err)
{
	/* The operator's own proxy may be anywhere but on multicast and the like. */
	static const struct pin_networks anywhere = {.n = 1};
	static const struct ruleset no_rules;
	const struct meter_callbacks meter = {on_usage, on_over, p};
	struct resolver_parts resolver;
	struct relay_parts relay;

	p->private_networks = config->private_networks;
	p->events = events_new(&p->loop, on_event, p);
	p->wall = wall_client_new(&p->loop, config->wall, on_wall_lost, p);
	p->pins = pins_new(&p->loop, p->wall, &p->private_networks);
	p->upstream = upstream_new(&p->loop, on_resolver_health, p);
	p->lookup = lookup_new(p->upstream, &p->private_networks, &p->rules);
	p->proxy_lookup = lookup_new(p->upstream, &anywhere, &no_rules);
	meter_init(&p->meter, &p->loop, &meter);
	resolver = (struct resolver_parts){
		&p->loop, &p->rules, p->lookup, p->pins, p->events, &p->meter, &p->stats};
	relay = (struct relay_parts){.loop = &p->loop,
		.agent = config->agent,
		.rules = &p->rules,
		.private_networks = &p->private_networks,
		.lookup = p->lookup,
		.proxy = &p->settings.proxy,
		.proxy_lookup = p->proxy_lookup,
		.pins = p->pins,
		.events = p->events,
		.meter = &p->meter,
		.stats = &p->stats};
	p->resolver =
		resolver_new(&resolver, listeners[WALL_DNS_UDP], listeners[WALL_DNS_TCP], err);
	p->relay = p->resolver ? relay_new(&relay, listeners[WALL_RELAY], err) : NULL;
	refusals_watch(&p->loop, p->wall, p->events);
	return p->relay ? 0 : -EIO;
}

int parser_run(const struct parser_config *config, struct err *err)
{
	struct control_ops ops = {.policy_set = op_policy_set,
		.upstream_set = op_upstream_set,
		.budget_set = op_budget_set,
		.stats = op_stats};
	struct parser *p = xcalloc(1, sizeof(*p));
	int listeners[WALL_LISTENERS], r = drop_rights(err);

	if (r == 0)
		r = receive_listeners(config->wall, listeners, err);
	if (r == 0 && uv_loop_init(&p->loop) < 0)
		r = err_set(err, ENOMEM, "cannot make an event loop");
	if (r == 0)
		r = set_up(p, config, listeners, err);
	if (r < 0) {
		free(p);
		return r;
	}
	ops.data = p;
	p->control = control_new(&p->loop, config->control, &ops);
	log_info("serving agent %s", config->agent);
	uv_run(&p->loop, UV_RUN_DEFAULT);
	return err_set(err, EIO, "the event loop has ended");
}
