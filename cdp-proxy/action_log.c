/* What models did, told to berthd for the action log. */
#include "action_log.h"

#include "action_told.h"
#include "gateway_state.h"
#include "util.h"

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
 */
#define AGAIN_MS 1000

struct action_log {
	struct gateway *gw;
	cJSON *queue;
	size_t waiting; /* in the queue and in batches */
	uv_timer_t timer;
	bool closing;
};

/* Sent; freed with its answer. */
struct batch {
	struct action_log *log;
	cJSON *entries;
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

static void move_all(cJSON *from, cJSON *to)
{
	cJSON *e;

	while ((e = cJSON_DetachItemFromArray(from, 0)))
		cJSON_AddItemToArray(to, e);
}

static void on_answer(void *data, const cJSON *ok, const struct err *err)
{
	struct batch *b = data;
	struct action_log *l = b->log;
	size_t n = (size_t)cJSON_GetArraySize(b->entries);

	(void)ok;
	if (err && streq(err->type, "daemon-unavailable") && !l->closing) {
		move_all(b->entries, l->queue);
		later(l, AGAIN_MS);
	} else {
		l->waiting -= n;
		if (err)
			metric_add(METRIC_ACTIONS_LOST, n);
	}
	cJSON_Delete(b->entries);
	free(b);
}

static void send_batch(struct action_log *l)
{
	struct batch *b = xcalloc(1, sizeof(*b));
	cJSON *args = cJSON_CreateObject(), *e;

	b->log = l;
	b->entries = cJSON_CreateArray();
	for (int i = 0; i < ACTION_LOG_BATCH && (e = cJSON_DetachItemFromArray(l->queue, 0)); i++)
		cJSON_AddItemToArray(b->entries, e);
	cJSON_AddItemToObject(args, "entries", cJSON_Duplicate(b->entries, true));
	gateway_ask(l->gw, "actions.add", args, NULL, on_answer, b);
}

void action_log_flush(struct gateway *gw)
{
	struct action_log *l = gw->actions;

	if (!l || !daemon_link_up(gw->daemon))
		return; /* sent when berthd is back */
	uv_timer_stop(&l->timer);
	while (cJSON_GetArraySize(l->queue))
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
	uv_timer_init(&gw->loop, &l->timer);
	l->timer.data = l;
	return l;
}

static void on_closed(uv_handle_t *handle)
{
	struct action_log *l = handle->data;

	cJSON_Delete(l->queue);
	free(l);
}

void action_log_close(struct gateway *gw)
{
	struct action_log *l = gw->actions;

	if (!l)
		return;
	action_log_flush(gw);
	l->closing = true;
	gw->actions = NULL;
	uv_close((uv_handle_t *)&l->timer, on_closed);
}
