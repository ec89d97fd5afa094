/* One CDP connection: client WebSocket, filter, browser WebSocket. */
#include "cdp.h"

#include <errno.h>
#include <string.h>

#include "cdp_dial.h"
#include "filter.h"
#include "log.h"
#include "upstream.h"
#include "util.h"

/*
 * Theory of operation. A link is made when a client asks and lives until its on_close:
 *
 *   DIALLING --socket--> SHAKING --upstream open, ws_accept--> OPEN --either end--> ENDING
 * --on_close--> gone
 *
 *   client -> hold (at most 1 MiB) -> filter -> upstream       a larger message is scanned while it
 * passes; on a refusal its last frame is never sent browser -> client's queue nothing is held
 *
 * Each side is read only while the other's queue is below its high-water mark. An answer of our own
 * is sent between two messages of the browser: while one is under way it waits in `replies`, and
 * the client is not read while those are many.
 */
enum link_state { LINK_DIALLING, LINK_SHAKING, LINK_OPEN, LINK_ENDING };

struct cdp_link {
	struct cdp_link *next, **prev; /* all links, for the count per agent */
	struct gateway *gw;
	struct ws_conn *ws;
	enum link_state state;
	enum role role;
	char agent[64];
	bool to_page, accepted; /* accepted: the client's handshake is on its way */
	struct cdp_dial *dial;
	struct upstream *up;
	/* client to browser */
	struct buf hold;
	struct filter_stream *stream; /* while a message over FILTER_HOLD_MAX passes */
	uint64_t message_len;
	bool up_full, replies_full;
	uint64_t sent_at;  /* ms: the last whole message */
	size_t unanswered; /* messages to the browser less its answers; a guest may lie about them
			    */
	/* browser to client */
	bool in_message, detach;
	struct buf replies; /* each: 32-bit length, text */
};

static struct cdp_link *links;

/* ---- ends ---- */

static void link_drop_upstream(struct cdp_link *l)
{
	cdp_dial_cancel(l->dial);
	l->dial = NULL;
	upstream_free(l->up);
	l->up = NULL;
}

static void link_close(struct cdp_link *l, int code, const char *reason)
{
	if (l->state == LINK_ENDING)
		return;
	l->state = LINK_ENDING;
	link_drop_upstream(l);
	ws_close(l->ws, code, reason);
}

static void link_refuse(struct cdp_link *l, const struct err *err)
{
	l->state = LINK_ENDING;
	link_drop_upstream(l);
	ws_refuse(l->ws, err);
}

static void on_client_close(void *data)
{
	struct cdp_link *l = data;

	link_drop_upstream(l);
	*l->prev = l->next;
	if (l->next)
		l->next->prev = l->prev;
	buf_done(&l->hold);
	buf_done(&l->replies);
	free(l->stream);
	free(l);
}

/* ---- browser to client ---- */

static void send_text(struct cdp_link *l, const void *text, size_t n)
{
	if (ws_send_piece(l->ws, text, n, WS_FIRST | WS_FINAL | WS_IS_TEXT) >= CONN_HIGH_WATER)
		upstream_pause(l->up, true);
}

static void pause_client(struct cdp_link *l)
{
	ws_pause_reading(l->ws, l->up_full || l->replies_full);
}

/* A browser's message has ended: what we have to say ourselves goes out now. */
static void send_replies(struct cdp_link *l)
{
	struct reader r = reader_of(l->replies.data, l->replies.len);

	while (reader_left(&r) > 0) {
		uint32_t n = read_u32(&r);
		const uint8_t *text = read_bytes(&r, n);

		if (!text)
			break;
		send_text(l, text, n);
	}
	buf_done(&l->replies);
	if (l->replies_full) {
		l->replies_full = false;
		pause_client(l);
	}
	if (l->detach)
		link_close(l, 1000, "detached; the agent's browser goes on");
}

static void reply(struct cdp_link *l, struct buf *text)
{
	if (!l->in_message) {
		send_text(l, text->data, text->len);
		return;
	}
	if (!buf_add_u32(&l->replies, (uint32_t)text->len) ||
		!buf_add(&l->replies, text->data, text->len)) {
		link_close(l, 1008, "too many refused commands at once");
		return;
	}
	if (l->replies.len > CDP_REPLIES_MAX / 2 && !l->replies_full) {
		l->replies_full = true;
		pause_client(l);
	}
}

/* Chromium's answers begin with their id (or, to what has none, with the error), its events do not.
 */
static bool is_answer(const uint8_t *p, size_t n)
{
	return (n >= 5 && memcmp(p, "{\"id\"", 5) == 0) ||
	       (n >= 8 && memcmp(p, "{\"error\"", 8) == 0);
}

