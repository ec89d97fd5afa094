/* Elements that a model names by their number in a snapshot: found again, brought into view, looked
 * whether they are hit. */
#include <math.h>
#include <string.h>

#include "discovery.h"
#include "executor_state.h"
#include "json.h"
#include "json_scan.h"
#include "util.h"

/*
 * Theory of operation. A number stands for a tab, a frame and DOM's backendNodeId, which is the
 * same as long as the element is there; a navigation of the tab forgets them all, and numbers are
 * not used again, so that an old one never means something else. An element is used in five steps,
 * each a call to the browser:
 *
 *   scroll into view -> a world of ours in its frame -> the element there -> a function of ours on
 *   it: may it be used, where is it hit -> where that lies in the view
 *
 * The function runs where scripts of the page cannot reach. What is done by the mouse and keyboard
 * goes on as input; choosing from lists, and fields that are not typed into, are set by it.
 */
#define NODE_MS 15000
#define WHY_MAX 300
#define PIXELS_MAX 1e7 /* what is further away is nowhere */

static const char common[] =
	"function(v,f){if(!this.isConnected)return{stale:1};"
	"const e=this.nodeType===1?this:this.parentElement;if(!e)return{stale:1};"
	"const fire=()=>{for(const k of['input','change'])e.dispatchEvent(new "
	"Event(k,{bubbles:true}))};"
	"const box=()=>{let l;if(this===e)l=e.getClientRects();else{const g=document.createRange();"
	"g.selectNodeContents(this);l=g.getClientRects()}"
	"return[...l].find(r=>r.width>0&&r.height>0)};"
	"const size=()=>{const r=box();return "
	"r?{left:r.left,top:r.top,width:r.width,height:r.height}:"
	"{why:'is not visible'}};"
	"const says=n=>n?'<'+n.localName+(n.id?' id='+n.id:'')+'>':'nothing';"
	"const point=()=>{const "
	"r=box();if(!r||!(e.checkVisibility?.({visibilityProperty:true})??1))"
	"return{why:'is not visible'};"
	"const a=Math.max(r.left,0),b=Math.max(r.top,0),c=Math.min(r.right,innerWidth),"
	"d=Math.min(r.bottom,innerHeight);if(c<=a||d<=b)return{why:'cannot be scrolled into view'};"
	"const x=(a+c)/2,y=(b+d)/2;let h=document.elementFromPoint(x,y);"
	"for(let s;h&&h.shadowRoot&&(s=h.shadowRoot.elementFromPoint(x,y))&&s!==h;)h=s;"
	"let n=h;while(n&&n!==e)n=n.assignedSlot||n.parentNode||n.host;"
	"if(!n&&!(h&&h.closest('label')?.control===e))return{why:'is covered by '+says(h)};"
	"return{x,y,left:r.left,top:r.top,width:r.width,height:r.height}};";

/* What is done with it, by the kind of the action. */
static const char as_point[] = "return point()}";
static const char as_box[] = "return size()}";
static const char as_check[] = "const is=e.checked?? (e.getAttribute('aria-checked')==='true');"
			       "if(is===v)return{done:1};return point()}";
#define FIELD                                                                             \
	"if(e.disabled||e.readOnly)return{why:'cannot be changed'};"                      \
	"if(e.localName==='input'&&/^(color|date|datetime-local|month|range|time|week)$/" \
	".test(e.type)){"                                                                 \
	"e.focus();e.value=v;if(e.value!==v)return{why:'does not take "                   \
	"\"'+v+'\"'};fire();return{done:1}}"                                              \
	"if(!(e.isContentEditable||e.localName==='textarea'||(e.localName==='input'&&"    \
	"!/^(button|checkbox|file|hidden|image|radio|reset|submit)$/.test(e.type))))"     \
	"return{why:'is no field that can be typed into'};"                               \
	"e.focus();return{}"
#define LIST                                                                                  \
	"if(e.disabled)return{why:'cannot be changed'};"                                      \
	"if(!e.multiple&&v.length>1)return{why:'takes one value only'};"                      \
	"const o=[...e.options],w=v.map(t=>o.find(q=>q.value===t||q.label===t||q.text===t))," \
	"m=w.indexOf(undefined);if(m>=0)return{why:'has no option \"'+v[m]+'\"'};"            \
	"e.focus();for(const q of o)q.selected=w.includes(q);fire();return{done:1}"
