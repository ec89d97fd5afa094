/* Executors of computer use: one per agent in use, its connection, its queue of runs. */
#include "executor.h"

#include <errno.h>
#include <string.h>

#include "discovery.h"
#include "executor_state.h"
#include "filter.h"
#include "json.h"
#include "log.h"
#include "problem.h"
#include "util.h"

/*
 * Theory of operation. An executor lives from the first request for an agent until
 * EXECUTOR_IDLE_MS after the last one, and holds what is between requests: the connection, where
 * the cursor is, what is held, which tab is in front. The goal is that requests for one agent are
 * served in order, that nothing hangs, and that the next request works whatever became of this one.
 *
 *   run -> action -> what it needs (link, tab, view, time to settle) -> its own work -> result
 *
 * executor_advance() looks what the current action lacks, begins that, and is called again when it
 * is there; every wait has a time limit, after which perform_late() decides. Answers that come
 * later belong to an older epoch and are dropped. A dialog blocks the page, so that nothing more is
 * answered: it ends what is waited for. A browser that ends takes the link with it, and the next
 * action makes a new one.
 */
#define LINK_MS 60000 /* a sleeping agent, and a browser that starts */

static struct executor *executors;
static size_t n_executors;

static void on_timer(uv_timer_t *t);

/* ---- Small things ---- */

const struct action *executor_action(const struct executor *ex)
{
	return &ex->runs->actions[ex->runs->at];
}

struct action_result *executor_result(const struct executor *ex)
{
	return &ex->runs->results[ex->runs->at];
}

bool executor_stale(const struct executor *ex, uint64_t tag)
{
	return tag != ex->epoch || !ex->runs;
}

void executor_note(struct executor *ex, const char *fmt, ...)
{
	AUTOFREE char *text = xmalloc(MODAL_TEXT_MAX + 1024);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, MODAL_TEXT_MAX + 1024, fmt, ap);
	va_end(ap);
	buf_addf(&ex->notes, "%s%s", ex->notes.len ? "\n" : "", text);
}

void executor_wait(struct executor *ex, enum wait what, uint64_t ms)
{
	ex->wait = what;
	uv_timer_start(&ex->timer, on_timer, ms, 0);
}

void executor_call(struct executor *ex, const char *session, const char *method, cJSON *params,
	cdp_link_answer_fn *fn)
{
	if (!ex->link)
		cJSON_Delete(params);
	else if (!cdp_link_call(ex->link, session, method, params, fn, ex->epoch))
		log_warning("agent %s: its browser leaves too many calls unanswered", ex->agent);
}

/* ---- The end of one ---- */

static void timer_closed(uv_handle_t *h)
{
	struct executor *ex = h->data;

	buf_done(&ex->notes);
	free(ex->refs);
	free(ex);
}

static void disconnect(struct executor *ex)
{
	cdp_dial_cancel(ex->listing);
	cdp_link_free(ex->link);
	ex->listing = NULL;
	ex->link = NULL;
	ex->open = ex->view_known = ex->drags = ex->drag_inside = false;
	free(steal(&ex->drag));
	ex->epoch++;
	ex->hands.buttons = 0;
	ex->hands.held.n = 0;
	ex->modal.kind = MODAL_NONE;
	ex->active[0] = '\0';
	script_done(&ex->script);
	tree_free(steal(&ex->tree));
	tabs_forget(ex);
	report_forget(ex);
	ex->lender[0] = ex->lent[0] = '\0';
}

static void executor_end(struct executor *ex)
{
	struct executor **p = &executors;

	while (*p != ex)
		p = &(*p)->next;
	*p = ex->next;
	n_executors--;
	ex->closing = true;
	perform_release(ex);
	disconnect(ex);
	uv_close((uv_handle_t *)&ex->timer, timer_closed);
}

