/* POST …/computer: a model's actions in its vendor's own form, and the answer in the same. */
#include "computer.h"

#include <errno.h>
#include <string.h>

#include "executor.h"
#include "problem.h"
#include "util.h"
#include "vendor.h"

#define REMARKS_MAX 2000

/* One request; freed when its connection closes. */
struct request_run {
	struct http_conn *c;
	struct plan plan;
	struct run *run; /* NULL once it is over */
};

static void on_close(void *data)
{
	struct request_run *q = data;

	if (q->run)
		run_cancel(q->run);
	plan_done(&q->plan);
	free(q);
}

/* For answers without a place for words: the same in a header, in ASCII. NULL for none. */
static char *remarks_header(const struct plan *p, const struct action_result *results)
{
	AUTOFREE char *text = plan_remarks(p, results);

	if (!text)
		return NULL;
	if (strlen(text) > REMARKS_MAX)
		text[REMARKS_MAX] = '\0';
	for (char *at = text; *at; at++)
		if (*at < 0x20 || *at > 0x7e)
			*at = *at == '\n' ? ' ' : '?';
	return xasprintf("X-Berth-Remarks: %s\r\n", text);
}

static void on_done(void *data, const struct action_result *results, const struct err *failure)
{
	struct request_run *q = data;
	AUTOFREE char *header = NULL;
	AUTOFREE char *text = NULL;
	cJSON *answer;

	q->run = NULL;
	if (failure && !q->plan.vendor->text_fails) {
		http_reply_problem(q->c, failure);
		return;
	}
	answer = plan_answer(&q->plan, results);
	text = cJSON_PrintUnformatted(answer);
	cJSON_Delete(answer);
	header = remarks_header(&q->plan, results);
	http_reply(q->c, 200, "application/json", header, text, strlen(text));
}

/* ---- The request ---- */

/* A word of the query; NULL when it is absent. */
static int read_word(const struct route_match *m, const char *name, char *room, size_t size,
	const char **ret, struct err *err)
{
	int r = http_query(&m->target, name, room, size);

	*ret = r > 0 && room[0] ? room : NULL;
	return r < 0 ? problem(err, 400, "invalid-request", "'%s' is too long or malformed", name)
		     : 0;
}

static int read_pictures(const struct route_match *m, struct plan *p, struct err *err)
{
	static const char *const words[] = {"auto", "always", "never"};
	char room[16];
	const char *word;

	if (read_word(m, "screenshot", room, sizeof(room), &word, err) < 0)
		return err->code;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (word && !streq(word, words[i]))
			continue;
		p->pictures = (enum plan_pictures)i;
		return 0;
	}
	return problem(err, 400, "invalid-request", "'screenshot' must be auto, always or never");
}

static int read_enabled(const struct route_match *m, struct plan *p, struct err *err)
{
	char room[128];
	const char *names;

	if (read_word(m, "enable", room, sizeof(room), &names, err) < 0)
		return err->code;
	return names ? plan_enable(p, names, err) : 0;
}

static int read_request(const struct route_match *m, struct plan *p, struct err *err)
{
	char vendor_room[32], version_room[64];
	const char *vendor, *version;

	if (!m->body)
		return problem(err, 400, "invalid-request", "a JSON body is wanted");
	if (read_pictures(m, p, err) < 0 || read_enabled(m, p, err) < 0 ||
		read_word(m, "vendor", vendor_room, sizeof(vendor_room), &vendor, err) < 0 ||
		read_word(m, "version", version_room, sizeof(version_room), &version, err) < 0)
		return err->code;
	return plan_read(p, m->body, vendor, version, err);
}

static const struct http_owner owner = {.on_close = on_close};

void computer_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m)
{
	struct request_run *q = xcalloc(1, sizeof(*q));
	struct action_source from;
	struct err err;

	q->c = c;
	http_set_owner(c, &owner, q);
	if (read_request(m, &q->plan, &err) == 0) {
		snprintf(from.name, sizeof(from.name), "computer/%s", q->plan.vendor->name);
		snprintf(from.by, sizeof(from.by), "%s", m->who.token_id);
		q->run = run_new(
			gw, m->agent, &from, q->plan.actions, q->plan.n_actions, on_done, q, &err);
	}
	if (!q->run)
		http_reply_problem(c, &err);
}
