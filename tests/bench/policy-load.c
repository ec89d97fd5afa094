/* Both ends of the policy's benchmark: a server of bytes and of DNS answers, and a client that
 * measures. */
#include "util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

/*
 *   policy-load serve                         TCP 443: bytes without end; 444: one byte. UDP 53:
 * nN.… is 203.0.113.N policy-load bulk ADDR HELLO MIB           MiB/s after the file HELLO was sent
 *   policy-load setup ADDR HELLO COUNT        median us of connect, HELLO, one byte back
 *   policy-load dns ADDR NAME COUNT           median us of a question; fails where the answer's
 * code varies policy-load reset ADDR HELLO              says "open", then waits for the end of a
 * connection and says when (ns)
 */
#define ONCE (1u << 20)

static char bytes[ONCE], hello[4096];
static size_t hello_len;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct sockaddr_in address(const char *text, uint16_t port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};

	if (inet_pton(AF_INET, text, &sa.sin_addr) != 1)
		die("not an address: %s", text);
	return sa;
}

static void *serve_one(void *arg)
{
	int fd = (int)(intptr_t)arg;
	struct sockaddr_in here;
	socklen_t len = sizeof(here);
	static char ignored[4096];

	getsockname(fd, (struct sockaddr *)&here, &len);
	if (recv(fd, ignored, sizeof(ignored), 0) > 0) {
		if (ntohs(here.sin_port) == 444)
			send(fd, "x", 1, MSG_NOSIGNAL);
		else
			while (send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL) > 0)
				;
	}
	close(fd);
	return NULL;
}

static void *serve_port(void *arg)
{
	struct sockaddr_in sa = address("0.0.0.0", (uint16_t)(uintptr_t)arg);
	int on = 1, fd, listener = socket(AF_INET, SOCK_STREAM, 0);
	pthread_t thread;

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(listener, 256) < 0)
		die("cannot listen");
	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		if (pthread_create(&thread, NULL, serve_one, (void *)(intptr_t)fd) == 0)
			pthread_detach(thread);
	}
	return NULL;
}

/* Answers every question with one A record, RFC 1035, 4.1. */
static void serve_dns(const char *resolver)
{
	static const uint8_t record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 14, 16, 0, 4, 203, 0, 113};
	struct sockaddr_in sa = address(resolver, 53), peer;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	socklen_t len = sizeof(peer);
	uint8_t p[1024];
	ssize_t n;

	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		die("cannot serve DNS");
	while ((n = recvfrom(fd, p, 512, 0, (struct sockaddr *)&peer, &len)) > 0) {
		size_t at = 12;

		while (at < (size_t)n && p[at])
			at += p[at] + 1u;
		at += 5;
		p[2] = 0x81;
		p[3] = 0x80;
		p[7] = 1;
		p[11] = 0;
		memcpy(p + at, record, sizeof(record));
		p[at + sizeof(record)] = (uint8_t)atoi((char *)p + 14);
		sendto(fd, p, at + sizeof(record) + 1, 0, (struct sockaddr *)&peer, len);
		len = sizeof(peer);
	}
}

static int serve(const char *resolver)
{
	pthread_t threads[2];

	pthread_create(&threads[0], NULL, serve_port, (void *)443);
	pthread_create(&threads[1], NULL, serve_port, (void *)444);
	serve_dns(resolver);
	return 1;
}

static int connect_and_greet(const char *addr, uint16_t port)
{
	struct sockaddr_in sa = address(addr, port);
	int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		die("cannot connect to %s: %s", addr, strerror(errno));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (send(fd, hello, hello_len, MSG_NOSIGNAL) != (ssize_t)hello_len)
		die("cannot send");
	return fd;
}

static int bulk(const char *addr, size_t mib)
{
	int fd = connect_and_greet(addr, 443);
	size_t left = mib << 20;
	uint64_t began = 0;

	while (left > 0) {
		ssize_t n = recv(fd, bytes, MIN(left, sizeof(bytes)), MSG_TRUNC);

		if (n <= 0)
			die("the stream has ended");
		began = began ? began : now_ns();
		left -= (size_t)n;
	}
	printf("%.1f\n", (double)mib * 1e9 / (double)(now_ns() - began));
	return 0;
}

