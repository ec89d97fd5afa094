/* WebSocket frames: what RFC 6455 allows is read back, what it forbids is refused. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>

#include "util.h"
#include "ws.h"

static void headers_round_trip(void **state)
{
	static const uint64_t lens[] = {0, 1, 125, 126, 127, 65535, 65536, 1u << 28, INT64_MAX};
	static const uint8_t ops[] = {WS_CONT, WS_TEXT, WS_BINARY};

	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(ops) * 4; k++) {
			struct ws_header h = {.len = lens[i],
						 .op = ops[k / 4],
						 .fin = k & 1,
						 .masked = k & 2,
						 .mask = {1, 2, 3, (uint8_t)k}},
					 back;
			uint8_t out[WS_HEADER_MAX];
			size_t n = ws_write_header(out, &h);

			for (size_t cut = 0; cut < n; cut++)
				assert_int_equal(ws_read_header(out, cut, &back), 0);
			assert_int_equal(ws_read_header(out, n, &back), n);
			assert_true(back.len == h.len && back.op == h.op && back.fin == h.fin);
			assert_int_equal(back.masked, h.masked);
			if (h.masked)
				assert_memory_equal(back.mask, h.mask, 4);
		}
	}
}

static void refuse(const char *bytes, size_t n)
{
	struct ws_header h;

	assert_int_equal(ws_read_header((const uint8_t *)bytes, n, &h), -EPROTO);
}

static void forbidden_headers_are_refused(void **state)
{
	refuse("\x91\x00", 2); /* reserved bits */
	refuse("\xc1", 1);
	refuse("\x83\x00", 2); /* reserved operations */
	refuse("\x8b\x00", 2);
	refuse("\x09\x00", 2);         /* a ping in fragments */
	refuse("\x88\x7e\x00\x7e", 4); /* a close of 126 bytes */
	refuse("\x81\x7e\x00\x7d", 4); /* lengths longer than needed */
	refuse("\x81\x7f\x00\x00\x00\x00\x00\x00\xff\xff", 10);
	refuse("\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00", 10); /* over 2^63 - 1 */
}

static void masking_by_words_is_masking_by_bytes(void **state)
{
	const uint8_t mask[4] = {0xde, 0xad, 0xbe, 0xef};

	for (size_t len = 0; len < 70; len++) {
		for (size_t cut = 0; cut <= len; cut += 3) {
			uint8_t data[80], want[80];

			for (size_t i = 0; i < len; i++) {
				data[i] = (uint8_t)(i * 7 + len);
				want[i] = data[i] ^ mask[(i + 5) & 3];
			}
			ws_mask(data, cut, mask, 5);
			ws_mask(data + cut, len - cut, mask, 5 + cut);
			assert_memory_equal(data, want, len);
		}
	}
}

static void keys(void **state)
{
	char out[29], a[25], b[25], x120[121];

	ws_accept_key("dGhlIHNhbXBsZSBub25jZQ==", out); /* RFC 6455, 1.3 */
	assert_string_equal(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
	ws_accept_key("", out); /* SHA-1 of the GUID alone, from openssl */
	assert_string_equal(out, "Kfh9QIsMVZcl6xEPYxPHzW8SZ8w=");
	/* 20 bytes more fill one block exactly to its edge: 56 bytes and 55. */
	ws_accept_key("aaaaaaaaaaaaaaaaaaaa", out);
	assert_string_equal(out, "dUYRM7bOMwDmbriNIPr11x+r3E0=");
	ws_accept_key("aaaaaaaaaaaaaaaaaaa", out);
	assert_string_equal(out, "yzaGyu0mcUukN7CdsSwa30tnCpc=");
	memset(x120, 'x', 120);
	x120[120] = '\0';
	ws_accept_key(x120, out); /* cut, not overrun */
	assert_int_equal(strlen(out), 28);
	ws_new_key(a);
	ws_new_key(b);
	assert_int_equal(strlen(a), 24);
	assert_string_equal(a + 22, "==");
	assert_string_not_equal(a, b);
}

static bool utf8(const char *s, size_t n, size_t piece)
{
	uint32_t st = 0;

	for (size_t i = 0; i < n; i += piece)
		if (!ws_utf8(&st, (const uint8_t *)s + i, MIN(piece, n - i)))
			return false;
	return st == 0;
}

static void utf8_in_any_pieces(void **state)
{
	static const char *good[] = {"", "plain ascii, longer than a word", "\xc2\x80\xdf\xbf",
		"\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf",
		"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf",
		("0123456789\xe2\x82\xac"
		 "0123456789abcdef\xf0\x9f\x98\x80")};
	static const char *bad[] = {"\x80", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2\x41",
		"\xe0\x9f\xbf", "\xed\xa0\x80", "\xe2\x82", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
		"\xf5\x80\x80\x80", "\xff",
		("12345678\xfe"
		 "12345678"),
		"\xe2\x28\xa1"};

	for (size_t piece = 1; piece < 40; piece++) {
		for (size_t i = 0; i < ARRAY_SIZE(good); i++)
			assert_true(utf8(good[i], strlen(good[i]), piece));
		for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
			assert_false(utf8(bad[i], strlen(bad[i]), piece));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers_round_trip),
		cmocka_unit_test(forbidden_headers_are_refused),
		cmocka_unit_test(masking_by_words_is_masking_by_bytes),
		cmocka_unit_test(keys),
		cmocka_unit_test(utf8_in_any_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
