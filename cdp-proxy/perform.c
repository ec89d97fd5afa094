/* One action of computer use: its input sent and answered, its navigation waited for. */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "discovery.h"
#include "executor_state.h"
#include "filter.h"
#include "json.h"
#include "json_scan.h"
#include "util.h"

/*
 * Theory of operation. Input goes out as a script of steps (gesture.h), up to WINDOW of them before
 * the first is answered; the browser takes them in order. It is over when all are answered, or a
 * dialog blocks the page. A drag that the browser tells of (HTML's drag and drop) goes on as drag
 * events with the data that it told, as there is no desktop to drag over.
 */
#define WINDOW 64
#define ANSWER_MS 30000
#define LOAD_MS 30000
#define BEGIN_MS 1000       /* for a page to change after it was asked to */
#define SETTLE_MS 150       /* after input, for what it causes to begin */
#define SETTLE_LOAD_MS 5000 /* for a page that is loading */
#define LOOK_MS 25

/* ---- Steps ---- */

static void pump(struct executor *ex);

static void on_step(void *data, uint64_t tag, const char *result, size_t n, const struct err *err)
{
	struct executor *ex = data;

	(void)result;
	(void)n;
	if (executor_stale(ex, tag) || ex->wait != WAIT_STEPS)
		return;
	ex->in_flight--;
	if (err)
		executor_failed(ex, err);
	else
		pump(ex);
}

static void to_page(struct executor *ex, const char *method, cJSON *params, bool wanted)
{
	const struct tab *t = tabs_front(ex);

	if (!t) {
		cJSON_Delete(params);
		return;
	}
	ex->in_flight += wanted;
	executor_call(ex, t->session, method, params, wanted ? on_step : NULL);
}

static void drag_event(struct executor *ex, const char *type, const struct step *s, bool wanted)
{
	cJSON *p = cJSON_CreateObject();

	cJSON_AddStringToObject(p, "type", type);
	cJSON_AddNumberToObject(p, "x", s->mouse.at.x);
	cJSON_AddNumberToObject(p, "y", s->mouse.at.y);
	cJSON_AddNumberToObject(p, "modifiers", s->modifiers);
	cJSON_AddItemToObject(p, "data", cJSON_CreateRaw(ex->drag));
	to_page(ex, "Input.dispatchDragEvent", p, wanted);
}

/* A mouse that drags something: the browser wants drag events in place of its own. */
static void drag_step(struct executor *ex, const struct step *s, bool wanted)
{
	if (!ex->drag_inside)
		drag_event(ex, "dragEnter", s, wanted);
	ex->drag_inside = true;
	drag_event(ex, "dragOver", s, wanted);
	if (s->type != MOUSE_RELEASED)
		return;
	drag_event(ex, "drop", s, wanted);
	free(steal(&ex->drag));
	ex->drag_inside = false;
}

static void set_drags(struct executor *ex, bool on)
{
	cJSON *p = cJSON_CreateObject();

	cJSON_AddBoolToObject(p, "enabled", on);
	ex->drags = on;
	to_page(ex, "Input.setInterceptDrags", p, false);
}

static void send_step(
	struct executor *ex, const struct script *script, const struct step *s, bool wanted)
{
	const char *method;
	cJSON *params = NULL;

	if (s->kind == STEP_DRAGS) {
		set_drags(ex, s->on);
	} else if (s->kind == STEP_MOUSE && ex->drag && s->type != MOUSE_WHEEL) {
		drag_step(ex, s, wanted);
	} else {
		method = gesture_command(script, s, &params);
		if (method)
			to_page(ex, method, params, wanted);
	}
}

/* Sends what may be sent now. */
static void pump(struct executor *ex)
{
	struct script *s = &ex->script;

	while (ex->step < s->n) {
		const struct step *t = &s->steps[ex->step];

		if (ex->in_flight && (t->kind == STEP_SYNC || t->kind == STEP_WAIT))
			break;
		if (ex->in_flight >= WINDOW || cdp_link_queued(ex->link) > (256u << 10))
			break;
		if (t->kind == STEP_WAIT) {
			executor_wait(ex, WAIT_PAUSE, t->ms);
			return;
		}
		send_step(ex, s, t, true);
		ex->step++;
	}
	if (ex->step == s->n && ex->in_flight == 0) {
		ex->last_input = now_ms();
		tabs_front(ex)->hung = false;
		executor_done(ex, NULL);
	} else {
		executor_wait(ex, WAIT_STEPS, ANSWER_MS);
	}
}

/* With the element's place where there is one; a field was given the focus. */
static struct action at_element(const struct executor *ex, const struct action *a)
{
	struct action b = *a;

