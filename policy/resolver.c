/*
 * The agent's DNS server: what a guest may ask, and the pins that must be there before it is
 * answered.
 *
 * Theory of operation. Each question is a `struct ask` that goes through
 *
 *   read -> decide -> look up (cache, upstream) -> pin (wall, acknowledged) -> answer
 *
 * A name without a rule is answered NXDOMAIN: it is final, where REFUSED would make resolvers try
 * again elsewhere and report a temporary failure. No SOA comes with it, so nobody keeps it once a
 * rule allows the name; EDE 15 "Blocked" tells it from a name that does not exist. Only A is
 * answered with data: AAAA, HTTPS and SVCB get an empty answer, so that no client tries IPv6 or
 * Encrypted ClientHello; every other type is refused, so that DNS carries nothing else. If the
 * rules change while a question is at work, it starts again. An answer comes by the way the
 * question came: by UDP to its sender, by TCP on its connection, in order.
 */
#include "resolver.h"
#include "util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#define SERVICE_TTL 60u

struct client;

/* One question at work; owned by the resolver's count, freed by its answer. */
struct ask {
	struct resolver *resolver;
	struct client *client;   /* NULL: by UDP */
	struct sockaddr_in from; /* by UDP */
	struct dns_question question;
	struct lookup_wait lookup;
	struct pins_wait pin;
	struct lookup_result result;
	uint32_t generation; /* of the rules that it was decided by */
};

/* One TCP connection; freed when closed and without an ask. One question at a time. */
struct client {
	struct resolver *resolver;
	uv_tcp_t tcp;
	uv_timer_t timer;
	uv_write_t write;
	struct buf in, out;
	struct ask *ask;
	int open;
	bool closing, writing;
	uint8_t room[2048];
};

/* Lives as long as the process. */
struct resolver {
	struct resolver_parts parts;
	uv_udp_t udp;
	uv_tcp_t tcp;
	size_t asks, clients;
	uint8_t datagram[DNS_PACKET_MAX];
};

static void decide(struct ask *a);
static void client_next(struct client *c);
static void on_client_timeout(uv_timer_t *timer);

static void client_maybe_free(struct client *c)
{
	if (c->open > 0 || c->ask)
		return;
	c->resolver->clients--;
	buf_done(&c->in);
	buf_done(&c->out);
	free(c);
}

static void on_client_closed(uv_handle_t *handle)
{
	struct client *c = handle->data;

	c->open--;
	client_maybe_free(c);
}

static void client_close(struct client *c)
{
	if (c->closing)
		return;
	c->closing = true;
	uv_close((uv_handle_t *)&c->tcp, on_client_closed);
	uv_close((uv_handle_t *)&c->timer, on_client_closed);
}

static void on_client_written(uv_write_t *req, int status)
{
	struct client *c = req->data;

	c->writing = false;
	if (status < 0)
		client_close(c);
	else if (!c->closing)
		client_next(c);
}

static void client_answer(struct client *c, const struct buf *packet)
{
	uint8_t len[2] = {(uint8_t)(packet->len >> 8), (uint8_t)packet->len};
	uv_buf_t out;

	if (c->closing)
		return;
	buf_consume(&c->out, c->out.len);
	buf_add(&c->out, len, 2);
	buf_add(&c->out, packet->data, packet->len);
	out = uv_buf_init((char *)c->out.data, (unsigned)c->out.len);
	c->write.data = c;
	c->writing = uv_write(&c->write, (uv_stream_t *)&c->tcp, &out, 1, on_client_written) == 0;
	if (!c->writing)
		client_close(c);
}

static void free_ask(struct ask *a)
{
	struct client *c = a->client;

	a->resolver->asks--;
	if (c) {
		c->ask = NULL;
		client_maybe_free(c);
	}
	free(a);
}

