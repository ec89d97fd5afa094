/* Heads of HTTP/1.1 messages, read strictly. Owns nothing: every result points into the caller's
 * bytes. */
#include "http.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#define METHOD_MAX 32

static bool is_token_char(unsigned char c)
{
	if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))
		return true;
	return c && strchr("!#$%&'*+-.^_`|~", c);
}

static bool is_token(const struct http_text *t)
{
	for (size_t i = 0; i < t->n; i++) {
		if (!is_token_char((unsigned char)t->s[i]))
			return false;
	}
	return t->n > 0;
}

/* Bytes that may stand in a line: no control characters but the tab. */
static bool is_line_char(unsigned char c)
{
	return c == '\t' || (c >= 0x20 && c != 0x7f);
}

/*
 * The line at *pos without its CRLF; *pos moves behind it. 1, 0 when the line is not whole yet,
 * -EPROTO on a byte that may not be in a head (also in a line that is not whole).
 */
static int next_line(const char *data, size_t n, size_t *pos, struct http_text *ret)
{
	size_t i = *pos;

	while (i < n && is_line_char((unsigned char)data[i]))
		i++;
	if (i == n)
		return 0;
	if (data[i] != '\r')
		return -EPROTO;
	if (i + 1 == n)
		return 0;
	if (data[i + 1] != '\n')
		return -EPROTO;
	*ret = (struct http_text){data + *pos, i - *pos};
	*pos = i + 2;
	return 1;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static int read_header(const struct http_text *line, struct http_header *ret)
{
	const char *colon = memchr(line->s, ':', line->n);
	const char *end = line->s + line->n, *v;

	if (!colon)
		return -EPROTO;
	ret->name = (struct http_text){line->s, (size_t)(colon - line->s)};
	if (!is_token(&ret->name))
		return -EPROTO;
	for (v = colon + 1; v < end && is_blank(*v);)
		v++;
	while (end > v && is_blank(end[-1]))
		end--;
	ret->value = (struct http_text){v, (size_t)(end - v)};
	return 0;
}

static bool read_version(const struct http_text *t, int *ret_minor)
{
	if (t->n != 8 || memcmp(t->s, "HTTP/1.", 7) != 0 || (t->s[7] != '0' && t->s[7] != '1'))
		return false;
	*ret_minor = t->s[7] - '0';
	return true;
}

/* Cuts the text before the next space off the front of line; false when there is no space. */
static bool cut_word(struct http_text *line, struct http_text *ret)
{
	const char *space = memchr(line->s, ' ', line->n);
	size_t n = space ? (size_t)(space - line->s) : 0;

	if (!space)
		return false;
	*ret = (struct http_text){line->s, n};
	line->s += n + 1;
	line->n -= n + 1;
	return true;
}

static bool target_fits(const struct http_text *method, const struct http_text *t)
{
	if (t->n == 0)
		return false;
	for (size_t i = 0; i < t->n; i++) {
		if (t->s[i] <= 0x20 || t->s[i] >= 0x7f || t->s[i] == '#')
			return false;
	}
	if (t->s[0] == '/')
		return true;
	if (http_text_is(method, "CONNECT"))
		return is_token_char((unsigned char)t->s[0]) || t->s[0] == '[';
	if (http_text_is(t, "*"))
		return http_text_is(method, "OPTIONS");
	return (t->n > 7 && strncasecmp(t->s, "http://", 7) == 0) ||
	       (t->n > 8 && strncasecmp(t->s, "https://", 8) == 0);
}

static int read_request_line(struct http_text line, struct http_head *ret)
{
	if (!cut_word(&line, &ret->method) || !cut_word(&line, &ret->target))
		return -EPROTO;
	if (!is_token(&ret->method) || ret->method.n > METHOD_MAX ||
		!read_version(&line, &ret->minor))
		return -EPROTO;
	return target_fits(&ret->method, &ret->target) ? 0 : -EPROTO;
}

static int read_status_line(struct http_text line, struct http_head *ret)
{
	struct http_text version = {line.s, 8};

	if (line.n < 12 || !read_version(&version, &ret->minor) || line.s[8] != ' ')
		return -EPROTO;
	for (int i = 9; i < 12; i++) {
		if (line.s[i] < '0' || line.s[i] > '9')
			return -EPROTO;
		ret->status = ret->status * 10 + (line.s[i] - '0');
	}
	if (ret->status < 100 || (line.n > 12 && line.s[12] != ' '))
		return -EPROTO;
	return 0;
}

static int read_head(const char *data, size_t n, struct http_head *ret,
	int (*read_first)(struct http_text line, struct http_head *ret))
{
	size_t bound = n < HTTP_HEAD_MAX ? n : HTTP_HEAD_MAX, pos = 0;
	struct http_text line;
	int r;

	memset(ret, 0, sizeof(*ret));
	r = next_line(data, bound, &pos, &line);
	if (r > 0 && read_first(line, ret) < 0)
		return -EPROTO;
	while (r > 0) {
		r = next_line(data, bound, &pos, &line);
		if (r <= 0)
			break;
		if (line.n == 0) {
			ret->len = pos;
			return (int)pos;
		}
		if (ret->n_headers == HTTP_HEADERS_MAX)
			return -E2BIG;
		if (read_header(&line, &ret->headers[ret->n_headers++]) < 0)
			return -EPROTO;
	}
	if (r == 0 && bound == HTTP_HEAD_MAX)
		return -E2BIG;
	return r;
}

int http_read_request(const char *data, size_t n, struct http_head *ret)
{
	return read_head(data, n, ret, read_request_line);
}

int http_read_response(const char *data, size_t n, struct http_head *ret)
{
	return read_head(data, n, ret, read_status_line);
}

bool http_text_is(const struct http_text *t, const char *s)
{
	size_t n = strlen(s);

	return t->n == n && memcmp(t->s, s, n) == 0;
}

bool http_text_is_nocase(const struct http_text *t, const char *s)
{
	size_t n = strlen(s);

	return t->n == n && strncasecmp(t->s, s, n) == 0;
}

const struct http_text *http_header(const struct http_head *h, const char *name, size_t *ret_count)
{
	const struct http_text *found = NULL;
	size_t count = 0;

	for (size_t i = 0; i < h->n_headers; i++) {
		if (!http_text_is_nocase(&h->headers[i].name, name))
			continue;
		found = &h->headers[i].value;
		count++;
	}
	if (ret_count)
		*ret_count = count;
	return count == 1 ? found : NULL;
}

static bool list_has(struct http_text list, const char *token)
{
	while (list.n > 0) {
		const char *comma = memchr(list.s, ',', list.n);
		size_t n = comma ? (size_t)(comma - list.s) : list.n;
		struct http_text item = {list.s, n};

		while (item.n > 0 && is_blank(item.s[0])) {
			item.s++;
			item.n--;
		}
		while (item.n > 0 && is_blank(item.s[item.n - 1]))
			item.n--;
		if (http_text_is_nocase(&item, token))
			return true;
		list.s += n + (comma ? 1 : 0);
		list.n -= n + (comma ? 1 : 0);
	}
	return false;
}

bool http_has_token(const struct http_head *h, const char *name, const char *token)
{
	for (size_t i = 0; i < h->n_headers; i++) {
		if (http_text_is_nocase(&h->headers[i].name, name) &&
			list_has(h->headers[i].value, token))
			return true;
	}
	return false;
}

long long http_content_length(const struct http_head *h)
{
	size_t count, encodings;
	const struct http_text *v = http_header(h, "Content-Length", &count);
	long long len = 0;

	http_header(h, "Transfer-Encoding", &encodings);
	if (count == 0)
		return -1;
	if (!v || encodings > 0 || v->n == 0 || v->n > 18)
		return -2;
	for (size_t i = 0; i < v->n; i++) {
		if (v->s[i] < '0' || v->s[i] > '9')
			return -2;
		len = len * 10 + (v->s[i] - '0');
	}
	return len;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Percent-decodes a query value (a plus is a space). 0, -EPROTO, or -ENOSPC when it does not fit
 * with its NUL. */
static int decode(const struct http_text *t, char *out, size_t n)
{
	size_t used = 0;

	for (size_t i = 0; i < t->n; i++) {
		int c = t->s[i] == '+' ? ' ' : t->s[i];

		if (c == '%') {
			int high = i + 2 < t->n ? hex_value(t->s[i + 1]) : -1;
			int low = i + 2 < t->n ? hex_value(t->s[i + 2]) : -1;

			if (high < 0 || low < 0 || (high == 0 && low == 0))
				return -EPROTO;
			c = high * 16 + low;
			i += 2;
		}
		if (used + 1 >= n)
			return -ENOSPC;
		out[used++] = (char)c;
	}
	if (used >= n)
		return -ENOSPC;
	out[used] = '\0';
	return 0;
}

/* The next `name=value` of a query; false at its end. Without '=' the value is empty. */
static bool next_pair(
	struct http_text *query, struct http_text *ret_name, struct http_text *ret_value)
{
	const char *end, *equals;
	size_t n;

	if (query->n == 0)
		return false;
	end = memchr(query->s, '&', query->n);
	n = end ? (size_t)(end - query->s) : query->n;
	equals = memchr(query->s, '=', n);
	*ret_name = (struct http_text){query->s, equals ? (size_t)(equals - query->s) : n};
	*ret_value = (struct http_text){query->s + n, 0};
	if (equals)
		*ret_value = (struct http_text){equals + 1, n - ret_name->n - 1};
	query->s += n + (end ? 1 : 0);
	query->n -= n + (end ? 1 : 0);
	return true;
}

int http_query(const struct http_text *target, const char *name, char *out, size_t n)
{
	const char *mark = memchr(target->s, '?', target->n);
	struct http_text query, key, value;
	int found = 0, r;

	if (!mark)
		return 0;
	query = (struct http_text){mark + 1, target->n - (size_t)(mark + 1 - target->s)};
	while (next_pair(&query, &key, &value)) {
		if (!http_text_is(&key, name))
			continue;
		if (found)
			return -EPROTO;
		r = decode(&value, out, n);
		if (r < 0)
			return r;
		found = 1;
	}
	return found;
}
