/* A page as text: its accessibility tree, a line for each thing on it. */
#include "snapshot.h"

#include <stdbool.h>
#include <string.h>

#include "json.h"
#include "util.h"

/*
 * The tree comes as a flat list whose nodes name their children (CDP, Accessibility.AXNode). Each
 * is printed once at most, whatever the list says. Boxes that mean nothing are left out, and what
 * is in them stands in their place.
 */
#define LEVELS_MAX 1000

struct entry {
	const char *id;
	const cJSON *node;
	bool printed;
};

struct printer {
	struct entry *entries;
	size_t n;
	const struct snapshot_frame *frames;
	size_t n_frames;
	snapshot_ref_fn *fn;
	void *data;
	struct buf *out;
	const struct snapshot_wish *wish;
	bool in_view; /* the thing around is */
	size_t seen;  /* things printed that are in view */
	int level;    /* of the recursion, which also things that are left out go through */
};

/* Chromium's own roles under the names that people know; "": left out, its children are not. */
static const struct {
	const char *role, *name;
} roles[] = {
	{"RootWebArea", ""},
	{"none", ""},
	{"generic", ""},
	{"presentation", ""},
	{"LabelText", ""},
	{"Section", ""},
	{"LayoutTable", ""},
	{"LayoutTableRow", ""},
	{"LayoutTableCell", ""},
	{"MenuListPopup", ""},
	{"ListMarker", ""},
	{"Abbr", ""},
	{"Pre", ""},
	{"image", "img"},
	{"SvgRoot", "img"},
	{"IframePresentational", "iframe"},
	{"ComboBoxSelect", "combobox"},
	{"TextField", "textbox"},
	{"Date", "textbox"},
	{"DateTime", "textbox"},
	{"InputTime", "textbox"},
	{"DisclosureTriangle", "button"},
};

static const char *value_of(const cJSON *node, const char *name)
{
	return json_str(json_get(node, name), "value", "");
}

static const char *raw_role(const cJSON *node)
{
	return value_of(node, "role");
}

static bool is_text(const cJSON *node)
{
	return streq(raw_role(node), "StaticText");
}

void snapshot_role(const cJSON *node, char out[32])
{
	const char *role = raw_role(node);
	size_t n = 0;

	out[0] = '\0';
	if (json_bool(node, "ignored", false))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
		if (!streq(role, roles[i].role))
			continue;
		snprintf(out, 32, "%s", roles[i].name);
		return;
	}
	for (; *role && n < 31; role++) {
		char c = (char)(*role | 0x20);

		if (c >= 'a' && c <= 'z')
			out[n++] = c;
	}
	out[n] = '\0';
}

/* ---- Finding ---- */

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->id, ((const struct entry *)b)->id);
}

static void index_nodes(struct printer *p, const cJSON *nodes)
{
	const cJSON *node;

	p->entries = xcalloc((size_t)cJSON_GetArraySize(nodes) + 1, sizeof(*p->entries));
	cJSON_ArrayForEach (node, nodes) {
		const char *id = json_str(node, "nodeId", "");

		if (*id)
			p->entries[p->n++] = (struct entry){.id = id, .node = node};
	}
	qsort(p->entries, p->n, sizeof(*p->entries), compare);
}

static struct entry *find(const struct printer *p, const cJSON *id)
{
	struct entry key = {.id = cJSON_GetStringValue(id)};

	return key.id ? bsearch(&key, p->entries, p->n, sizeof(key), compare) : NULL;
}

/* ---- Text ---- */

void snapshot_clean(struct buf *b, const char *text)
{
	size_t from = b->len;
	bool space = false;

	for (const unsigned char *s = (const unsigned char *)text; *s; s++) {
		if (b->len - from >= SNAPSHOT_NAME_MAX && (*s & 0xc0) != 0x80) {
			buf_add_str(b, "…");
			return;
		}
		if (*s <= 0x20 || *s == 0x7f) {
			space = b->len > 0;
			continue;
		}
		if (space && b->len > from)
			buf_add_u8(b, ' ');
		space = false;
		buf_add_u8(b, *s);
	}
}

