/* The executor's tabs: which one is in front, attaching to it, new ones, crashed ones. */
#include <errno.h>
#include <string.h>

#include "executor_state.h"
#include "filter.h"
#include "json.h"
#include "json_scan.h"
#include "log.h"
#include "util.h"

/*
 * Theory of operation. Targets come as events of the browser's own session. The list is in the
 * order of use, the last one is in front: a page that a page opened goes there at once, as it would
 * in a person's browser; when the one in front is closed the one before it is there again. A tab is
 * attached when it gets to the front for the first time, and stays so.
 *
 * What every attached tab gets: dialogs and file choosers are told to us, frames of other sites are
 * attached too (a file chooser there is theirs to tell), and `select` draws its list inside of the
 * page. A list that the browser draws itself is a surface of its own, which neither pictures nor
 * CDP's mouse reach.
 */
#define TAB_MS 30000
#define REVIVE_MS 10000
#define CLOSE_MS 5000
#define LOOK_MS 25

static const char list_in_page[] =
	"{const s=new CSSStyleSheet();"
	"const q='select:not([multiple],[size]):is(:hover,:open)';"
	"s.replaceSync(q+','+q+'::picker(select){appearance:base-select}');"
	"document.adoptedStyleSheets.push(s)}";

struct tab *tabs_front(const struct executor *ex)
{
	return ex->n_tabs ? ex->tabs[ex->n_tabs - 1] : NULL;
}

static struct tab *find(const struct executor *ex, const char *id, size_t *ret_at)
{
	for (size_t i = 0; id && i < ex->n_tabs; i++) {
		if (!streq(ex->tabs[i]->id, id))
			continue;
		if (ret_at)
			*ret_at = i;
		return ex->tabs[i];
	}
	return NULL;
}

struct tab *tabs_of_id(const struct executor *ex, const char *id)
{
	return find(ex, id, NULL);
}

struct tab *tabs_of_session(const struct executor *ex, const char *session)
{
	for (size_t i = 0; *session && i < ex->n_tabs; i++)
		if (streq(ex->tabs[i]->session, session))
			return ex->tabs[i];
	return NULL;
}

void tabs_put_front(struct executor *ex, const char *id)
{
	size_t at;
	struct tab *t = find(ex, id, &at);

	if (!t)
		return;
	memmove(&ex->tabs[at], &ex->tabs[at + 1], (ex->n_tabs - at - 1) * sizeof(t));
	ex->tabs[ex->n_tabs - 1] = t;
}

void tabs_forget(struct executor *ex)
{
	while (ex->n_tabs)
		free(ex->tabs[--ex->n_tabs]);
}

/* ---- Target events ---- */

void tabs_read_info(struct tab *t, const cJSON *info)
{
	snprintf(t->url, sizeof(t->url), "%s", json_str(info, "url", ""));
	snprintf(t->title, sizeof(t->title), "%s", json_str(info, "title", ""));
}

static void created(struct executor *ex, const cJSON *info)
{
	const char *id = json_str(info, "targetId", "");
	const struct tab *front = tabs_front(ex);
	struct tab *t;

	if (!streq(json_str(info, "type", ""), "page") || !cdp_id_valid(id) || find(ex, id, NULL) ||
		ex->n_tabs == TABS_MAX)
		return;
	t = xcalloc(1, sizeof(*t));
	t->number = ++ex->tabs_made;
	snprintf(t->id, sizeof(t->id), "%s", id);
	snprintf(t->context, sizeof(t->context), "%s", json_str(info, "browserContextId", ""));
	tabs_read_info(t, info);
	if (ex->open)
		report_opened(ex, t->id);
	/* Another client's context of its own is not where a person would look. */
	if (front && ex->open && !streq(front->context, t->context)) {
		memmove(&ex->tabs[1], &ex->tabs[0], ex->n_tabs++ * sizeof(*ex->tabs));
		ex->tabs[0] = t;
		return;
	}
	ex->tabs[ex->n_tabs++] = t;
	ex->view_known = false;
}

