/* Which nodes of a page are in view, by the boxes that CDP's DOMSnapshot tells. */
#include "inview.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "util.h"

/*
 * A document comes as parallel lists: its nodes (backendNodeId), and of those with a box the
 * place in that list (layout.nodeIndex) and the box (layout.bounds), in pixels of the device from
 * the document's corner. The first box is the document's own and as wide as its view. A frame's
 * document is named by its element's node (nodes.contentDocumentIndex).
 */
#define DOCUMENTS_MAX 64
#define NESTING_MAX 16

struct rect {
	double left, top, right, bottom;
};

struct known {
	uint64_t node;
	bool in;
};

struct inview {
	struct known *list; /* by node */
	size_t n, room;
};

/* The frames of a document: the place of each one's element, and which document is in it. */
struct frames {
	size_t place[DOCUMENTS_MAX], document[DOCUMENTS_MAX], n;
};

struct reading {
	struct inview *v;
	const cJSON *documents;
	bool seen[DOCUMENTS_MAX];
	double scale; /* device pixels in one of CSS */
};

void inview_free(struct inview *v)
{
	if (!v)
		return;
	free(v->list);
	free(v);
}

static void add(struct inview *v, uint64_t node, bool in)
{
	if (v->n == v->room) {
		v->room = v->room ? 2 * v->room : 256;
		v->list = xrealloc(v->list, v->room * sizeof(*v->list));
	}
	v->list[v->n++] = (struct known){node, in};
}

/* ---- Numbers ---- */

/* A list's numbers, 0 for what is none of at least 0. At most max; the caller's to free. */
static size_t *numbers(const cJSON *list, size_t max, size_t *ret_n)
{
	size_t n = MIN((size_t)cJSON_GetArraySize(list), max), i = 0;
	size_t *all = xcalloc(n + 1, sizeof(*all));
	const cJSON *one;

	cJSON_ArrayForEach (one, list) {
		if (i == n)
			break;
		if (cJSON_IsNumber(one) && one->valuedouble >= 0 && one->valuedouble < 1e12)
			all[i] = (size_t)one->valuedouble;
		i++;
	}
	*ret_n = n;
	return all;
}

static double number(const cJSON *o, const char *name)
{
	const cJSON *v = json_get(o, name);

	return cJSON_IsNumber(v) && fabs(v->valuedouble) < 1e9 ? v->valuedouble : 0;
}

/* False for one without an area. */
static bool read_box(const cJSON *box, struct rect *ret)
{
	double at[4];
	size_t i = 0;
	const cJSON *one;

	cJSON_ArrayForEach (one, box) {
		if (i == 4 || !cJSON_IsNumber(one) || !(fabs(one->valuedouble) < 1e9))
			return false;
		at[i++] = one->valuedouble;
	}
	if (i < 4 || at[2] <= 0 || at[3] <= 0)
		return false;
	*ret = (struct rect){at[0], at[1], at[0] + at[2], at[1] + at[3]};
	return true;
}

static bool meets(const struct rect *a, const struct rect *b, struct rect *ret)
{
	*ret = (struct rect){MAX(a->left, b->left), MAX(a->top, b->top), MIN(a->right, b->right),
		MIN(a->bottom, b->bottom)};
	return ret->left < ret->right && ret->top < ret->bottom;
}

/* ---- Documents ---- */

static void read_document(struct reading *r, size_t at, const struct rect *view, int level);

static void read_frames(const cJSON *list, struct frames *ret)
{
	size_t n, m;
	AUTOFREE size_t *places = numbers(json_get(list, "index"), DOCUMENTS_MAX, &n);
	AUTOFREE size_t *documents = numbers(json_get(list, "value"), DOCUMENTS_MAX, &m);

	ret->n = MIN(n, m);
	memcpy(ret->place, places, ret->n * sizeof(*places));
	memcpy(ret->document, documents, ret->n * sizeof(*documents));
}