static void on_up_piece(void *data, uint8_t *p, size_t n, bool first, bool final)
{
	struct cdp_link *l = data;
	unsigned int flags = (first ? WS_FIRST : 0) | (final ? WS_FINAL : 0) | WS_IS_TEXT;

	metric_add(METRIC_CDP_BROWSER_BYTES, n);
	l->in_message = !final;
	if (first && l->unanswered && is_answer(p, n))
		l->unanswered--;
	if (ws_send_in_place(l->ws, p, n, flags) >= CONN_HIGH_WATER)
		upstream_pause(l->up, true);
	if (!final)
		return;
	metric_add(METRIC_CDP_MESSAGES, 1);
	if (l->replies.len || l->detach)
		send_replies(l);
}

static void on_client_writable(void *data)
{
	struct cdp_link *l = data;

	if (l->up)
		upstream_pause(l->up, false);
}

/* ---- client to browser ---- */

static void send_up(struct cdp_link *l, const void *p, size_t n, bool first, bool final)
{
	if (final) {
		metric_add(METRIC_CDP_MESSAGES, 1);
		l->unanswered++;
		l->sent_at = uv_now(gateway_loop(l->gw));
	}
	if (upstream_send(l->up, p, n, first, final) >= UPSTREAM_HIGH_WATER && !l->up_full) {
		l->up_full = true;
		pause_client(l);
	}
}

static void on_up_writable(void *data)
{
	struct cdp_link *l = data;

	l->up_full = false;
	pause_client(l);
}

/* A whole message, held. */
static void judge(struct cdp_link *l, const char *text, size_t n)
{
	struct buf out;

	buf_init(&out, n + 4096);
	switch (filter_message(l->role, text, n, &out)) {
	case FILTER_PASS:
		send_up(l, text, n, true, true);
		break;
	case FILTER_REWRITE:
		send_up(l, out.data, out.len, true, true);
		break;
	case FILTER_REFUSE:
		metric_add(METRIC_CDP_BLOCKED, 1);
		reply(l, &out);
		break;
	case FILTER_ANSWER:
		reply(l, &out);
		break;
	case FILTER_DETACH:
		reply(l, &out);
		l->detach = true;
		if (!l->in_message)
			link_close(l, 1000, "detached; the agent's browser goes on");
		break;
	}
	buf_done(&out);
}

static void refuse_large(struct cdp_link *l, const char *why)
{
	metric_add(METRIC_CDP_BLOCKED, 1);
	link_close(l, 1008, why);
}

/* A piece of a message that is too large to be held. */
static void pass_piece(struct cdp_link *l, const void *p, size_t n, bool first, bool final)
{
	char why[124];

	if (filter_stream_feed(l->stream, p, n) < 0) {
		refuse_large(l, "the message is not one strict JSON object");
		return;
	}
	if (final && filter_stream_end(l->stream, why) < 0) {
		refuse_large(l, why);
		return;
	}
	send_up(l, p, n, first, final);
	if (final) {
		free(l->stream);
		l->stream = NULL;
	}
}

static void begin_stream(struct cdp_link *l)
{
	l->stream = xcalloc(1, sizeof(*l->stream));
	filter_stream_init(l->stream, l->role);
	pass_piece(l, l->hold.data, l->hold.len, true, false);
	buf_done(&l->hold);
}

static void on_client_piece(
	void *data, const uint8_t *p, size_t n, bool first, bool final, bool is_text)
{
	struct cdp_link *l = data;

	if (l->state != LINK_OPEN || l->detach)
		return;
	metric_add(METRIC_CDP_CLIENT_BYTES, n);
	l->message_len = first ? n : l->message_len + n;
	if (!is_text) {
		link_close(l, 1003, "CDP speaks text");
		return;
	}
	if (l->message_len > CDP_MESSAGE_MAX) {
		link_close(l, 1009, "a message over 256 MiB");
		return;
	}
	if (first && final) {
		judge(l, (const char *)p, n);
		return;
	}
	if (!l->stream && n > FILTER_HOLD_MAX - l->hold.len)
		begin_stream(l);
	if (l->state != LINK_OPEN)
		return;
	if (l->stream) {
		pass_piece(l, p, n, false, final);
		return;
	}
	buf_add(&l->hold, p, n);
	if (!final)
		return;
	judge(l, (const char *)l->hold.data, l->hold.len);
	buf_done(&l->hold);
}

/* ---- opening ---- */

static void on_client_open(void *data)
{
	struct cdp_link *l = data;

	if (l->state != LINK_SHAKING)
		return;
	l->state = LINK_OPEN;
	upstream_pause(l->up, false);
}

static void on_up_open(void *data)
{
	struct cdp_link *l = data;

	/* What the browser says before the client's side is open waits in the socket. */
	upstream_pause(l->up, true);
	l->accepted = true;
	ws_accept(l->ws);
}