static void run_free(struct run *r)
{
	for (size_t i = 0; i < r->n; i++) {
		free(r->results[i].text);
		free(r->results[i].notes);
		free(r->results[i].image);
		free(r->results[i].url);
		free(r->results[i].title);
		free(r->results[i].dialog);
		free(r->results[i].state);
	}
	free(r->results);
	free(r);
}

void executors_close(void)
{
	while (executors) {
		struct executor *ex = executors;

		while (ex->runs) {
			struct run *r = ex->runs;

			ex->runs = r->next;
			run_free(r);
		}
		executor_end(ex);
	}
}

/* ---- Results ---- */

static bool is_look(const struct action *a)
{
	return a->kind == ACTION_SCREENSHOT || a->kind == ACTION_ZOOM ||
	       a->kind == ACTION_SNAPSHOT || a->kind == ACTION_FIND || a->kind == ACTION_TEXT ||
	       a->kind == ACTION_REPORT;
}

/* A picture of the whole view shows what came of the action before it, or of itself. */
static void report_picture(struct executor *ex)
{
	const struct action *a = executor_action(ex);
	const struct action_result *res = executor_result(ex);
	int64_t id;

	if (a->kind != ACTION_SCREENSHOT || a->ref || a->full_page || a->jpeg || !res->image)
		return;
	id = action_log_picture(ex->gw, ex->agent, ex->runs->told_us, res->image, res->image_len);
	ex->picture = id ? id : ex->picture;
}

/* To the action log, unless nobody asked for it. failure: NULL when it was done. */
static void report(struct executor *ex, const char *failure)
{
	struct run *r = ex->runs;
	const struct tab *t = tabs_front(ex);
	const struct action_told told = {
		.agent = ex->agent,
		.from = &r->from,
		.action = executor_action(ex),
		.began_us = r->action_began_us,
		.duration_ms = now_ms() - r->action_started,
		.failure = failure,
		.url = t ? t->url : NULL,
		.before = is_look(executor_action(ex)) ? 0 : ex->picture,
	};

	if (!r->action_began_us || told.action->after || told.action->kind == ACTION_REPORT)
		return;
	action_log_add(ex->gw, &told);
	r->told_us = told.began_us;
}

static void begin_action(struct executor *ex)
{
	ex->runs->action_started = now_ms();
	ex->runs->action_began_us = action_log_now();
	executor_advance(ex);
}

static void next_run(struct executor *ex)
{
	ex->epoch++;
	ex->wait = WAIT_NOTHING;
	if (ex->runs) {
		ex->runs->started = now_ms();
		begin_action(ex);
		return;
	}
	if (ex->link)
		cdp_link_hurries(ex->link, false);
	uv_timer_start(&ex->timer, on_timer, EXECUTOR_IDLE_MS, 0);
}

static void run_over(struct executor *ex)
{
	struct run *r = ex->runs;

	ex->runs = r->next;
	r->ex = NULL;
	r->fn(r->data, r->results, r->broken ? &r->err : NULL);
	run_free(r);
	next_run(ex);
}

/* The next action that is still to be done: after a failure only pictures that an answer needs. */
static void next_action(struct executor *ex)
{
	struct run *r = ex->runs;

	do
		r->at++;
	while (r->at < r->n && r->failed && (r->broken || !r->actions[r->at].always));
	ex->epoch++;
	ex->wait = WAIT_NOTHING;
	ex->settled = ex->found = false;
	uv_timer_stop(&ex->timer);
	script_done(&ex->script);
	tree_free(steal(&ex->tree));
	if (r->failed || r->at >= r->n)
		tabs_return(ex);
	if (r->at < r->n)
		begin_action(ex);
	else
		run_over(ex);
}

