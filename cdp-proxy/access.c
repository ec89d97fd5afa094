/* Open connections whose token no longer counts: expired, revoked, or gone while berthd was away.
 */
#include "access.h"
#include "gateway_state.h"
#include "util.h"

#include <string.h>

/*
 * A token is checked when a connection comes, and a connection may stay for days. So what is open
 * ends with it:
 *
 *   it expires        one timer for the next one to do so; it looks at the wall clock, and at least
 *                     every LOOK_MS while anything that expires is open, as that clock may be set
 *   it is revoked     berthd's event
 *   its agent goes    berthd's event: tokens for one agent go with it
 *   berthd was away   each token that has something open is asked for again
 *
 * A WebSocket gets a close frame, 1008, and nothing of what waits for it; the rest is cut.
 */
#define LOOK_MS 5000
#define MS 1000000

struct access {
	struct gateway *gw;
	uv_timer_t timer;
	int64_t next; /* ms since 1970, when the first one expires; 0: none that does is open */
};

/* A token asked for again. Freed by its answer. */
struct recheck {
	struct gateway *gw;
	char token_id[64];
};

static int64_t now_wall_ms(void)
{
	return realtime_ns() / MS;
}

static void cut(struct http_conn *c, const char *why)
{
	if (c->state == CONN_WS && c->ws)
		ws_conn_cut(c, why);
	else if (c->state != CONN_CLOSED)
		conn_close_soon(c);
}

static void on_timer(uv_timer_t *timer);

static void arm(struct access *a)
{
	int64_t ms = a->next - now_wall_ms();

	if (!a->next)
		uv_timer_stop(&a->timer);
	else
		uv_timer_start(&a->timer, on_timer, (uint64_t)MAX(1, MIN(ms, LOOK_MS)), 0);
}

static void on_timer(uv_timer_t *timer)
{
	struct access *a = timer->data;
	int64_t now = now_wall_ms();

	a->next = 0;
	for (struct http_conn *c = a->gw->conns; c; c = c->next) {
		int64_t at = c->match.who.expires_ms;

		if (at && at <= now)
			cut(c, "the token has expired");
		else if (at && (!a->next || at < a->next))
			a->next = at;
	}
	arm(a);
}

void access_watch(struct access *a, const struct http_conn *c)
{
	int64_t at = c->match.who.expires_ms;

	if (!at || (a->next && a->next <= at))
		return;
	a->next = at;
	arm(a);
}

void access_cut(struct gateway *gw, const char *token_id, const char *agent)
{
	for (struct http_conn *c = gw->conns; c; c = c->next) {
		const struct principal *who = &c->match.who;

		if (c->from != LISTEN_TCP || !who->token_id[0])
			continue;
		if ((token_id && streq(who->token_id, token_id)) ||
			(agent && agent[0] && streq(who->agent, agent)))
			cut(c, "the token was revoked");
	}
}

static void on_answer(void *data, const cJSON *ok, const struct err *err)
{
	struct recheck *q = data;

	(void)ok;
	if (err && err->status == 401)
		access_cut(q->gw, q->token_id, NULL);
	free(q);
}

static void ask(struct gateway *gw, const struct principal *who)
{
	struct recheck *q = xcalloc(1, sizeof(*q));
	cJSON *args = cJSON_CreateObject();
	char hex[2 * sizeof(who->token_hash) + 1];

	q->gw = gw;
	memcpy(q->token_id, who->token_id, sizeof(q->token_id));
	hex_encode(who->token_hash, sizeof(who->token_hash), hex);
	cJSON_AddStringToObject(args, "hash", hex);
	gateway_ask(gw, "token.check", args, NULL, on_answer, q);
}

static bool came_by_token(const struct http_conn *c)
{
	return c->from == LISTEN_TCP && c->match.who.token_id[0];
}

void access_recheck(struct gateway *gw)
{
	for (struct http_conn *c = gw->conns; c; c = c->next) {
		const struct http_conn *before = gw->conns;

		if (!came_by_token(c))
			continue;
		while (before != c && !streq(before->match.who.token_id, c->match.who.token_id))
			before = before->next;
		if (before == c)
			ask(gw, &c->match.who);
	}
}

struct access *access_new(struct gateway *gw)
{
	struct access *a = xcalloc(1, sizeof(*a));

	a->gw = gw;
	uv_timer_init(&gw->loop, &a->timer);
	a->timer.data = a;
	return a;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void access_close(struct access *a)
{
	if (a)
		uv_close((uv_handle_t *)&a->timer, on_closed);
}