static void gone(struct executor *ex, const char *id)
{
	size_t at;
	struct tab *t = find(ex, id, &at);
	bool front = t && t == tabs_front(ex);

	if (!t)
		return;
	if (streq(ex->modal.session, t->session))
		ex->modal.kind = MODAL_NONE;
	memmove(&ex->tabs[at], &ex->tabs[at + 1], (ex->n_tabs - at - 1) * sizeof(t));
	ex->n_tabs--;
	free(t);
	if (!front)
		return;
	ex->view_known = false;
	/* Who closed it knows. */
	if (!streq(ex->leaving, id) || !ex->runs || !executor_action(ex)->browser)
		executor_note(ex, "The tab was closed; the one before it is in front now.");
	perform_interrupted(ex);
}

static void crashed(struct executor *ex, const char *id)
{
	struct tab *t = find(ex, id, NULL);

	if (!t)
		return;
	t->crashed = true;
	t->loading = t->hung = false;
	t->crashes++;
	if (streq(ex->modal.session, t->session))
		ex->modal.kind = MODAL_NONE;
	if (t == tabs_front(ex))
		perform_crashed(ex);
}

void tabs_event(struct executor *ex, const char *method, const cJSON *params)
{
	const cJSON *info = json_get(params, "targetInfo");
	const char *id = json_str(params, "targetId", "");
	struct tab *t;

	if (streq(method, "Target.targetCreated")) {
		created(ex, info);
	} else if (streq(method, "Target.targetInfoChanged")) {
		t = find(ex, json_str(info, "targetId", ""), NULL);
		if (t)
			tabs_read_info(t, info);
		else
			created(ex, info);
	} else if (streq(method, "Target.targetDestroyed")) {
		gone(ex, id);
	} else if (streq(method, "Target.targetCrashed")) {
		crashed(ex, id);
	} else if (streq(method, "Target.detachedFromTarget")) {
		t = tabs_of_session(ex, json_str(params, "sessionId", ""));
		if (t)
			t->session[0] = '\0';
	}
}

/* ---- Attaching ---- */

static void set_up_session(struct executor *ex, const char *session)
{
	cJSON *p = cJSON_CreateObject(), *filter, *kind;

	executor_call(ex, session, "Page.enable", NULL, NULL);
	cJSON_AddStringToObject(p, "source", list_in_page);
	cJSON_AddStringToObject(p, "worldName", "berth");
	cJSON_AddBoolToObject(p, "runImmediately", true);
	executor_call(ex, session, "Page.addScriptToEvaluateOnNewDocument", p, NULL);
	p = cJSON_CreateObject();
	cJSON_AddBoolToObject(p, "enabled", true);
	executor_call(ex, session, "Page.setInterceptFileChooserDialog", p, NULL);
	p = cJSON_CreateObject();
	cJSON_AddBoolToObject(p, "autoAttach", true);
	cJSON_AddBoolToObject(p, "waitForDebuggerOnStart", false);
	cJSON_AddBoolToObject(p, "flatten", true);
	filter = cJSON_AddArrayToObject(p, "filter");
	kind = cJSON_CreateObject();
	cJSON_AddStringToObject(kind, "type", "iframe");
	cJSON_AddItemToArray(filter, kind);
	executor_call(ex, session, "Target.setAutoAttach", p, NULL);
}

void tabs_frame(struct executor *ex, const cJSON *params)
{
	const char *session = json_str(params, "sessionId", "");

	if (streq(json_str(json_get(params, "targetInfo"), "type", ""), "iframe") &&
		strlen(session) < CDP_SESSION_MAX)
		set_up_session(ex, session);
}

static void on_attached(
	void *data, uint64_t tag, const char *result, size_t n, const struct err *err)
{
	struct executor *ex = data;
	struct tab *t = tabs_front(ex);
	struct json_found m;

	if (executor_stale(ex, tag) || ex->wait != WAIT_TAB || !t)
		return;
	if (err || json_scan_find(result, n, "sessionId", &m) != 1 || m.kind != JSON_KIND_STRING ||
		json_scan_string(m.raw, m.raw_len, t->session, sizeof(t->session)) < 0) {
		t->session[0] = '\0';
		executor_fail(ex, "The tab cannot be driven: %s",
			err ? err->msg : "the browser's answer is odd");
		return;
	}
	set_up_session(ex, t->session);
	executor_advance(ex);
}

