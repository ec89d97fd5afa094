/*
 * Asking the host's DNS servers for the addresses of one name.
 *
 * Theory of operation. A `struct query` goes through the servers, round after round; each try is a
 * `struct attempt` with sockets of its own, so that id and source port are new every time and a
 * late answer finds nobody. UDP first; a truncated answer is asked again by TCP from the same
 * server. An answer that does not fit the question is ignored, not believed: the attempt goes on
 * until its time is over.
 *
 *   query -> attempt (UDP) -> attempt (TCP, if truncated) -> done
 *         '-> next server on silence, SERVFAIL, REFUSED, or an error
 */
#include "upstream.h"
#include "resolv_conf.h"
#include "util.h"

#include <errno.h>
#include <string.h>

struct attempt;

/* Frees itself when it has called done. */
struct query {
	uv_loop_t *loop;
	upstream_done_fn *done;
	void *data;
	struct sockaddr_storage servers[RESOLV_SERVERS_MAX];
	size_t n_servers, tries;
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
	struct sockaddr_storage server;
	uint16_t id;
	bool tcp;
	int open;
};

static void next_try(struct query *q);
static void start_attempt(struct query *q, const struct sockaddr_storage *server, bool tcp);

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

static void finish(struct query *q, const struct dns_answer *answer)
{
	q->done(q->data, answer);
	free(q);
}

static void fail_attempt(struct attempt *a)
{
	if (a->query)
		next_try(end_attempt(a));
}

static void take_packet(struct attempt *a, const uint8_t *data, size_t n)
{
	struct sockaddr_storage server = a->server;
	struct dns_answer answer;
	bool again_by_tcp;

	if (dns_read_answer(data, n, a->id, a->query->name, &answer) < 0) {
		if (a->tcp)
			fail_attempt(a);
		return;
	}
	again_by_tcp = answer.truncated && !a->tcp;
	if (answer.rcode != DNS_NOERROR && answer.rcode != DNS_NXDOMAIN && !again_by_tcp)
		fail_attempt(a);
	else if (again_by_tcp)
		start_attempt(end_attempt(a), &server, true);
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

static int start_udp(struct attempt *a)
{
	uv_buf_t out = uv_buf_init((char *)a->out.data, (unsigned)a->out.len);
	int r = uv_udp_connect(&a->sock.udp, (const struct sockaddr *)&a->server);

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
	return uv_tcp_connect(
		&a->connect, &a->sock.tcp, (const struct sockaddr *)&a->server, on_connect);
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

/* A failure to start is met by the timer, so that nothing is called back from within. */
static void start_attempt(struct query *q, const struct sockaddr_storage *server, bool tcp)
{
	struct attempt *a = xcalloc(1, sizeof(*a));
	int r;

	*a = (struct attempt){.query = q, .server = *server, .tcp = tcp, .open = 2};
	buf_init(&a->out, DNS_PACKET_MAX);
	buf_init(&a->in, 65537);
	uv_timer_init(q->loop, &a->timer);
	a->timer.data = a;
	if (tcp)
		uv_tcp_init(q->loop, &a->sock.tcp);
	else
		uv_udp_init(q->loop, &a->sock.udp);
	a->sock.handle.data = a;
	q->attempt = a;
	r = !write_question(a, q->name) ? -EINVAL : tcp ? start_tcp(a) : start_udp(a);
	uv_timer_start(&a->timer, on_timeout,
		r < 0 ? 0
		: tcp ? UPSTREAM_TCP_MS
		      : UPSTREAM_UDP_MS,
		0);
}

static void next_try(struct query *q)
{
	if (q->tries == q->n_servers * UPSTREAM_ROUNDS)
		finish(q, NULL);
	else
		start_attempt(q, &q->servers[q->tries++ % q->n_servers], false);
}

static void on_no_server(uv_timer_t *timer)
{
	fail_attempt(timer->data);
}

/* Without a server the query ends at once, by the loop. */
static void end_soon(struct query *q)
{
	struct attempt *a = xcalloc(1, sizeof(*a));

	a->query = q;
	a->open = 2;
	uv_timer_init(q->loop, &a->timer);
	uv_udp_init(q->loop, &a->sock.udp);
	a->timer.data = a->sock.handle.data = a;
	q->attempt = a;
	uv_timer_start(&a->timer, on_no_server, 0, 0);
}

void upstream_ask(uv_loop_t *loop, const char *name, upstream_done_fn *done, void *data)
{
	struct query *q = xcalloc(1, sizeof(*q));

	q->loop = loop;
	q->done = done;
	q->data = data;
	snprintf(q->name, sizeof(q->name), "%s", name);
	q->n_servers = resolv_conf_servers(q->servers);
	if (q->n_servers == 0)
		end_soon(q);
	else
		next_try(q);
}
