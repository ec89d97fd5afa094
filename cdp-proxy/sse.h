/* Server-sent events (HTML, section 9.2) on a streamed answer. */
#ifndef BERTH_SSE_H
#define BERTH_SSE_H

#include "gateway.h"

void sse_begin(struct http_conn *c);
/* One event; event and id may be NULL. Bytes queued. */
size_t sse_send(struct http_conn *c, const char *event, const char *id, const cJSON *data);
/* A comment, so that proxies and clients see life. */
void sse_ping(struct http_conn *c);

#endif
