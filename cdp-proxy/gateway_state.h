/* The gateway's one object: what its own modules share. Handlers see gateway.h only. */
#ifndef BERTH_GATEWAY_STATE_H
#define BERTH_GATEWAY_STATE_H

#include "auth.h"
#include "conn.h"
#include "daemon_link.h"
#include "gateway.h"
#include "ports.h"

struct access;
struct action_log;
struct listener;
struct events_hub;
struct lws_side;
struct tied_agent;

/* Owned by main(). */
struct gateway {
	uv_loop_t loop;
	char *state_dir;
	char listen[64];         /* ADDR:PORT */
	char **hosts, **origins; /* NULL-terminated, owned */
	int control_dir;         /* STATE/run/control, opened before privileges were dropped; -1 */
	struct daemon_link *daemon;
	struct auth *auth;
	struct access *access;
	struct events_hub *events;
	struct action_log *actions; /* NULL once it ends */
	struct ports *ports;
	struct tied_agent *tied; /* agents with connections into them */
	struct lws_side *lws;
	struct listener *listeners;
	struct http_conn *conns;
	size_t n_conns;
	char *openapi, *start_page;
	uv_signal_t on_term, on_int;
	uv_timer_t closing;
	bool stopping;
};

#endif
