/* A connection of our own: several addresses in turn, straight or by a proxy; or a service. */
#include "dial.h"
#include "util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

static void try_next(struct dial *d);

static void on_closed(uv_handle_t *handle)
{
	struct dial *d = CONTAINER_OF(handle, struct dial, sock.handle);

	d->open = false;
	proxy_done(&d->talk);
	if (d->cancelled)
		d->closed(d);
	else if (d->at < d->tries)
		try_next(d);
	else
		d->done(d, -EHOSTUNREACH);
}

static void close_try(struct dial *d)
{
	d->connecting = false;
	if (!uv_is_closing(&d->sock.handle))
		uv_close(&d->sock.handle, on_closed);
}

/*
 * This host's own address, which no name and no network of a policy should mean: then the kernel
 * would send from the very address it sends to. Asking it that way sends nothing.
 */
static bool is_own_address(uint32_t addr)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)}, from = {0};
	socklen_t n = sizeof(from);
	AUTOFD int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	to.sin_addr.s_addr = addr;
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		return false; /* no way there, as the dialling will find */
	return getsockname(fd, (struct sockaddr *)&from, &n) < 0 ||
	       from.sin_addr.s_addr == to.sin_addr.s_addr;
}

/* What a proxy dials is not this host's business. */
static bool may_dial(const struct dial *d, uint32_t addr)
{
	return d->proxy || (d->own && pin_networks_have(d->own, addr)) || !is_own_address(addr);
}

static void succeed(struct dial *d)
{
	d->connecting = false;
	if (d->n > 0) {
		uv_tcp_nodelay(&d->sock.tcp, 1);
		uv_tcp_keepalive(&d->sock.tcp, 1, 60);
	}
	d->done(d, 0);
}

static void blame_proxy(struct dial *d, const char *what)
{
	snprintf(d->why, sizeof(d->why), "the proxy %.100s:%u %s", d->proxy->host, d->proxy->port,
		what);
	close_try(d);
}

/* The proxy itself is of no use, whatever the target. */
static void proxy_fails(struct dial *d, const char *what)
{
	d->proxy_failed = true;
	blame_proxy(d, what);
}

static void say(struct dial *d, struct buf *out)
{
	uv_buf_t buf = uv_buf_init((char *)out->data, (unsigned)out->len);

	/* A few hundred bytes on a new connection always fit. */
	if (out->len > 0 && uv_try_write(&d->sock.stream, &buf, 1) != (int)out->len)
		proxy_fails(d, "closes connections");
}

static void alloc_answer(uv_handle_t *handle, size_t size, uv_buf_t *ret)
{
	static char room[PROXY_ANSWER_MAX];

	*ret = uv_buf_init(room, sizeof(room));
}

static void on_answer(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct dial *d = CONTAINER_OF((uv_handle_t *)stream, struct dial, sock.handle);
	struct err err;
	struct buf out;
	int r;

	if (!d->connecting || n == 0)
		return;
	if (n < 0) {
		proxy_fails(d, "closes connections");
		return;
	}
	buf_init(&out, 2 * PROXY_WORD_MAX + 8);
	r = proxy_feed(&d->talk, buf->base, (size_t)n, &out, &err);
	if (r < 0) {
		snprintf(d->why, sizeof(d->why), "%s", err.msg);
		d->proxy_failed = r != -ECONNREFUSED;
		if (r == -EACCES)
			d->at = d->tries;
		close_try(d);
	} else if (r == 0) {
		say(d, &out);
	} else {
		uv_read_stop(stream);
		succeed(d);
	}
	buf_done(&out);
}

static void talk_to_proxy(struct dial *d)
{
	struct in_addr addr = {d->addrs[(d->at - 1) % d->n]};
	char text[INET_ADDRSTRLEN];
	struct buf out;

	inet_ntop(AF_INET, &addr, text, sizeof(text));
	buf_init(&out, PROXY_ANSWER_MAX);
	proxy_begin(
		&d->talk, d->proxy, d->proxy->names && d->name[0] ? d->name : text, d->port, &out);
	if (uv_read_start(&d->sock.stream, alloc_answer, on_answer) < 0)
		close_try(d);
	else
		say(d, &out);
	buf_done(&out);
}