/* The documents in the element at `place`, whose box is `box`, of which `part` is in view. */
static void read_inside(struct reading *r, const struct frames *f, size_t place,
	const struct rect *part, const struct rect *box, int level)
{
	struct rect inside = {part->left - box->left, part->top - box->top, part->right - box->left,
		part->bottom - box->top};

	for (size_t i = 0; i < f->n; i++)
		if (f->place[i] == place && f->document[i] < DOCUMENTS_MAX)
			read_document(r, f->document[i], &inside, level + 1);
}

/* view: what of it is seen, from the corner of its own view. */
static void read_boxes(struct reading *r, const cJSON *d, const struct rect *view, int level)
{
	const cJSON *nodes = json_get(d, "nodes"), *layout = json_get(d, "layout"), *box;
	double x = number(d, "scrollOffsetX"), y = number(d, "scrollOffsetY");
	struct rect seen = {view->left + x, view->top + y, view->right + x, view->bottom + y};
	size_t n, m, i = 0;
	AUTOFREE size_t *ids = numbers(json_get(nodes, "backendNodeId"), SIZE_MAX, &n);
	AUTOFREE size_t *places = numbers(json_get(layout, "nodeIndex"), SIZE_MAX, &m);
	struct frames frames;

	read_frames(json_get(nodes, "contentDocumentIndex"), &frames);
	cJSON_ArrayForEach (box, json_get(layout, "bounds")) {
		size_t place = i < m ? places[i] : n;
		struct rect whole, part;
		bool in;

		i++;
		if (place >= n || !ids[place])
			continue;
		in = read_box(box, &whole) && meets(&whole, &seen, &part);
		add(r->v, ids[place], in);
		if (in)
			read_inside(r, &frames, place, &part, &whole, level);
	}
}

static void read_document(struct reading *r, size_t at, const struct rect *view, int level)
{
	const cJSON *d = cJSON_GetArrayItem(r->documents, (int)at);

	if (!d || r->seen[at] || level > NESTING_MAX)
		return;
	r->seen[at] = true;
	read_boxes(r, d, view, level);
}

/* Boxes of one node (there may be several) stand beside one another, those in view first. */
static int compare(const void *a, const void *b)
{
	const struct known *x = a, *y = b;

	if (x->node != y->node)
		return x->node < y->node ? -1 : 1;
	return (int)y->in - (int)x->in;
}

/* What a pixel of the snapshot is: the document's own box is as wide as the view, scroll bars left
 * out. */
static double scale_of(const cJSON *document, double width, double device_scale)
{
	struct rect root;
	double ratio;

	if (!read_box(cJSON_GetArrayItem(json_get(json_get(document, "layout"), "bounds"), 0),
		    &root) ||
		width <= 0)
		return 1;
	ratio = (root.right - root.left) / width;
	return fabs(ratio - device_scale) < fabs(ratio - 1) ? device_scale : 1;
}

struct inview *inview_new(const cJSON *snapshot, double width, double height, double device_scale)
{
	struct reading r = {.documents = json_get(snapshot, "documents")};
	const cJSON *first = cJSON_GetArrayItem(r.documents, 0);
	struct rect view;

	if (!first || !cJSON_IsArray(r.documents))
		return NULL;
	r.v = xcalloc(1, sizeof(*r.v));
	r.scale = scale_of(first, width, device_scale);
	view = (struct rect){0, 0, width * r.scale, height * r.scale};
	read_document(&r, 0, &view, 0);
	if (!r.v->n) {
		inview_free(r.v);
		return NULL;
	}
	qsort(r.v->list, r.v->n, sizeof(*r.v->list), compare);
	return r.v;
}

static int compare_node(const void *a, const void *b)
{
	const struct known *x = a, *y = b;

	return x->node < y->node ? -1 : x->node > y->node;
}

enum inview_state inview_of(const struct inview *v, uint64_t node)
{
	struct known key = {.node = node}, *at;

	if (!v || !node)
		return INVIEW_UNKNOWN;
	at = bsearch(&key, v->list, v->n, sizeof(key), compare_node);
	if (!at)
		return INVIEW_UNKNOWN;
	while (at > v->list && at[-1].node == node)
		at--;
	return at->in ? INVIEW_IN : INVIEW_OUT;
}
