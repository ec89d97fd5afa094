/* What a hostile guest sends on its control channel, in pieces, over one or more connections. */
#include <sys/socket.h>

/* The link's own connection is a socket pair here; everything else is the real code. */
#define netns_socket fuzz_netns_socket
#define connect fuzz_connect
int fuzz_connect(int fd, const struct sockaddr *to, unsigned len);
#include "guest_link.c"
#undef connect

#include <stdlib.h>

static int guest = -1;
static bool ended;

int fuzz_netns_socket(const char *state, const char *id, int domain, int type, struct err *err)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	if (guest >= 0)
		close(guest);
	guest = pair[1];
	return pair[0];
}

int fuzz_connect(int fd, const struct sockaddr *to, unsigned len)
{
	return 0;
}

static void ready(void *data, const struct guest_ready *r)
{
	if (memchr(r->kernel, 0, sizeof(r->kernel)) == NULL)
		abort();
}

static void browser(void *data, const struct guest_browser *b)
{
	if (b->state > GUEST_BROWSER_GAVE_UP)
		abort();
}

static void pong(void *data, const struct guest_pong *p)
{
}

static void line(void *data, unsigned source, const char *text)
{
	if (strlen(text) > GUEST_LOG_MAX)
		abort();
	for (; *text; text++)
		if (*text < 32 || *text > 126)
			abort();
}

static void gone(void *data, enum guest_link_end how)
{
	ended = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct guest_link_callbacks cb = {ready, browser, pong, line, gone};
	const struct guest_config config = {.flags = GUEST_CONFIG_BROWSER};
	uint8_t hello[GUEST_HELLO_LEN];
	struct guest_link *l;
	uv_loop_t loop;

	uv_loop_init(&loop);
	l = guest_link_new(&loop, "/nonexistent", "ag_fuzz", &config, &cb, NULL);
	while (guest < 0)
		uv_run(&loop, UV_RUN_ONCE);
	guest_put_hello(hello, GUEST_OK);
	/* An even first byte: past the greeting already, where most of the code is. */
	if (size > 0 && !(data[0] & 1))
		(void)!write(guest, hello, sizeof(hello));
	for (size_t at = 1; at < size && l->fd >= 0;) {
		size_t n = MIN((size_t)data[at] + 1, size - at);

		(void)!send(guest, data + at, n, MSG_NOSIGNAL);
		at += n;
		for (int i = 0; i < 3; i++)
			uv_run(&loop, UV_RUN_NOWAIT);
	}
	guest_link_free(l);
	uv_run(&loop, UV_RUN_DEFAULT);
	uv_loop_close(&loop);
	close(guest);
	guest = -1;
	return 0;
}