static void finish(struct executor *ex, const char *text)
{
	struct action_result *res = executor_result(ex);
	struct tab *t = tabs_front(ex);

	res->done = true;
	if (t && !t->crashed && !res->failed)
		t->crashes = 0;
	if (text)
		res->text = xstrdup(text);
	if (!executor_action(ex)->quiet || res->failed) {
		if (ex->notes.len)
			res->notes = xstrdup(buf_str(&ex->notes));
		buf_done(&ex->notes);
		buf_init(&ex->notes, NOTES_MAX);
	}
	res->url = xstrdup(t ? t->url : "");
	res->title = xstrdup(t ? t->title : "");
	res->dialog = modal_text(ex);
	report(ex, !res->failed ? NULL : text ? text : "it failed");
	report_picture(ex);
	next_action(ex);
}

void executor_done(struct executor *ex, const char *text)
{
	finish(ex, text);
}

void executor_failed(struct executor *ex, const struct err *err)
{
	executor_result(ex)->failed = true;
	ex->runs->failed = true;
	ex->runs->err = *err;
	if (executor_action(ex)->always)
		ex->runs->broken = true;
	if (executor_action(ex)->browser)
		report_failed(ex);
	perform_release(ex);
	finish(ex, err->msg);
}

void executor_fail(struct executor *ex, const char *fmt, ...)
{
	struct err err;
	va_list ap;

	err_set(&err, -EIO, " ");
	err_type(&err, 502, "action-failed");
	va_start(ap, fmt);
	vsnprintf(err.msg, sizeof(err.msg), fmt, ap);
	va_end(ap);
	executor_failed(ex, &err);
}

/* ---- The connection ---- */

static void on_closed(void *data, const struct err *err)
{
	struct executor *ex = data;

	disconnect(ex);
	if (!ex->runs || ex->closing)
		return;
	ex->runs->broken = true;
	executor_failed(ex, err);
}

static void on_discovering(
	void *data, uint64_t tag, const char *result, size_t n, const struct err *err)
{
	struct executor *ex = data;

	(void)tag;
	(void)result;
	(void)n;
	if (err) {
		on_closed(ex, err);
		return;
	}
	tabs_put_front(ex, ex->front);
	for (size_t i = 0; i < ex->n_tabs; i++)
		ex->tabs[i]->announced = true;
	ex->open = true;
	if (ex->runs && ex->wait == WAIT_LINK)
		executor_advance(ex);
}

/* Downloads go where the agent's are, and are told; the browser itself would refuse them. */
static void on_open(void *data)
{
	struct executor *ex = data;
	cJSON *p = cJSON_CreateObject();

	cJSON_AddStringToObject(p, "behavior", "allow");
	cJSON_AddStringToObject(p, "downloadPath", FILTER_DOWNLOADS);
	cJSON_AddBoolToObject(p, "eventsEnabled", true);
	cdp_link_call(ex->link, "", "Browser.setDownloadBehavior", p, NULL, 0);
	p = cJSON_CreateObject();
	cJSON_AddBoolToObject(p, "discover", true);
	cdp_link_call(ex->link, "", "Target.setDiscoverTargets", p, on_discovering, 0);
}

static void moved(struct executor *ex, struct tab *t)
{
	t->moves++;
	node_forget(ex, t->id);
}

/* Events of a page, or of a frame of another site. */
static void page_event(struct executor *ex, const char *session, const char *method,
	const char *text, const cJSON *p, size_t n)
{
	struct tab *t = tabs_of_session(ex, session);
	const char *frame = json_str(p, "frameId", NULL);
	bool main_frame = t && frame && streq(frame, t->id);

	if (streq(method, "Page.javascriptDialogOpening"))
		modal_dialog_opened(ex, session, p);
	else if (streq(method, "Page.javascriptDialogClosed"))
		modal_dialog_closed(ex);
	else if (streq(method, "Page.fileChooserOpened"))
		modal_files_wanted(ex, session, p);
	else if (streq(method, "Input.dragIntercepted"))
		perform_drag_began(ex, text, n);
	else if (streq(method, "Page.frameResized") && t == tabs_front(ex))
		ex->view_known = false;
	else if (t && streq(method, "Page.frameNavigated") &&
		 !json_get(json_get(p, "frame"), "parentId"))
		moved(ex, t);
	else if (main_frame && streq(method, "Page.navigatedWithinDocument"))
		t->moves++;
	else if (main_frame && streq(method, "Page.frameStartedLoading"))
		t->loading = true;
	else if (main_frame && streq(method, "Page.frameStoppedLoading"))
		t->loading = false;
}

