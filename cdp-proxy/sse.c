/* Server-sent events. */
#include "sse.h"
#include "bytes.h"
#include "util.h"

#include <string.h>

#define EVENT_MAX (8u << 20)

void sse_begin(struct http_conn *c)
{
	http_stream_begin(c, 200, "text/event-stream", "X-Accel-Buffering: no\r\n");
}

/* cJSON's unformatted text has no line ends, so one data line is enough. */
size_t sse_send(struct http_conn *c, const char *event, const char *id, const cJSON *data)
{
	AUTOFREE char *text = cJSON_PrintUnformatted(data);
	struct buf b;
	size_t queued;

	buf_init(&b, EVENT_MAX);
	if (id)
		buf_addf(&b, "id: %s\n", id);
	if (event)
		buf_addf(&b, "event: %s\n", event);
	buf_add_str(&b, "data: ");
	buf_add_str(&b, text ? text : "{}");
	buf_add_str(&b, "\n\n");
	queued = http_stream_write(c, b.data, b.len);
	buf_done(&b);
	return queued;
}

void sse_ping(struct http_conn *c)
{
	http_stream_write(c, ": \n\n", 4);
}
