/* The executor's snapshots: frames of the page in front, and their accessibility trees, fetched one
 * after another. */
#include <errno.h>
#include <string.h>

#include "discovery.h"
#include "executor_state.h"
#include "json.h"
#include "json_scan.h"
#include "match.h"
#include "snapshot.h"
#include "util.h"

/*
 * Theory of operation. The frames are known first, each with the one around it; then they are
 * printed from the last to the first, so that what stands in a frame is text already when the frame
 * around it is printed. Frames of other sites, which have processes of their own, are left out. A
 * frame that does not answer is left out too, the main one fails the snapshot.
 */
#define TREE_MS 20000
#define TREE_BYTES_MAX (16u << 20) /* of one answer */
#define TREE_VALUES_MAX 600000     /* in one: parsed, each takes some 100 bytes */
#define TREE_NESTING_MAX 32

struct frame {
	char id[CDP_SESSION_MAX];
	uint64_t owner;
	char *text;
};

/* Owned by its executor. */
struct tree {
	struct frame frames[SNAPSHOT_FRAMES_MAX];
	size_t n, at, first; /* first: the one that is wanted, with those in it */
	bool cut;
	struct inview *view; /* NULL: wherever it is */
	struct matches found;
};

void tree_free(struct tree *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n; i++)
		free(t->frames[i].text);
	inview_free(t->view);
	match_done(&t->found);
	free(t);
}

static bool over(const struct executor *ex, uint64_t tag)
{
	return executor_stale(ex, tag) || ex->wait != WAIT_TREE || !ex->tree || !tabs_front(ex);
}

static void call(struct executor *ex, const char *method, cJSON *p, cdp_link_answer_fn *fn)
{
	executor_wait(ex, WAIT_TREE, TREE_MS);
	executor_call(ex, tabs_front(ex)->session, method, p, fn);
}

static cJSON *of_frame(const struct frame *f)
{
	cJSON *p = cJSON_CreateObject();

	cJSON_AddStringToObject(p, "frameId", f->id);
	return p;
}

/* ---- The end ---- */

/* FNV-1a: whether it is the same as the last one. */
static uint64_t hash(const char *text)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 0x100000001b3u;
	return h;
}

static void tell_found(struct executor *ex)
{
	struct buf b;

	buf_init(&b, SNAPSHOT_MAX);
	match_print(&ex->tree->found, &b);
	executor_done(ex, b.len ? buf_str(&b)
				: "Nothing on the page goes by these words. Use other ones, or "
				  "read_page.");
	buf_done(&b);
}

/* For the browser toolset, which asks for parts. */
static void tell_part(struct executor *ex)
{
	const struct tree *t = ex->tree;
	const char *said = t->frames[t->first].text ? t->frames[t->first].text : "";
	AUTOFREE char *text = NULL;

	if (!*said && executor_action(ex)->ref) {
		node_gone(ex, executor_action(ex)->ref);
		return;
	}
	text = xasprintf("%s%s", *said ? said : "(empty)",
		t->cut ? "… (the rest was cut: narrow it with ref or a smaller depth)\n" : "");
	executor_done(ex, text);
}

static void whole(struct executor *ex)
{
	struct tree *t = ex->tree;
	const char *said = t->frames[0].text ? t->frames[0].text : "";
	uint64_t h = hash(said);
	bool known = h == ex->last_tree && executor_action(ex)->after;
	AUTOFREE char *text = NULL;

	ex->last_tree = h;
	if (known)
		text = xstrdup("");
	else
		text = xasprintf("%s%s", *said ? said : "(nothing)\n",
			t->cut ? "- … (the rest was cut)\n" : "");
	executor_done(ex, text);
}

/* ---- One frame after another ---- */

static void next_frame(struct executor *ex);

struct printing {
	struct executor *ex;
	const struct frame *f;
};

static unsigned int ref_of(void *data, uint64_t node)
{
	const struct printing *p = data;

	return node_ref(p->ex, p->f->id, node);
}

/* A cut line at the end is left out. */
static char *as_text(struct buf *b)
{
	char *s = xstrdup(buf_str(b)), *last = strrchr(s, '\n');

	if (b->full)
		*(last ? last + 1 : s) = '\0';
	return s;
}

static void print(struct executor *ex, const cJSON *nodes)
{
	struct tree *t = ex->tree;
	struct snapshot_frame inside[SNAPSHOT_FRAMES_MAX];
	struct printing p = {ex, &t->frames[t->at]};
	const struct action *a = executor_action(ex);
	struct snapshot_wish wish = {.browser = a->browser,
		.interactive = a->part == PART_INTERACTIVE,
		.depth = a->depth,
		.root = t->at == t->first && a->ref ? node_of(ex, a->ref) : 0,
		.view = t->view};
	size_t n = 0;
	struct buf b;

	if (a->kind == ACTION_FIND) {
		match_add(&t->found, nodes, a->text, ref_of, &p);
		return;
	}

	for (size_t i = t->at + 1; i < t->n; i++)
		inside[n++] = (struct snapshot_frame){t->frames[i].owner, t->frames[i].text};
	buf_init(&b, SNAPSHOT_MAX);
	snapshot_print(nodes, inside, n, &wish, ref_of, &p, &b);
	t->cut |= b.full;
	t->frames[t->at].text = as_text(&b);
	buf_done(&b);
}

/* Whoever wrote it may have wished for as many values as go into so many bytes. */
static bool is_bearable(const char *text, size_t n)
{
	size_t values = 0;

	for (size_t i = 0; i < n; i++)
		values += text[i] == ',' || text[i] == '[' || text[i] == '{';
	return n <= TREE_BYTES_MAX && values <= TREE_VALUES_MAX;
}

