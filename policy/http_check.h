/* A plain HTTP/1 connection as the relay sees it: every request names the host the connection is
 * for. */
#ifndef BERTH_POLICY_HTTP_CHECK_H
#define BERTH_POLICY_HTTP_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "http.h"

#define HTTP_LINE_MAX 1024    /* a chunk's size line or a trailer line */
#define HTTP_TRAILER_MAX 8192 /* all trailers of a message */

enum http_check_state {
	HTTP_HEAD,
	HTTP_BODY,
	HTTP_CHUNK_SIZE,
	HTTP_CHUNK_DATA,
	HTTP_CHUNK_END,
	HTTP_TRAILER,
	HTTP_UPGRADE, /* waits for the server's word on an upgrade; nothing passes */
	HTTP_RAW,     /* upgraded to a WebSocket: everything passes */
};

/* Embedded. */
struct http_check {
	enum http_check_state state;
	uint16_t port;
	char name[256]; /* of the first request, in normal form; "" before it */
	unsigned requests;
	uint64_t left; /* of a body or chunk, or of the trailers */
	size_t seen;   /* bytes of an unfinished head or line that were looked at already */
	bool websocket;
	struct buf answer; /* the server's head, in HTTP_UPGRADE */
};

void http_check_init(struct http_check *c, uint16_t port);
void http_check_done(struct http_check *c);
/*
 * Looks at the n bytes that have not passed yet; *ret_pass of them may pass now. 0, or -EACCES with
 * the reason: then nothing more may pass. The caller settles `name` before anything goes out.
 */
int http_check_feed(struct http_check *c, const char *data, size_t n, size_t *ret_pass,
	const char **ret_reason);
/* Bytes from the server, which matter only in HTTP_UPGRADE. 0, or -EACCES with the reason. */
int http_check_answer(struct http_check *c, const char *data, size_t n, const char **ret_reason);

#endif
