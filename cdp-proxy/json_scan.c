/* The strict JSON reader: a state machine over bytes, with a run by words through the inside of
 * strings. */
#include "json_scan.h"

#include <errno.h>
#include <string.h>
#include <sys/types.h>

#include "ws.h"

/*
 * Stricter than Chromium's own reader on purpose: what both read, both read alike. No comments, no
 * leading zeroes, no control characters or broken UTF-8 in strings, nothing behind the value.
 *
 * `depth` counts open containers. The members of the outermost one are at depth 1; their keys and
 * scalar values are kept in `raw` as they pass by, as far as they fit.
 */
enum state {
	S_VALUE,       /* a value must come */
	S_FIRST_VALUE, /* a value or ] */
	S_FIRST_KEY,   /* a key or } */
	S_KEY,         /* a key */
	S_COLON,
	S_AFTER, /* comma or the container's end */
	S_STRING,
	S_ESCAPE,
	S_HEX,
	S_WORD,
	S_MINUS,
	S_ZERO,
	S_INTEGER,
	S_POINT,
	S_FRACTION,
	S_E,
	S_E_SIGN,
	S_EXPONENT,
	S_DONE,
};

void json_scan_init(struct json_scan *s, json_found_fn *fn, void *data)
{
	memset(s, 0, offsetof(struct json_scan, is_object));
	s->fn = fn;
	s->data = data;
	s->raw_len = 0;
}

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static void keep(struct json_scan *s, const uint8_t *p, size_t n)
{
	if (s->depth != 1 || s->overflow)
		return;
	if (n > sizeof(s->raw) - s->raw_len) {
		s->overflow = true;
		return;
	}
	memcpy(s->raw + s->raw_len, p, n);
	s->raw_len += n;
}

static void key_ended(struct json_scan *s)
{
	s->state = S_COLON;
	s->is_key = false;
	if (s->depth == 1)
		s->key_known = !s->overflow &&
			       json_scan_string(s->raw, s->raw_len, s->key, sizeof(s->key)) >= 0;
}

/* end: offset behind the value's last byte. */
static int value_ended(struct json_scan *s, uint64_t end)
{
	struct json_found m;

	s->state = s->depth ? S_AFTER : S_DONE;
	if (s->depth != 1 || !s->fn)
		return 0;
	m = (struct json_found){.kind = s->kind, .start = s->start, .end = end};
	if (s->is_object[1] && s->key_known)
		m.key = s->key;
	if (s->kind >= JSON_KIND_STRING && !s->overflow) {
		m.raw = s->raw;
		m.raw_len = s->raw_len;
	}
	return s->fn(s->data, &m);
}

static int open_container(struct json_scan *s, bool object)
{
	if (s->depth == JSON_SCAN_DEPTH)
		return -EINVAL;
	s->is_object[++s->depth] = object;
	s->state = object ? S_FIRST_KEY : S_FIRST_VALUE;
	return 0;
}

static int close_container(struct json_scan *s, uint8_t c, uint64_t at)
{
	if (c != (s->is_object[s->depth] ? '}' : ']'))
		return -EINVAL;
	s->kind = s->is_object[s->depth] ? JSON_KIND_OBJECT : JSON_KIND_ARRAY;
	s->depth--;
	return value_ended(s, at + 1);
}

static void begin_string(struct json_scan *s, const uint8_t *c, bool is_key)
{
	s->is_key = is_key;
	s->utf8 = 0;
	s->state = S_STRING;
	s->overflow = s->depth == 1 ? false : s->overflow;
	s->raw_len = s->depth == 1 ? 0 : s->raw_len;
	keep(s, c, 1);
}

static int begin_value(struct json_scan *s, const uint8_t *c, uint64_t at)
{
	if (s->depth <= 1)
		s->start = at;
	if (*c == '{' || *c == '[') {
		if (!s->depth)
			s->outer = *c == '{' ? JSON_KIND_OBJECT : JSON_KIND_ARRAY;
		return open_container(s, *c == '{');
	}
	s->kind = *c == '"'                   ? JSON_KIND_STRING
		  : *c == '-' || is_digit(*c) ? JSON_KIND_NUMBER
					      : JSON_KIND_WORD;
	if (!s->depth)
		s->outer = s->kind;
	if (*c == '"') {
		begin_string(s, c, false);
		return 0;
	}
	if (s->depth == 1) {
		s->overflow = false;
		s->raw_len = 0;
	}
	keep(s, c, 1);
	if (s->kind == JSON_KIND_NUMBER) {
		s->state = *c == '-' ? S_MINUS : *c == '0' ? S_ZERO : S_INTEGER;
		return 0;
	}
	s->word = *c == 't' ? "true" : *c == 'f' ? "false" : *c == 'n' ? "null" : NULL;
	s->sub = 1;
	s->state = S_WORD;
	return s->word ? 0 : -EINVAL;
}

/* Bytes side by side: what the compiler has registers for. */
typedef uint8_t bytes16 __attribute__((vector_size(16)));