	if (a->kind == ACTION_SET) {
		b.kind = ex->by_mouse ? ACTION_CLICK : ACTION_TYPE;
		b.clicks = 1;
		b.clear_first = true;
	}
	if (!a->ref || b.kind == ACTION_TYPE)
		return b;
	b.has_at = true;
	b.at = (struct point){(int)ex->spot.x, (int)ex->spot.y};
	if (!a->ref_to)
		return b;
	b.has_from = true;
	b.from = b.at;
	b.at = (struct point){(int)ex->spot_to.x, (int)ex->spot_to.y};
	return b;
}

static void perform_input(struct executor *ex, const struct action *wanted)
{
	struct action b = at_element(ex, wanted), *a = &b;
	struct err err;

	ex->step = ex->in_flight = 0;
	if (gesture_make(a, &ex->view, &ex->hands, &ex->script, &err) < 0)
		executor_failed(ex, &err);
	else
		pump(ex);
}

void perform_release(struct executor *ex)
{
	struct script s = {0};
	struct step cancel = {.mouse = {.at = ex->hands.at}};

	if (ex->drag) {
		drag_event(ex, "dragCancel", &cancel, false);
		free(steal(&ex->drag));
		ex->drag_inside = false;
		ex->hands.buttons = 0;
	}
	gesture_release(&ex->hands, &s);
	for (size_t i = 0; i < s.n; i++)
		send_step(ex, &s, &s.steps[i], false);
	if (ex->drags)
		set_drags(ex, false);
	script_done(&s);
}

void perform_drag_began(struct executor *ex, const char *params, size_t n)
{
	struct json_found m;

	if (!ex->drags || ex->drag || json_scan_find(params, n, "data", &m) != 1 ||
		m.kind != JSON_KIND_OBJECT)
		return;
	ex->drag = xasprintf("%.*s", (int)m.raw_len, m.raw);
	ex->drag_inside = false;
}

/* ---- Navigation ---- */

void perform_wait_load(struct executor *ex)
{
	ex->load_until = now_ms() + LOAD_MS;
	executor_wait(ex, WAIT_LOAD, LOOK_MS);
}

static void on_gone_there(
	void *data, uint64_t tag, const char *result, size_t n, const struct err *err)
{
	struct executor *ex = data;
	struct json_found m;
	char text[200];

	if (executor_stale(ex, tag) || ex->wait != WAIT_ANSWER)
		return;
	ex->last_input = now_ms();
	if (err) {
		executor_failed(ex, err);
	} else if (json_scan_find(result, n, "errorText", &m) == 1 && m.kind == JSON_KIND_STRING &&
		   json_scan_string(m.raw, m.raw_len, text, sizeof(text)) > 0) {
		executor_fail(ex, "The page could not be opened: %s", text);
	} else {
		perform_wait_load(ex);
	}
}

/* An address as people write it: https where no scheme is named. */
static char *whole_url(const char *text)
{
	if (strstr(text, "://") || strncasecmp(text, "about:", 6) == 0 ||
		strncasecmp(text, "data:", 5) == 0)
		return xstrdup(text);
	return xasprintf("https://%s", text);
}

static void navigate(struct executor *ex, const struct action *a)
{
	AUTOFREE char *url = whole_url(a->text);
	cJSON *p;

	if (!filter_url_opens(url)) {
		executor_fail(ex, "url: http, https, data and about:blank can be opened");
		return;
	}
	p = cJSON_CreateObject();
	cJSON_AddStringToObject(p, "url", url);
	ex->begins_until = 0;
	executor_wait(ex, WAIT_ANSWER, LOAD_MS);
	executor_call(ex, tabs_front(ex)->session, "Page.navigate", p, on_gone_there);
}

/* The browser answers before the page changes. */
static void expect_move(struct executor *ex)
{
	ex->moves_from = tabs_front(ex)->moves;
	ex->begins_until = now_ms() + BEGIN_MS;
}

static void on_history(
	void *data, uint64_t tag, const char *result, size_t n, const struct err *err)
{
	struct executor *ex = data;
	cJSON *h = err ? NULL : discovery_parse(result, n, CDP_OBJECT), *p;
	const cJSON *entry;
	int64_t at;
	bool back;

	if (executor_stale(ex, tag) || ex->wait != WAIT_ANSWER) {
		cJSON_Delete(h);
		return;
	}
	back = executor_action(ex)->kind == ACTION_BACK;
	at = json_int(h, "currentIndex", 0) + (back ? -1 : 1);
	entry = at < 0 ? NULL : cJSON_GetArrayItem(json_get(h, "entries"), (int)at);
	if (entry) {
		p = cJSON_CreateObject();
		cJSON_AddNumberToObject(p, "entryId", (double)json_int(entry, "id", 0));
		expect_move(ex);
		executor_call(ex, tabs_front(ex)->session, "Page.navigateToHistoryEntry", p,
			on_gone_there);
	} else {
		executor_fail(ex, "There is no page to go %s to.", back ? "back" : "forward");
	}
	cJSON_Delete(h);
}

