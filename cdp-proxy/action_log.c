/* What models did, told to berthd for the action log. */
#include "action_log.h"

#include "action_told.h"
#include "gateway_state.h"
#include "picture.h"
#include "util.h"

#include <string.h>

/*
 * Theory of operation. Entries are gathered for a moment and sent together, as each message costs
 * berthd a write that waits for the disk; the executor never waits. An entry is counted as waiting
 * until berthd has confirmed it. While berthd is away entries wait for it; with
 * ACTION_LOG_WAITING_MAX of them further ones are lost. A message that was not answered is sent
 * again: berthd takes an agent's entry of one moment once. What berthd itself cannot keep (a full
 * disk) is lost.
 *
 *   executor -> queue -> batch -> actions.add -> confirmed, freed
 *                 ^---- unanswered ----'
 *
 * Pictures are those that were taken anyway, made small by a thread (picture.h), a few at once so
 * that those that somebody waits for are not held up. They go the same way, behind the entry that
 * they belong to; one that is left out is not counted.
 */
#define AGAIN_MS 1000
#define QUALITY 60

/* A picture that is made small. In its log's list. */
struct making {
	struct making *next;
	struct action_log *log;
	struct picture_job *job;
	char agent[64];
	int64_t id, of;
};

struct action_log {
	struct gateway *gw;
	cJSON *queue, *pictures;
	size_t waiting; /* entries in the queue and in batches */
	struct making *making;
	size_t n_making;
	uv_timer_t timer;
	bool closing;
};

/* Sent; freed with its answer. */
struct batch {
	struct action_log *log;
	cJSON *entries, *pictures;
};

static void on_timer(uv_timer_t *t)
{
	struct action_log *l = t->data;

	action_log_flush(l->gw);
}

static void later(struct action_log *l, uint64_t ms)
{
	if (!l->closing && !uv_is_active((uv_handle_t *)&l->timer))
		uv_timer_start(&l->timer, on_timer, ms, 0);
}

/* The first n at most. */
static void move(cJSON *from, cJSON *to, int n)
{
	cJSON *e;

	while (n-- > 0 && (e = cJSON_DetachItemFromArray(from, 0)))
		cJSON_AddItemToArray(to, e);
}

static void on_answer(void *data, const cJSON *ok, const struct err *err)
{
	struct batch *b = data;
	struct action_log *l = b->log;
	size_t n = (size_t)cJSON_GetArraySize(b->entries);

	(void)ok;
	if (err && streq(err->type, "daemon-unavailable") && !l->closing) {
		move(b->entries, l->queue, ACTION_LOG_BATCH);
		move(b->pictures, l->pictures, ACTION_LOG_PICTURES_BATCH);
		later(l, AGAIN_MS);
	} else {
		l->waiting -= n;
		if (err)
			metric_add(METRIC_ACTIONS_LOST, n);
	}
	cJSON_Delete(b->entries);
	cJSON_Delete(b->pictures);
	free(b);
}

static void send_batch(struct action_log *l)
{
	struct batch *b = xcalloc(1, sizeof(*b));
	cJSON *args = cJSON_CreateObject();

	b->log = l;
	b->entries = cJSON_CreateArray();
	b->pictures = cJSON_CreateArray();
	move(l->queue, b->entries, ACTION_LOG_BATCH);
	if (!l->queue->child) /* a picture comes behind its entry */
		move(l->pictures, b->pictures, ACTION_LOG_PICTURES_BATCH);
	cJSON_AddItemToObject(args, "entries", cJSON_Duplicate(b->entries, true));
	if (b->pictures->child)
		cJSON_AddItemToObject(args, "pictures", cJSON_Duplicate(b->pictures, true));
	gateway_ask(l->gw, "actions.add", args, NULL, on_answer, b);
}

void action_log_flush(struct gateway *gw)
{
	struct action_log *l = gw->actions;

	if (!l || !daemon_link_up(gw->daemon))
		return; /* sent when berthd is back */
	uv_timer_stop(&l->timer);
	while (l->queue->child || l->pictures->child)
		send_batch(l);
}

