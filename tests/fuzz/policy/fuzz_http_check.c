/*
 * The relay's HTTP stream: the first byte cuts it into pieces. What passes must not depend on the
 * cut, and a lenient reader of what has passed, as servers are, must find no other Host in it.
 */
#include <stdlib.h>
#include <string.h>

#include "http_check.h"
#include "util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A reader of its own: takes lines that end with LF, and the first length that it finds. */
struct lenient {
	const char *at, *end, *name;
	unsigned long long length;
	size_t hosts;
	bool chunked, upgrade;
};

static void check(bool ok)
{
	if (!ok)
		abort();
}

/* The next line without its end, or NULL where there is none. */
static char *next_line(struct lenient *l)
{
	const char *end = memchr(l->at, '\n', (size_t)(l->end - l->at));
	size_t n = end ? (size_t)(end - l->at) : 0;
	char *line = end ? xcalloc(1, n + 1) : NULL;

	if (!line)
		return NULL;
	memcpy(line, l->at, n);
	if (n > 0 && line[n - 1] == '\r')
		line[n - 1] = 0;
	l->at = end + 1;
	return line;
}

/* What stands behind `name:`, or NULL. */
static char *value_of(char *line, const char *name)
{
	size_t n = strlen(name);

	if (strncasecmp(line, name, n) != 0)
		return NULL;
	n += strspn(line + n, " \t");
	return line[n] == ':' ? line + n + 1 + strspn(line + n + 1, " \t") : NULL;
}

static void read_header(struct lenient *l, char *line)
{
	char *value;

	check(line[0] != ' ' && line[0] != '\t');
	if ((value = value_of(line, "Host"))) {
		value[strcspn(value, ": \t")] = 0;
		if (value[0] && value[strlen(value) - 1] == '.')
			value[strlen(value) - 1] = 0;
		check(strcasecmp(value, l->name) == 0);
		l->hosts++;
	} else if ((value = value_of(line, "Content-Length"))) {
		l->length = strtoull(value, NULL, 10);
	} else if ((value = value_of(line, "Transfer-Encoding"))) {
		l->chunked = strcasestr(value, "chunked");
	} else if (value_of(line, "Upgrade")) {
		l->upgrade = true;
	}
}

static void read_head(struct lenient *l)
{
	bool last = false;
	char *line = next_line(l), *target = line ? strchr(line, ' ') : NULL;

	l->hosts = 0;
	l->length = 0;
	l->chunked = false;
	check(target && (target[1] == '/' || target[1] == '*') &&
		strncmp(line, "CONNECT ", 8) != 0);
	while (!last) {
		free(line);
		line = next_line(l);
		check(line); /* a head passes as a whole */
		last = !line[0];
		if (!last)
			read_header(l, line);
	}
	free(line);
	check(l->hosts == 1);
}

static void skip(struct lenient *l, unsigned long long n)
{
	l->at += MIN(n, (unsigned long long)(l->end - l->at));
}

static void read_chunks(struct lenient *l)
{
	unsigned long long size = 1;
	char *line;

	while (size > 0 && (line = next_line(l))) {
		size = strtoull(line, NULL, 16);
		skip(l, size);
		skip(l, size ? 2 : 0);
		free(line);
	}
	for (bool last = size > 0; !last && (line = next_line(l));) {
		last = !line[0];
		free(line);
	}
}

static void read_leniently(const char *data, size_t n, const char *name)
{
	struct lenient l = {.at = data, .end = data + n, .name = name};

	while (l.at < l.end && !l.upgrade) {
		read_head(&l);
		if (l.chunked)
			read_chunks(&l);
		else
			skip(&l, l.length);
	}
}

static size_t feed(const char *data, size_t size, size_t step, char name[256], int *ret_state)
{
	struct http_check c;
	size_t have = 0, passed = 0;
	int r = 0;

	http_check_init(&c, 80);
	while (r == 0 && have < size) {
		const char *reason = NULL;
		size_t pass = 0;

		have = MIN(size, have + step);
		r = http_check_feed(&c, data + passed, have - passed, &pass, &reason);
		if (pass > have - passed || (r < 0 && !reason))
			abort();
		passed += pass;
		if (r == 0 && c.state == HTTP_UPGRADE)
			r = http_check_answer(&c, data, MIN(size, (size_t)64), &reason);
	}
	strcpy(name, c.name);
	*ret_state = r < 0 ? -1 : (int)c.state;
	check(passed == 0 || c.name[0]);
	read_leniently(data, passed, c.name);
	http_check_done(&c);
	return passed;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char a[256], b[256];
	int one, two;
	size_t n;

	if (size < 2)
		return 0;
	n = feed((const char *)data + 1, size - 1, size, a, &one);
	/* A denial may come with fewer bytes passed when the stream is seen whole: never with other
	 * ones. */
	if (feed((const char *)data + 1, size - 1, 1u + data[0], b, &two) > 0 && n > 0 &&
		!streq(a, b))
		abort();
	if (one == HTTP_BODY && two == HTTP_HEAD)
		abort();
	return 0;
}