static const char as_field[] = FIELD "}";
static const char as_list[] =
	"if(e.localName!=='select')return{why:'is no list to choose from'};" LIST "}";
/* A value as a person would bring it about: a click, a choice or text. */
static const char as_set[] =
	"const r=e.getAttribute('role')?? '',s=typeof v==='string'?v:JSON.stringify(v);"
	"if(e.localName==='input'?/^(checkbox|radio)$/.test(e.type):"
	"/^(checkbox|radio|switch|menuitemcheckbox|menuitemradio)$/.test(r)){"
	"if(s!=='true'&&s!=='false')return{why:'takes true or false'};"
	"if(e.disabled)return{why:'cannot be changed'};"
	"const on=e.checked?? (e.getAttribute('aria-checked')==='true');"
	"if(on===(s==='true'))return{done:1};"
	"if(on&&(e.type==='radio'||/radio$/.test(r)))return{why:'cannot be switched off; "
	"set another one'};return point()}"
	"if(e.localName==='select'){v=[s];" LIST "}v=s;" FIELD "}";
static const char as_upload[] =
	"if(e.localName!=='input'||e.type!=='file')return{why:'is no file input'};"
	"if(e.disabled)return{why:'cannot be changed'};"
	"if(v>1&&!e.multiple)return{why:'takes one file only'};return{}}";

static const char *function_of(const struct action *a)
{
	if (a->kind == ACTION_SCREENSHOT || a->kind == ACTION_SCROLL_TO)
		return as_box;
	if (a->kind == ACTION_SET)
		return as_set;
	if (a->kind == ACTION_UPLOAD)
		return as_upload;
	if (a->kind == ACTION_TYPE)
		return as_field;
	if (a->kind == ACTION_CHOOSE)
		return as_list;
	return a->kind == ACTION_CLICK && a->state != STATE_ANY ? as_check : as_point;
}

/* ---- Numbers ---- */

static struct ref *by_number(struct refs *r, unsigned int number)
{
	struct ref *at = r && number ? &r->list[number % REFS_MAX] : NULL;

	return at && at->number == number ? at : NULL;
}

static struct ref *by_node(struct refs *r, const char *tab, const char *frame, uint64_t node)
{
	struct ref *at = by_number(r, r->heads[node % REFS_HASH]);

	while (at &&
		(at->gone || at->node != node || !streq(at->tab, tab) || !streq(at->frame, frame)))
		at = by_number(r, at->next);
	return at;
}

unsigned int node_ref(struct executor *ex, const char *frame, uint64_t node)
{
	const struct tab *t = tabs_front(ex);
	struct refs *refs = ex->refs;
	struct ref *r;

	if (!t)
		return 0;
	if (!refs)
		refs = ex->refs = xcalloc(1, sizeof(*refs));
	r = by_node(refs, t->id, frame, node);
	if (r)
		return r->number;
	refs->last++;
	r = &refs->list[refs->last % REFS_MAX];
	*r = (struct ref){
		.number = refs->last, .next = refs->heads[node % REFS_HASH], .node = node};
	refs->heads[node % REFS_HASH] = refs->last;
	snprintf(r->tab, sizeof(r->tab), "%s", t->id);
	snprintf(r->frame, sizeof(r->frame), "%s", frame);
	return r->number;
}

void node_forget(struct executor *ex, const char *tab)
{
	for (size_t i = 0; ex->refs && i < REFS_MAX; i++)
		if (streq(ex->refs->list[i].tab, tab))
			ex->refs->list[i].gone = true;
}

const struct ref *node_find(struct executor *ex, unsigned int number)
{
	const struct ref *r = by_number(ex->refs, number);

	return r && !r->gone ? r : NULL;
}

uint64_t node_of(struct executor *ex, unsigned int number)
{
	const struct ref *r = by_number(ex->refs, number);
	const struct tab *t = tabs_front(ex);

	return r && !r->gone && t && streq(r->tab, t->id) ? r->node : 0;
}

/* ---- Steps ---- */

