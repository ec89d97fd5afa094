/* Elements of a page by the words that somebody uses for them: "search bar", "add to cart button".
 */
#include "match.h"

#include <string.h>

#include "bytes.h"
#include "json.h"
#include "util.h"

/*
 * Nothing here understands a language. Words of the query are looked for in what an element is
 * (its role, and what people call such a thing), in its name, and in its value, description and
 * address. When a word besides those for roles says something of an element, those of which none
 * does are left out; so are those that come out much worse than the best.
 */
#define WORDS_MAX 12
#define WORD_MAX 40
#define TEXT_MAX 500 /* bytes of an element's text that are looked at */

static const struct {
	const char *role, *names;
} called[] = {
	{"button", "button btn"},
	{"checkbox", "checkbox check box tick toggle"},
	{"combobox", "combobox dropdown drop down select list menu picker field input box"},
	{"dialog", "dialog popup modal window"},
	{"heading", "heading title header headline"},
	{"iframe", "iframe frame"},
	{"img", "image img picture photo icon logo"},
	{"link", "link anchor"},
	{"listbox", "listbox list select"},
	{"listitem", "listitem list item entry"},
	{"menuitem", "menuitem menu item"},
	{"navigation", "navigation nav menu"},
	{"option", "option choice"},
	{"radio", "radio button option choice"},
	{"searchbox", "searchbox search field input box bar text"},
	{"slider", "slider range"},
	{"spinbutton", "spinbutton number field input"},
	{"switch", "switch toggle"},
	{"textbox", "textbox text field input box bar area textarea form"},
	{"text", "text label"},
};

static const char fillers[] = " a all an and any at by called element elements for from in is it "
			      "labeled labelled named of on or page that the this to which with ";

struct words {
	char list[WORDS_MAX][WORD_MAX];
	size_t n;
};

/* ---- Words ---- */

static bool is_word_byte(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c >= 0x80;
}

/* The next word in lower case (of ASCII), without a plural's s. False at the end. */
static bool next_word(const char **text, char out[WORD_MAX])
{
	const char *s = *text;
	size_t n = 0;

	while (*s && !is_word_byte((unsigned char)*s))
		s++;
	for (; is_word_byte((unsigned char)*s); s++)
		if (n < WORD_MAX - 1)
			out[n++] = *s >= 'A' && *s <= 'Z' ? (char)(*s | 0x20) : *s;
	if (n > 3 && out[n - 1] == 's' && out[n - 2] != 's')
		n--;
	out[n] = '\0';
	*text = s;
	return n > 0;
}

static bool is_filler(const char *word)
{
	char one[WORD_MAX + 2];

	snprintf(one, sizeof(one), " %s ", word);
	return strstr(fillers, one) != NULL;
}

static bool has(const struct words *w, const char *word)
{
	for (size_t i = 0; i < w->n; i++)
		if (streq(w->list[i], word))
			return true;
	return false;
}

/* Each once. A query of nothing but fillers is taken as it is. */
static void read_words(const char *query, struct words *w)
{
	for (int fill = 0; fill < 2 && !w->n; fill++) {
		const char *rest = query;
		char word[WORD_MAX];

		while (w->n < WORDS_MAX && next_word(&rest, word))
			if ((fill || !is_filler(word)) && !has(w, word))
				snprintf(w->list[w->n++], WORD_MAX, "%s", word);
	}
}

/* 2: they are the same; 1: one begins with the other; 0. */
static int agree(const char *a, const char *b)
{
	size_t n = strlen(a), k = strlen(b);

	if (streq(a, b))
		return 2;
	return MIN(n, k) >= 4 && strncmp(a, b, MIN(n, k)) == 0;
}

/* For each word of the query how well one of the text's words agrees with it. */
static void look_for(const struct words *w, const char *text, int best[WORDS_MAX])
{
	char one[WORD_MAX];

	memset(best, 0, WORDS_MAX * sizeof(*best));
	while (next_word(&text, one))
		for (size_t i = 0; i < w->n; i++)
			best[i] = MAX(best[i], agree(one, w->list[i]));
}

static const char *names_of(const char *role)
{
	for (size_t i = 0; i < ARRAY_SIZE(called); i++)
		if (streq(called[i].role, role))
			return called[i].names;
	return role;
}

/* ---- Elements ---- */

static void add_text(struct buf *b, const cJSON *v)
{
	const char *s = cJSON_GetStringValue(json_get(v, "value"));

	if (!s)
		return;
	snapshot_clean(b, s);
	buf_add_u8(b, ' ');
}

