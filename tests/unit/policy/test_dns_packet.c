/* DNS packets: questions of guests, answers of upstream servers, and what we write. */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dns_packet.h"
#include "util.h"

#define QUESTION(labels) "\x12\x34\1\0\0\1\0\0\0\0\0\0" labels "\0\0\1\0\1"
#define HEAD(flags, answers) \
	"\x12\x34" flags "\0\1\0" answers "\0\0\0\0\3www\7example\3com\0\0\1\0\1"
#define A(name, ttl, addr) name "\0\1\0\1\0\0\0" ttl "\0\4" addr
#define CNAME(name, target, len) name "\0\5\0\1\0\0\0\x0a\0" len target
#define SELF "\xc0\x0c"

static int read_q(const char *data, size_t n, struct dns_question *q)
{
	return dns_read_question((const uint8_t *)data, n, q);
}
#define READ(text, q) read_q(text, sizeof(text) - 1, q)

static void questions(void **state)
{
	struct dns_question q;

	assert_int_equal(READ(QUESTION("\3wWw\7Example\3com"), &q), 0);
	assert_string_equal(q.name, "www.example.com");
	assert_int_equal(q.id, 0x1234);
	assert_int_equal(q.type, DNS_TYPE_A);
	assert_true(q.recursion && !q.edns && q.udp_size == 512);
	assert_int_equal(
		READ("\x12\x34\1\0\0\1\0\0\0\0\0\1\1a\2bc\0\0\x1c\0\1\0\0\x29\x10\0\0\0\0\0\0\0",
			&q),
		0);
	assert_true(q.edns && q.udp_size == 4096 && q.type == DNS_TYPE_AAAA);
}

/* Names that are none: answered, never asked upstream. */
static void odd_names(void **state)
{
	struct dns_question q;

	assert_int_equal(READ(QUESTION(""), &q), 0);
	assert_string_equal(q.name, "");
	assert_int_equal(READ(QUESTION("\4a.bc\3com"), &q), 0);
	assert_string_equal(q.name, "");
	assert_int_equal(READ(QUESTION("\3a\0b\3com"), &q), 0);
	assert_string_equal(q.name, "");
	assert_int_equal(READ(QUESTION("\1*\3com"), &q), 0);
	assert_string_equal(q.name, "");
	assert_int_equal(READ(QUESTION("\3"
				       "127\1"
				       "0\1"
				       "0\1"
				       "1"),
				 &q),
		0);
	assert_string_equal(q.name, "");
}

static void wrong_questions(void **state)
{
	struct dns_question q;

	assert_int_equal(READ("", &q), -EPROTO);
	assert_int_equal(READ("\x12\x34\1\0\0\1", &q), -EPROTO);
	assert_int_equal(READ("\x12\x34\x81\x80\0\1\0\0\0\0\0\0\1a\0\0\1\0\1", &q), -EPROTO);
	assert_int_equal(READ("\x12\x34\x29\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1", &q), DNS_NOTIMP);
	assert_int_equal(READ("\x12\x34\1\0\0\0\0\0\0\0\0\0", &q), DNS_FORMERR);
	assert_int_equal(
		READ("\x12\x34\1\0\0\2\0\0\0\0\0\0\1a\0\0\1\0\1\1a\0\0\1\0\1", &q), DNS_FORMERR);
	assert_int_equal(
		READ("\x12\x34\1\0\0\1\0\1\0\0\0\0\1a\0\0\1\0\1\1a\0\0\1\0\1", &q), DNS_FORMERR);
	assert_int_equal(READ("\x12\x34\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1", &q), DNS_FORMERR);
	assert_int_equal(READ("\x12\x34\1\0\0\1\0\0\0\0\0\0\x3f"
			      "abc\0\0\1\0\1",
				 &q),
		DNS_FORMERR);
	assert_int_equal(READ("\x12\x34\1\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\3", &q), DNS_REFUSED);
}

static int read_a(const char *data, size_t n, struct dns_answer *a)
{
	return dns_read_answer((const uint8_t *)data, n, 0x1234, "www.example.com", a);
}
#define ANSWER(text, a) read_a(text, sizeof(text) - 1, a)

