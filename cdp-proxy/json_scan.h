/* A strict JSON reader (RFC 8259) for text that comes in pieces and is never held: it checks, and
 * reports members. */
#ifndef BERTH_JSON_SCAN_H
#define BERTH_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_SCAN_DEPTH 200
#define JSON_SCAN_RAW 512

enum json_kind {
	JSON_KIND_OBJECT,
	JSON_KIND_ARRAY,
	JSON_KIND_STRING,
	JSON_KIND_NUMBER,
	JSON_KIND_WORD
};

/* One member of the outermost object or array. */
struct json_found {
	const char *key; /* decoded; NULL in an array, and when it is longer than any key we know */
	enum json_kind kind; /* of the value; JSON_KIND_WORD is true, false, null */
	uint64_t start, end; /* of the value's text, from the first byte fed */
	const char *raw;     /* a scalar's text, quotes included; NULL when it is over JSON_SCAN_RAW
				bytes */
	size_t raw_len;
};

/* Called at the end of each member's value; a negative errno stops the reading with it. */
typedef int json_found_fn(void *data, const struct json_found *m);

/* Embedded by the reader's owner; nothing to release. */
struct json_scan {
	json_found_fn *fn;
	void *data;
	uint64_t at;    /* bytes fed before this piece */
	uint64_t start; /* of the member's value */
	uint32_t utf8;
	uint16_t depth;
	uint8_t state, sub; /* sub: position in a word or an escape */
	bool is_key, key_known, overflow;
	enum json_kind kind, outer;
	const char *word;
	uint8_t is_object[JSON_SCAN_DEPTH + 1];
	char key[64];
	char raw[JSON_SCAN_RAW];
	size_t raw_len;
};

/* fn may be NULL. */
void json_scan_init(struct json_scan *s, json_found_fn *fn, void *data);
/* 0, or -EINVAL at the first byte that is not JSON, or what fn returned. */
int json_scan_feed(struct json_scan *s, const void *data, size_t n);
/* 0 when exactly one whole value was fed; *ret_kind (may be NULL) says of what kind. */
int json_scan_end(struct json_scan *s, enum json_kind *ret_kind);

/*
 * Decodes a string's text (quotes included, already known to be well formed) into out (size bytes,
 * terminated); lone surrogates become U+FFFD. Its length; -EINVAL when it holds a NUL, -E2BIG when
 * it does not fit.
 */
int json_scan_string(const char *raw, size_t n, char *out, size_t size);

/*
 * Looks for one member of the object that is text[0..n). 1 found, 0 absent, -EEXIST when the key is
 * there twice, -EINVAL when text is no object.
 */
int json_scan_find(const char *text, size_t n, const char *key, struct json_found *ret);

#endif