static void told_download(struct executor *ex, const char *method, const cJSON *p)
{
	static const char *const says[] = {"completed", "canceled"};
	const char *state = json_str(p, "state", NULL);
	const char *name = json_str(p, "suggestedFilename", NULL);

	report_download(ex, method, p);
	if (streq(method, "Browser.downloadWillBegin") && name)
		executor_note(ex, "A download began: %.200s", name);
	for (size_t i = 0; state && i < ARRAY_SIZE(says); i++)
		if (streq(state, says[i]))
			executor_note(ex, "A download was %s.", says[i]);
}

static void on_event(
	void *data, const char *session, const char *method, const char *params, size_t n)
{
	struct executor *ex = data;
	cJSON *p;

	if (streq(method, "Page.screencastFrame")) {
		capture_took_frame(ex, params, n);
		return;
	}
	p = discovery_parse(params, n, CDP_OBJECT);
	if (!p)
		return;
	if (starts_with(method, "Browser.download"))
		told_download(ex, method, p);
	else if (!*session)
		tabs_event(ex, method, p);
	else if (streq(method, "Target.attachedToTarget"))
		tabs_frame(ex, p);
	else
		page_event(ex, session, method, params, p, n);
	cJSON_Delete(p);
}

static const struct cdp_link_owner link_owner = {
	.on_open = on_open, .on_event = on_event, .on_closed = on_closed};

static void on_list(void *data, int status, const char *body, size_t n, const struct err *err)
{
	struct executor *ex = data;
	cJSON *list = !err && status == 200 ? discovery_parse(body, n, CDP_ARRAY) : NULL;
	const char *front = discovery_front(list);

	ex->listing = NULL;
	snprintf(ex->front, sizeof(ex->front), "%s", front ? front : "");
	cJSON_Delete(list);
	if (err) {
		on_closed(ex, err);
		return;
	}
	ex->link = cdp_link_new(ex->gw, ex->agent, &link_owner, ex);
	cdp_link_hurries(ex->link, true);
}

static void connect_browser(struct executor *ex)
{
	executor_wait(ex, WAIT_LINK, LINK_MS);
	if (!ex->listing && !ex->link)
		ex->listing = cdp_dial_http(ex->gw, ex->agent, "GET", "/json/list", on_list, ex);
}

/* ---- Driving ---- */

static bool needs_view(const struct executor *ex, const struct action *a)
{
	if (a->kind == ACTION_TABS || a->kind == ACTION_RESIZE || a->kind == ACTION_RELOAD)
		return false;
	return a->kind != ACTION_NAVIGATE && a->kind != ACTION_BACK && a->kind != ACTION_FORWARD &&
	       !modal_blocks(ex);
}

void executor_advance(struct executor *ex)
{
	const struct action *a = executor_action(ex);

	if (now_ms() - ex->runs->started > EXECUTOR_RUN_MS && !ex->runs->failed) {
		executor_fail(ex, "The request took over %d minutes.", EXECUTOR_RUN_MS / 60000);
		return;
	}
	if (perform_alone(ex))
		return;
	if (!ex->link || !ex->open) {
		connect_browser(ex);
		return;
	}
	cdp_link_hurries(ex->link, true);
	if (a->kind != ACTION_TABS && !tabs_borrow(ex, a))
		return;
	if (is_look(a) && !ex->settled) {
		ex->settle_from = now_ms();
		executor_wait(ex, WAIT_SETTLE, 1);
		return;
	}
	if (a->kind == ACTION_REPORT) {
		report_begin(ex);
		return;
	}
	if (a->kind == ACTION_TABS) {
		tabs_act(ex, a);
		return;
	}
	if (!tabs_ready(ex))
		return;
	if (modal_takes(ex, a))
		return;
	if (needs_view(ex, a) && !capture_view(ex))
		return;
	if (!node_ready(ex))
		return;
	perform(ex);
}

