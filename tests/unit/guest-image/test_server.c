/* The guest's server on loopback, in a process of its own, and a client that is sometimes rude. */
#include "browser.h"
#include "child.h"
#include "control.h"
#include "exec.h"
#include "server.h"
#include "util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/berth-server-XXXXXX";
static pid_t server;
static struct server_options options = {.address = "127.0.0.1", .peer = "127.0.0.1"};
static int upstream = -1; /* listens where Chromium would */

static void on_browser(void *data)
{
	control_browser();
}

static void on_shutdown(void *data)
{
	_exit(42);
}

__attribute__((noreturn)) static void serve(void)
{
	/* Ends at once: enough to see it restarted, and given up. */
	static const char *const command[] = {"/bin/sh", "-c", "echo a line >&2; exit 9", NULL};
	struct browser_options browser = {.etc = folder,
		.command = command,
		.port = options.browser_port,
		.changed = on_browser};
	struct control_options control = {
		.kernel_ms = 11, .init_ms = 22, .fresh = 1, .shutdown = on_shutdown};
	struct err err;
	uv_loop_t loop;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	uv_loop_init(&loop);
	if (child_reaper_init(&loop, &err) < 0)
		die("%s", err.msg);
	exec_init(folder, -1);
	browser_init(&loop, &browser);
	control_init(&control);
	if (server_start(&loop, &options, &err) < 0)
		die("%s", err.msg);
	for (;;)
		uv_run(&loop, UV_RUN_DEFAULT);
}

/* A listener on a port of the kernel's choice. */
static int listener(uint16_t *ret_port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&in, n) == 0 && listen(fd, 16) == 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &n), 0);
	*ret_port = ntohs(in.sin_port);
	return fd;
}

static int connect_to(uint16_t port)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval patience = {.tv_sec = 20};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	for (int i = 0; i < 3000; i++) {
		if (connect(fd, (struct sockaddr *)&in, sizeof(in)) == 0)
			return fd;
		usleep(20000);
	}
	fail_msg("nobody listens on %u", port);
	return -1;
}

static void get(int fd, void *p, size_t n)
{
	for (size_t at = 0; at < n;) {
		ssize_t r = recv(fd, (char *)p + at, n - at, 0);

		if (r <= 0)
			fail_msg("the connection ended: %s", r < 0 ? strerror(errno) : "closed");
		at += (size_t)r;
	}
}

static bool is_closed(int fd)
{
	char c[4096];
	ssize_t r;

	while ((r = recv(fd, c, sizeof(c), 0)) > 0)
		;
	return r == 0 || errno == ECONNRESET;
}

static void put(int fd, const void *p, size_t n)
{
	assert_int_equal(write_all(fd, p, n), 0);
}

static int greet(uint8_t kind, uint8_t want)
{
	uint8_t hello[GUEST_HELLO_LEN], version, status;
	int fd = connect_to(options.port);

	guest_put_hello(hello, kind);
	put(fd, hello, sizeof(hello));
	get(fd, hello, sizeof(hello));
	assert_true(guest_get_hello(hello, &version, &status));
	assert_int_equal(status, want);
	return fd;
}

static void send_frame(int fd, enum guest_type type, const void *p, size_t n)
{
	uint8_t head[GUEST_HEADER_LEN];

	guest_put_header(head, type, (uint32_t)n);
	put(fd, head, sizeof(head));
	put(fd, p, n);
}

/* The next frame; its payload in a static buffer. */
static uint8_t *get_frame(int fd, uint8_t *ret_type, uint32_t *ret_len)
{
	static uint8_t payload[GUEST_FRAME_MAX];
	uint8_t head[GUEST_HEADER_LEN];

	get(fd, head, sizeof(head));
	assert_true(guest_get_header(head, ret_type, ret_len));
	get(fd, payload, *ret_len);
	return payload;
}

