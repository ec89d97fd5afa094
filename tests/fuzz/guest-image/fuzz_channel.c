/*
 * The guest channel's server fed with a connection's bytes over loopback: input byte 0 says how
 * many pieces the rest is sent in. No user exists for it (an empty passwd), so no command and no
 * browser is ever started.
 */
#include "browser.h"
#include "child.h"
#include "control.h"
#include "exec.h"
#include "log.h"
#include "server.h"
#include "util.h"

#include <arpa/inet.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uv_loop_t loop;
static struct server_options options = {
	.address = "127.0.0.1", .peer = "127.0.0.1", .browser_port = 9};

static void on_browser(void *data)
{
	control_browser();
}

static void on_shutdown(void *data)
{
}

static uint16_t free_port(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(in);
	AUTOFD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&in, n) < 0 ||
		getsockname(fd, (struct sockaddr *)&in, &n) < 0)
		abort();
	return ntohs(in.sin_port);
}

static void start(void)
{
	static char etc[] = "/tmp/berth-fuzz-XXXXXX";
	struct browser_options browser = {.etc = etc, .port = 9, .changed = on_browser};
	struct control_options control = {.kernel_ms = 1, .shutdown = on_shutdown};
	struct err err;

	signal(SIGPIPE, SIG_IGN);
	setenv("BERTH_LOG", "error", 1);
	log_init("fuzz", LOG_ERROR);
	if (!mkdtemp(etc) || uv_loop_init(&loop) < 0)
		abort();
	(void)rmdir(etc);
	options.port = free_port();
	options.cdp_port = free_port();
	exec_init(etc, -1);
	browser_init(&loop, &browser);
	control_init(&control);
	if (server_start(&loop, &options, &err) < 0)
		abort();
}

static void turn(void)
{
	for (int i = 0; i < 3; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct linger reset = {.l_onoff = 1};
	size_t piece, at = 1;
	AUTOFD int fd = -1;

	if (!options.port)
		start();
	if (size < 2)
		return -1;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	in.sin_port = htons(options.port);
	(void)!connect(fd, (struct sockaddr *)&in, sizeof(in));
	turn();
	piece = (size - 1) / (1u + data[0] % 8) + 1;
	for (; at < size; at += piece) {
		(void)!send(fd, data + at, MIN(piece, size - at), MSG_NOSIGNAL);
		turn();
	}
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(steal_fd(&fd));
	turn();
	return 0;
}