static void on_timer(uv_timer_t *t)
{
	struct executor *ex = t->data;
	struct err err;

	if (!ex->runs) {
		executor_end(ex);
		return;
	}
	if (ex->wait != WAIT_LINK) {
		perform_late(ex);
		return;
	}
	err_set(&err, -ETIMEDOUT, "agent %s: its browser did not answer in %d s", ex->agent,
		LINK_MS / 1000);
	err_type(&err, 504, "timeout");
	on_closed(ex, &err);
}

/* ---- Runs ---- */

/* One that nobody uses makes room. */
static bool make_room(void)
{
	for (struct executor *ex = executors; ex && n_executors >= EXECUTORS_MAX; ex = ex->next) {
		if (ex->runs)
			continue;
		executor_end(ex);
		return true;
	}
	return n_executors < EXECUTORS_MAX;
}

static struct executor *executor_of(struct gateway *gw, const char *agent, struct err *err)
{
	struct executor *ex = executors;

	while (ex && !streq(ex->agent, agent))
		ex = ex->next;
	if (ex)
		return ex;
	if (!make_room()) {
		problem(err, 429, "too-many-requests", "%d agents are driven at once",
			EXECUTORS_MAX);
		return NULL;
	}
	ex = xcalloc(1, sizeof(*ex));
	ex->gw = gw;
	snprintf(ex->agent, sizeof(ex->agent), "%s", agent);
	buf_init(&ex->notes, NOTES_MAX);
	uv_timer_init(gateway_loop(gw), &ex->timer);
	ex->timer.data = ex;
	ex->next = executors;
	executors = ex;
	n_executors++;
	return ex;
}

static void on_begin(uv_timer_t *t)
{
	struct executor *ex = t->data;

	if (ex->runs)
		next_run(ex);
}

struct run *run_new(struct gateway *gw, const char *agent, const struct action_source *from,
	const struct action *actions, size_t n, run_done_fn *fn, void *data, struct err *err)
{
	struct executor *ex = executor_of(gw, agent, err);
	struct run *r, **p;
	size_t waiting = 0;

	if (!ex)
		return NULL;
	for (p = &ex->runs; *p; p = &(*p)->next)
		waiting++;
	if (waiting >= EXECUTOR_RUNS_MAX) {
		problem(err, 429, "too-many-requests",
			"%d requests for agent %s are waiting already", EXECUTOR_RUNS_MAX, agent);
		return NULL;
	}
	r = xcalloc(1, sizeof(*r));
	*r = (struct run){
		.ex = ex, .from = *from, .actions = actions, .n = n, .fn = fn, .data = data};
	r->results = xcalloc(n, sizeof(*r->results));
	*p = r;
	if (waiting == 0)
		uv_timer_start(&ex->timer, on_begin, 0, 0);
	return r;
}

void run_cancel(struct run *r)
{
	struct executor *ex = r->ex;
	struct run **p = &ex->runs;
	bool current = ex->runs == r;

	if (current)
		report(ex, "the client left before it was done");
	while (*p != r)
		p = &(*p)->next;
	*p = r->next;
	run_free(r);
	if (!current)
		return;
	ex->epoch++;
	script_done(&ex->script);
	tree_free(steal(&ex->tree));
	ex->settled = ex->found = false;
	perform_release(ex);
	tabs_return(ex);
	ex->wait = WAIT_NOTHING;
	uv_timer_start(
		&ex->timer, ex->runs ? on_begin : on_timer, ex->runs ? 0 : EXECUTOR_IDLE_MS, 0);
}
