/* JavaScript that a model sends to a page, and text that it waits for there. */
#include <string.h>

#include "discovery.h"
#include "executor_state.h"
#include "json.h"
#include "util.h"

#define EVALUATE_MS 30000
#define AWAIT_MS 30000
#define ANSWER_MS 5000
#define LOOK_MS 100
#define WORLD_MS 10000
#define SCRIPT_TEXT_MAX 50000 /* bytes of what a script comes to */
#define RESULT_MAX 102400     /* characters of what a script returns */
#define WHY_MAX 500

/* ---- A page's own JavaScript ---- */

static char *string_of(const cJSON *result)
{
	const char *text = json_str(result, "value", NULL);

	return text ? xstrdup(text) : NULL;
}

/* What a script came to (Runtime.RemoteObject by value), cut. NULL: nothing that can be said. */
static char *value_text(const cJSON *result)
{
	const cJSON *v = json_get(result, "value");
	const char *other = json_str(result, "unserializableValue", json_str(result, "type", NULL));
	char *text = NULL;

	if (cJSON_IsString(v))
		text = xstrdup(v->valuestring);
	else if (v)
		text = cJSON_PrintUnformatted(v);
	else if (other)
		text = xstrdup(other);
	if (text && strlen(text) > SCRIPT_TEXT_MAX)
		text[utf8_cut(text, SCRIPT_TEXT_MAX)] = '\0';
	return text;
}

static void on_result(void *data, uint64_t tag, const char *result, size_t n, const struct err *err)
{
	struct executor *ex = data;
	cJSON *o = err ? NULL : discovery_parse(result, n, CDP_OBJECT);
	const cJSON *thrown = json_get(o, "exceptionDetails");
	AUTOFREE char *text = executor_stale(ex, tag)       ? NULL
			      : executor_action(ex)->script ? value_text(json_get(o, "result"))
							    : string_of(json_get(o, "result"));

	if (executor_stale(ex, tag) || ex->wait != WAIT_SCRIPT) {
		cJSON_Delete(o);
		return;
	}
	ex->last_input = now_ms();
	if (err)
		executor_failed(ex, err);
	else if (thrown)
		executor_fail(ex, "The %s failed: %.*s",
			executor_action(ex)->script ? "script" : "function", WHY_MAX,
			json_str(json_get(thrown, "exception"), "description",
				json_str(thrown, "text", "it threw something")));
	else if (!text)
		executor_fail(ex, "The function returned nothing that JSON can say.");
	else if (strlen(text) > 4 * RESULT_MAX)
		executor_fail(ex, "The function returned too much.");
	else
		executor_done(ex, text);
	cJSON_Delete(o);
}

/* `head` names what the function gets; the text is the page's business, as all JavaScript in it. */
static char *wrapped(const char *text, const char *head, const char *argument, const char *tail)
{
	return xasprintf("%s{const f=(%s\n);const v=await(typeof f==='function'?f(%s):f);"
			 "const s=JSON.stringify(v,null,1)?? 'undefined';"
			 "return s.length>%d?s.slice(0,%d)+'… (cut: '+s.length+' characters)':s}%s",
		head, text, argument, RESULT_MAX, RESULT_MAX, tail);
}

static void add_flags(cJSON *p)
{
	cJSON_AddBoolToObject(p, "awaitPromise", true);
	cJSON_AddBoolToObject(p, "returnByValue", true);
	cJSON_AddBoolToObject(p, "userGesture", true);
}

static void on_node(void *data, uint64_t tag, const char *result, size_t n, const struct err *err)
{
	struct executor *ex = data;
	cJSON *o = err ? NULL : discovery_parse(result, n, CDP_OBJECT), *p;
	AUTOFREE char *id = xstrdup(json_str(json_get(o, "object"), "objectId", ""));
	AUTOFREE char *text = NULL;

	cJSON_Delete(o);
	if (executor_stale(ex, tag) || ex->wait != WAIT_SCRIPT)
		return;
	if (!*id) {
		node_gone(ex, executor_action(ex)->ref);
		return;
	}
	p = cJSON_CreateObject();
	text = wrapped(executor_action(ex)->text, "async function()", "this", "");
	cJSON_AddStringToObject(p, "objectId", id);
	cJSON_AddStringToObject(p, "functionDeclaration", text);
	add_flags(p);
	executor_call(ex, tabs_front(ex)->session, "Runtime.callFunctionOn", p, on_result);
}

