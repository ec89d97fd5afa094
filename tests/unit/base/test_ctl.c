/* The control channel: whole messages over any cuts, descriptors with their own frame, liars cut
 * off. */
#include "ctl.h"
#include "json.h"
#include "sock.h"
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cmocka.h>

struct pair {
	struct ctl *a;
	int raw; /* the other end, without a ctl */
};

static int connect_pair(void **state)
{
	struct pair *p = xcalloc(1, sizeof(*p));
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	p->a = ctl_new(sv[0]);
	p->raw = sv[1];
	*state = p;
	return 0;
}

static int close_pair(void **state)
{
	struct pair *p = *state;

	ctl_free(p->a);
	if (p->raw >= 0)
		close(p->raw);
	free(p);
	return 0;
}

struct seen {
	int count, fd;
	char text[8][64];
};

static void on_message(void *data, cJSON *msg, int fd)
{
	struct seen *s = data;

	snprintf(s->text[s->count % 8], sizeof(s->text[0]), "%s", json_str(msg, "t", "?"));
	s->count++;
	if (fd >= 0) {
		if (s->fd > 0)
			close(s->fd);
		s->fd = fd;
	}
}

/* A frame as bytes on the wire. */
static size_t frame(uint8_t *out, const char *text)
{
	size_t n = strlen(text);

	for (int i = 0; i < 4; i++)
		out[i] = (uint8_t)(n >> (8 * i));
	memcpy(out + 4, text, n);
	return n + 4;
}

static void any_cut_gives_whole_messages(void **state)
{
	struct pair *p = *state;
	struct seen s = {0};
	uint8_t wire[256];
	size_t n = frame(wire, "{\"t\":\"one\"}");

	n += frame(wire + n, "{\"t\":\"two\"}");
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(write(p->raw, wire + i, 1), 1);
		assert_int_equal(ctl_readable(p->a, on_message, &s), 0);
	}
	assert_int_equal(s.count, 2);
	assert_int_equal(write(p->raw, wire, n), n);
	assert_int_equal(ctl_readable(p->a, on_message, &s), 0);
	assert_int_equal(s.count, 4);
	assert_string_equal(s.text[0], "one");
	assert_string_equal(s.text[3], "two");
	close(steal_fd(&p->raw));
	assert_int_equal(ctl_readable(p->a, on_message, &s), -EPIPE);
}

static void nonsense_ends_the_connection(void **state)
{
	static const char *const wrong[] = {
		"[1]", "\"text\"", "12", "{\"t\":", "", "{}x{", "\xff\xfe"};
	struct seen s = {0};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct pair *p;
		void *mine;
		uint8_t wire[64];
		size_t n = frame(wire, wrong[i]);

		connect_pair(&mine);
		p = mine;
		assert_int_equal(write(p->raw, wire, n), n);
		/* "{}x{" parses as far as it goes in cJSON; it must still not be followed by
		 * another */
		if (streq(wrong[i], "{}x{"))
			assert_true(ctl_readable(p->a, on_message, &s) <= 0);
		else
			assert_int_equal(ctl_readable(p->a, on_message, &s), -EPROTO);
		close_pair(&mine);
	}
}

static void too_long_a_frame_is_refused_by_its_length(void **state)
{
	struct pair *p = *state;
	struct seen s = {0};
	static const uint8_t head[4] = {1, 0, 0x40, 0}; /* CTL_FRAME_MAX + 1 */

	assert_int_equal(write(p->raw, head, 4), 4);
	assert_int_equal(ctl_readable(p->a, on_message, &s), -EPROTO);
	assert_int_equal(s.count, 0);
}

