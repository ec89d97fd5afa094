/* The two listeners of the guest: its channel, and the way to Chromium. */
#include "server.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

#include "conn.h"
#include "control.h"
#include "exec.h"
#include "relay.h"
#include "util.h"

#define BACKLOG 64

static uv_tcp_t channel, cdp;
static const struct server_options *opt;
static unsigned n_conns;

static enum guest_status on_hello(void *data, struct conn *c, uint8_t kind)
{
	switch (kind) {
	case GUEST_CONTROL:
		control_new(c);
		return GUEST_OK;
	case GUEST_EXEC:
		/* Until CONFIG the clock and the random generator may be those of another life. */
		if (!control_configured() || exec_count() >= EXEC_MAX)
			return GUEST_BUSY;
		exec_new(channel.loop, c);
		return GUEST_OK;
	default:
		return GUEST_BAD_KIND;
	}
}

static void on_conn_freed(void *data)
{
	n_conns--;
}

static void on_channel(uv_stream_t *listener, int status)
{
	struct conn *c;
	char peer[16];

	if (status < 0)
		return;
	if (n_conns >= SERVER_CONNS_MAX) {
		relay_refuse(listener);
		return;
	}
	c = conn_accept(listener, on_hello, on_conn_freed, NULL);
	if (!c)
		return;
	n_conns++;
	conn_peer(c, peer);
	if (!streq(peer, opt->peer))
		conn_close(c);
}

static bool peer_allowed(int fd)
{
	struct sockaddr_in in;
	socklen_t n = sizeof(in);
	char text[INET_ADDRSTRLEN] = "";

	if (getpeername(fd, (struct sockaddr *)&in, &n) < 0 || in.sin_family != AF_INET)
		return false;
	return inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text)) && streq(text, opt->peer);
}

static void on_cdp(uv_stream_t *listener, int status)
{
	if (status < 0)
		return;
	if (relay_count() >= RELAY_MAX)
		relay_refuse(listener);
	else
		relay_accept(listener, opt->browser_port, peer_allowed);
}

static int listen_on(
	uv_loop_t *loop, uv_tcp_t *tcp, uint16_t port, uv_connection_cb cb, struct err *err)
{
	struct sockaddr_in at;
	uv_os_fd_t fd;
	int r;

	r = uv_tcp_init_ex(loop, tcp, AF_INET);
	if (r == 0)
		r = uv_ip4_addr(opt->address, port, &at);
	if (r == 0)
		r = uv_fileno((uv_handle_t *)tcp, &fd);
	if (r == 0 && opt->device &&
		setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, opt->device,
			(socklen_t)strlen(opt->device)) < 0)
		return err_sys(err, "cannot bind to %s", opt->device);
	if (r == 0)
		r = uv_tcp_bind(tcp, (struct sockaddr *)&at, 0);
	if (r == 0)
		r = uv_listen((uv_stream_t *)tcp, BACKLOG, cb);
	if (r < 0)
		return err_set(
			err, r, "cannot listen on %s:%u: %s", opt->address, port, uv_strerror(r));
	return 0;
}

int server_start(uv_loop_t *loop, const struct server_options *options, struct err *err)
{
	opt = options;
	if (listen_on(loop, &channel, opt->port, on_channel, err) < 0)
		return err->code;
	return listen_on(loop, &cdp, opt->cdp_port, on_cdp, err);
}