static int by_size(const void *a, const void *b)
{
	return (*(const uint64_t *)a > *(const uint64_t *)b) -
	       (*(const uint64_t *)a < *(const uint64_t *)b);
}

static int print_median(uint64_t *ns, size_t n)
{
	qsort(ns, n, sizeof(*ns), by_size);
	printf("%.1f\n", (double)ns[n / 2] / 1000);
	return 0;
}

static int setup(const char *addr, size_t count)
{
	uint64_t *ns = xcalloc(count, sizeof(*ns));

	for (size_t i = 0; i < count; i++) {
		uint64_t began = now_ns();
		int fd = connect_and_greet(addr, 444);

		if (recv(fd, bytes, 1, 0) != 1)
			die("no answer");
		ns[i] = now_ns() - began;
		close(fd);
	}
	return print_median(ns, count);
}

static size_t write_question(uint8_t *p, const char *name)
{
	static const uint8_t header[12] = {0, 0, 1, 0, 0, 1};
	size_t at = 12;

	memcpy(p, header, sizeof(header));
	for (size_t n; *name; name += n + (name[n] == '.')) {
		n = strcspn(name, ".");
		p[at++] = (uint8_t)n;
		memcpy(p + at, name, n);
		at += n;
	}
	memcpy(p + at, "\0\0\1\0\1", 5);
	return at + 5;
}

static int dns(const char *addr, const char *name, size_t count)
{
	struct sockaddr_in sa = address(addr, 53);
	int fd = socket(AF_INET, SOCK_DGRAM, 0), rcode = -1;
	uint64_t *ns = xcalloc(count, sizeof(*ns));
	uint8_t question[300], answer[1024];
	size_t len = write_question(question, name);

	connect(fd, (struct sockaddr *)&sa, sizeof(sa));
	for (size_t i = 0; i < count; i++) {
		uint64_t began = now_ns();

		question[0] = (uint8_t)(i >> 8);
		question[1] = (uint8_t)i;
		if (send(fd, question, len, 0) < 0 || recv(fd, answer, sizeof(answer), 0) < 12)
			die("no answer");
		ns[i] = now_ns() - began;
		if ((answer[3] & 15) == 2 || (i > 0 && rcode != (answer[3] & 15)))
			die("it fails, or not always");
		rcode = answer[3] & 15;
	}
	return print_median(ns, count);
}

static int wait_for_reset(const char *addr)
{
	int fd = connect_and_greet(addr, 443);

	if (recv(fd, bytes, 1, 0) != 1)
		die("no answer");
	puts("open");
	fflush(stdout);
	while (recv(fd, bytes, sizeof(bytes), MSG_TRUNC) > 0)
		;
	printf("%llu\n", (unsigned long long)now_ns());
	return 0;
}

static void read_hello(const char *path)
{
	FILE *f = fopen(path, "r");

	hello_len = f ? fread(hello, 1, sizeof(hello), f) : 0;
	if (hello_len == 0)
		die("no ClientHello in %s", path);
	fclose(f);
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc == 3 && streq(argv[1], "serve"))
		return serve(argv[2]);
	if (argc == 5 && streq(argv[1], "dns"))
		return dns(argv[2], argv[3], (size_t)atoi(argv[4]));
	if (argc < 4)
		die("usage: see the source");
	read_hello(argv[3]);
	if (streq(argv[1], "reset"))
		return wait_for_reset(argv[2]);
	if (argc == 5 && streq(argv[1], "bulk"))
		return bulk(argv[2], (size_t)atoi(argv[4]));
	if (argc == 5 && streq(argv[1], "setup"))
		return setup(argv[2], (size_t)atoi(argv[4]));
	die("usage: see the source");
}
