/* The server name of a ClientHello: OpenSSL's own, and hand-made wrong ones. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/ssl.h>

#include "bytes.h"
#include "sni.h"
#include "util.h"

/* What a client says first; name may be NULL. */
static struct buf hello(const char *name)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	BIO *out = BIO_new(BIO_s_mem());
	struct buf b;
	char *data;
	long n;

	buf_init(&b, 65536);
	SSL_set_bio(ssl, BIO_new(BIO_s_mem()), out);
	if (name)
		SSL_set_tlsext_host_name(ssl, name);
	SSL_set_connect_state(ssl);
	SSL_do_handshake(ssl);
	n = BIO_get_mem_data(out, &data);
	buf_add(&b, data, (size_t)n);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	return b;
}

static int feed(const uint8_t *data, size_t n, size_t step, char name[256])
{
	struct sni *s = sni_new();
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i += step)
		r = sni_feed(s, data + i, MIN(step, n - i), name);
	sni_free(s);
	return r;
}

static void names(void **state)
{
	struct buf b = hello("WWW.Example.com");

	for (size_t step = 1; step <= b.len; step++) {
		char name[256] = "";

		assert_int_equal(feed(b.data, b.len, step, name), 1);
		assert_string_equal(name, "www.example.com");
	}
	for (size_t n = 0; n < b.len; n += 7) {
		char name[256] = "";

		assert_int_equal(feed(b.data, n, 3, name), 0);
		assert_string_equal(name, "");
	}
	buf_done(&b);
}

static void one_byte_records(void **state)
{
	struct buf b = hello("www.example.com"), cut;
	char name[256] = "";

	buf_init(&cut, 65536);
	for (size_t i = 5; i < b.len; i++) {
		const uint8_t record[6] = {0x16, 3, 1, 0, 1, b.data[i]};

		buf_add(&cut, record, sizeof(record));
	}
	if (feed(cut.data, cut.len, 11, name) == 1)
		assert_string_equal(name, "www.example.com");
	buf_done(&b);
	buf_done(&cut);
}

/* A hello with the name's bytes replaced: *at is where "www.example.com" stands. */
static struct buf hello_with(const char *fifteen)
{
	struct buf b = hello("www.example.com");
	uint8_t *at = memmem(b.data, b.len, "www.example.com", 15);

	assert_non_null(at);
	memcpy(at, fifteen, 15);
	return b;
}

static void wrong_names(void **state)
{
	static const char *const bad[] = {"www.example.co.", "www.example\0com", "www example com",
		"192.168.100.200", "www..xample.com", "-ww.example.com", "www.ex\xc3\xa4mpl.co",
		"[::1:2:3:4:5:6]", "0x7f.0.0.0x0001", "www.example.123", "www.example.12a\0"};
	char name[256] = "";

	for (size_t i = 0; i < ARRAY_SIZE(bad) - 1; i++) {
		struct buf b = hello_with(bad[i]);

		assert_int_equal(feed(b.data, b.len, b.len, name), -EPROTO);
		assert_string_equal(name, "");
		buf_done(&b);
	}
}

static void no_name(void **state)
{
	struct buf b = hello(NULL);
	char name[256];

	assert_int_equal(feed(b.data, b.len, b.len, name), -ENOENT);
	assert_int_equal(feed(b.data, b.len, 1, name), -ENOENT);
	buf_done(&b);
}

/* Type, list length and name length of the extension, each off by one. */
static void wrong_lengths(void **state)
{
	for (size_t back = 1; back <= 5; back++) {
		for (int delta = -1; delta <= 1; delta += 2) {
			struct buf b = hello("www.example.com");
			uint8_t *at = memmem(b.data, b.len, "www.example.com", 15);
			char name[256] = "";

			assert_non_null(at);
			at[-(ptrdiff_t)back] = (uint8_t)(at[-(ptrdiff_t)back] + delta);
			assert_true(feed(b.data, b.len, b.len, name) < 0);
			buf_done(&b);
		}
	}
}

static void rubbish(void **state)
{
	static const uint8_t alert[] = {0x15, 3, 1, 0, 2, 1, 0},
			     finished[] = {0x16, 3, 1, 0, 5, 20, 0, 0, 1, 7},
			     sslv2[] = {0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10};
	char name[256];

	assert_int_equal(feed(alert, sizeof(alert), 1, name), -EPROTO);
	assert_int_equal(feed(finished, sizeof(finished), 1, name), -EPROTO);
	assert_true(feed(sslv2, sizeof(sslv2), sizeof(sslv2), name) <= 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(names),
		cmocka_unit_test(one_byte_records), cmocka_unit_test(wrong_names),
		cmocka_unit_test(no_name), cmocka_unit_test(wrong_lengths),
		cmocka_unit_test(rubbish)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
