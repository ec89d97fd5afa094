/* A connection of our own: several addresses in turn, or a service. */
#include "dial.h"
#include "util.h"

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
	if (d->cancelled)
		d->closed(d);
	else if (d->at < d->n)
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

/* True when both ends have one address: this host itself answered, which no public name should
 * mean. */
static bool reached_itself(struct dial *d)
{
	struct sockaddr_in here = {0}, there = {0};
	int n = sizeof(here), m = sizeof(there);

	if (d->n == 0)
		return false;
	if (uv_tcp_getsockname(&d->sock.tcp, (struct sockaddr *)&here, &n) < 0 ||
		uv_tcp_getpeername(&d->sock.tcp, (struct sockaddr *)&there, &m) < 0)
		return true;
	return here.sin_addr.s_addr == there.sin_addr.s_addr &&
	       !pin_networks_have(d->own, there.sin_addr.s_addr);
}

static void on_connect(uv_connect_t *req, int status)
{
	struct dial *d = CONTAINER_OF(req, struct dial, connect);

	if (!d->connecting)
		return;
	if (status < 0 || reached_itself(d)) {
		close_try(d);
		return;
	}
	d->connecting = false;
	if (d->n > 0) {
		uv_tcp_nodelay(&d->sock.tcp, 1);
		uv_tcp_keepalive(&d->sock.tcp, 1, 60);
	}
	d->done(d, 0);
}

static void try_next(struct dial *d)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(d->port)};

	to.sin_addr.s_addr = d->addrs[d->at++];
	uv_tcp_init(d->loop, &d->sock.tcp);
	d->open = d->connecting = true;
	d->began = now_ms();
	if (uv_tcp_connect(&d->connect, &d->sock.tcp, (struct sockaddr *)&to, on_connect) < 0)
		close_try(d);
}

void dial_tcp(struct dial *d, const uint32_t *addrs, size_t n, uint32_t prefer, uint16_t port)
{
	d->n = MIN(n, (size_t)DNS_ADDRS_MAX);
	d->at = 0;
	d->port = port;
	memcpy(d->addrs, addrs, d->n * sizeof(*addrs));
	for (size_t i = 1; i < d->n; i++) {
		if (d->addrs[i] != prefer)
			continue;
		d->addrs[i] = d->addrs[0];
		d->addrs[0] = prefer;
	}
	try_next(d);
}

void dial_unix(struct dial *d, const char *path)
{
	d->n = d->at = 0;
	uv_pipe_init(d->loop, &d->sock.pipe, 0);
	d->open = d->connecting = true;
	d->began = now_ms();
	uv_pipe_connect(&d->connect, &d->sock.pipe, path, on_connect);
}

void dial_tick(struct dial *d, uint64_t now, uint64_t ms)
{
	if (d->connecting && d->at < d->n && now - d->began > ms)
		close_try(d);
}

bool dial_cancel(struct dial *d)
{
	if (!d->open || d->cancelled)
		return false;
	d->cancelled = true;
	close_try(d);
	return true;
}