static void answers(void **state)
{
	struct dns_answer a;

	assert_int_equal(ANSWER(HEAD("\x81\x80", "\2") A(SELF, "\x1e", "\1\2\3\4")
					 A(SELF, "\x14", "\1\2\3\5"),
				 &a),
		0);
	assert_int_equal(a.n, 2);
	assert_int_equal(a.addrs[0], inet_addr("1.2.3.4"));
	assert_int_equal(a.ttl, 20);
	assert_int_equal(ANSWER(HEAD("\x81\x80", "\2") CNAME(SELF, "\1b\xc0\x10", "\4")
					 A("\1b\xc0\x10", "\x1e", "\1\2\3\4"),
				 &a),
		0);
	assert_int_equal(a.n, 1);
	assert_int_equal(a.ttl, 10);
	/* An address of another name in the same packet is not ours. */
	assert_int_equal(
		ANSWER(HEAD("\x81\x80", "\1") A("\4evil\3com\0", "\x1e", "\6\6\6\6"), &a), 0);
	assert_int_equal(a.n, 0);
	/* An alias whose target is not in the packet. */
	assert_int_equal(ANSWER(HEAD("\x81\x80", "\1") CNAME(SELF, "\1b\xc0\x10", "\4"), &a), 0);
	assert_int_equal(a.n, 0);
	/* An alias of itself. */
	assert_int_equal(
		ANSWER(HEAD("\x81\x80", "\2") CNAME(SELF, SELF, "\2") A(SELF, "\x1e", "\1\2\3\4"),
			&a),
		0);
	assert_int_equal(a.n, 0);
	assert_int_equal(ANSWER(HEAD("\x81\x83", "\0"), &a), 0);
	assert_int_equal(a.rcode, DNS_NXDOMAIN);
	assert_int_equal(ANSWER(HEAD("\x83\x80", "\0"), &a), 0);
	assert_true(a.truncated);
}

static void forged_answers(void **state)
{
	static const char good[] = HEAD("\x81\x80", "\1") A(SELF, "\x1e", "\1\2\3\4");
	struct dns_answer a;

	assert_int_equal(dns_read_answer((const uint8_t *)good, sizeof(good) - 1, 0x1235,
				 "www.example.com", &a),
		-EPROTO);
	assert_int_equal(dns_read_answer((const uint8_t *)good, sizeof(good) - 1, 0x1234,
				 "www.example.org", &a),
		-EPROTO);
	assert_int_equal(ANSWER(HEAD("\1\0", "\0"), &a), -EPROTO);
	for (size_t n = 0; n < sizeof(good) - 1; n++) {
		assert_int_equal(read_a(good, n, &a), -EPROTO);
		assert_int_equal(a.n, 0);
	}
}

static void our_answers(void **state)
{
	struct dns_question q;
	struct dns_answer a;
	uint32_t addrs[DNS_ADDRS_MAX];
	struct buf b;

	for (size_t i = 0; i < DNS_ADDRS_MAX; i++)
		addrs[i] = htonl(0x01020300 + (uint32_t)i);
	assert_int_equal(READ(QUESTION("\3wWw\7Example\3com"), &q), 0);
	buf_init(&b, DNS_PACKET_MAX);
	assert_true(dns_write_answer(&b, &q, DNS_NOERROR, DNS_EDE_NONE, addrs, 3, 77, 512));
	assert_int_equal(read_a(buf_str(&b), b.len, &a), 0);
	assert_int_equal(a.n, 3);
	assert_int_equal(a.ttl, 77);
	assert_memory_equal(b.data + 12, "\3wWw\7Example\3com", 16);
	buf_consume(&b, b.len);
	assert_true(dns_write_answer(&b, &q, DNS_NXDOMAIN, DNS_EDE_BLOCKED, NULL, 0, 0, 512));
	assert_int_equal(read_a(buf_str(&b), b.len, &a), 0);
	assert_int_equal(a.rcode, DNS_NXDOMAIN);
	buf_done(&b);
}

/* The longest name there is: as many addresses as fit, never a longer packet. */
static void our_answers_fit(void **state)
{
	uint32_t addrs[DNS_ADDRS_MAX] = {0};
	struct dns_question q = {.id = 1, .type = DNS_TYPE_A, .udp_size = 512};
	struct buf b;

	for (int i = 0; i < 4; i++) {
		q.wire[i * 62] = 61;
		memset(q.wire + i * 62 + 1, 'a' + i, 61);
	}
	q.wire_len = 249;
	for (int edns = 0; edns < 2; edns++) {
		q.edns = edns;
		buf_init(&b, DNS_PACKET_MAX);
		assert_true(dns_write_answer(&b, &q, DNS_NOERROR, DNS_EDE_BLOCKED, addrs,
			DNS_ADDRS_MAX, 1, DNS_UDP_SIZE));
		assert_true(b.len <= 512);
		buf_done(&b);
		buf_init(&b, DNS_PACKET_MAX);
		assert_true(dns_write_answer(
			&b, &q, DNS_NOERROR, DNS_EDE_NONE, addrs, DNS_ADDRS_MAX, 1, 0));
		assert_true(b.len > 500);
		buf_done(&b);
	}
}

static void our_questions(void **state)
{
	struct dns_question q;
	struct buf b;

	buf_init(&b, DNS_PACKET_MAX);
	assert_true(dns_write_question(&b, 77, "www.example.com"));
	assert_int_equal(read_q(buf_str(&b), b.len, &q), 0);
	assert_string_equal(q.name, "www.example.com");
	assert_true(q.id == 77 && q.recursion && q.edns && q.udp_size == DNS_UDP_SIZE &&
		    q.type == DNS_TYPE_A);
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(questions), cmocka_unit_test(odd_names),
		cmocka_unit_test(wrong_questions), cmocka_unit_test(answers),
		cmocka_unit_test(forged_answers), cmocka_unit_test(our_answers),
		cmocka_unit_test(our_answers_fit), cmocka_unit_test(our_questions)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