static cJSON *target_params(const struct tab *t)
{
	cJSON *p = cJSON_CreateObject();

	cJSON_AddStringToObject(p, "targetId", t->id);
	return p;
}

/* The browser shows it, as a person would see it. */
static void activate(struct executor *ex, const struct tab *t)
{
	if (streq(ex->active, t->id))
		return;
	snprintf(ex->active, sizeof(ex->active), "%s", t->id);
	executor_call(ex, "", "Target.activateTarget", target_params(t), NULL);
	ex->view_known = false;
}

static void attach(struct executor *ex, const struct tab *t)
{
	cJSON *p = target_params(t);

	cJSON_AddBoolToObject(p, "flatten", true);
	executor_wait(ex, WAIT_TAB, TAB_MS);
	executor_call(ex, "", "Target.attachToTarget", p, on_attached);
}

static void on_created(
	void *data, uint64_t tag, const char *result, size_t n, const struct err *err)
{
	struct executor *ex = data;

	(void)result;
	(void)n;
	if (executor_stale(ex, tag) || ex->wait != WAIT_TAB)
		return;
	if (err || !ex->n_tabs)
		executor_fail(ex, "There is no tab, and none can be opened.");
	else
		executor_advance(ex);
}

static void open_tab(struct executor *ex)
{
	cJSON *p = cJSON_CreateObject();

	cJSON_AddStringToObject(p, "url", "about:blank");
	executor_wait(ex, WAIT_TAB, TAB_MS);
	executor_call(ex, "", "Target.createTarget", p, on_created);
}

static void on_revived(
	void *data, uint64_t tag, const char *result, size_t n, const struct err *err)
{
	struct executor *ex = data;
	struct tab *t = tabs_front(ex);

	(void)result;
	(void)n;
	if (executor_stale(ex, tag) || ex->wait != WAIT_TAB || !t)
		return;
	if (err) {
		executor_failed(ex, err);
		return;
	}
	t->crashed = false;
	ex->view_known = false;
	executor_note(ex, "The tab had crashed and was loaded again.");
	ex->settle_from = now_ms();
	ex->settled = false;
	executor_wait(ex, WAIT_SETTLE, 1);
}

/* A page that crashes again and again is left. */
static void revive(struct executor *ex, const struct tab *t)
{
	cJSON *p = cJSON_CreateObject();

	executor_wait(ex, WAIT_TAB, REVIVE_MS);
	if (t->crashes > 2) {
		cJSON_AddStringToObject(p, "url", "about:blank");
		executor_call(ex, t->session, "Page.navigate", p, on_revived);
	} else {
		executor_call(ex, t->session, "Page.reload", p, on_revived);
	}
}

/* ---- The action ---- */

struct tab *tabs_at(const struct executor *ex, int place)
{
	if (place < 0)
		return tabs_front(ex);
	for (size_t i = 0; i < ex->n_tabs; i++) {
		int before = 0;

		for (size_t k = 0; k < ex->n_tabs; k++)
			before += ex->tabs[k]->number < ex->tabs[i]->number;
		if (before == place)
			return ex->tabs[i];
	}
	return NULL;
}

static void list_tabs(struct executor *ex)
{
	struct buf b;
	const struct tab *t;

	/* The report tells. */
	if (executor_action(ex)->browser) {
		executor_done(ex, NULL);
		return;
	}

	/* This tells of it. */
	if (tabs_front(ex))
		tabs_front(ex)->announced = true;
	buf_init(&b, TABS_MAX * (TAB_URL_MAX + TAB_TITLE_MAX + 32));
	for (int i = 0; (t = tabs_at(ex, i)); i++)
		buf_addf(&b, "- %d:%s [%s] (%s)\n", i, t == tabs_front(ex) ? " (current)" : "",
			t->title, t->url);
	executor_done(ex, buf_str(&b));
	buf_done(&b);
}