static cJSON *entry(const struct action_told *t)
{
	cJSON *o = cJSON_CreateObject();
	char url[TOLD_URL_MAX], error[TOLD_ERROR_MAX];

	cJSON_AddStringToObject(o, "agent", t->agent);
	cJSON_AddNumberToObject(o, "time", (double)t->began_us);
	cJSON_AddStringToObject(o, "source", t->from->name);
	cJSON_AddStringToObject(o, "by", t->from->by);
	cJSON_AddStringToObject(o, "action", action_told_name(t->action));
	cJSON_AddItemToObject(o, "params", action_told_params(t->action));
	cJSON_AddNumberToObject(o, "duration_ms", (double)t->duration_ms);
	if (t->failure) {
		action_told_error(t->action, t->failure, error);
		cJSON_AddStringToObject(o, "error", error[0] ? error : "it failed");
	}
	if (t->url) {
		action_told_url(t->url, url);
		cJSON_AddStringToObject(o, "url", url);
	}
	if (t->before)
		cJSON_AddNumberToObject(o, "before", (double)t->before);
	return o;
}

void action_log_add(struct gateway *gw, const struct action_told *t)
{
	struct action_log *l = gw->actions;

	metric_add(METRIC_ACTIONS, 1);
	if (!l || l->waiting >= ACTION_LOG_WAITING_MAX) {
		metric_add(METRIC_ACTIONS_LOST, 1);
		return;
	}
	cJSON_AddItemToArray(l->queue, entry(t));
	l->waiting++;
	later(l, ACTION_LOG_FLUSH_MS);
}

/* ---- Pictures ---- */

static void forget(struct making *k)
{
	struct making **p = &k->log->making;

	while (*p != k)
		p = &(*p)->next;
	*p = k->next;
	k->log->n_making--;
	free(k);
}

static void on_made(void *data, const struct picture *picture, const struct err *err)
{
	struct making *k = data;
	struct action_log *l = k->log;

	(void)err;
	if (picture && picture->n <= ACTION_LOG_PICTURE_MAX &&
		cJSON_GetArraySize(l->pictures) < ACTION_LOG_PICTURES_MAX) {
		AUTOFREE char *text = xmalloc(BASE64_SIZE(picture->n));
		cJSON *o = cJSON_CreateObject();

		base64_encode(picture->data, picture->n, text);
		cJSON_AddStringToObject(o, "agent", k->agent);
		cJSON_AddNumberToObject(o, "id", (double)k->id);
		if (k->of)
			cJSON_AddNumberToObject(o, "of", (double)k->of);
		cJSON_AddStringToObject(o, "jpeg", text);
		cJSON_AddItemToArray(l->pictures, o);
		later(l, ACTION_LOG_FLUSH_MS);
	}
	forget(k);
}

int64_t action_log_picture(
	struct gateway *gw, const char *agent, int64_t of, const char *base64, size_t n)
{
	static const struct picture_want want = {
		.format = PICTURE_JPEG, .quality = QUALITY, .max_edge = ACTION_LOG_EDGE};
	struct action_log *l = gw->actions;
	struct making *k;
	struct err err;

	if (!l || l->n_making >= ACTION_LOG_MAKING_MAX)
		return 0;
	k = xcalloc(1, sizeof(*k));
	k->job = picture_job_new(&gw->loop, base64, n, &want, on_made, k, &err);
	if (!k->job) {
		free(k);
		return 0;
	}
	k->log = l;
	k->id = action_log_now();
	k->of = of;
	snprintf(k->agent, sizeof(k->agent), "%s", agent);
	k->next = l->making;
	l->making = k;
	l->n_making++;
	return k->id;
}

/* ---- Life ---- */

int64_t action_log_now(void)
{
	static int64_t last;
	int64_t now = realtime_ns() / 1000;

	last = MAX(now, last + 1);
	return last;
}

struct action_log *action_log_new(struct gateway *gw)
{
	struct action_log *l = xcalloc(1, sizeof(*l));

	l->gw = gw;
	l->queue = cJSON_CreateArray();
	l->pictures = cJSON_CreateArray();
	uv_timer_init(&gw->loop, &l->timer);
	l->timer.data = l;
	return l;
}

static void on_closed(uv_handle_t *handle)
{
	struct action_log *l = handle->data;

	cJSON_Delete(l->queue);
	cJSON_Delete(l->pictures);
	free(l);
}

void action_log_close(struct gateway *gw)
{
	struct action_log *l = gw->actions;

	if (!l)
		return;
	action_log_flush(gw);
	while (l->making) {
		picture_job_cancel(l->making->job);
		forget(l->making);
	}
	l->closing = true;
	gw->actions = NULL;
	uv_close((uv_handle_t *)&l->timer, on_closed);
}
