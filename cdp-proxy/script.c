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
#define RESULT_MAX 102400 /* characters of what a script returns */
#define WHY_MAX 500

/* ---- A page's own JavaScript ---- */

static void on_result(void *data, uint64_t tag, const char *result, size_t n, const struct err *err)
{
	struct executor *ex = data;
	cJSON *o = err ? NULL : discovery_parse(result, n, CDP_OBJECT);
	const cJSON *thrown = json_get(o, "exceptionDetails");
	const char *text = json_str(json_get(o, "result"), "value", NULL);

	if (executor_stale(ex, tag) || ex->wait != WAIT_SCRIPT) {
		cJSON_Delete(o);
		return;
	}
	ex->last_input = now_ms();
	if (err)
		executor_failed(ex, err);
	else if (thrown)
		executor_fail(ex, "The function failed: %.*s", WHY_MAX,
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