static void a_descriptor_comes_with_its_frame(void **state)
{
	struct pair *p = *state;
	struct ctl *b = ctl_new(steal_fd(&p->raw));
	AUTOFD int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
	cJSON *plain = cJSON_Parse("{\"t\":\"plain\"}"), *with = cJSON_Parse("{\"t\":\"with\"}");
	struct err err;
	struct stat want, have;
	cJSON *msg;
	int fd = -1;

	assert_int_equal(ctl_send(b, plain, -1), 0);
	assert_int_equal(ctl_send(b, with, file), 0);
	assert_int_equal(ctl_send(b, plain, -1), 0);
	for (int i = 0; i < 3; i++) {
		int got;

		msg = ctl_receive(p->a, 1000, &got, &err);
		assert_non_null(msg);
		assert_string_equal(json_str(msg, "t", ""), i == 1 ? "with" : "plain");
		assert_int_equal(got >= 0, i == 1);
		if (got >= 0)
			fd = got;
		cJSON_Delete(msg);
	}
	assert_int_equal(fstat(file, &want), 0);
	assert_int_equal(fstat(fd, &have), 0);
	assert_true(want.st_rdev == have.st_rdev);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
	assert_null(ctl_receive(p->a, 20, NULL, &err));
	assert_int_equal(err.code, -ETIMEDOUT);
	cJSON_Delete(plain);
	cJSON_Delete(with);
	ctl_free(b);
	assert_null(ctl_receive(p->a, 1000, NULL, &err));
	assert_true(err.code == -EPIPE || err.code == -EPROTO);
}

static void a_full_queue_is_said(void **state)
{
	struct pair *p = *state;
	cJSON *big = cJSON_CreateObject();
	AUTOFREE char *text = xmalloc(1 << 20);
	int r = 0, sent = 0;

	memset(text, 'x', (1 << 20) - 1);
	text[(1 << 20) - 1] = 0;
	cJSON_AddStringToObject(big, "t", text);
	for (; r == 0 && sent < 100; sent++)
		r = ctl_send(p->a, big, -1);
	assert_int_equal(r, -ENOBUFS);
	assert_in_range(sent, 15, 18);
	assert_true(ctl_wants_write(p->a));
	cJSON_Delete(big);
}

static void large_messages_pass(void **state)
{
	struct pair *p = *state;
	struct ctl *b = ctl_new(steal_fd(&p->raw));
	AUTOFREE char *text = xmalloc(3 << 20);
	cJSON *big = cJSON_CreateObject(), *msg = NULL;
	struct err err;

	memset(text, 'y', (3 << 20) - 1);
	text[(3 << 20) - 1] = 0;
	cJSON_AddStringToObject(big, "t", text);
	assert_int_equal(ctl_send(p->a, big, -1), 0);
	while (!msg) {
		assert_int_equal(ctl_flush(p->a), 0);
		msg = ctl_receive(b, 1, NULL, &err);
		assert_true(msg || err.code == -ETIMEDOUT);
	}
	assert_string_equal(json_str(msg, "t", ""), text);
	cJSON_Delete(msg);
	cJSON_Delete(big);
	ctl_free(b);
}

static void long_socket_paths(void **state)
{
	char dir[300] = "/tmp/berth-unit.XXXXXX", path[400];
	struct err err;
	struct stat st;
	int listening, fd;

	assert_non_null(mkdtemp(dir));
	for (int i = 0; i < 4; i++) {
		strcat(dir, "/a-folder-with-quite-a-long-name-in-it");
		assert_int_equal(mkdir(dir, 0700), 0);
	}
	snprintf(path, sizeof(path), "%s/the.sock", dir);
	assert_true(strlen(path) > 108);
	listening = sock_listen_unix(path, 0600, &err);
	assert_true(listening >= 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	fd = sock_connect_unix(path, &err);
	assert_true(fd >= 0);
	close(fd);
	close(listening);
	/* nobody listens: refused; a new listener takes the stale name over */
	assert_int_equal(sock_connect_unix(path, &err), -ECONNREFUSED);
	listening = sock_listen_unix(path, 0600, &err);
	assert_true(listening >= 0);
	close(listening);
	dir[strlen("/tmp/berth-unit.XXXXXX")] = 0;
	assert_int_equal(remove_tree(dir, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			any_cut_gives_whole_messages, connect_pair, close_pair),
		cmocka_unit_test(nonsense_ends_the_connection),
		cmocka_unit_test_setup_teardown(
			too_long_a_frame_is_refused_by_its_length, connect_pair, close_pair),
		cmocka_unit_test_setup_teardown(
			a_descriptor_comes_with_its_frame, connect_pair, close_pair),
		cmocka_unit_test_setup_teardown(a_full_queue_is_said, connect_pair, close_pair),
		cmocka_unit_test_setup_teardown(large_messages_pass, connect_pair, close_pair),
		cmocka_unit_test(long_socket_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