/* Value, description and address. */
static void add_besides(struct buf *b, const cJSON *node)
{
	const cJSON *one;

	add_text(b, json_get(node, "value"));
	add_text(b, json_get(node, "description"));
	cJSON_ArrayForEach (one, json_get(node, "properties")) {
		if (streq(json_str(one, "name", ""), "url"))
			add_text(b, json_get(one, "value"));
	}
}

static struct match judge(const struct words *w, const cJSON *node, const char *role)
{
	int is[WORDS_MAX], says[WORDS_MAX], has_it[WORDS_MAX];
	struct match m = {0};
	struct buf name, besides;

	buf_init(&name, TEXT_MAX);
	buf_init(&besides, TEXT_MAX);
	add_text(&name, json_get(node, "name"));
	add_besides(&besides, node);
	look_for(w, names_of(role), is);
	look_for(w, buf_str(&name), says);
	look_for(w, buf_str(&besides), has_it);
	for (size_t i = 0; i < w->n; i++) {
		m.words += (says[i] || has_it[i]) && is[i] < 2;
		m.score += 3 * is[i] + 4 * says[i] + (says[i] ? 0 : 2 * has_it[i]);
	}
	buf_done(&name);
	buf_done(&besides);
	return m;
}

static bool is_better(const struct match *a, const struct match *b)
{
	return a->words != b->words ? a->words > b->words : a->score > b->score;
}

/* Into its place; the last one makes room. line is the list's from now on. */
static void keep(struct matches *m, struct match one)
{
	size_t at = m->n;

	while (at > 0 && is_better(&one, &m->list[at - 1]))
		at--;
	if (at == MATCH_MAX) {
		free(one.line);
		return;
	}
	if (m->n == MATCH_MAX)
		free(m->list[--m->n].line);
	memmove(&m->list[at + 1], &m->list[at], (m->n - at) * sizeof(one));
	m->list[at] = one;
	m->n++;
}

static char *line_of(const cJSON *node, const char *role, snapshot_ref_fn *fn, void *data)
{
	const char *value = json_str(json_get(node, "value"), "value", "");
	struct buf b;
	char *line;

	buf_init(&b, 6 * SNAPSHOT_NAME_MAX);
	buf_add_str(&b, "- ");
	snapshot_head(node, role, &b);
	buf_addf(&b, " [ref_%u]", fn(data, snapshot_node(node)));
	if (*value && !streq(role, "link")) {
		buf_add_str(&b, ": ");
		snapshot_clean(&b, value);
	}
	buf_add_u8(&b, '\n');
	line = xstrdup(buf_str(&b));
	buf_done(&b);
	return line;
}

void match_add(
	struct matches *m, const cJSON *nodes, const char *query, snapshot_ref_fn *fn, void *data)
{
	struct words w = {0};
	const cJSON *node;
	char role[32];

	read_words(query, &w);
	cJSON_ArrayForEach (node, nodes) {
		struct match one;

		snapshot_role(node, role);
		if (streq(role, "statictext"))
			snprintf(role, sizeof(role), "text");
		if (!role[0] || streq(role, "inlinetextbox") || streq(role, "linebreak") ||
			!snapshot_node(node))
			continue;
		one = judge(&w, node, role);
		/* A text is in something that can be used, as a rule: that comes first. */
		one.score -= streq(role, "text");
		if (one.score <= 0 ||
			(m->n == MATCH_MAX && !is_better(&one, &m->list[MATCH_MAX - 1])))
			continue;
		one.line = line_of(node, role, fn, data);
		keep(m, one);
	}
}

/* A text that is the name of something else in the list. */
static bool is_said(const struct matches *m, size_t at)
{
	const char *line = m->list[at].line, *end = strrchr(line, '[');
	AUTOFREE char *name = NULL;

	if (!starts_with(line, "- text ") || !end)
		return false;
	line += strlen("- text ");
	name = xasprintf("%.*s[", (int)(end - line), line);
	for (size_t i = 0; i < m->n; i++)
		if (i != at && !starts_with(m->list[i].line, "- text ") &&
			strstr(m->list[i].line, name))
			return true;
	return false;
}

void match_print(const struct matches *m, struct buf *out)
{
	for (size_t i = 0; i < m->n; i++) {
		const struct match *best = &m->list[0], *one = &m->list[i];

		if (2 * one->words >= best->words && 3 * one->score >= best->score &&
			!(best->words && !one->words) && !is_said(m, i))
			buf_add_str(out, one->line);
	}
}

void match_done(struct matches *m)
{
	for (size_t i = 0; i < m->n; i++)
		free(m->list[i].line);
	m->n = 0;
}
