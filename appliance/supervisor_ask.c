/* Blocking questions to berthd and the gateway, asked from short-lived children. */
#include "supervisor_ask.h"
#include "control_ask.h"
#include "paths.h"
#include "sock.h"
#include "util.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define PAUSE_MS 50
#define ANSWER_MS 5000

static int ask_daemon(const char *state, const char *op, int timeout_ms, struct err *err)
{
	cJSON *ok = control_ask(state, op, timeout_ms, NULL, NULL, err);
	int r = ok ? 0 : err->code;

	cJSON_Delete(ok);
	return r;
}

static int ask_gateway(const char *state, struct err *err)
{
	static const char request[] =
		"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
	AUTOFREE char *path = path_in(state, "run/api/api.sock");
	AUTOFD int fd = sock_connect_unix(path, err);
	struct timeval wait = {.tv_sec = ANSWER_MS / 1000};
	char answer[64] = "";
	int status = 0;

	if (fd < 0)
		return fd;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	if (write_all(fd, request, strlen(request)) < 0 ||
		recv(fd, answer, sizeof(answer) - 1, 0) <= 0)
		return err_set(err, EIO, "the gateway does not answer");
	if (sscanf(answer, "HTTP/1.1 %d", &status) != 1 || status != 200)
		return err_set(err, EIO, "the gateway answers %d on /healthz", status);
	return 0;
}

int ask_until_up(const char *state, int timeout_ms, struct err *err)
{
	uint64_t deadline = now_ms() + (uint64_t)timeout_ms;
	int r;

	for (;;) {
		struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000};

		r = ask_daemon(state, "status", ANSWER_MS, err);
		if (r == 0)
			r = ask_gateway(state, err);
		if (r == 0 || now_ms() >= deadline)
			return r;
		nanosleep(&pause, NULL);
	}
}

int ask_shutdown(const char *state, int timeout_ms, struct err *err)
{
	return ask_daemon(state, "shutdown", timeout_ms, err);
}
