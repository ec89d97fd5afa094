/* What happened: events of one agent or of all, and what models did, once or as they come. */
#include "cli.h"
#include "http_client.h"
#include "util.h"

#include <errno.h>
#include <string.h>

#define LIMIT_MAX 20000
#define ACTIONS_MAX 500 /* what the gateway gives at once */

static void print_event(const cJSON *e)
{
	const char *agent = json_str(e, "agent", ""), *by = json_str(e, "by", "");

	cli_print("%s  %-18s %s%s%s%s%s%s", json_str(e, "time", "?"), json_str(e, "type", "?"),
		agent, agent[0] ? "  " : "", json_str(e, "detail", ""), by[0] ? "  (by " : "", by,
		by[0] ? ")" : "");
}

/* "at=[640,400] button=left", the caller's to free. */
static char *params_text(const cJSON *params)
{
	char *all = xstrdup("");
	const cJSON *p;

	cJSON_ArrayForEach (p, params) {
		char *value =
			cJSON_IsString(p) ? xstrdup(p->valuestring) : cJSON_PrintUnformatted(p);
		char *longer = xasprintf("%s  %s=%s", all, p->string, value ? value : "?");

		free(value);
		free(all);
		all = longer;
	}
	return all;
}

static void print_action(const char *agent, const cJSON *a)
{
	AUTOFREE char *params = params_text(json_get(a, "params"));
	const char *error = json_str(a, "error", NULL), *url = json_str(a, "url", ""),
		   *by = json_str(a, "by", "");

	cli_print("%s  %-18s %s%s%s%s%s%s  %lld ms  (%s%s%s)", json_str(a, "time", "?"),
		json_str(a, "action", "?"), agent, params, url[0] ? "  " : "", url,
		error ? "  FAILED: " : "", error ? error : "",
		(long long)json_int(a, "duration_ms", 0), json_str(a, "source", "?"),
		by[0] ? " by " : "", by);
}

/* One JSON object per line, for programs that follow. */
static int print_line(const cJSON *json)
{
	char *line = cJSON_PrintUnformatted(json);

	puts(line);
	cJSON_free(line);
	return fflush(stdout) == 0 ? 0 : 1;
}

static int on_event(void *data, const char *event, const cJSON *json, struct err *err)
{
	const struct cli *c = data;

	(void)event, (void)err;
	if (c->json)
		return print_line(json);
	print_event(json);
	return fflush(stdout) == 0 ? 0 : 1;
}

static int on_action(void *data, const char *event, const cJSON *json, struct err *err)
{
	const struct cli *c = data;

	if (streq(event, "error")) {
		json_to_err(json, err);
		return err->code;
	}
	if (c->json)
		return print_line(json);
	print_action(c->args[0], json);
	return fflush(stdout) == 0 ? 0 : 1;
}

static int ended(struct err *err)
{
	err_set(err, EPIPE, "the gateway ended the stream of events");
	return err_hint(err, "`berth status` tells whether it came back");
}

int cli_follow(struct cli *c, const char *path,
	int (*fn)(void *data, const char *event, const cJSON *json, struct err *err),
	struct err *err)
{
	struct http_client *client = cli_client(c, err);
	struct http_request rq = {.method = "GET", .path = path, .accept = "text/event-stream"};
	struct http_stream *s = NULL;
	int r = client ? http_open(&s, client, &rq, err) : err->code;

	if (r == 0)
		r = http_answer(s, err);
	if (r == 0)
		r = http_events(s, fn, c, err);
	http_close(s);
	if (r == 0)
		return ended(err);
	return r < 0 ? r : 0;
}

/* ---- One agent: events, and actions between them ---- */

/* Two streams, read in turn: that of events waits, and at each tick the other is looked at. */
struct both {
	struct cli *c;
	struct http_stream *events, *actions;
	struct http_events *reader;
	struct err err; /* of the actions */
	int over;       /* what their reading gave, not 0 at its end */
};

static int on_tick(void *data)
{
	struct both *b = data;

	b->over = http_events_ready(b->reader, b->actions, on_action, b->c, &b->err);
	return b->over;
}

static int open_stream(struct http_stream **ret, struct http_client *client, const char *path,
	struct both *ticks, struct err *err)
{
	struct http_request rq = {.method = "GET",
		.path = path,
		.accept = "text/event-stream",
		.tick = ticks ? on_tick : NULL,
		.tick_data = ticks};
	int r = http_open(ret, client, &rq, err);

	return r == 0 ? http_answer(*ret, err) : r;
}

