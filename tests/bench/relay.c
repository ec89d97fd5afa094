/* The least a program between two others can do: bytes copied as they come, one connection at a
 * time. What a gateway is measured against where three programs share two processors. */
#include "util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

/*
 *   relay PORT         to 127.0.0.1:PORT; prints "ready PORT" with its own
 */
#define ONCE (1u << 20)

/* One direction: what was read and is not written yet. */
struct way {
	int from, to;
	size_t len, at;
	uint8_t data[ONCE];
};

static struct way ways[2];

static int loopback(uint16_t port, struct sockaddr_in *sa)
{
	*sa = (struct sockaddr_in){.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr = {htonl(INADDR_LOOPBACK)}};
	return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/* False at the end of the stream. */
static bool move(struct way *w)
{
	ssize_t n;

	if (w->at == w->len) {
		n = recv(w->from, w->data, sizeof(w->data), MSG_DONTWAIT);
		if (n <= 0)
			return n < 0 && errno == EAGAIN;
		w->len = (size_t)n;
		w->at = 0;
	}
	n = send(w->to, w->data + w->at, w->len - w->at, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n > 0)
		w->at += (size_t)n;
	return n >= 0 || errno == EAGAIN;
}

static void carry(int a, int b)
{
	bool going = true;

	ways[0] = (struct way){.from = a, .to = b};
	ways[1] = (struct way){.from = b, .to = a};
	while (going) {
		struct pollfd p[2] = {{.fd = a}, {.fd = b}};

		for (size_t i = 0; i < 2; i++) {
			if (ways[i].at == ways[i].len)
				p[i].events |= POLLIN;
			else
				p[1 - i].events |= POLLOUT;
		}
		if (poll(p, 2, -1) < 0)
			die("poll");
		for (size_t i = 0; i < 2; i++) {
			if (p[ways[i].at == ways[i].len ? i : 1 - i].revents)
				going = going && move(&ways[i]);
		}
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in sa, target;
	socklen_t len = sizeof(sa);
	int one = 1, listener = loopback(0, &sa), a, b;

	signal(SIGPIPE, SIG_IGN);
	if (argc != 2 || bind(listener, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
		listen(listener, 16) < 0)
		die("usage: relay PORT");
	getsockname(listener, (struct sockaddr *)&sa, &len);
	printf("ready %u\n", ntohs(sa.sin_port));
	fflush(stdout);
	while ((a = accept(listener, NULL, NULL)) >= 0) {
		b = loopback((uint16_t)atoi(argv[1]), &target);
		setsockopt(a, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		setsockopt(b, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (connect(b, (struct sockaddr *)&target, sizeof(target)) == 0)
			carry(a, b);
		close(a);
		close(b);
	}
	return 0;
}
