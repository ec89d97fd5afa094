/* HTTP to the gateway: its unix socket or a URL. The owner of libcurl. */
#ifndef BERTH_HTTP_CLIENT_H
#define BERTH_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"
#include "json.h"

#define HTTP_JSON_MAX (16u << 20)    /* an answer that is held whole */
#define HTTP_EVENT_MAX (1u << 20)    /* one server-sent event */
#define HTTP_BUFFER_MAX (512u << 10) /* bytes on their way in a stream, each direction */

struct http_client;

/*
 * url: "http[s]://host[:port][/base]", or NULL for the unix socket at socket_path. token may be
 * NULL. Connects only with the first request.
 */
int http_client_new(struct http_client **ret, const char *url, const char *token,
	const char *socket_path, struct err *err);
void http_client_free(struct http_client *c);

/* Called about eight times a second while a request waits; nonzero gives the request up with
 * -ECANCELED. */
typedef int http_tick_fn(void *data);

/* One request as a pair of byte streams, each bounded; nothing is read ahead further than
 * HTTP_BUFFER_MAX. */
struct http_stream;

struct http_request {
	const char *method, *path; /* path percent-encoded, with its query */
	const cJSON *json;         /* the body, or NULL */
	const char *accept;        /* NULL: anything */
	bool upload;               /* the body comes through http_write */
	int64_t upload_size;       /* -1: not known */
	http_tick_fn *tick;        /* may be NULL */
	void *tick_data;
};

int http_open(struct http_stream **ret, struct http_client *c, const struct http_request *rq,
	struct err *err);
/* All of it. -EPIPE when the server has answered already (http_answer says what). */
int http_write(struct http_stream *s, const void *data, size_t n, struct err *err);
/*
 * Ends the body if there was one to write, and waits for the head of the answer. 0 for 2xx;
 * otherwise err is made of the problem in the body.
 */
int http_answer(struct http_stream *s, struct err *err);
/* Bytes of the answer's body, 0 at its end, negative when it broke off. After http_answer. */
ssize_t http_read(struct http_stream *s, void *data, size_t n, struct err *err);
/* 1: http_read would not wait; 0: it would. After http_answer. */
int http_ready(struct http_stream *s, struct err *err);
/* Content-Length of the answer, -1 if it did not say. */
int64_t http_length(const struct http_stream *s);
/* "text/event-stream" and the like, without parameters; "" if it did not say. */
const char *http_type(const struct http_stream *s);
void http_close(struct http_stream *s);

/* One request whose answer is held: JSON, or NULL in *ret (may be NULL) when there was no content.
 */
int http_call(struct http_client *c, const struct http_request *rq, cJSON **ret, struct err *err);

/*
 * Reads an answer of type text/event-stream; fn gets each event's name and data (JSON, its own only
 * during the call) and ends the reading with a value other than 0, which is returned. 0 at the end
 * of the stream.
 */
typedef int http_event_fn(void *data, const char *event, const cJSON *json, struct err *err);
int http_events(struct http_stream *s, http_event_fn *fn, void *data, struct err *err);
/* The same for who reads several streams in turn: what is there, without waiting. 0: there may come
 * more; -EPIPE at the end of the stream. e is the caller's, one for each stream. */
struct http_events;
struct http_events *http_events_new(void);
void http_events_free(struct http_events *e);
int http_events_ready(struct http_events *e, struct http_stream *s, http_event_fn *fn, void *data,
	struct err *err);

/*
 * A connection to the gateway on which the caller speaks a protocol of its own (WebSocket).
 * http_raw_fd is for poll; recv and send give -EAGAIN when there is nothing or no room, recv 0 at
 * the end.
 */
struct http_raw;
int http_raw_open(struct http_raw **ret, struct http_client *c, struct err *err);
int http_raw_fd(const struct http_raw *r);
ssize_t http_raw_recv(struct http_raw *r, void *data, size_t n);
ssize_t http_raw_send(struct http_raw *r, const void *data, size_t n);
void http_raw_close(struct http_raw *r);
/* What a request on it needs: the path with the URL's base in front, the Host, the token (or NULL).
 */
const char *http_client_base(const struct http_client *c);
const char *http_client_host(const struct http_client *c);
const char *http_client_token(const struct http_client *c);

#endif
