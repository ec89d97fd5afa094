/*
 * Asking DNS servers for the addresses of one name.
 *
 * Theory of operation. A `struct query` goes through the servers, round after round, the one that
 * answered last first; each try is a `struct attempt` with sockets of its own, so that id and
 * source port are new every time and a late answer finds nobody. UDP first; a truncated answer is
 * asked again by TCP from the same server. An answer that does not fit the question is ignored, not
 * believed: the attempt goes on until its time is over, or by TCP when somebody seems to guess.
 *
 *   query -> attempt (UDP) -> attempt (TCP, if truncated or lied to) -> done
 *         '-> next server on silence, SERVFAIL, REFUSED, or an error
 *
 * The servers count as down when a query has ended without a word from any of them, and none had
 * anything to say to another query meanwhile either; as up with the next word.
 */
#include "upstream.h"
#include "util.h"

#include <errno.h>
#include <string.h>

struct attempt;

/* Lives as long as the process. */
struct upstream {
	uv_loop_t *loop;
	upstream_health_fn *health;
	void *data;
	struct sockaddr_storage servers[RESOLV_SERVERS_MAX];
	size_t n_servers; /* 0: the host's */
	size_t best;      /* the one that answered last */
	uint64_t heard;   /* words from servers so far */
	bool down;
};

/* Frees itself when it has called done. */
struct query {
	struct upstream *upstream;
	upstream_done_fn *done;
	void *data;
	struct sockaddr_storage servers[RESOLV_SERVERS_MAX];
	size_t n_servers, first, tries;
	uint64_t heard, ends; /* heard: upstream's, at the beginning; ends: now_ms */
	unsigned lies;
	struct attempt *attempt;
	char name[256];
};

/* Owned by the loop from its start; frees itself when its handles are closed. */
struct attempt {
	struct query *query; /* NULL once it is over */
	uv_timer_t timer;
	union {
		uv_handle_t handle;
		uv_udp_t udp;
		uv_tcp_t tcp;
	} sock;
	uv_connect_t connect;
	uv_write_t write;
	struct buf out, in; /* with the length in front for TCP */
	uint8_t datagram[DNS_PACKET_MAX];
	size_t server; /* of the query's */
	unsigned lies;
	uint16_t id;
	bool tcp;
	int open;
};

static void next_try(struct query *q);
static void start_attempt(struct query *q, size_t server, bool tcp);

static void on_closed(uv_handle_t *handle)
{
	struct attempt *a = handle->data;

	if (--a->open > 0)
		return;
	buf_done(&a->out);
	buf_done(&a->in);
	free(a);
}

static struct query *end_attempt(struct attempt *a)
{
	struct query *q = a->query;

	a->query = NULL;
	q->attempt = NULL;
	uv_close((uv_handle_t *)&a->timer, on_closed);
	uv_close(&a->sock.handle, on_closed);
	return q;
}

/* A word from a server that fits its question. */
static void heard(struct attempt *a)
{
	struct upstream *u = a->query->upstream;

	u->heard++;
	u->best = a->server;
	if (!u->down)
		return;
	u->down = false;
	u->health(u->data, true, "name servers answer again");
}

static void heard_nothing(const struct query *q)
{
	struct upstream *u = q->upstream;
	char detail[160];

	if (u->down || u->heard != q->heard)
		return;
	u->down = true;
	if (q->n_servers == 0)
		snprintf(detail, sizeof(detail), "no name server is configured");
	else
		snprintf(detail, sizeof(detail), "none of %zu name servers answers%s", q->n_servers,
			q->lies ? "; packets that fit no question are ignored" : "");
	u->health(u->data, false, detail);
}

static void finish(struct query *q, const struct dns_answer *answer)
{
	if (!answer)
		heard_nothing(q);
	q->done(q->data, answer);
	free(q);
}

static void fail_attempt(struct attempt *a)
{
	if (a->query)
		next_try(end_attempt(a));
}

static void ask_by_tcp(struct attempt *a)
{
	size_t server = a->server;

	start_attempt(end_attempt(a), server, true);
}

static void lied_to(struct attempt *a)
{
	a->query->lies++;
	if (a->tcp)
		fail_attempt(a);
	else if (++a->lies == UPSTREAM_LIES_MAX)
		ask_by_tcp(a);
}

static void take_packet(struct attempt *a, const uint8_t *data, size_t n)
{
	struct dns_answer answer;

	if (dns_read_answer(data, n, a->id, a->query->name, &answer) < 0) {
		lied_to(a);
		return;
	}
	heard(a);
	if (answer.truncated && !a->tcp)
		ask_by_tcp(a);
	else if (answer.rcode != DNS_NOERROR && answer.rcode != DNS_NXDOMAIN)
		fail_attempt(a);
	else
		finish(end_attempt(a), &answer);
}

static void on_timeout(uv_timer_t *timer)
{
	fail_attempt(timer->data);
}

static void alloc_datagram(uv_handle_t *handle, size_t size, uv_buf_t *ret)
{
	struct attempt *a = handle->data;

	*ret = uv_buf_init((char *)a->datagram, sizeof(a->datagram));
}

static void on_datagram(
	uv_udp_t *udp, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from, unsigned flags)
{
	struct attempt *a = udp->data;

	if (!a->query)
		return;
	if (n < 0)
		fail_attempt(a);
	else if (n > 0 && !(flags & UV_UDP_PARTIAL))
		take_packet(a, (const uint8_t *)buf->base, (size_t)n);
}