static uint8_t *wait_frame(int fd, uint8_t want, uint32_t *ret_len)
{
	uint8_t type, *p;

	do {
		p = get_frame(fd, &type, ret_len);
	} while (type != want);
	return p;
}

static int configure(uint32_t flags)
{
	struct guest_config config = {.hostname = "unit", .flags = flags};
	struct guest_ready ready;
	struct buf b;
	uint32_t n;
	uint8_t *p, type;
	int fd = greet(GUEST_CONTROL, GUEST_OK);

	buf_init(&b, 1024);
	guest_put_config(&b, &config);
	send_frame(fd, GUEST_CONFIG, b.data, b.len);
	buf_done(&b);
	p = get_frame(fd, &type, &n);
	assert_int_equal(type, GUEST_READY);
	assert_true(guest_get_ready(p, n, &ready));
	assert_int_equal(ready.kernel_ms, 11);
	assert_int_equal(ready.fresh, 1);
	return fd;
}

static int exec_start(uint32_t flags, const char *script)
{
	struct guest_exec x = {.flags = flags,
		.rows = 5,
		.columns = 6,
		.argc = 3,
		.user = "",
		.cwd = "/",
		.argv = {"/bin/sh", "-c", script}};
	struct buf b;
	int fd = greet(GUEST_EXEC, GUEST_OK);

	buf_init(&b, GUEST_FRAME_MAX);
	assert_true(guest_put_exec(&b, &x));
	send_frame(fd, GUEST_EXEC_START, b.data, b.len);
	buf_done(&b);
	return fd;
}

/* Reads to the end of a command. out: its output, as text. Exit status, or 1000 + signal. */
static unsigned exec_end(int fd, char *out, size_t room)
{
	uint8_t type, *p;
	size_t len = 0;
	uint32_t n;

	for (;;) {
		p = get_frame(fd, &type, &n);
		if (type == GUEST_EXIT)
			break;
		assert_true(type == GUEST_STARTED || type == GUEST_STDOUT || type == GUEST_STDERR);
		if (type != GUEST_STARTED && len + n < room) {
			memcpy(out + len, p, n);
			len += n;
		}
	}
	out[len] = 0;
	close(fd);
	return p[4] ? 1000u + p[4] : p[0];
}

static void busy_before_config(void **state)
{
	int fd = greet(GUEST_EXEC, GUEST_BUSY);

	assert_true(is_closed(fd));
	close(fd);
}

static void commands(void **state)
{
	char out[256];
	int control = configure(0), fd;

	fd = exec_start(0, "read x; echo got $x; echo e >&2; pwd; exit 3");
	send_frame(fd, GUEST_STDIN, "in", 2);
	send_frame(fd, GUEST_STDIN, "put\n", 4);
	send_frame(fd, GUEST_STDIN, "", 0);
	assert_int_equal(exec_end(fd, out, sizeof(out)), 3);
	assert_non_null(strstr(out, "got input\n"));
	assert_non_null(strstr(out, "e\n"));
	fd = exec_start(0, "kill -USR1 $$");
	assert_int_equal(exec_end(fd, out, sizeof(out)), 1000 + SIGUSR1);
	fd = exec_start(GUEST_EXEC_TTY, "stty size; tty");
	assert_int_equal(exec_end(fd, out, sizeof(out)), 0);
	assert_true(starts_with(out, "5 6\r\n/dev/pts/"));
	close(control);
}

static void unknown_user(void **state)
{
	struct guest_exec x = {.argc = 1, .user = "nobody-here", .cwd = "", .argv = {"true"}};
	int control = configure(0), fd = greet(GUEST_EXEC, GUEST_OK);
	struct buf b;
	uint32_t n;
	uint8_t *p;

	buf_init(&b, GUEST_FRAME_MAX);
	guest_put_exec(&b, &x);
	send_frame(fd, GUEST_EXEC_START, b.data, b.len);
	buf_done(&b);
	p = wait_frame(fd, GUEST_FAILED, &n);
	assert_int_equal(p[0], ENOENT);
	assert_true(is_closed(fd));
	close(fd);
	close(control);
}