void script_evaluate(struct executor *ex, const struct action *a)
{
	cJSON *p = cJSON_CreateObject();
	uint64_t node = a->ref ? node_of(ex, a->ref) : 0;

	executor_wait(ex, WAIT_SCRIPT, EVALUATE_MS);
	if (a->ref && !node) {
		cJSON_Delete(p);
		node_gone(ex, a->ref);
	} else if (a->ref) {
		cJSON_AddNumberToObject(p, "backendNodeId", (double)node);
		executor_call(ex, tabs_front(ex)->session, "DOM.resolveNode", p, on_node);
	} else if (a->script) {
		cJSON_AddStringToObject(p, "expression", a->text);
		cJSON_AddBoolToObject(p, "replMode", true);
		add_flags(p);
		executor_call(ex, tabs_front(ex)->session, "Runtime.evaluate", p, on_result);
	} else {
		AUTOFREE char *text = wrapped(a->text, "(async()=>", "", ")()");

		cJSON_AddStringToObject(p, "expression", text);
		add_flags(p);
		executor_call(ex, tabs_front(ex)->session, "Runtime.evaluate", p, on_result);
	}
}

/* ---- Text that comes or goes ---- */

static void on_looked(void *data, uint64_t tag, const char *result, size_t n, const struct err *err)
{
	struct executor *ex = data;
	cJSON *o = err ? NULL : discovery_parse(result, n, CDP_OBJECT);
	const cJSON *v = json_get(json_get(o, "result"), "value");
	bool answered = cJSON_IsBool(v), there = cJSON_IsTrue(v);
	const struct action *a;

	cJSON_Delete(o);
	if (executor_stale(ex, tag) || ex->wait != WAIT_TEXT)
		return;
	a = executor_action(ex);
	if (answered && there != a->gone)
		executor_done(ex, NULL);
	else if (now_ms() > ex->load_until)
		executor_fail(ex, "The text did not %s within %d s.", a->gone ? "go" : "come",
			AWAIT_MS / 1000);
	else
		executor_wait(ex, WAIT_TEXT, LOOK_MS);
}

/* Looked for as a person reads: white space and case do not count. */
void script_look(struct executor *ex)
{
	const struct tab *t = tabs_front(ex);
	const struct action *a = executor_action(ex);
	AUTOFREE char *text = NULL;
	AUTOFREE char *quoted = NULL;
	cJSON *s = cJSON_CreateString(a->text), *p = cJSON_CreateObject();

	quoted = cJSON_PrintUnformatted(s);
	cJSON_Delete(s);
	text = xasprintf("(n=>n(document.body?.innerText?? '').includes(n(%s)))"
			 "(t=>t.replace(/\\s+/g,' ').trim().toLowerCase())",
		quoted);
	cJSON_AddStringToObject(p, "expression", text);
	cJSON_AddBoolToObject(p, "returnByValue", true);
	executor_wait(ex, WAIT_TEXT, ANSWER_MS);
	/* A page on its way to another one does not answer: it is asked again. */
	if (!t || now_ms() > ex->load_until + ANSWER_MS) {
		cJSON_Delete(p);
		executor_fail(ex, "The page does not answer.");
		return;
	}
	executor_call(ex, t->session, "Runtime.evaluate", p, on_looked);
}

void script_await(struct executor *ex, const struct action *a)
{
	(void)a;
	ex->load_until = now_ms() + AWAIT_MS;
	script_look(ex);
}

/* ---- What a page says of itself ---- */