static void call(struct executor *ex, const char *method, cJSON *p, cdp_link_answer_fn *fn)
{
	executor_wait(ex, WAIT_NODE, NODE_MS);
	executor_call(ex, tabs_front(ex)->session, method, p, fn);
}

static bool over(const struct executor *ex, uint64_t tag)
{
	return executor_stale(ex, tag) || ex->wait != WAIT_NODE || !tabs_front(ex);
}

/* As the model writes it. */
static const char *form_of_ref(const struct executor *ex)
{
	return executor_action(ex)->browser ? "ref_" : "ref e";
}

static void fail(struct executor *ex, const char *why)
{
	executor_fail(ex, "%s%u %s", form_of_ref(ex), ex->search.ref.number, why);
}

void node_gone(struct executor *ex, unsigned int number)
{
	executor_fail(ex, "%s%u is no longer on the page. %s", form_of_ref(ex), number,
		executor_action(ex)->browser
			? "Use read_page or find again and take a reference from there."
			: "Take a new browser_snapshot and use its refs.");
}

void node_elsewhere(struct executor *ex, unsigned int number)
{
	executor_fail(ex, "%s%u is on another tab. %s", form_of_ref(ex), number,
		executor_action(ex)->browser ? "Name that tab_id, or switch to the tab first."
					     : "Select it with browser_tabs first.");
}

static void gone(struct executor *ex)
{
	node_gone(ex, ex->search.ref.number);
}

static void begin(struct executor *ex, unsigned int number);

/* Pixels of the screenshot: its units are those of the view. */
static void found(struct executor *ex, double left, double top)
{
	struct search *s = &ex->search;
	const struct action *a = executor_action(ex);
	struct spot at = {left + s->x - s->left, top + s->y - s->top};
	bool second = s->second, third = s->third;

	if (second)
		ex->spot_to = at;
	else
		ex->spot = at;
	ex->box[0] = left;
	ex->box[1] = top;
	ex->box[2] = s->width;
	ex->box[3] = s->height;
	if (a->ref_to && !third) {
		begin(ex, second ? a->ref : a->ref_to);
		s->second = !second;
		s->third = second;
		return;
	}
	ex->found = true;
	executor_advance(ex);
}

static void on_quads(void *data, uint64_t tag, const char *result, size_t n, const struct err *err)
{
	struct executor *ex = data;
	cJSON *o = err ? NULL : discovery_parse(result, n, CDP_OBJECT);
	const cJSON *quad = cJSON_GetArrayItem(json_get(o, "quads"), 0), *v;
	double min[2] = {INFINITY, INFINITY};
	int i = 0;

	cJSON_ArrayForEach (v, quad) {
		if (cJSON_IsNumber(v))
			min[i % 2] = fmin(min[i % 2], v->valuedouble);
		i++;
	}
	cJSON_Delete(o);
	if (over(ex, tag))
		return;
	if (!(fabs(min[0]) < PIXELS_MAX && fabs(min[1]) < PIXELS_MAX))
		fail(ex, "is not visible");
	else
		found(ex, min[0], min[1]);
}

static cJSON *of_node(const struct executor *ex)
{
	cJSON *p = cJSON_CreateObject();

	cJSON_AddNumberToObject(p, "backendNodeId", (double)ex->search.ref.node);
	return p;
}

static double number(const cJSON *o, const char *name)
{
	const cJSON *v = json_get(o, name);

	return cJSON_IsNumber(v) && fabs(v->valuedouble) < PIXELS_MAX ? v->valuedouble : 0;
}

/* What the function said of it. */
static void judge(struct executor *ex, const cJSON *v)
{
	struct search *s = &ex->search;
	char why[WHY_MAX];

	if (json_get(v, "why")) {
		snprintf(why, sizeof(why), "%s", json_str(v, "why", "cannot be used"));
		fail(ex, why);
	} else if (!v || json_get(v, "stale")) {
		gone(ex);
	} else if (json_get(v, "done")) {
		ex->last_input = now_ms();
		executor_done(ex, NULL);
	} else if (json_get(v, "left")) {
		ex->by_mouse = true;
		s->x = number(v, "x");
		s->y = number(v, "y");
		s->left = number(v, "left");
		s->top = number(v, "top");
		s->width = number(v, "width");
		s->height = number(v, "height");
		call(ex, "DOM.getContentQuads", of_node(ex), on_quads);
	} else {
		ex->found = true;
		executor_advance(ex);
	}
}