/* More output than all queues hold, read late: it all comes, in order. */
static void slow_reader(void **state)
{
	int control = configure(0),
	    fd = exec_start(0, "i=0; while [ $i -lt 60000 ]; do echo line$i; i=$((i+1)); done");
	size_t total = 0, want = 0;
	uint8_t type;
	uint32_t n;

	for (int i = 0; i < 60000; i++)
		want += (size_t)snprintf(NULL, 0, "line%d\n", i);
	usleep(1500000);
	do {
		get_frame(fd, &type, &n);
		total += type == GUEST_STDOUT ? n : 0;
	} while (type != GUEST_EXIT);
	assert_int_equal(total, want);
	close(fd);
	close(control);
}

/* A client that goes away in the middle takes the command along. */
static void gone_client(void **state)
{
	char out[64];
	int control = configure(0), fd = exec_start(0, "exec sleep 5353");
	uint32_t n;

	wait_frame(fd, GUEST_STARTED, &n);
	close(fd);
	usleep(500000);
	fd = exec_start(0, "ps -eo args | grep -c '^[s]leep 5353'");
	exec_end(fd, out, sizeof(out));
	assert_string_equal(out, "0\n");
	close(control);
}

static void rude_frames(void **state)
{
	static const struct {
		uint32_t len;
		uint8_t type, zero;
		const char *payload;
	} rows[] = {{GUEST_FRAME_MAX + 1, GUEST_STDIN, 0, ""}, {0, GUEST_STDIN, 7, ""},
		{0, 0, 0, ""}, {0, GUEST_STDIN, 0, ""}, {3, GUEST_EXEC_START, 0, "abc"},
		{0, GUEST_CONFIG, 0, ""}, {0, GUEST_EXIT, 0, ""}};
	int control = configure(0);

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint8_t head[GUEST_HEADER_LEN];
		int fd = greet(GUEST_EXEC, GUEST_OK);

		guest_put_header(head, (enum guest_type)rows[i].type, rows[i].len);
		head[6] = rows[i].zero;
		put(fd, head, sizeof(head));
		put(fd, rows[i].payload, strlen(rows[i].payload));
		assert_true(is_closed(fd));
		close(fd);
	}
	close(greet(9, GUEST_BAD_KIND));
	close(control);
}

static void control_is_replaced(void **state)
{
	struct guest_pong pong;
	int first = configure(0), second = configure(0);
	uint32_t n;
	uint8_t *p;

	assert_true(is_closed(first));
	send_frame(second, GUEST_PING, "\1\2\3\4\5\6\7\10", 8);
	p = wait_frame(second, GUEST_PONG, &n);
	assert_true(guest_get_pong(p, n, &pong));
	assert_true(pong.cookie == 0x0807060504030201);
	assert_true(pong.memory_available_kib > 0 && pong.disk_total_kib > 0);
	send_frame(second, GUEST_PING, "", 0);
	assert_true(is_closed(second));
	close(first);
	close(second);
}

static void relay(void **state)
{
	char text[64] = "";
	int fd = connect_to(options.cdp_port), peer = accept(upstream, NULL, NULL);

	assert_true(peer >= 0);
	put(fd, "ping", 4);
	get(peer, text, 4);
	assert_memory_equal(text, "ping", 4);
	put(peer, "pong", 4);
	get(fd, text, 4);
	assert_memory_equal(text, "pong", 4);
	shutdown(fd, SHUT_WR); /* a half-close is passed on, and the other way stays open */
	assert_int_equal(recv(peer, text, sizeof(text), 0), 0);
	put(peer, "late", 4);
	get(fd, text, 4);
	close(peer);
	assert_true(is_closed(fd));
	close(fd);
}