/* What is an article, or the page's main part, where that is a good part of the page. */
static const char page_text[] =
	"(()=>{const b=document.body;if(!b)return'';const t=e=>(e.innerText?? '').trim();"
	"const all=t(b),best=[...document.querySelectorAll('article,main,[role=main]')].map(t)"
	".sort((x,y)=>y.length-x.length)[0]?? '';"
	"const s=(best.length*4>=all.length?best:all).replace(/\\n{3,}/g,'\\n\\n');"
	"return s.length>50000?s.slice(0,50000).toWellFormed()+'\\n… (cut: '+s.length+"
	"' characters in all)':s})()";
static const char page_place[] =
	"[location.href,document.title,"
	"performance.getEntriesByType('navigation')[0]?.responseStatus??0]";

/* [address, title, status]; NULL: as the browser told of the tab. */
static void tell_place(struct executor *ex, const cJSON *v)
{
	const struct tab *t = tabs_front(ex);
	const char *url = cJSON_GetStringValue(cJSON_GetArrayItem(v, 0)),
		   *title = cJSON_GetStringValue(cJSON_GetArrayItem(v, 1));
	const cJSON *status = cJSON_GetArrayItem(v, 2);
	struct buf b;

	buf_init(&b, 3 * TAB_URL_MAX);
	buf_add_str(&b, "Navigated to ");
	/* That of an error's page, and one that is very long, say nothing. */
	if (!url || strlen(url) >= TAB_URL_MAX || starts_with(url, "chrome-error:"))
		url = t ? t->url : "";
	report_line(&b, url);
	if (!title)
		title = t ? t->title : "";
	if (*title && strlen(title) < TAB_URL_MAX) {
		buf_add_str(&b, " — ");
		report_line(&b, title);
	}
	if (cJSON_IsNumber(status) && status->valueint >= 100 && status->valueint < 1000)
		buf_addf(&b, " (HTTP %d)", status->valueint);
	executor_done(ex, buf_str(&b));
	buf_done(&b);
}

static void on_said(void *data, uint64_t tag, const char *result, size_t n, const struct err *err)
{
	struct executor *ex = data;
	cJSON *o = err ? NULL : discovery_parse(result, n, CDP_OBJECT);
	const cJSON *v = json_get(json_get(o, "result"), "value");

	if (!executor_stale(ex, tag) && ex->wait == WAIT_WORLD) {
		if (executor_action(ex)->kind != ACTION_TEXT)
			tell_place(ex, v);
		else if (!cJSON_IsString(v))
			executor_fail(ex, "The page does not say what its text is.");
		else
			executor_done(ex, *v->valuestring ? v->valuestring : "(empty)");
	}
	cJSON_Delete(o);
}

static void on_world(void *data, uint64_t tag, const char *result, size_t n, const struct err *err)
{
	struct executor *ex = data;
	cJSON *o = err ? NULL : discovery_parse(result, n, CDP_OBJECT), *p;
	int64_t world = json_int(o, "executionContextId", 0);

	cJSON_Delete(o);
	if (executor_stale(ex, tag) || ex->wait != WAIT_WORLD || !tabs_front(ex))
		return;
	if (!world) {
		script_world_late(ex);
		return;
	}
	p = cJSON_CreateObject();
	cJSON_AddStringToObject(
		p, "expression", executor_action(ex)->kind == ACTION_TEXT ? page_text : page_place);
	cJSON_AddNumberToObject(p, "contextId", (double)world);
	cJSON_AddBoolToObject(p, "returnByValue", true);
	executor_call(ex, tabs_front(ex)->session, "Runtime.evaluate", p, on_said);
}

/* In a world of ours, where the page's scripts cannot answer for it. */
void script_ask_page(struct executor *ex)
{
	cJSON *p = cJSON_CreateObject();

	cJSON_AddStringToObject(p, "frameId", tabs_front(ex)->id);
	cJSON_AddStringToObject(p, "worldName", "berth");
	executor_wait(ex, WAIT_WORLD, WORLD_MS);
	executor_call(ex, tabs_front(ex)->session, "Page.createIsolatedWorld", p, on_world);
}

void script_world_late(struct executor *ex)
{
	if (executor_action(ex)->kind == ACTION_TEXT)
		executor_fail(ex, "The page does not answer.");
	else
		tell_place(ex, NULL);
}