static void on_connect(uv_connect_t *req, int status)
{
	struct dial *d = CONTAINER_OF(req, struct dial, connect);

	if (!d->connecting)
		return;
	if (status < 0 && d->proxy)
		proxy_fails(d, "cannot be reached");
	else if (status < 0)
		close_try(d);
	else if (d->proxy)
		talk_to_proxy(d);
	else
		succeed(d);
}

static void try_next(struct dial *d)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(d->proxy ? d->proxy->port : d->port)};
	size_t i = d->at++;

	to.sin_addr.s_addr = d->proxy ? d->via[i % d->n_via] : d->addrs[i];
	uv_tcp_init(d->loop, &d->sock.tcp);
	d->open = d->connecting = true;
	d->proxy_failed = false;
	d->talk = (struct proxy_talk){0};
	d->began = now_ms();
	if (!may_dial(d, to.sin_addr.s_addr) ||
		uv_tcp_connect(&d->connect, &d->sock.tcp, (struct sockaddr *)&to, on_connect) < 0)
		close_try(d);
}

static void set_target(struct dial *d, const uint32_t *addrs, size_t n, uint16_t port)
{
	d->n = d->tries = MIN(n, (size_t)DNS_ADDRS_MAX);
	d->at = 0;
	d->port = port;
	memcpy(d->addrs, addrs, d->n * sizeof(*addrs));
}

void dial_tcp(struct dial *d, const uint32_t *addrs, size_t n, uint32_t prefer, uint16_t port)
{
	set_target(d, addrs, n, port);
	for (size_t i = 1; i < d->n; i++) {
		if (d->addrs[i] != prefer)
			continue;
		d->addrs[i] = d->addrs[0];
		d->addrs[0] = prefer;
	}
	try_next(d);
}

void dial_by_proxy(struct dial *d, const struct proxy *proxy, const uint32_t *via, size_t n_via,
	const char *name, const uint32_t *addrs, size_t n, uint16_t port)
{
	set_target(d, addrs, n, port);
	d->proxy = proxy;
	d->name = name;
	d->n_via = MIN(n_via, (size_t)DIAL_VIA_MAX);
	d->tries = MIN(proxy->names ? d->n_via : MAX(d->n, d->n_via), (size_t)DIAL_VIA_MAX);
	memcpy(d->via, via, d->n_via * sizeof(*via));
	try_next(d);
}

uint32_t dial_addr(const struct dial *d)
{
	return d->n && !(d->proxy && d->proxy->names) ? d->addrs[(d->at - 1) % d->n] : 0;
}

void dial_unix(struct dial *d, const char *path)
{
	d->n = d->at = d->tries = 0;
	uv_pipe_init(d->loop, &d->sock.pipe, 0);
	d->open = d->connecting = true;
	d->began = now_ms();
	uv_pipe_connect(&d->connect, &d->sock.pipe, path, on_connect);
}

static void give_up(struct dial *d)
{
	if (!d->proxy)
		close_try(d);
	else if (d->talk.proxy)
		blame_proxy(d, "does not get through in time");
	else
		proxy_fails(d, "does not answer");
}

void dial_tick(struct dial *d, uint64_t now, uint64_t ms)
{
	if (d->connecting && d->at < d->tries && now - d->began > ms)
		give_up(d);
}

const char *dial_failure(const struct dial *d)
{
	return d->why[0] ? d->why : "the server does not answer";
}

bool dial_cancel(struct dial *d)
{
	if (!d->open || d->cancelled)
		return false;
	d->cancelled = true;
	if (d->connecting)
		give_up(d);
	else
		close_try(d);
	return true;
}
