/* The cache over a name server in this process: what is asked once, what again, and how much is
 * kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "lookup.h"
#include "util.h"

/* Answers A records of 203.0.113.7 with the TTL that the name begins with; `no` does not exist;
 * `mute` is ignored. */
struct server {
	uv_udp_t udp;
	unsigned asked;
	uint8_t room[600];
};

static uv_loop_t loop;
static struct server server;
static struct upstream *upstream;
static struct pin_networks nothing;
static const struct ruleset no_rules;
static unsigned downs, ups;
static struct lookup *lookups[4]; /* nothing ends one but the end of its program */
static size_t n_lookups;

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *ret)
{
	*ret = uv_buf_init((char *)server.room, sizeof(server.room));
}

static void on_question(
	uv_udp_t *udp, ssize_t n, const uv_buf_t *in, const struct sockaddr *from, unsigned flags)
{
	static const uint8_t record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 203, 0, 113, 7};
	uint8_t out[700], *p = out;
	const char *label = (const char *)server.room + 13;
	size_t question;
	uv_buf_t answer;

	if (n < 17 || !from || strncmp(label, "mute", 4) == 0)
		return;
	server.asked++;
	question = strlen((char *)server.room + 12) + 1 + 4;
	memcpy(p, server.room, 2);
	memcpy(p + 2, "\x81\x80\0\1\0\1\0\0\0\0", 10);
	memcpy(p + 12, server.room + 12, question);
	p += 12 + question;
	memcpy(p, record, sizeof(record));
	p[9] = (uint8_t)atoi(label);
	if (strncmp(label, "no", 2) == 0) {
		out[3] = 0x83;
		out[7] = 0;
		p -= sizeof(record);
	}
	answer = uv_buf_init((char *)out, (unsigned)((size_t)(p - out) + sizeof(record)));
	uv_udp_try_send(udp, &answer, 1, from);
}

static void on_health(void *data, bool up, const char *detail)
{
	*(up ? &ups : &downs) += 1;
}

static int set_up(void **state)
{
	struct sockaddr_storage at = {0};
	int n = sizeof(at);

	uv_loop_init(&loop);
	uv_udp_init(&loop, &server.udp);
	uv_ip4_addr("127.0.0.1", 0, (struct sockaddr_in *)&at);
	uv_udp_bind(&server.udp, (struct sockaddr *)&at, 0);
	uv_udp_recv_start(&server.udp, on_alloc, on_question);
	uv_udp_getsockname(&server.udp, (struct sockaddr *)&at, &n);
	upstream = upstream_new(&loop, on_health, NULL);
	upstream_use(upstream, &at, 1);
	return 0;
}

struct wait {
	struct lookup_wait wait;
	struct lookup_result result;
	bool done;
};

static void on_done(struct lookup_wait *w, const struct lookup_result *r)
{
	struct wait *one = CONTAINER_OF(w, struct wait, wait);

	one->result = *r;
	one->done = true;
}

static struct lookup *new_lookup(void)
{
	assert_in_range(n_lookups, 0, ARRAY_SIZE(lookups) - 1);
	return lookups[n_lookups++] = lookup_new(upstream, &nothing, &no_rules);
}

static struct lookup_result look_up(struct lookup *l, const char *name)
{
	struct wait one = {.wait = {.done = on_done}};

	lookup_start(l, name, &one.wait);
	while (!one.done)
		uv_run(&loop, UV_RUN_ONCE);
	return one.result;
}

static void ttls(void **state)
{
	struct lookup *l = new_lookup();

	server.asked = 0;
	for (int i = 0; i < 3; i++) {
		struct lookup_result r = look_up(l, "200.test");

		assert_int_equal(r.rcode, DNS_NOERROR);
		assert_int_equal(r.n, 1);
		assert_int_equal(r.addrs[0], inet_addr("203.0.113.7"));
		assert_in_range(r.ttl, 190, 200);
	}
	assert_int_equal(server.asked, 1);
	for (int i = 0; i < 3; i++)
		assert_int_equal(look_up(l, "0.test").n, 1);
	assert_int_equal(server.asked, 4);
	for (int i = 0; i < 3; i++) {
		struct lookup_result r = look_up(l, "no.test");

		assert_int_equal(r.rcode, DNS_NXDOMAIN);
		assert_in_range(r.ttl, 5, 60);
	}
	assert_int_equal(server.asked, 5);
}

static void many_waiters_one_question(void **state)
{
	struct lookup *l = new_lookup();
	struct wait waits[20] = {0};

	server.asked = 0;
	for (size_t i = 0; i < ARRAY_SIZE(waits); i++) {
		waits[i].wait.done = on_done;
		lookup_start(l, "100.shared.test", &waits[i].wait);
	}
	lookup_cancel(&waits[7].wait);
	while (!waits[0].done)
		uv_run(&loop, UV_RUN_ONCE);
	for (size_t i = 0; i < ARRAY_SIZE(waits); i++)
		assert_int_equal(waits[i].done, i != 7);
	assert_int_equal(server.asked, 1);
}

/* Twice as many names as are kept: the first ones are asked again, the last ones are there. */
static void bounded(void **state)
{
	struct lookup *l = new_lookup();
	char name[32];
	unsigned again = 0;

	for (int i = 0; i < 2 * LOOKUP_CACHE_MAX; i++) {
		snprintf(name, sizeof(name), "200.n%d.test", i);
		assert_int_equal(look_up(l, name).n, 1);
	}
	server.asked = 0;
	for (int i = 0; i < 2 * LOOKUP_CACHE_MAX; i++) {
		snprintf(name, sizeof(name), "200.n%d.test", i);
		again = server.asked;
		look_up(l, name);
	}
	assert_in_range(again, LOOKUP_CACHE_MAX - 1, 2 * LOOKUP_CACHE_MAX);
}

/* A name nobody answers for is not the end of the others; when nothing is heard at all, health is
 * told. */
static void silence(void **state)
{
	struct lookup *l = new_lookup();
	struct wait one = {.wait = {.done = on_done}};

	downs = ups = 0;
	lookup_start(l, "mute.test", &one.wait);
	while (!one.done)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(one.result.rcode, DNS_SERVFAIL);
	assert_int_equal(downs, 1);
	assert_int_equal(ups, 0);
	assert_int_equal(look_up(l, "9.test").n, 1);
	assert_int_equal(downs, 1);
	assert_int_equal(ups, 1);
	one.done = false;
	lookup_start(l, "mute2.test", &one.wait);
	assert_int_equal(look_up(l, "0.test").n, 1);
	while (!one.done)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(one.result.rcode, DNS_SERVFAIL);
	assert_int_equal(downs, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ttls),
		cmocka_unit_test(many_waiters_one_question),
		cmocka_unit_test(bounded),
		cmocka_unit_test(silence),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