/* The end of every question. */
static void reply(struct ask *a, enum dns_rcode rcode, enum dns_ede ede, size_t n, uint32_t ttl)
{
	struct sockaddr *to = (struct sockaddr *)&a->from;
	struct buf packet;
	uv_buf_t out;

	buf_init(&packet, DNS_PACKET_MAX);
	if (dns_write_answer(&packet, &a->question, rcode, ede, a->result.addrs, n, ttl,
		    a->client ? 0 : DNS_UDP_SIZE)) {
		out = uv_buf_init((char *)packet.data, (unsigned)packet.len);
		if (a->client)
			client_answer(a->client, &packet);
		else
			uv_udp_try_send(&a->resolver->udp, &out, 1, to);
	}
	buf_done(&packet);
	free_ask(a);
}

static void tell_denied(struct ask *a, const char *rule, const char *reason)
{
	struct egress entry = {
		.name = a->question.name, .protocol = "dns", .rule = rule, .reason = reason};

	a->resolver->parts.stats->dns_denied++;
	events_egress(a->resolver->parts.events, &entry);
}

static void deny(struct ask *a, enum dns_rcode rcode, const char *rule, const char *reason)
{
	tell_denied(a, rule, reason);
	reply(a, rcode, DNS_EDE_BLOCKED, 0, 0);
}

/* By a limit: the same may be asked again later. */
static void limit(struct ask *a, const char *reason)
{
	a->resolver->parts.stats->limited++;
	tell_denied(a, "", reason);
	reply(a, DNS_REFUSED, DNS_EDE_PROHIBITED, 0, 0);
}

static void on_pinned(struct pins_wait *w, int result)
{
	struct ask *a = CONTAINER_OF(w, struct ask, pin);

	if (result < 0) {
		events_error(a->resolver->parts.events,
			"%s is not answered: its addresses could not be opened (%s)",
			a->question.name, strerror(-result));
		reply(a, DNS_SERVFAIL, DNS_EDE_OTHER, 0, 0);
	} else if (a->generation != a->resolver->parts.rules->generation) {
		decide(a);
	} else {
		reply(a, DNS_NOERROR, DNS_EDE_NONE, a->result.n, MIN(a->result.ttl, PIN_TTL_MAX));
	}
}

static void pin_and_reply(struct ask *a, const uint16_t *ports, size_t n_ports)
{
	const struct resolver_parts *parts = &a->resolver->parts;

	if (pins_need(parts->pins, a->question.name, parts->rules, a->result.addrs, a->result.n,
		    ports, n_ports, a->result.ttl, &a->pin))
		on_pinned(&a->pin, 0);
}

static void on_looked_up(struct lookup_wait *w, const struct lookup_result *r)
{
	struct ask *a = CONTAINER_OF(w, struct ask, lookup);
	uint16_t ports[RULESET_PORTS_MAX];
	size_t n_ports = ruleset_ports(a->resolver->parts.rules, a->question.name, ports);

	a->result = *r;
	a->generation = a->resolver->parts.rules->generation;
	if (n_ports == 0)
		deny(a, DNS_NXDOMAIN, "", "no rule allows this name");
	else if (r->rcode != DNS_NOERROR)
		reply(a, r->rcode, r->rcode == DNS_SERVFAIL ? DNS_EDE_NO_REACHABLE : DNS_EDE_NONE,
			0, 0);
	else if (r->n == 0 && r->removed > 0)
		deny(a, DNS_NXDOMAIN, "", "all its addresses are private or reserved");
	else if (r->n == 0)
		reply(a, DNS_NOERROR, DNS_EDE_NONE, 0, 0);
	else
		pin_and_reply(a, ports, n_ports);
}

static void answer_service(struct ask *a)
{
	static const uint16_t port = 80;

	a->generation = a->resolver->parts.rules->generation;
	a->result = (struct lookup_result){.n = 1, .ttl = SERVICE_TTL};
	inet_pton(AF_INET, PIN_SERVICE_ADDR, &a->result.addrs[0]);
	if (ruleset_name(a->resolver->parts.rules, a->question.name, port).verdict != RULESET_ALLOW)
		deny(a, DNS_NXDOMAIN, "", "no rule allows port 80 of this name");
	else
		pin_and_reply(a, &port, 1);
}