/* ---- Any action ---- */

static void tell_cursor(struct executor *ex)
{
	struct point at = {(int)ex->hands.at.x, (int)ex->hands.at.y};
	char text[64];

	if (ex->view_known)
		at = gesture_cursor(&ex->view, &ex->hands);
	snprintf(text, sizeof(text), "X=%d,Y=%d", at.x, at.y);
	executor_done(ex, text);
}

bool perform_alone(struct executor *ex)
{
	const struct action *a = executor_action(ex);
	struct err err;

	if (a->kind == ACTION_BAD) {
		err_set(&err, -EINVAL, "%s", a->text);
		err_type(&err, 400, "invalid-request");
		executor_failed(ex, &err);
	} else if (a->kind == ACTION_NOTHING) {
		executor_done(ex, NULL);
	} else if (a->kind == ACTION_CURSOR) {
		tell_cursor(ex);
	} else if (a->kind == ACTION_CHOOSE && !a->ref) {
		executor_fail(ex, "no list is named");
	} else if (a->kind == ACTION_WAIT) {
		executor_wait(ex, WAIT_TIME, (uint64_t)MAX(a->ms, 1));
	} else {
		return false;
	}
	return true;
}

static void on_resized(
	void *data, uint64_t tag, const char *result, size_t n, const struct err *err)
{
	struct executor *ex = data;

	(void)result;
	(void)n;
	if (executor_stale(ex, tag) || ex->wait != WAIT_ANSWER)
		return;
	ex->view_known = false;
	ex->last_input = now_ms();
	if (err)
		executor_failed(ex, err);
	else
		executor_done(ex, NULL);
}

static void resize(struct executor *ex, const struct action *a)
{
	cJSON *p = cJSON_CreateObject();

	cJSON_AddNumberToObject(p, "width", a->dx);
	cJSON_AddNumberToObject(p, "height", a->dy);
	cJSON_AddNumberToObject(p, "deviceScaleFactor", 0);
	cJSON_AddBoolToObject(p, "mobile", false);
	executor_wait(ex, WAIT_ANSWER, ANSWER_MS);
	executor_call(
		ex, tabs_front(ex)->session, "Emulation.setDeviceMetricsOverride", p, on_resized);
}

/* A page that hangs would keep its tab for good: it is ended, as a person would end it. */
static bool ends_hung(struct executor *ex)
{
	struct tab *t = tabs_front(ex);

	if (!t->hung)
		return false;
	t->hung = false;
	executor_wait(ex, WAIT_TAB, ANSWER_MS);
	executor_call(ex, t->session, "Page.crash", NULL, NULL);
	return true;
}

void perform(struct executor *ex)
{
	const struct action *a = executor_action(ex);
	bool leaves = a->kind == ACTION_NAVIGATE || a->kind == ACTION_BACK ||
		      a->kind == ACTION_FORWARD || a->kind == ACTION_RELOAD;

	if (leaves && ends_hung(ex))
		return;
	switch ((int)a->kind) {
	case ACTION_SCREENSHOT:
	case ACTION_ZOOM:
		capture_begin(ex);
		break;
	case ACTION_NAVIGATE:
		navigate(ex, a);
		break;
	case ACTION_RELOAD:
		expect_move(ex);
		executor_wait(ex, WAIT_ANSWER, ANSWER_MS);
		executor_call(ex, tabs_front(ex)->session, "Page.reload", NULL, on_gone_there);
		break;
	case ACTION_SNAPSHOT:
	case ACTION_FIND:
		tree_begin(ex);
		break;
	case ACTION_TEXT:
		script_ask_page(ex);
		break;
	case ACTION_SCROLL_TO:
		ex->last_input = now_ms();
		executor_done(ex, NULL);
		break;
	case ACTION_UPLOAD:
		modal_upload(ex, a);
		break;
	case ACTION_EVALUATE:
		script_evaluate(ex, a);
		break;
	case ACTION_AWAIT:
		script_await(ex, a);
		break;
	case ACTION_RESIZE:
		resize(ex, a);
		break;
	case ACTION_DIALOG:
	case ACTION_FILES:
		executor_fail(
			ex, "No %s is open.", a->kind == ACTION_FILES ? "file chooser" : "dialog");
		break;
	case ACTION_BACK:
	case ACTION_FORWARD:
		executor_wait(ex, WAIT_ANSWER, ANSWER_MS);
		executor_call(
			ex, tabs_front(ex)->session, "Page.getNavigationHistory", NULL, on_history);
		break;
	default:
		perform_input(ex, a);
	}
}

/* ---- Time ---- */