static const struct sockaddr *address_of(const struct attempt *a)
{
	return (const struct sockaddr *)&a->query->servers[a->server];
}

static int start_udp(struct attempt *a)
{
	uv_buf_t out = uv_buf_init((char *)a->out.data, (unsigned)a->out.len);
	int r = uv_udp_connect(&a->sock.udp, address_of(a));

	if (r == 0)
		r = uv_udp_recv_start(&a->sock.udp, alloc_datagram, on_datagram);
	if (r == 0)
		r = uv_udp_try_send(&a->sock.udp, &out, 1, NULL);
	return MIN(r, 0);
}

static void on_stream(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct attempt *a = stream->data;
	size_t want;

	if (!a->query || n == 0)
		return;
	if (n < 0 || !buf_add(&a->in, buf->base, (size_t)n)) {
		fail_attempt(a);
		return;
	}
	if (a->in.len < 2)
		return;
	want = (size_t)a->in.data[0] << 8 | a->in.data[1];
	if (a->in.len >= want + 2)
		take_packet(a, a->in.data + 2, want);
}

static void on_written(uv_write_t *req, int status)
{
	struct attempt *a = req->data;

	if (status < 0)
		fail_attempt(a);
}

static void on_connect(uv_connect_t *req, int status)
{
	struct attempt *a = req->data;
	uv_stream_t *stream = (uv_stream_t *)&a->sock.tcp;
	uv_buf_t out = uv_buf_init((char *)a->out.data, (unsigned)a->out.len);

	if (!a->query)
		return;
	if (status < 0 || uv_write(&a->write, stream, &out, 1, on_written) < 0 ||
		uv_read_start(stream, alloc_datagram, on_stream) < 0)
		fail_attempt(a);
}

static int start_tcp(struct attempt *a)
{
	a->connect.data = a;
	a->write.data = a;
	return uv_tcp_connect(&a->connect, &a->sock.tcp, address_of(a), on_connect);
}

static bool write_question(struct attempt *a, const char *name)
{
	static const uint8_t no_length[2];

	random_bytes(&a->id, sizeof(a->id));
	if (a->tcp)
		buf_add(&a->out, no_length, 2);
	if (!dns_write_question(&a->out, a->id, name))
		return false;
	if (a->tcp) {
		a->out.data[0] = (uint8_t)((a->out.len - 2) >> 8);
		a->out.data[1] = (uint8_t)(a->out.len - 2);
	}
	return true;
}

static uint64_t time_for(const struct query *q, bool tcp)
{
	uint64_t now = now_ms(), left = q->ends > now ? q->ends - now : 0;

	return MIN(left, (uint64_t)(tcp ? UPSTREAM_TCP_MS : UPSTREAM_UDP_MS));
}

/* A failure to start is met by the timer, so that nothing is called back from within. */
static void start_attempt(struct query *q, size_t server, bool tcp)
{
	struct attempt *a = xcalloc(1, sizeof(*a));
	uv_loop_t *loop = q->upstream->loop;
	int r = -EDESTADDRREQ;

	*a = (struct attempt){.query = q, .server = server, .tcp = tcp, .open = 2};
	buf_init(&a->out, DNS_PACKET_MAX);
	buf_init(&a->in, 65537);
	uv_timer_init(loop, &a->timer);
	a->timer.data = a;
	if (tcp)
		uv_tcp_init(loop, &a->sock.tcp);
	else
		uv_udp_init(loop, &a->sock.udp);
	a->sock.handle.data = a;
	q->attempt = a;
	if (server < q->n_servers)
		r = !write_question(a, q->name) ? -EINVAL : tcp ? start_tcp(a) : start_udp(a);
	uv_timer_start(&a->timer, on_timeout, r < 0 ? 0 : time_for(q, tcp), 0);
}

static void next_try(struct query *q)
{
	if (q->tries == q->n_servers * UPSTREAM_ROUNDS || now_ms() >= q->ends)
		finish(q, NULL);
	else
		start_attempt(q, (q->first + q->tries++) % q->n_servers, false);
}

void upstream_ask(struct upstream *u, const char *name, upstream_done_fn *done, void *data)
{
	struct query *q = xcalloc(1, sizeof(*q));

	q->upstream = u;
	q->done = done;
	q->data = data;
	q->heard = u->heard;
	q->ends = now_ms() + UPSTREAM_TOTAL_MS;
	snprintf(q->name, sizeof(q->name), "%s", name);
	memcpy(q->servers, u->servers, sizeof(q->servers));
	q->n_servers = u->n_servers ? u->n_servers : resolv_conf_servers(q->servers);
	q->first = u->best < q->n_servers ? u->best : 0;
	if (q->n_servers == 0)
		start_attempt(q, 0, false); /* fails at once, by the loop */
	else
		next_try(q);
}

struct upstream *upstream_new(uv_loop_t *loop, upstream_health_fn *health, void *data)
{
	struct upstream *u = xcalloc(1, sizeof(*u));

	u->loop = loop;
	u->health = health;
	u->data = data;
	return u;
}

void upstream_use(struct upstream *u, const struct sockaddr_storage *servers, size_t n)
{
	u->n_servers = MIN(n, (size_t)RESOLV_SERVERS_MAX);
	u->best = 0;
	memcpy(u->servers, servers, u->n_servers * sizeof(*servers));
}