static cJSON *parse_tree(const char *text, size_t n)
{
	return text && is_bearable(text, n) ? cJSON_ParseWithLength(text, n) : NULL;
}

/* Newer than what the browser tells of the tab. */
static void note_title(struct tab *t, const cJSON *nodes)
{
	const cJSON *name = json_get(cJSON_GetArrayItem(nodes, 0), "name");

	snprintf(t->title, sizeof(t->title), "%s", json_str(name, "value", ""));
}

static void all_printed(struct executor *ex)
{
	if (executor_action(ex)->kind == ACTION_FIND)
		tell_found(ex);
	else if (executor_action(ex)->browser)
		tell_part(ex);
	else
		whole(ex);
}

static void on_nodes(void *data, uint64_t tag, const char *result, size_t n, const struct err *err)
{
	struct executor *ex = data;
	cJSON *o;

	if (over(ex, tag))
		return;
	o = err ? NULL : parse_tree(result, n);
	if (!o && ex->tree->at == ex->tree->first) {
		executor_fail(ex, "No snapshot can be taken%s%s", err ? ": " : ": it is too large",
			err ? err->msg : "");
		return;
	}
	if (o)
		print(ex, json_get(o, "nodes"));
	if (ex->tree->at == 0)
		note_title(tabs_front(ex), json_get(o, "nodes"));
	cJSON_Delete(o);
	if (ex->tree->at == ex->tree->first) {
		all_printed(ex);
		return;
	}
	ex->tree->at--;
	next_frame(ex);
}

static void on_owner(void *data, uint64_t tag, const char *result, size_t n, const struct err *err)
{
	struct executor *ex = data;
	cJSON *o = err ? NULL : discovery_parse(result, n, CDP_OBJECT);
	int64_t owner = json_int(o, "backendNodeId", 0);
	struct frame *f;

	cJSON_Delete(o);
	if (over(ex, tag))
		return;
	f = &ex->tree->frames[ex->tree->at];
	f->owner = owner > 0 ? (uint64_t)owner : 0;
	call(ex, "Accessibility.getFullAXTree", of_frame(f), on_nodes);
}

static void next_frame(struct executor *ex)
{
	const struct frame *f = &ex->tree->frames[ex->tree->at];

	if (ex->tree->at > 0)
		call(ex, "DOM.getFrameOwner", of_frame(f), on_owner);
	else
		call(ex, "Accessibility.getFullAXTree", of_frame(f), on_nodes);
}

/* ---- The frames ---- */

static void add_frames(struct tree *t, const cJSON *node, int depth)
{
	const char *id = json_str(json_get(node, "frame"), "id", "");
	const cJSON *child;

	if (!cdp_id_valid(id) || depth > TREE_NESTING_MAX)
		return;
	if (t->n == SNAPSHOT_FRAMES_MAX) {
		t->cut = true;
		return;
	}
	snprintf(t->frames[t->n++].id, CDP_SESSION_MAX, "%s", id);
	cJSON_ArrayForEach (child, json_get(node, "childFrames")) {
		add_frames(t, child, depth + 1);
	}
}

/* The frame that the wanted element is in is the last one to be printed. False: it failed. */
static bool find_first(struct executor *ex)
{
	const struct action *a = executor_action(ex);
	const struct ref *r = node_find(ex, a->ref);
	struct tree *t = ex->tree;

	if (!a->ref)
		return true;
	if (r && !streq(r->tab, tabs_front(ex)->id)) {
		node_elsewhere(ex, a->ref);
		return false;
	}
	while (r && t->first < t->n && !streq(t->frames[t->first].id, r->frame))
		t->first++;
	if (r && t->first < t->n)
		return true;
	node_gone(ex, a->ref);
	return false;
}

static void begin_frames(struct executor *ex)
{
	ex->tree->at = ex->tree->n - 1;
	next_frame(ex);
}

/* Where boxes are is not known of pages that are too large: then all of it is printed. */
static void on_boxes(void *data, uint64_t tag, const char *result, size_t n, const struct err *err)
{
	struct executor *ex = data;
	cJSON *o;

	if (over(ex, tag))
		return;
	o = err ? NULL : parse_tree(result, n);
	ex->tree->view = inview_new(o, ex->view.width, ex->view.height, ex->view.device_scale);
	cJSON_Delete(o);
	begin_frames(ex);
}

static void ask_boxes(struct executor *ex)
{
	cJSON *p = cJSON_CreateObject();

	cJSON_AddItemToObject(p, "computedStyles", cJSON_CreateArray());
	call(ex, "DOMSnapshot.captureSnapshot", p, on_boxes);
}

static void on_frames(void *data, uint64_t tag, const char *result, size_t n, const struct err *err)
{
	struct executor *ex = data;
	cJSON *o = err ? NULL : discovery_parse(result, n, CDP_OBJECT);
	struct tree *t = ex->tree;

	if (!over(ex, tag)) {
		const struct action *a = executor_action(ex);

		add_frames(t, json_get(o, "frameTree"), 0);
		if (t->n && !find_first(ex)) {
			;
		} else if (t->n && a->kind == ACTION_SNAPSHOT && a->part != PART_ALL && !a->ref) {
			ask_boxes(ex);
		} else if (t->n) {
			begin_frames(ex);
		} else {
			executor_fail(ex, "The page does not say what is in it%s%s",
				err ? ": " : ".", err ? err->msg : "");
		}
	}
	cJSON_Delete(o);
}

void tree_begin(struct executor *ex)
{
	tree_free(steal(&ex->tree));
	ex->tree = xcalloc(1, sizeof(*ex->tree));
	call(ex, "Page.getFrameTree", NULL, on_frames);
}