static void look_settled(struct executor *ex)
{
	const struct tab *t = tabs_front(ex);
	uint64_t now = now_ms();

	if (now - ex->last_input < SETTLE_MS) {
		executor_wait(ex, WAIT_SETTLE, SETTLE_MS - (now - ex->last_input));
	} else if (t && t->loading && now - ex->settle_from < SETTLE_LOAD_MS && !modal_blocks(ex)) {
		executor_wait(ex, WAIT_SETTLE, LOOK_MS);
	} else {
		ex->settled = true;
		executor_advance(ex);
	}
}

static void look_loaded(struct executor *ex)
{
	const struct tab *t = tabs_front(ex);
	bool loading = t && t->loading && !modal_blocks(ex);
	bool begins =
		t && t->moves == ex->moves_from && now_ms() < ex->begins_until && !modal_blocks(ex);

	if ((loading || begins) && now_ms() < ex->load_until) {
		executor_wait(ex, WAIT_LOAD, LOOK_MS);
		return;
	}
	if (loading)
		executor_note(ex, "The page is still loading.");
	ex->begins_until = 0;
	if (t && executor_action(ex)->told && !modal_blocks(ex))
		script_ask_page(ex);
	else
		executor_done(ex, NULL);
}

void perform_late(struct executor *ex)
{
	struct tab *t = tabs_front(ex);

	if (t && (ex->wait == WAIT_STEPS || ex->wait == WAIT_PICTURE || ex->wait == WAIT_VIEW ||
			 ex->wait == WAIT_NODE || ex->wait == WAIT_TREE || ex->wait == WAIT_WORLD))
		t->hung = true;
	switch ((int)ex->wait) {
	case WAIT_SETTLE:
		look_settled(ex);
		break;
	case WAIT_LOAD:
		look_loaded(ex);
		break;
	case WAIT_PAUSE:
		ex->step++;
		pump(ex);
		break;
	case WAIT_TIME:
		executor_done(ex, NULL);
		break;
	case WAIT_TEXT:
		script_look(ex);
		break;
	case WAIT_CLOSED:
		tabs_look_closed(ex);
		break;
	case WAIT_WORLD:
		script_world_late(ex);
		break;
	case WAIT_REPORT:
		report_late(ex);
		break;
	case WAIT_SCRIPT:
		executor_call(
			ex, tabs_front(ex)->session, "Runtime.terminateExecution", NULL, NULL);
		executor_fail(ex, "The function did not end in time.");
		break;
	case WAIT_STEPS:
		executor_fail(ex, "The page did not take the input within %d s.", ANSWER_MS / 1000);
		break;
	case WAIT_PICTURE:
		capture_late(ex);
		break;
	case WAIT_FRAME:
		executor_call(ex, tabs_front(ex)->session, "Page.stopScreencast", NULL, NULL);
		executor_fail(ex, "No picture can be taken: the page does not answer.");
		break;
	default:
		executor_fail(ex, "The page does not answer.");
	}
}

/* What is only looked at for an action is looked at anew. */
static void look_again(struct executor *ex)
{
	if (ex->wait != WAIT_TAB && ex->wait != WAIT_VIEW && ex->wait != WAIT_PICTURE &&
		ex->wait != WAIT_FRAME)
		return;
	ex->epoch++;
	executor_advance(ex);
}

void perform_interrupted(struct executor *ex)
{
	if (!ex->runs)
		return;
	/* It is what closed one. */
	if (ex->wait == WAIT_TAB && executor_action(ex)->kind == ACTION_TABS)
		return;
	switch ((int)ex->wait) {
	case WAIT_STEPS:
	case WAIT_PAUSE:
		if (ex->step < ex->script.n && executor_action(ex)->kind == ACTION_TYPE)
			executor_note(ex, "The rest of the text was not typed.");
		ex->last_input = now_ms();
		executor_done(ex, NULL);
		break;
	case WAIT_ANSWER:
	case WAIT_LOAD:
		executor_done(ex, NULL);
		break;
	case WAIT_SCRIPT:
		executor_note(ex, "The function goes on when the dialog is answered.");
		executor_done(ex, NULL);
		break;
	case WAIT_WORLD:
		script_world_late(ex);
		break;
	case WAIT_TEXT:
	case WAIT_NODE:
	case WAIT_TREE:
		executor_fail(ex, "A dialog opened meanwhile.");
		break;
	default:
		look_again(ex);
	}
}

void perform_crashed(struct executor *ex)
{
	if (!ex->runs)
		return;
	switch ((int)ex->wait) {
	case WAIT_STEPS:
	case WAIT_PAUSE:
	case WAIT_ANSWER:
	case WAIT_LOAD:
	case WAIT_SCRIPT:
	case WAIT_TEXT:
	case WAIT_NODE:
	case WAIT_TREE:
	case WAIT_WORLD:
		executor_fail(ex, "The tab crashed. It will be loaded again by the next action.");
		break;
	default:
		look_again(ex);
	}
}