static void add_quoted(struct buf *b, const char *text)
{
	buf_add_u8(b, '"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			buf_add_u8(b, '\\');
		buf_add_u8(b, (uint8_t)*text);
	}
	buf_add_u8(b, '"');
}

/* Bare where YAML would read it as the same text. */
static void add_scalar(struct buf *b, const char *text)
{
	if (strchr("-?:,[]{}#&*!|>'\"%@`", text[0]) || strstr(text, ": ") || strstr(text, " #") ||
		text[strlen(text) - 1] == ':')
		add_quoted(b, text);
	else
		buf_add_str(b, text);
}

static void indent(const struct printer *p, int depth)
{
	buf_addf(p->out, "%*s- ", 2 * depth, "");
}

/* ---- Attributes ---- */

static const cJSON *property(const cJSON *node, const char *name)
{
	const cJSON *one;

	cJSON_ArrayForEach (one, json_get(node, "properties")) {
		if (streq(json_str(one, "name", ""), name))
			return json_get(json_get(one, "value"), "value");
	}
	return NULL;
}

static void add_attributes(struct buf *out, const cJSON *node)
{
	static const char *const tokens[] = {"checked", "pressed"};
	static const char *const flags[] = {"disabled", "expanded", "selected"};
	const cJSON *v;

	for (size_t i = 0; i < ARRAY_SIZE(tokens); i++) {
		const char *s = cJSON_GetStringValue(property(node, tokens[i]));

		if (s && streq(s, "true"))
			buf_addf(out, " [%s]", tokens[i]);
		else if (s && streq(s, "mixed"))
			buf_addf(out, " [%s=mixed]", tokens[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (cJSON_IsTrue(property(node, flags[i])))
			buf_addf(out, " [%s]", flags[i]);
	if (cJSON_IsTrue(property(node, "focused")))
		buf_add_str(out, " [active]");
	v = property(node, "level");
	if (streq(raw_role(node), "heading") && cJSON_IsNumber(v) && v->valuedouble >= 1 &&
		v->valuedouble < 100)
		buf_addf(out, " [level=%d]", v->valueint);
}

uint64_t snapshot_node(const cJSON *node)
{
	int64_t n = json_int(node, "backendDOMNodeId", 0);

	return n > 0 ? (uint64_t)n : 0;
}

static void add_ref(struct printer *p, const cJSON *node)
{
	uint64_t n = snapshot_node(node);

	if (n && !p->out->full)
		buf_addf(p->out, p->wish->browser ? " [ref_%u]" : " [ref=e%u]", p->fn(p->data, n));
}

void snapshot_head(const cJSON *node, const char *role, struct buf *out)
{
	struct buf name;

	buf_init(&name, 2 * SNAPSHOT_NAME_MAX);
	snapshot_clean(&name, value_of(node, "name"));
	buf_add_str(out, role);
	if (name.len) {
		buf_add_u8(out, ' ');
		add_quoted(out, buf_str(&name));
	}
	buf_done(&name);
	add_attributes(out, node);
}

/* ---- What is wanted ---- */

/* What can be used: by its role, or as the keyboard reaches it. */
static bool is_interactive(const cJSON *node, const char *role)
{
	static const char *const all[] = {"button", "checkbox", "combobox", "link", "listbox",
		"menuitem", "menuitemcheckbox", "menuitemradio", "option", "radio", "searchbox",
		"slider", "spinbutton", "switch", "tab", "textbox", "treeitem"};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (streq(role, all[i]))
			return true;
	return *role && !streq(role, "iframe") && cJSON_IsTrue(property(node, "focusable"));
}

static bool is_in_view(const struct printer *p, const cJSON *node)
{
	enum inview_state s = inview_of(p->wish->view, snapshot_node(node));

	return s == INVIEW_UNKNOWN ? p->in_view : s == INVIEW_IN;
}

/* ---- Lines ---- */

static void print_children(
	struct printer *p, const cJSON *node, int depth, const char *name, bool boxed);

/* True when there is nothing but text in it, which is added to b. */
static bool only_text(const struct printer *p, const cJSON *node, int depth, struct buf *b)
{
	const cJSON *id;
	char role[32];

	if (depth > SNAPSHOT_DEPTH_MAX)
		return false;
	cJSON_ArrayForEach (id, json_get(node, "childIds")) {
		const struct entry *e = find(p, id);

		if (!e || e->printed || b->len >= SNAPSHOT_NAME_MAX)
			return false;
		snapshot_role(e->node, role);
		if (is_text(e->node)) {
			if (b->len)
				buf_add_u8(b, ' ');
			snapshot_clean(b, value_of(e->node, "name"));
		} else if (role[0] || !only_text(p, e->node, depth + 1, b)) {
			return false;
		}
	}
	return true;
}

static const struct snapshot_frame *frame_in(const struct printer *p, const cJSON *node)
{
	uint64_t n = snapshot_node(node);

	for (size_t i = 0; n && i < p->n_frames; i++)
		if (p->frames[i].owner == n && p->frames[i].text && *p->frames[i].text)
			return &p->frames[i];
	return NULL;
}

static void print_frame(const struct printer *p, const struct snapshot_frame *f, int depth)
{
	const char *line = f->text;

	while (*line) {
		size_t n = strcspn(line, "\n");

		buf_addf(p->out, "%*s%.*s\n", 2 * depth, "", (int)n, line);
		line += n + (line[n] == '\n');
	}
}

/* A link's address, which models go by. */
static void print_address(const struct printer *p, const cJSON *node, const char *role, int depth)
{
	const char *url = cJSON_GetStringValue(property(node, "url"));
	struct buf b;

	if (!streq(role, "link") || !url)
		return;
	buf_init(&b, SNAPSHOT_NAME_MAX + 8);
	snapshot_clean(&b, url);
	indent(p, depth);
	buf_addf(p->out, "/url: %s\n", buf_str(&b));
	buf_done(&b);
}

/* Fields that the browser itself makes of several: they are set as one. */
static bool has_own_parts(const cJSON *node)
{
	static const char *const fields[] = {"Date", "DateTime", "InputTime"};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (streq(raw_role(node), fields[i]))
			return true;
	return false;
}

/* What stands behind the colon: a field's value, or the text that is all there is in it. */
static void print_inside(
	struct printer *p, const cJSON *node, const char *role, const char *name, int depth)
{
	const struct snapshot_frame *f = frame_in(p, node);
	struct buf text;
	bool plain;
	size_t colon;

	buf_init(&text, 4 * SNAPSHOT_NAME_MAX);
	plain = only_text(p, node, 0, &text);
	if (*value_of(node, "value") && !streq(role, "link")) {
		buf_done(&text);
		buf_init(&text, 4 * SNAPSHOT_NAME_MAX);
		snapshot_clean(&text, value_of(node, "value"));
		plain = !streq(role, "combobox") && !streq(role, "listbox");
	}
	if (text.len && (plain || *value_of(node, "value")) && !streq(buf_str(&text), name)) {
		buf_add_str(p->out, ": ");
		add_scalar(p->out, buf_str(&text));
		buf_add_u8(p->out, '\n');
	} else {
		buf_add_str(p->out, ":\n");
	}
	colon = p->out->len;
	print_address(p, node, role, depth + 1);
	if (!plain && !has_own_parts(node))
		print_children(p, node, depth + 1, name, true);
	if (f)
		print_frame(p, f, depth + 1);
	/* Nothing came: no colon. */
	if (colon == p->out->len && colon >= 2 && !p->out->full && p->out->data[colon - 2] == ':') {
		p->out->len -= 2;
		buf_add_u8(p->out, '\n');
	}
	buf_done(&text);
}

static void print_text(
	struct printer *p, const cJSON *node, int depth, const char *name, bool boxed)
{
	struct buf b;

	if (p->wish->interactive || !is_in_view(p, node))
		return;
	p->seen++;
	buf_init(&b, 2 * SNAPSHOT_NAME_MAX);
	snapshot_clean(&b, value_of(node, "name"));
	if (b.len && !streq(buf_str(&b), name)) {
		indent(p, depth);
		buf_add_str(p->out, "text");
		if (!boxed)
			add_ref(p, node);
		buf_add_str(p->out, ": ");
		add_scalar(p->out, buf_str(&b));
		buf_add_u8(p->out, '\n');
	}
	buf_done(&b);
}

/* What is behind `len` was never written. */
static void take_back(struct buf *b, size_t len)
{
	b->len = len;
	if (b->data)
		b->data[len] = '\0';
}

/* One that is printed itself. */
static void print_thing(struct printer *p, const cJSON *node, const char *role, int depth)
{
	struct buf own;

	buf_init(&own, 2 * SNAPSHOT_NAME_MAX);
	snapshot_clean(&own, value_of(node, "name"));
	indent(p, depth);
	snapshot_head(node, role, p->out);
	add_ref(p, node);
	print_inside(p, node, role, buf_str(&own), depth);
	buf_done(&own);
}

/* What is not wanted itself, and what is in it stands in its place. */
static void print_through(
	struct printer *p, const cJSON *node, int depth, const char *name, bool boxed)
{
	const struct snapshot_frame *f = p->wish->interactive ? frame_in(p, node) : NULL;

	print_children(p, node, depth, name, boxed);
	if (f) {
		p->seen++;
		print_frame(p, f, depth);
	}
}

static void print_node(
	struct printer *p, const cJSON *node, int depth, const char *name, bool boxed)
{
	size_t from = p->out->len, seen = p->seen;
	int deepest = p->wish->depth ? p->wish->depth - 1 : SNAPSHOT_DEPTH_MAX;
	bool around = p->in_view;
	char role[32];

	if (depth > deepest || p->level > LEVELS_MAX || p->out->full)
		return;
	if (is_text(node)) {
		print_text(p, node, depth, name, boxed);
		return;
	}
	snapshot_role(node, role);
	if (streq(role, "inlinetextbox") || streq(role, "linebreak"))
		return;
	p->in_view = is_in_view(p, node);
	if (!role[0] || (p->wish->interactive && !is_interactive(node, role))) {
		print_through(p, node, depth, name, boxed);
	} else {
		p->seen += p->in_view;
		print_thing(p, node, role, depth);
		/* Neither it nor anything in it. */
		if (p->seen == seen)
			take_back(p->out, from);
	}
	p->in_view = around;
}

/* boxed: something that is printed, and can be pointed at, is around them. */
static void print_children(
	struct printer *p, const cJSON *node, int depth, const char *name, bool boxed)
{
	const cJSON *id;

	cJSON_ArrayForEach (id, json_get(node, "childIds")) {
		struct entry *e = find(p, id);

		if (!e || e->printed)
			continue;
		e->printed = true;
		p->level++;
		print_node(p, e->node, depth, name, boxed);
		p->level--;
	}
}

/* The first one, or the one that is wanted. NULL: it is not there. */
static const cJSON *find_root(const cJSON *nodes, uint64_t wanted)
{
	const cJSON *node;

	if (!wanted)
		return cJSON_GetArrayItem(nodes, 0);
	cJSON_ArrayForEach (node, nodes) {
		if (snapshot_node(node) == wanted && !json_bool(node, "ignored", false))
			return node;
	}
	return NULL;
}

void snapshot_print(const cJSON *nodes, const struct snapshot_frame *frames, size_t n_frames,
	const struct snapshot_wish *wish, snapshot_ref_fn *fn, void *data, struct buf *out)
{
	struct printer p = {.frames = frames,
		.n_frames = n_frames,
		.fn = fn,
		.data = data,
		.out = out,
		.wish = wish,
		.in_view = true};
	const cJSON *root = find_root(nodes, wish->root);
	struct entry *e;

	if (!cJSON_IsArray(nodes) || !root)
		return;
	index_nodes(&p, nodes);
	e = find(&p, json_get(root, "nodeId"));
	if (e) {
		e->printed = true;
		print_node(&p, e->node, 0, "", false);
	}
	free(p.entries);
}