static int follow_both(struct cli *c, const char *events, const char *actions, struct err *err)
{
	struct both b = {.c = c, .reader = http_events_new()};
	struct http_client *client = cli_client(c, err);
	int r = client ? open_stream(&b.actions, client, actions, NULL, err) : err->code;

	if (r == 0)
		r = open_stream(&b.events, client, events, &b, err);
	if (r == 0)
		r = http_events(b.events, on_event, c, err);
	if (b.over < 0 && b.over != -EPIPE)
		*err = b.err;
	else if (r == 0 || b.over == -EPIPE)
		r = ended(err);
	else if (b.over > 0)
		r = 0; /* nobody reads what is printed */
	http_close(b.events);
	http_close(b.actions);
	http_events_free(b.reader);
	return r < 0 ? r : 0;
}

static bool is_earlier(const cJSON *event, const cJSON *action)
{
	if (!event || !action)
		return event != NULL;
	return strcmp(json_str(event, "time", ""), json_str(action, "time", "")) <= 0;
}

/* Both lists, each the oldest first, as one: the last `limit`. */
static void print_both(
	const struct cli *c, const cJSON *events, const cJSON *actions, long long limit)
{
	const cJSON *e = events ? events->child : NULL, *a = actions ? actions->child : NULL;
	long long skip = cJSON_GetArraySize(events) + cJSON_GetArraySize(actions) - limit;

	for (; e || a; skip--) {
		bool event = is_earlier(e, a);
		const cJSON *one = event ? e : a;

		e = event ? e->next : e;
		a = event ? a : a->next;
		if (skip > 0)
			continue;
		if (c->json)
			print_line(one);
		else if (event)
			print_event(one);
		else
			print_action(c->args[0], one);
	}
}

static long long last_seq(const cJSON *list)
{
	int n = cJSON_GetArraySize(list);

	return n ? (long long)json_int(cJSON_GetArrayItem(list, n - 1), "seq", 0) : 0;
}

/* Prints both, and goes on from there if that is wanted. all: {events, actions}. */
static int show_both(
	struct cli *c, const char *base, const cJSON *all, long long limit, struct err *err)
{
	const cJSON *events = json_get(all, "events"), *actions = json_get(all, "actions");
	AUTOFREE char *more_events =
		xasprintf("%s/events?follow=1&after=%lld", base, last_seq(events));
	AUTOFREE char *more_actions =
		xasprintf("%s/log?follow=1&after=%lld", base, last_seq(actions));

	if (c->json && !cli_flag(c, "follow")) {
		cli_print_json(all);
		return 0;
	}
	print_both(c, events, actions, limit);
	if (!cli_flag(c, "follow"))
		return 0;
	fflush(stdout);
	return follow_both(c, more_events, more_actions, err);
}

int cli_log(struct cli *c, struct err *err)
{
	AUTOFREE char *base = cli_agent_path(c->args[0], "", err), *events_path = NULL,
		      *actions_path = NULL;
	AUTOJSON *events = NULL, *actions = NULL;
	long long limit = 100;
	cJSON *list;
	int r = base ? cli_number(c, "limit", 1, LIMIT_MAX, &limit, err) : err->code;

	if (r < 0)
		return r;
	events_path = xasprintf("%s/events?follow=0&limit=%lld", base, limit);
	actions_path = xasprintf("%s/log?limit=%lld", base, MIN(limit, ACTIONS_MAX));
	r = cli_call(c, "GET", actions_path, NULL, NULL, &actions, err);
	if (r == 0)
		r = cli_call(c, "GET", events_path, NULL, NULL, &events, err);
	if (r < 0)
		return r;
	list = cJSON_DetachItemFromObject(actions, "entries");
	cJSON_AddItemToObject(events, "actions", list ? list : cJSON_CreateArray());
	return show_both(c, base, events, limit, err);
}

/* ---- All agents ---- */

static int history(struct cli *c, const char *base, struct err *err)
{
	AUTOFREE char *path = NULL;
	AUTOJSON *v = NULL;
	const cJSON *e, *list;
	long long limit = 100;
	int r = cli_number(c, "limit", 1, LIMIT_MAX, &limit, err);

	if (r < 0)
		return r;
	path = xasprintf("%s?follow=%d&limit=%lld", base, cli_flag(c, "follow"), limit);
	if (cli_flag(c, "follow"))
		return cli_follow(c, path, on_event, err);
	r = cli_call(c, "GET", path, NULL, NULL, &v, err);
	if (r < 0)
		return r;
	if (c->json) {
		cli_print_json(v);
		return 0;
	}
	list = cJSON_IsArray(v) ? v : json_get(v, "events");
	cJSON_ArrayForEach (e, list) {
		print_event(e);
	}
	return 0;
}

int cli_events(struct cli *c, struct err *err)
{
	return history(c, "/v1/events", err);
}
