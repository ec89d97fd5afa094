/*
 * ClientHellos in pieces: the name does not depend on where the stream was cut. The first byte says
 * how: its lower seven bits are the length of a piece; with the upper bit the rest is the bytes as
 * they come, without it the extensions of a ClientHello whose other fields and lengths are right,
 * so that most cases get past OpenSSL's own checks.
 */
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "rules.h"
#include "sni.h"
#include "util.h"

#define HELLO_MAX 16000u
#define PIECES_MAX 24u
#define AS_IT_COMES 0x80u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add_u16be(struct buf *b, size_t v)
{
	buf_add_u8(b, (uint8_t)(v >> 8));
	buf_add_u8(b, (uint8_t)v);
}

/* RFC 8446, 4.1.2, in one record: two cipher suites, no session id. */
static void wrap(struct buf *b, const uint8_t *extensions, size_t n)
{
	static const uint8_t middle[2 + 32 + 1 + 6 + 2] = {
		3, 3, [35] = 0, 4, 0x13, 0x01, 0xc0, 0x2f, 1, 0};

	buf_add(b, "\x16\x03\x01", 3);
	add_u16be(b, 4 + sizeof(middle) + 2 + n);
	buf_add(b, "\x01\x00", 2);
	add_u16be(b, sizeof(middle) + 2 + n);
	buf_add(b, middle, sizeof(middle));
	add_u16be(b, n);
	buf_add(b, extensions, n);
}

static int feed(const struct buf *b, size_t step, char name[256])
{
	struct sni *s = sni_new();
	int r = 0;

	for (size_t i = 0; i < b->len && r == 0; i += step)
		r = sni_feed(s, b->data + i, MIN(step, b->len - i), name);
	sni_free(s);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char whole[256] = "", cut[256] = "", normal[256];
	struct buf b;
	int r, again;

	if (size < 2 || size > HELLO_MAX)
		return 0;
	buf_init(&b, 2 * HELLO_MAX);
	if (data[0] & AS_IT_COMES)
		buf_add(&b, data + 1, size - 1);
	else
		wrap(&b, data + 1, size - 1);
	r = feed(&b, b.len, whole);
	if (r == 1 && (!rule_normalise_name(whole, strlen(whole), normal) || !streq(whole, normal)))
		abort();
	again = feed(&b, MAX(1u + (data[0] & 0x7fu), b.len / PIECES_MAX), cut);
	if ((again == 1 || r == 1) && (again != r || !streq(whole, cut)))
		abort();
	buf_done(&b);
	return 0;
}