static bytes16 load(const uint8_t *p)
{
	bytes16 v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static bool any(bytes16 v)
{
	uint64_t half[2];

	memcpy(half, &v, sizeof(half));
	return (half[0] | half[1]) != 0;
}

static bytes16 ends_run(bytes16 v)
{
	return (bytes16)((v & 0xe0) == 0) | (bytes16)(v == '"') | (bytes16)(v == '\\');
}

/* How many of n bytes are neither a quote, a backslash nor a control character; *ret_high: one of
 * them, or of those close behind, is not ASCII. */
static size_t plain_run(const uint8_t *p, size_t n, bool *ret_high)
{
	bytes16 high = {0}, a, b;
	size_t i = 0;
	uint8_t tail = 0;

	for (; n - i >= 32; i += 32) {
		a = load(p + i);
		b = load(p + i + 16);
		high |= a | b;
		if (any(ends_run(a) | ends_run(b)))
			break;
	}
	for (; i < n && p[i] >= 0x20 && p[i] != '"' && p[i] != '\\'; i++)
		tail |= p[i];
	*ret_high = tail & 0x80 || any(high & 0x80);
	return i;
}

/* Reads inside a string. The bytes taken, or -EINVAL. */
static ssize_t in_string(struct json_scan *s, const uint8_t *p, size_t n, uint64_t at)
{
	bool high;
	size_t run = plain_run(p, n, &high);
	int r;

	if (run) {
		if ((high || s->utf8) && !ws_utf8(&s->utf8, p, run))
			return -EINVAL;
		keep(s, p, run);
		return (ssize_t)run;
	}
	if (*p < 0x20 || s->utf8)
		return -EINVAL;
	keep(s, p, 1);
	if (*p == '\\') {
		s->state = S_ESCAPE;
		return 1;
	}
	if (s->is_key) {
		key_ended(s);
		return 1;
	}
	r = value_ended(s, at + 1);
	return r < 0 ? r : 1;
}

static int in_escape(struct json_scan *s, const uint8_t *c)
{
	keep(s, c, 1);
	s->sub = 0;
	s->state = *c == 'u' ? S_HEX : S_STRING;
	return memchr("\"\\/bfnrtu", *c, 9) ? 0 : -EINVAL;
}

static int in_hex(struct json_scan *s, const uint8_t *c)
{
	keep(s, c, 1);
	if (++s->sub == 4)
		s->state = S_STRING;
	return is_digit(*c) || ((*c | 0x20) >= 'a' && (*c | 0x20) <= 'f') ? 0 : -EINVAL;
}

static int in_word(struct json_scan *s, const uint8_t *c, uint64_t at)
{
	keep(s, c, 1);
	if (*c != (uint8_t)s->word[s->sub++])
		return -EINVAL;
	return s->word[s->sub] ? 0 : value_ended(s, at + 1);
}

/* The state after byte c of a number; S_AFTER when c is behind its end, -EINVAL when it cannot come
 * here. */
static int number_next(uint8_t state, uint8_t c)
{
	bool may_point = state == S_ZERO || state == S_INTEGER;
	bool may_e = may_point || state == S_FRACTION;

	if (is_digit(c)) {
		if (state == S_MINUS)
			return c == '0' ? S_ZERO : S_INTEGER;
		if (state == S_ZERO)
			return -EINVAL;
		return state == S_POINT                    ? S_FRACTION
		       : state == S_E || state == S_E_SIGN ? S_EXPONENT
							   : state;
	}
	if (c == '.')
		return may_point ? S_POINT : -EINVAL;
	if (c == 'e' || c == 'E')
		return may_e ? S_E : -EINVAL;
	if (c == '+' || c == '-')
		return state == S_E ? S_E_SIGN : -EINVAL;
	return may_e || state == S_EXPONENT ? S_AFTER : -EINVAL;
}

/* The bytes taken (0 when the number ended before this one), or -EINVAL. */
static ssize_t in_number(struct json_scan *s, const uint8_t *c, uint64_t at)
{
	int next = number_next(s->state, *c), r;

	if (next < 0)
		return next;
	if (next == S_AFTER) {
		r = value_ended(s, at);
		return r < 0 ? r : 0;
	}
	s->state = (uint8_t)next;
	keep(s, c, 1);
	return 1;
}

static int between_values(struct json_scan *s, const uint8_t *c, uint64_t at)
{
	switch ((enum state)s->state) {
	case S_FIRST_KEY:
		if (*c == '}')
			return close_container(s, *c, at);
		__attribute__((fallthrough));
	case S_KEY:
		if (*c != '"')
			return -EINVAL;
		begin_string(s, c, true);
		return 0;
	case S_COLON:
		s->state = S_VALUE;
		return *c == ':' ? 0 : -EINVAL;
	case S_AFTER:
		if (*c != ',')
			return close_container(s, *c, at);
		s->state = s->is_object[s->depth] ? S_KEY : S_VALUE;
		return 0;
	case S_FIRST_VALUE:
		if (*c == ']')
			return close_container(s, *c, at);
		return begin_value(s, c, at);
	case S_VALUE:
		return begin_value(s, c, at);
	case S_STRING:
	case S_ESCAPE:
	case S_HEX:
	case S_WORD:
	case S_MINUS:
	case S_ZERO:
	case S_INTEGER:
	case S_POINT:
	case S_FRACTION:
	case S_E:
	case S_E_SIGN:
	case S_EXPONENT:
	case S_DONE:
		break;
	}
	return -EINVAL;
}

/* The bytes taken (at least one, or 0 when a number ended), or a negative errno. */
static ssize_t step(struct json_scan *s, const uint8_t *p, size_t n, uint64_t at)
{
	size_t spaces = 0;
	int r;

	if (s->state == S_STRING)
		return in_string(s, p, n, at);
	if (s->state >= S_MINUS && s->state <= S_EXPONENT)
		return in_number(s, p, at);
	if (is_space(*p) && s->state != S_ESCAPE && s->state != S_HEX && s->state != S_WORD) {
		while (spaces < n && is_space(p[spaces]))
			spaces++;
		return (ssize_t)spaces;
	}
	r = s->state == S_ESCAPE ? in_escape(s, p)
	    : s->state == S_HEX  ? in_hex(s, p)
	    : s->state == S_WORD ? in_word(s, p, at)
				 : between_values(s, p, at);
	return r < 0 ? r : 1;
}

int json_scan_feed(struct json_scan *s, const void *data, size_t n)
{
	const uint8_t *p = data;
	ssize_t r;

	for (size_t i = 0; i < n; i += (size_t)r) {
		r = step(s, p + i, n - i, s->at + i);
		if (r < 0)
			return (int)r;
	}
	s->at += n;
	return 0;
}

int json_scan_end(struct json_scan *s, enum json_kind *ret_kind)
{
	ssize_t r;

	if (s->state >= S_MINUS && s->state <= S_EXPONENT) {
		r = in_number(s, (const uint8_t *)" ", s->at);
		if (r < 0)
			return (int)r;
	}
	if (ret_kind)
		*ret_kind = s->outer;
	return s->state == S_DONE ? 0 : -EINVAL;
}

static uint32_t hex4(const char *p)
{
	uint32_t v = 0;

	for (int i = 0; i < 4; i++)
		v = v << 4 |
		    (uint32_t)(is_digit((uint8_t)p[i]) ? p[i] - '0' : (p[i] | 0x20) - 'a' + 10);
	return v;
}

static size_t put_utf8(uint32_t c, char out[4])
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* An escape at p (behind its backslash); its length in *ret_len, its bytes in out. How many they
 * are. */
static size_t unescape(const char *p, const char *end, size_t *ret_len, char out[4])
{
	static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
	const char *found;
	uint32_t c, low;

	*ret_len = 1;
	if (*p != 'u') {
		found = strchr(from, *p);
		out[0] = found ? to[found - from] : *p;
		return 1;
	}
	*ret_len = 5;
	c = hex4(p + 1);
	if (c < 0xd800 || c > 0xdfff)
		return put_utf8(c, out);
	if (c < 0xdc00 && end - p >= 11 && p[5] == '\\' && p[6] == 'u') {
		low = hex4(p + 7);
		if (low >= 0xdc00 && low <= 0xdfff) {
			*ret_len = 11;
			return put_utf8(0x10000 + ((c & 0x3ff) << 10) + (low & 0x3ff), out);
		}
	}
	return put_utf8(0xfffd, out);
}

int json_scan_string(const char *raw, size_t n, char *out, size_t size)
{
	const char *p = raw + 1, *end = raw + n - 1;
	size_t len = 0, used, bytes;
	char c[4];

	if (n < 2 || !size)
		return -EINVAL;
	while (p < end) {
		c[0] = *p++;
		bytes = 1;
		if (c[0] == '\\') {
			bytes = unescape(p, end, &used, c);
			p += used;
		}
		if (c[0] == '\0')
			return -EINVAL;
		if (bytes >= size - len)
			return -E2BIG;
		memcpy(out + len, c, bytes);
		len += bytes;
	}
	out[len] = '\0';
	return (int)len;
}

struct search {
	const char *key;
	struct json_found *ret;
	int found;
};

static int search_member(void *data, const struct json_found *m)
{
	struct search *f = data;

	if (!m->key || strcmp(m->key, f->key) != 0)
		return 0;
	if (f->found)
		return -EEXIST;
	f->found = 1;
	*f->ret = *m;
	f->ret->key = f->key;
	f->ret->raw = NULL;
	return 0;
}

int json_scan_find(const char *text, size_t n, const char *key, struct json_found *ret)
{
	struct search f = {.key = key, .ret = ret};
	struct json_scan s;
	enum json_kind kind = JSON_KIND_WORD;
	int r;

	json_scan_init(&s, search_member, &f);
	r = json_scan_feed(&s, text, n);
	if (r < 0)
		return r;
	r = json_scan_end(&s, &kind);
	if (r < 0 || kind != JSON_KIND_OBJECT)
		return -EINVAL;
	if (f.found) {
		ret->raw = text + ret->start;
		ret->raw_len = ret->end - ret->start;
	}
	return f.found;
}