static void on_function(
	void *data, uint64_t tag, const char *result, size_t n, const struct err *err)
{
	struct executor *ex = data;
	cJSON *o = err ? NULL : discovery_parse(result, n, CDP_OBJECT);

	if (!over(ex, tag))
		judge(ex, json_get(json_get(o, "result"), "value"));
	cJSON_Delete(o);
}

static void add_value(cJSON *list, const struct action *a)
{
	cJSON *v = cJSON_CreateObject();

	if (a->kind == ACTION_CHOOSE || a->kind == ACTION_SET)
		cJSON_AddItemToObject(v, "value", cJSON_CreateRaw(a->choices));
	else if (a->kind == ACTION_UPLOAD)
		cJSON_AddNumberToObject(v, "value", modal_count_paths(a->text));
	else if (a->kind == ACTION_TYPE)
		cJSON_AddStringToObject(v, "value", a->text);
	else
		cJSON_AddBoolToObject(v, "value", a->state == STATE_ON);
	cJSON_AddItemToArray(list, v);
}

static void on_resolved(
	void *data, uint64_t tag, const char *result, size_t n, const struct err *err)
{
	struct executor *ex = data;
	cJSON *o = err ? NULL : discovery_parse(result, n, CDP_OBJECT), *p;
	AUTOFREE char *id = xstrdup(json_str(json_get(o, "object"), "objectId", ""));
	AUTOFREE char *text = NULL;

	cJSON_Delete(o);
	if (over(ex, tag))
		return;
	if (!*id) {
		gone(ex);
		return;
	}
	text = xasprintf("%s%s", common, function_of(executor_action(ex)));
	p = cJSON_CreateObject();
	cJSON_AddStringToObject(p, "objectId", id);
	cJSON_AddStringToObject(p, "functionDeclaration", text);
	add_value(cJSON_AddArrayToObject(p, "arguments"), executor_action(ex));
	cJSON_AddBoolToObject(p, "returnByValue", true);
	cJSON_AddBoolToObject(p, "userGesture", true);
	call(ex, "Runtime.callFunctionOn", p, on_function);
}

static void on_world(void *data, uint64_t tag, const char *result, size_t n, const struct err *err)
{
	struct executor *ex = data;
	cJSON *o = err ? NULL : discovery_parse(result, n, CDP_OBJECT), *p;
	int64_t world = json_int(o, "executionContextId", 0);

	cJSON_Delete(o);
	if (over(ex, tag))
		return;
	if (!world) {
		gone(ex);
		return;
	}
	p = of_node(ex);
	cJSON_AddNumberToObject(p, "executionContextId", (double)world);
	call(ex, "DOM.resolveNode", p, on_resolved);
}

/* Something that has no box cannot be scrolled to, and may be used all the same: the function says
 * what of it. */
static void on_scrolled(
	void *data, uint64_t tag, const char *result, size_t n, const struct err *err)
{
	struct executor *ex = data;
	cJSON *p;

	(void)result;
	(void)n;
	(void)err;
	if (over(ex, tag))
		return;
	p = cJSON_CreateObject();
	cJSON_AddStringToObject(p, "frameId", ex->search.ref.frame);
	cJSON_AddStringToObject(p, "worldName", "berth");
	call(ex, "Page.createIsolatedWorld", p, on_world);
}

static void begin(struct executor *ex, unsigned int wanted)
{
	const struct ref *r = by_number(ex->refs, wanted);

	ex->search = (struct search){.ref.number = wanted};
	ex->by_mouse = false;
	if (!r || r->gone) {
		gone(ex);
	} else if (!streq(r->tab, tabs_front(ex)->id)) {
		node_elsewhere(ex, wanted);
	} else {
		ex->search.ref = *r;
		call(ex, "DOM.scrollIntoViewIfNeeded", of_node(ex), on_scrolled);
	}
}

bool node_ready(struct executor *ex)
{
	const struct action *a = executor_action(ex);

	if (!a->ref || ex->found || a->kind == ACTION_EVALUATE || a->kind == ACTION_SNAPSHOT)
		return true;
	begin(ex, a->ref);
	return false;
}
