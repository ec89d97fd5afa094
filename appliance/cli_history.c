/* What happened: events of one agent or of all, once or as they come. */
#include "cli.h"
#include "http_client.h"
#include "util.h"

#include <errno.h>
#include <string.h>

static void print_event(const cJSON *e)
{
	const char *agent = json_str(e, "agent", ""), *by = json_str(e, "by", "");

	cli_print("%s  %-18s %s%s%s%s%s%s", json_str(e, "time", "?"), json_str(e, "type", "?"),
		agent, agent[0] ? "  " : "", json_str(e, "detail", ""), by[0] ? "  (by " : "", by,
		by[0] ? ")" : "");
}

/* One JSON object per line, for programs that follow. */
static int on_event(void *data, const char *event, const cJSON *json, struct err *err)
{
	const struct cli *c = data;
	char *line;

	(void)event, (void)err;
	if (!c->json) {
		print_event(json);
	} else {
		line = cJSON_PrintUnformatted(json);
		puts(line);
		cJSON_free(line);
	}
	return fflush(stdout) == 0 ? 0 : 1;
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
	if (r == 0) {
		err_set(err, EPIPE, "the gateway ended the stream of events");
		return err_hint(err, "`berth status` tells whether it came back");
	}
	return r < 0 ? r : 0;
}

static int history(struct cli *c, const char *base, struct err *err)
{
	AUTOFREE char *path = NULL;
	AUTOJSON *v = NULL;
	const cJSON *e, *list;
	long long limit = 100;
	int r = cli_number(c, "limit", 1, 20000, &limit, err);

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

int cli_log(struct cli *c, struct err *err)
{
	AUTOFREE char *path = cli_agent_path(c->args[0], "/events", err);

	return path ? history(c, path, err) : err->code;
}

int cli_events(struct cli *c, struct err *err)
{
	return history(c, "/v1/events", err);
}
