/* The client's side of a WebSocket to the gateway. */
#ifndef BERTH_CLI_WS_H
#define BERTH_CLI_WS_H

#include "bytes.h"
#include "http_client.h"
#include "ws.h"

struct ws_client;

/* Connects and shakes hands at a path of the gateway; err is the gateway's problem when it refuses.
 */
int ws_client_open(struct ws_client **ret, struct http_client *c, const char *path,
	const char *protocol, struct err *err);
void ws_client_free(struct ws_client *w);
int ws_client_fd(const struct ws_client *w);
/* Queues one whole message; the caller keeps ws_client_queued() small. */
void ws_client_send(struct ws_client *w, enum ws_op op, const void *data, size_t n);
size_t ws_client_queued(const struct ws_client *w);

/* A piece of a message: op is WS_TEXT or WS_BINARY for every piece of it. */
typedef void ws_client_fn(
	void *data, enum ws_op op, const uint8_t *p, size_t n, bool first, bool final);
/*
 * Sends what can be sent and gives what has come, without waiting. 0; -EPIPE when the other side
 * has ended (err says so); another error on a broken protocol.
 */
int ws_client_work(struct ws_client *w, ws_client_fn *fn, void *data, struct err *err);

#endif
