/* Server-sent events (WHATWG HTML, section 9.2) read from an answer's body. */
#include "http_client.h"
#include "bytes.h"
#include "util.h"

#include <errno.h>
#include <string.h>

/* One event as its lines come in; both buffers are bounded. */
struct http_events {
	char name[40];
	struct buf line, data;
};

static int give(struct http_events *e, http_event_fn *fn, void *data, struct err *err)
{
	cJSON *v;
	int r = 0;

	if (e->data.full)
		return err_set(err, EFBIG, "an event is over %u bytes", HTTP_EVENT_MAX);
	if (e->data.len == 0) {
		e->name[0] = 0;
		return 0;
	}
	v = cJSON_ParseWithLength((const char *)e->data.data, e->data.len);
	if (v)
		r = fn(data, e->name[0] ? e->name : "message", v, err);
	cJSON_Delete(v);
	e->name[0] = 0;
	buf_consume(&e->data, e->data.len);
	return r;
}

static int take_line(struct http_events *e, http_event_fn *fn, void *data, struct err *err)
{
	char *line = (char *)buf_str(&e->line), *value = strchr(line, ':');
	int r = 0;

	if (value) {
		*value++ = 0;
		value += *value == ' ';
	}
	if (e->line.len == 0) {
		r = give(e, fn, data, err);
	} else if (value && streq(line, "event")) {
		snprintf(e->name, sizeof(e->name), "%s", value);
	} else if (value && streq(line, "data")) {
		if (e->data.len)
			buf_add_str(&e->data, "\n");
		buf_add_str(&e->data, value);
	}
	buf_consume(&e->line, e->line.len);
	return r;
}

static int take_bytes(struct http_events *e, const char *p, size_t n, http_event_fn *fn, void *data,
	struct err *err)
{
	int r = 0;

	for (; n > 0 && r == 0; p++, n--) {
		if (*p == '\n')
			r = take_line(e, fn, data, err);
		else if (*p != '\r' && !buf_add(&e->line, p, 1))
			return err_set(
				err, EFBIG, "a line of an event is over %u bytes", HTTP_EVENT_MAX);
	}
	return r;
}

struct http_events *http_events_new(void)
{
	struct http_events *e = xcalloc(1, sizeof(*e));

	buf_init(&e->line, HTTP_EVENT_MAX);
	buf_init(&e->data, HTTP_EVENT_MAX);
	return e;
}

void http_events_free(struct http_events *e)
{
	if (!e)
		return;
	buf_done(&e->line);
	buf_done(&e->data);
	free(e);
}

int http_events(struct http_stream *s, http_event_fn *fn, void *data, struct err *err)
{
	struct http_events *e = http_events_new();
	char piece[8192];
	ssize_t n;
	int r = 0;

	while (r == 0 && (n = http_read(s, piece, sizeof(piece), err)) != 0)
		r = n < 0 ? (int)n : take_bytes(e, piece, (size_t)n, fn, data, err);
	http_events_free(e);
	return r;
}

int http_events_ready(struct http_events *e, struct http_stream *s, http_event_fn *fn, void *data,
	struct err *err)
{
	char piece[8192];
	ssize_t n;
	int r;

	while ((r = http_ready(s, err)) == 1) {
		n = http_read(s, piece, sizeof(piece), err);
		if (n == 0)
			return err_set(err, EPIPE, "the gateway ended the stream");
		r = n < 0 ? (int)n : take_bytes(e, piece, (size_t)n, fn, data, err);
		if (r != 0)
			return r;
	}
	return r;
}