/* A side that does not read stops the other one; then everything comes. */
static void relay_slow(void **state)
{
	static char block[65536];
	int fd = connect_to(options.cdp_port), peer = accept(upstream, NULL, NULL);
	size_t sent = 0, got = 0;
	struct timeval patience = {.tv_sec = 1};
	ssize_t r;

	setsockopt(peer, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	while (sent < (256u << 20) && (r = send(peer, block, sizeof(block), MSG_NOSIGNAL)) > 0)
		sent += (size_t)r;
	assert_true(sent < (256u << 20));
	close(peer);
	while ((r = recv(fd, block, sizeof(block), 0)) > 0)
		got += (size_t)r;
	assert_int_equal(got, sent);
	close(fd);
}

static void stranger(void **state)
{
	struct sockaddr_in from = {.sin_family = AF_INET},
			   to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const uint16_t ports[] = {options.port, options.cdp_port};

	inet_pton(AF_INET, "127.0.0.2", &from.sin_addr);
	for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		to.sin_port = htons(ports[i]);
		assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
		assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
		assert_true(is_closed(fd));
		close(fd);
	}
}

/* Chromium that ends at once: restarted with growing pauses, then given up; its words go up. */
static void browser_gives_up(void **state)
{
	int control = configure(GUEST_CONFIG_BROWSER);
	struct guest_browser said = {0};
	bool line = false;
	uint8_t type, *p;
	uint32_t n;

	while (said.state != GUEST_BROWSER_GAVE_UP) {
		p = get_frame(control, &type, &n);
		if (type == GUEST_LOG && n == 7 && memcmp(p, "\1a line", 7) == 0)
			line = true;
		else if (type == GUEST_BROWSER)
			assert_true(guest_get_browser(p, n, &said));
	}
	assert_true(line);
	assert_int_equal(said.exit_status, 9);
	assert_int_equal(said.restarts, BROWSER_ENDS_MAX - 1);
	send_frame(control, GUEST_BROWSER_RESTART, "", 0);
	p = wait_frame(control, GUEST_BROWSER, &n);
	assert_true(guest_get_browser(p, n, &said));
	assert_int_equal(said.state, GUEST_BROWSER_STARTING);
	close(control);
}

static void shutdown_is_asked_for(void **state)
{
	int control = configure(0), status;

	send_frame(control, GUEST_SHUTDOWN, "", 0);
	assert_int_equal(waitpid(server, &status, 0), server);
	assert_int_equal(WEXITSTATUS(status), 42);
	server = 0;
	close(control);
}

static int start(void **state)
{
	AUTOFREE char *text = xasprintf("agent:x:%d:%d::/:/bin/sh\n", (int)getuid(), (int)getgid()),
		      *passwd = NULL;
	int a, b;

	if (!mkdtemp(folder))
		return -1;
	passwd = xasprintf("%s/passwd", folder);
	if (file_write_atomic(passwd, text, strlen(text), 0644, NULL) < 0)
		return -1;
	a = listener(&options.port);
	b = listener(&options.cdp_port);
	upstream = listener(&options.browser_port);
	close(a);
	close(b);
	fflush(NULL);
	server = fork();
	if (server == 0)
		serve();
	return server < 0 ? -1 : 0;
}

static int stop(void **state)
{
	if (server > 0) {
		kill(server, SIGKILL);
		waitpid(server, NULL, 0);
	}
	return remove_tree(folder, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(busy_before_config),
		cmocka_unit_test(commands), cmocka_unit_test(unknown_user),
		cmocka_unit_test(slow_reader), cmocka_unit_test(gone_client),
		cmocka_unit_test(rude_frames), cmocka_unit_test(control_is_replaced),
		cmocka_unit_test(relay), cmocka_unit_test(relay_slow), cmocka_unit_test(stranger),
		cmocka_unit_test(browser_gives_up), cmocka_unit_test(shutdown_is_asked_for)};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, start, stop);
}