/* Below berth.internal nothing is asked upstream. */
static bool is_own_name(const char *name)
{
	static const char own[] = ".berth.internal";
	size_t n = strlen(name);

	return streq(name, own + 1) || (n >= sizeof(own) && streq(name + n - sizeof(own) + 1, own));
}

/* Names below a wildcard are bounded where each of them tells somebody something. */
static void look_up(struct ask *a, const struct ruleset_decision *d)
{
	const struct resolver_parts *parts = &a->resolver->parts;
	const char *name = a->question.name, *reason = NULL;

	if (d->below && d->verdict == RULESET_ALLOW && !lookup_knows(parts->lookup, name))
		reason = meter_wild_name(parts->meter);
	if (reason)
		limit(a, reason);
	else
		lookup_start(parts->lookup, name, &a->lookup);
}

/* A policy that learns says what it lets through; names that rules allow are told by connections.
 */
static void note_learnt(struct ask *a)
{
	struct egress entry = {.name = a->question.name,
		.protocol = "dns",
		.rule = "",
		.reason = "no rule allows this name",
		.allow = true,
		.learnt = true};

	events_egress(a->resolver->parts.events, &entry);
}

/* What a name that may be reached is answered. */
static void answer_name(struct ask *a, const struct ruleset_decision *d)
{
	const struct dns_question *q = &a->question;
	const char *odd = d->below ? ruleset_odd_name(q->name) : NULL;

	if (odd) {
		deny(a, DNS_NXDOMAIN, d->rule, odd);
	} else if (q->type == DNS_TYPE_AAAA || q->type == DNS_TYPE_HTTPS ||
		   q->type == DNS_TYPE_SVCB) {
		reply(a, DNS_NOERROR, DNS_EDE_NONE, 0, 0);
	} else if (q->type != DNS_TYPE_A) {
		deny(a, DNS_REFUSED, d->rule, "only addresses are answered");
	} else if (streq(q->name, RULE_SERVICE_START)) {
		answer_service(a);
	} else if (is_own_name(q->name)) {
		deny(a, DNS_NXDOMAIN, "", "the appliance has no such service");
	} else {
		if (d->verdict == RULESET_LEARN)
			note_learnt(a);
		look_up(a, d);
	}
}

static void decide(struct ask *a)
{
	const char *name = a->question.name;
	struct ruleset_decision d = ruleset_name(a->resolver->parts.rules, name, RULESET_ANY_PORT);

	if (ruleset_allows(&d))
		answer_name(a, &d);
	else
		deny(a, DNS_NXDOMAIN, d.rule,
			d.verdict == RULESET_DENY ? "a rule denies this name"
			: name[0]                 ? "no rule allows this name"
						  : "not a host name");
}

static void refuse_one_too_many(struct ask *a)
{
	events_error(a->resolver->parts.events,
		"more than %d questions wait for answers: %s is not answered", RESOLVER_ASKS_MAX,
		a->question.name);
	reply(a, DNS_SERVFAIL, DNS_EDE_OTHER, 0, 0);
}

/* One packet from a guest. from is NULL for TCP. */
static void take_packet(struct resolver *r, const uint8_t *data, size_t n,
	const struct sockaddr_in *from, struct client *c)
{
	struct ask *a = xcalloc(1, sizeof(*a));
	int rcode = dns_read_question(data, n, &a->question);
	const char *reason = meter_question(r->parts.meter);

	r->parts.stats->dns_queries++;
	r->asks++;
	a->resolver = r;
	a->lookup.done = on_looked_up;
	a->pin.done = on_pinned;
	a->client = c;
	if (c)
		c->ask = a;
	if (from)
		a->from = *from;
	if (rcode < 0 && c)
		client_close(c);
	if (rcode < 0)
		free_ask(a);
	else if (reason)
		limit(a, reason);
	else if (rcode > 0)
		reply(a, (enum dns_rcode)rcode, DNS_EDE_NONE, 0, 0);
	else if (r->asks > RESOLVER_ASKS_MAX)
		refuse_one_too_many(a);
	else
		decide(a);
}