static void on_up_close(void *data, const char *reason, bool fault)
{
	struct cdp_link *l = data;
	struct err err;

	if (fault)
		log_warning("cdp: agent %s: %s", l->agent, reason);
	if (l->accepted) {
		if (fault)
			link_close(l, 1011, reason);
		else if (l->to_page)
			link_close(l, 1001, "this page is gone");
		else
			link_close(l, 1012,
				"the browser restarted; connect again to the same address");
		return;
	}
	err_set(&err, -EIO, "agent %s: %s", l->agent, reason);
	if (streq(reason, "no such target"))
		err_type(&err, 404, "not-found");
	else
		err_type(&err, 503, "browser-unavailable");
	link_refuse(l, &err);
}

/* A command that the guest got and did not answer before it fell asleep. Who waits longer than that
 * waits for something that may take hours: then the next message wakes it. */
static void on_up_sleep(void *data)
{
	struct cdp_link *l = data;

	if (l->unanswered && uv_now(gateway_loop(l->gw)) - l->sent_at < CDP_UNDER_WAY_MS)
		upstream_wake(l->up);
}

static void on_up_gone(void *data, int code, const char *reason)
{
	struct cdp_link *l = data;
	struct err err;

	if (l->accepted) {
		link_close(l, code, reason);
		return;
	}
	err_set(&err, -EIO, "agent %s: %s", l->agent, reason);
	err_type(&err, 503, "browser-unavailable");
	link_refuse(l, &err);
}

static const struct upstream_owner up_owner = {
	.on_open = on_up_open,
	.on_piece = on_up_piece,
	.on_writable = on_up_writable,
	.on_close = on_up_close,
	.on_sleep = on_up_sleep,
	.on_gone = on_up_gone,
};

static const struct ws_owner client_owner = {
	.on_open = on_client_open,
	.on_piece = on_client_piece,
	.on_writable = on_client_writable,
	.on_close = on_client_close,
};

static void on_dialled(
	void *data, int fd, const char *path, uint64_t generation, const struct err *err)
{
	struct cdp_link *l = data;

	l->dial = NULL;
	if (fd < 0) {
		link_refuse(l, err);
		return;
	}
	l->state = LINK_SHAKING;
	l->up = upstream_new(gateway_loop(l->gw), fd, path, &up_owner, l);
	upstream_tie(l->up, l->gw, l->agent, generation);
}

static size_t count_links(const char *agent)
{
	size_t n = 0;

	for (const struct cdp_link *l = links; l; l = l->next)
		n += streq(l->agent, agent);
	return n;
}

/* 0 with the path to ask the browser for ("" for its own end), or why not. */
static int check(const struct route_match *m, char path[160], struct err *err)
{
	const char *below = m->below ? m->below : "", *id = strrchr(below, '/');

	path[0] = '\0';
	if (m->who.role < ROLE_AGENT) {
		err_set(err, -EPERM, "a viewer's token may look, not drive");
		err_hint(err, "`berth token create --role agent --agent %s` makes one that may",
			m->agent);
		return err_type(err, 403, "forbidden");
	}
	if (count_links(m->agent) >= GATEWAY_CLIENTS_PER_AGENT) {
		err_set(err, -EBUSY, "agent %s has %d clients already", m->agent,
			GATEWAY_CLIENTS_PER_AGENT);
		err_hint(err, "close one of them");
		return err_type(err, 429, "too-many-requests");
	}
	if (!starts_with(below, "/devtools/"))
		return 0;
	if (!id || !cdp_id_valid(id + 1)) {
		err_set(err, -EINVAL, "no browser or page can have this id");
		return err_type(err, 404, "not-found");
	}
	snprintf(path, 160, "%s", below);
	return 0;
}

void cdp_serve_ws(struct gateway *gw, struct ws_conn *ws, const struct route_match *m)
{
	struct cdp_link *l;
	struct err err = {0};
	char path[160];

	if (check(m, path, &err) < 0) {
		ws_refuse(ws, &err);
		return;
	}
	l = xcalloc(1, sizeof(*l));
	l->gw = gw;
	l->ws = ws;
	l->role = m->who.role;
	l->to_page = starts_with(path, "/devtools/page/");
	snprintf(l->agent, sizeof(l->agent), "%s", m->agent);
	buf_init(&l->hold, FILTER_HOLD_MAX);
	buf_init(&l->replies, CDP_REPLIES_MAX);
	l->next = links;
	l->prev = &links;
	if (links)
		links->prev = &l->next;
	links = l;
	ws_set_owner(ws, &client_owner, l);
	l->dial = cdp_dial_new(gw, l->agent, path[0] ? path : NULL, on_dialled, l);
}
