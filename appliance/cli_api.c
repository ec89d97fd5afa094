/* The way from a command to the gateway: the connection, one request, its progress. */
#include "cli.h"
#include "cli_progress.h"
#include "http_client.h"
#include "paths.h"
#include "util.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

struct http_client *cli_client(struct cli *c, struct err *err)
{
	AUTOFREE char *path = path_in(c->state, "run/api/api.sock");

	if (!c->client && http_client_new(&c->client, c->url, c->token, path, err) < 0)
		return NULL;
	return c->client;
}

char *cli_encode(const char *s, bool keep_slash)
{
	char *out = xmalloc(3 * strlen(s) + 1), *p = out;

	for (; *s; s++) {
		unsigned char ch = (unsigned char)*s;

		if ((ch < 128 && isalnum(ch)) || strchr("-._~", ch) || (ch == '/' && keep_slash))
			*p++ = *s;
		else
			p += sprintf(p, "%%%02X", ch);
	}
	*p = 0;
	return out;
}

char *cli_agent_path(const char *name, const char *rest, struct err *err)
{
	if (agent_name_check(name, err) < 0)
		return NULL;
	return xasprintf("/v1/agents/%s%s", name, rest);
}

struct waiting {
	struct progress progress;
	cJSON *result; /* owned */
};

static int on_tick(void *data)
{
	struct waiting *w = data;

	progress_tick(&w->progress);
	return 0;
}

/* The events of a long request (docs/internals.md): 1 ends the reading. */
static int on_event(void *data, const char *event, const cJSON *json, struct err *err)
{
	struct waiting *w = data;

	if (streq(event, "progress")) {
		progress_step(
			&w->progress, json_str(json, "step", ""), json_str(json, "detail", NULL));
		return 0;
	}
	if (streq(event, "error")) {
		json_to_err(json, err);
		return err->code;
	}
	if (!streq(event, "result"))
		return 0;
	w->result = cJSON_Duplicate(json, true);
	return 1;
}

static int read_events(struct http_stream *s, struct waiting *w, struct err *err)
{
	int r = http_events(s, on_event, w, err);

	if (r == 0) {
		err_set(err, EPIPE, "the gateway broke off before the work was done");
		return err_hint(err, "`berth status` and `berth ls` tell how far it came");
	}
	return r < 0 ? r : 0;
}

static int read_whole(struct http_stream *s, cJSON **ret, struct err *err)
{
	size_t len = 0, room = 65536;
	AUTOFREE char *all = xmalloc(room);
	ssize_t n;

	while ((n = http_read(s, all + len, room - len, err)) > 0) {
		len += (size_t)n;
		if (len > HTTP_JSON_MAX)
			return err_set(err, EFBIG, "the gateway's answer is over %u MiB",
				HTTP_JSON_MAX >> 20);
		if (len == room)
			all = xrealloc(all, room *= 2);
	}
	if (n < 0)
		return (int)n;
	*ret = len ? cJSON_ParseWithLength(all, len) : NULL;
	return len && !*ret ? err_set(err, EPROTO, "the gateway's answer is not JSON") : 0;
}

/* A request that may take long: asked for as events, shown as progress. */
static int call_waiting(struct http_client *client, const struct http_request *plain,
	const char *doing, cJSON **ret, struct err *err)
{
	struct waiting w = {.result = NULL};
	struct http_request rq = *plain;
	struct http_stream *s = NULL;
	int r;

	progress_start(&w.progress, doing);
	rq.accept = "text/event-stream, application/json";
	rq.tick = on_tick;
	rq.tick_data = &w;
	r = http_open(&s, client, &rq, err);
	if (r == 0)
		r = http_answer(s, err);
	if (r == 0)
		r = streq(http_type(s), "text/event-stream") ? read_events(s, &w, err)
							     : read_whole(s, &w.result, err);
	http_close(s);
	progress_end(&w.progress, r == 0);
	*ret = w.result;
	return r;
}

int cli_call(struct cli *c, const char *method, const char *path, cJSON *body, const char *doing,
	cJSON **ret, struct err *err)
{
	struct http_client *client = cli_client(c, err);
	struct http_request rq = {.method = method, .path = path, .json = body};
	cJSON *answer = NULL;
	int r = -EINVAL;

	if (client && doing)
		r = call_waiting(client, &rq, doing, &answer, err);
	else if (client)
		r = http_call(client, &rq, &answer, err);
	cJSON_Delete(body);
	if (r == 0 && ret)
		*ret = answer;
	else
		cJSON_Delete(answer);
	return client ? r : err->code;
}