/* One that asks whether to leave it stays, with the question open. */
void tabs_look_closed(struct executor *ex)
{
	bool there = find(ex, ex->leaving, NULL) != NULL;

	if (there && !modal_blocks(ex) && now_ms() < ex->load_until)
		executor_wait(ex, WAIT_CLOSED, LOOK_MS);
	else if (there && executor_action(ex)->browser)
		executor_fail(ex, "The tab is still open.");
	else
		list_tabs(ex);
}

static void on_opened(void *data, uint64_t tag, const char *result, size_t n, const struct err *err)
{
	struct executor *ex = data;
	struct json_found m;
	char id[CDP_SESSION_MAX];

	if (executor_stale(ex, tag) || ex->wait != WAIT_TAB)
		return;
	ex->last_input = now_ms();
	if (err) {
		executor_failed(ex, err);
		return;
	}
	if (json_scan_find(result, n, "targetId", &m) == 1 && m.kind == JSON_KIND_STRING &&
		json_scan_string(m.raw, m.raw_len, id, sizeof(id)) > 0)
		tabs_put_front(ex, id);
	list_tabs(ex);
}

static void on_acted(void *data, uint64_t tag, const char *result, size_t n, const struct err *err)
{
	struct executor *ex = data;

	(void)result;
	(void)n;
	if (executor_stale(ex, tag) || ex->wait != WAIT_TAB)
		return;
	ex->last_input = now_ms();
	if (err)
		executor_failed(ex, err);
	else
		tabs_look_closed(ex);
}

static void no_tab(struct executor *ex, const char *id)
{
	executor_fail(ex, "There is no tab \"%.64s\"; list_tabs tells which there are.", id);
}

bool tabs_borrow(struct executor *ex, const struct action *a)
{
	const struct tab *front = tabs_front(ex);

	if (!a->tab || (front && streq(front->id, a->tab)))
		return true;
	if (!find(ex, a->tab, NULL)) {
		no_tab(ex, a->tab);
		return false;
	}
	if (!ex->lender[0] && front) {
		snprintf(ex->lender, sizeof(ex->lender), "%s", front->id);
		snprintf(ex->lent, sizeof(ex->lent), "%s", a->tab);
	}
	tabs_put_front(ex, a->tab);
	return true;
}

void tabs_return(struct executor *ex)
{
	const struct tab *front = tabs_front(ex);

	if (ex->lender[0] && front && streq(front->id, ex->lent) && !modal_blocks(ex)) {
		tabs_put_front(ex, ex->lender);
		activate(ex, tabs_front(ex));
	}
	ex->lender[0] = ex->lent[0] = '\0';
}

void tabs_act(struct executor *ex, const struct action *a)
{
	struct tab *t = a->tab ? find(ex, a->tab, NULL) : tabs_at(ex, a->index);

	ex->leaving[0] = '\0';
	ex->load_until = now_ms() + CLOSE_MS;
	if (streq(a->text, "list")) {
		list_tabs(ex);
	} else if (streq(a->text, "new")) {
		cJSON *p = cJSON_CreateObject();

		cJSON_AddStringToObject(p, "url", "about:blank");
		executor_wait(ex, WAIT_TAB, TAB_MS);
		executor_call(ex, "", "Target.createTarget", p, on_opened);
	} else if (!t && a->tab) {
		no_tab(ex, a->tab);
	} else if (!t) {
		executor_fail(ex, "There is no tab %d.", MAX(a->index, 0));
	} else if (streq(a->text, "close")) {
		executor_wait(ex, WAIT_TAB, TAB_MS);
		snprintf(ex->leaving, sizeof(ex->leaving), "%s", t->id);
		executor_call(ex, "", "Target.closeTarget", target_params(t), on_acted);
	} else {
		tabs_put_front(ex, t->id);
		list_tabs(ex);
	}
}

bool tabs_ready(struct executor *ex)
{
	struct tab *t = tabs_front(ex);

	if (!t) {
		open_tab(ex);
		return false;
	}
	if (!t->session[0]) {
		attach(ex, t);
		return false;
	}
	activate(ex, t);
	if (!t->announced)
		executor_note(ex, "A new tab is in front: %s", t->url[0] ? t->url : "about:blank");
	t->announced = true;
	if (!t->crashed)
		return true;
	revive(ex, t);
	return false;
}
