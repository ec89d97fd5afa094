/* WebSocket frames: header codec, masking, keys, UTF-8. Pure functions; see ws.h. */
#include "ws.h"

#include <errno.h>
#include <string.h>

#include "util.h"

static bool known_op(uint8_t op)
{
	return op <= WS_BINARY || (op >= WS_CLOSE && op <= WS_PONG);
}

/* The rules of RFC 6455 5.2 and 5.5 on a header's first two bytes. */
static bool start_is_right(const uint8_t *d)
{
	uint8_t op = d[0] & 0x0f;

	if ((d[0] & 0x70) || !known_op(op))
		return false;
	return op < WS_CLOSE || ((d[0] & 0x80) && (d[1] & 0x7f) <= 125);
}

static uint64_t big_endian(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

int ws_read_header(const uint8_t *data, size_t n, struct ws_header *ret)
{
	size_t ext, need;
	uint64_t len;

	if (n < 2) {
		/* What one byte already shows is not waited for. */
		if (n == 1 && ((data[0] & 0x70) || !known_op(data[0] & 0x0f)))
			return -EPROTO;
		return 0;
	}
	if (!start_is_right(data))
		return -EPROTO;
	len = data[1] & 0x7f;
	ext = len == 126 ? 2 : len == 127 ? 8 : 0;
	need = 2 + ext + (data[1] & 0x80 ? 4 : 0);
	if (n < need)
		return 0;
	if (ext) {
		len = big_endian(data + 2, ext);
		if (len < (ext == 2 ? 126u : 65536u) || len >> 63)
			return -EPROTO;
	}
	*ret = (struct ws_header){
		.len = len, .op = data[0] & 0x0f, .fin = data[0] & 0x80, .masked = data[1] & 0x80};
	if (ret->masked)
		memcpy(ret->mask, data + 2 + ext, 4);
	return (int)need;
}

size_t ws_write_header(uint8_t out[WS_HEADER_MAX], const struct ws_header *h)
{
	size_t ext = h->len < 126 ? 0 : h->len < 65536 ? 2 : 8, n = 2;

	out[0] = (uint8_t)((h->fin ? 0x80 : 0) | h->op);
	out[1] = (uint8_t)((h->masked ? 0x80 : 0) | (ext == 0 ? h->len : ext == 2 ? 126 : 127));
	for (size_t i = ext; i > 0; i--)
		out[n++] = (uint8_t)(h->len >> (8 * (i - 1)));
	if (h->masked) {
		memcpy(out + n, h->mask, 4);
		n += 4;
	}
	return n;
}

/* Bytes side by side: what the compiler has registers for. */
typedef uint64_t words2 __attribute__((vector_size(16)));

static words2 load(const uint8_t *p)
{
	words2 v;

	memcpy(&v, p, sizeof(v));
	return v;
}

void ws_mask_copy(
	uint8_t *out, const uint8_t *data, size_t n, const uint8_t mask[4], uint64_t offset)
{
	uint8_t turned[16];
	words2 word, a, b;
	size_t i = 0;

	for (size_t k = 0; k < sizeof(turned); k++)
		turned[k] = mask[(offset + k) & 3];
	word = load(turned);
	for (; n - i >= 32; i += 32) {
		a = load(data + i) ^ word;
		b = load(data + i + 16) ^ word;
		memcpy(out + i, &a, sizeof(a));
		memcpy(out + i + 16, &b, sizeof(b));
	}
	for (; i < n; i++)
		out[i] = data[i] ^ turned[i & 15];
}

void ws_mask(uint8_t *data, size_t n, const uint8_t mask[4], uint64_t offset)
{
	ws_mask_copy(data, data, n, mask, offset);
}

static uint32_t rotl(uint32_t v, int n)
{
	return v << n | v >> (32 - n);
}

static void sha1_block(uint32_t h[5], const uint8_t *p)
{
	uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];

	for (int i = 0; i < 16; i++)
		w[i] = (uint32_t)big_endian(p + 4 * i, 4);
	for (int i = 16; i < 80; i++)
		w[i] = rotl(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
	for (int i = 0; i < 80; i++) {
		uint32_t f = i < 20              ? (b & c) | (~b & d)
			     : i < 40 || i >= 60 ? b ^ c ^ d
						 : (b & c) | (b & d) | (c & d);
		uint32_t k = i < 20   ? 0x5a827999u
			     : i < 40 ? 0x6ed9eba1u
			     : i < 60 ? 0x8f1bbcdcu
				      : 0xca62c1d6u;
		uint32_t t = rotl(a, 5) + f + e + k + w[i];

		e = d;
		d = c;
		c = rotl(b, 30);
		b = a;
		a = t;
	}
	h[0] += a;
	h[1] += b;
	h[2] += c;
	h[3] += d;
	h[4] += e;
}

/* SHA-1 (FIPS 180-4) of at most 119 bytes: what the handshake asks for, nothing else uses it. */
static void sha1_short(const uint8_t *data, size_t n, uint8_t out[20])
{
	uint32_t h[5] = {0x67452301u, 0xefcdab89u, 0x98badcfeu, 0x10325476u, 0xc3d2e1f0u};
	uint8_t block[128] = {0};
	size_t len = n < 56 ? 64 : 128;

	memcpy(block, data, n);
	block[n] = 0x80;
	block[len - 2] = (uint8_t)(n * 8 >> 8);
	block[len - 1] = (uint8_t)(n * 8);
	for (size_t i = 0; i < len; i += 64)
		sha1_block(h, block + i);
	for (int i = 0; i < 20; i++)
		out[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

/* Base64 (RFC 4648) of n bytes, with its padding and a NUL. */
void ws_accept_key(const char *key, char out[29])
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	uint8_t text[119], digest[20];
	size_t n = strnlen(key, sizeof(text) - (sizeof(guid) - 1));

	memcpy(text, key, n);
	memcpy(text + n, guid, sizeof(guid) - 1);
	sha1_short(text, n + sizeof(guid) - 1, digest);
	base64_encode(digest, sizeof(digest), out);
}

void ws_new_key(char out[25])
{
	uint8_t raw[16];

	random_bytes(raw, sizeof(raw));
	base64_encode(raw, sizeof(raw), out);
}

/*
 * The state between bytes is 0, or 24 bits: how many continuation bytes are still due, and the
 * lowest and highest value that the next one may have (RFC 3629: no overlong forms, no surrogates,
 * nothing over U+10FFFF).
 */
static uint32_t utf8_state(uint32_t due, uint32_t low, uint32_t high)
{
	return due << 16 | low << 8 | high;
}

static uint32_t utf8_first(uint8_t c)
{
	if (c >= 0xc2 && c <= 0xdf)
		return utf8_state(1, 0x80, 0xbf);
	if (c >= 0xe0 && c <= 0xef)
		return utf8_state(2, c == 0xe0 ? 0xa0 : 0x80, c == 0xed ? 0x9f : 0xbf);
	if (c >= 0xf0 && c <= 0xf4)
		return utf8_state(3, c == 0xf0 ? 0x90 : 0x80, c == 0xf4 ? 0x8f : 0xbf);
	return 0;
}

/* How many of n bytes are ASCII, by words. */
static size_t ascii_run(const uint8_t *p, size_t n)
{
	words2 all;
	size_t i = 0;

	for (; n - i >= 64; i += 64) {
		all = load(p + i) | load(p + i + 16) | load(p + i + 32) | load(p + i + 48);
		if ((all[0] | all[1]) & 0x8080808080808080u)
			break;
	}
	while (i < n && p[i] < 0x80)
		i++;
	return i;
}

bool ws_utf8(uint32_t *state, const uint8_t *data, size_t n)
{
	uint32_t s = *state;

	for (size_t i = 0; i < n; i++) {
		if (!s) {
			i += ascii_run(data + i, n - i);
			if (i == n)
				break;
			s = utf8_first(data[i]);
			if (!s)
				return false;
			continue;
		}
		if (data[i] < (s >> 8 & 0xff) || data[i] > (s & 0xff))
			return false;
		s = s >> 16 > 1 ? utf8_state((s >> 16) - 1, 0x80, 0xbf) : 0;
	}
	*state = s;
	return true;
}