static void alloc_datagram(uv_handle_t *handle, size_t size, uv_buf_t *ret)
{
	struct resolver *r = handle->data;

	*ret = uv_buf_init((char *)r->datagram, sizeof(r->datagram));
}

static void on_datagram(
	uv_udp_t *udp, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from, unsigned flags)
{
	if (n <= 0 || !from || from->sa_family != AF_INET || flags & UV_UDP_PARTIAL)
		return;
	take_packet(udp->data, (const uint8_t *)buf->base, (size_t)n,
		(const struct sockaddr_in *)from, NULL);
}

/* Takes the next whole question out of the buffer, if none is at work. */
static void client_next(struct client *c)
{
	struct buf packet;
	size_t len;

	if (c->ask || c->writing || c->closing || c->in.len < 2)
		return;
	len = (size_t)c->in.data[0] << 8 | c->in.data[1];
	if (len > DNS_PACKET_MAX) {
		client_close(c);
		return;
	}
	if (c->in.len < len + 2)
		return;
	buf_init(&packet, DNS_PACKET_MAX);
	buf_add(&packet, c->in.data + 2, len);
	buf_consume(&c->in, len + 2);
	uv_timer_start(&c->timer, on_client_timeout, RESOLVER_CLIENT_MS, 0);
	take_packet(c->resolver, packet.data, len, NULL, c);
	buf_done(&packet);
}

static void alloc_client(uv_handle_t *handle, size_t size, uv_buf_t *ret)
{
	struct client *c = handle->data;

	*ret = uv_buf_init((char *)c->room, sizeof(c->room));
}

static void on_client_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct client *c = stream->data;

	if (n < 0 || (n > 0 && !buf_add(&c->in, buf->base, (size_t)n)))
		client_close(c);
	else if (n > 0)
		client_next(c);
}

static void on_client_timeout(uv_timer_t *timer)
{
	client_close(timer->data);
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct resolver *r = listener->data;
	struct client *c;

	if (status < 0) {
		events_error(r->parts.events, "the agent's questions by TCP cannot be taken: %s",
			uv_strerror(status));
		return;
	}
	c = xcalloc(1, sizeof(*c));
	c->resolver = r;
	c->open = 2;
	buf_init(&c->in, DNS_PACKET_MAX + 2 + sizeof(c->room));
	buf_init(&c->out, DNS_PACKET_MAX + 2);
	uv_tcp_init(r->parts.loop, &c->tcp);
	uv_timer_init(r->parts.loop, &c->timer);
	c->tcp.data = c->timer.data = c;
	r->clients++;
	if (uv_accept(listener, (uv_stream_t *)&c->tcp) < 0 || r->clients > RESOLVER_CLIENTS_MAX ||
		uv_read_start((uv_stream_t *)&c->tcp, alloc_client, on_client_read) < 0) {
		client_close(c);
		return;
	}
	uv_timer_start(&c->timer, on_client_timeout, RESOLVER_CLIENT_MS, 0);
}

struct resolver *resolver_new(const struct resolver_parts *parts, int udp, int tcp, struct err *err)
{
	struct resolver *r = xcalloc(1, sizeof(*r));
	int result;

	r->parts = *parts;
	uv_udp_init(parts->loop, &r->udp);
	uv_tcp_init(parts->loop, &r->tcp);
	r->udp.data = r->tcp.data = r;
	result = uv_udp_open(&r->udp, udp);
	if (result == 0)
		result = uv_udp_recv_start(&r->udp, alloc_datagram, on_datagram);
	if (result == 0)
		result = uv_tcp_open(&r->tcp, tcp);
	if (result == 0)
		result = uv_listen((uv_stream_t *)&r->tcp, 16, on_connection);
	if (result == 0)
		return r;
	err_set(err, result, "cannot serve DNS: %s", uv_strerror(result));
	free(r);
	return NULL;
}
