/* Snapshots: taken, listed as a tree, gone back to, forked from, removed. */
#include "cli.h"
#include "util.h"

#include <errno.h>
#include <string.h>
#include <time.h>

/* "12 s", "3 min", "5 h", "9 d" since an RFC 3339 time; "" when it is none. */
static void format_age(const char *created_at, char out[32])
{
	struct tm tm = {0};
	long long s;

	out[0] = 0;
	if (!strptime(created_at, "%Y-%m-%dT%H:%M:%S", &tm))
		return;
	s = MAX((long long)(time(NULL) - timegm(&tm)), 0);
	if (s < 120)
		snprintf(out, 32, "%lld s", s);
	else if (s < 2 * 3600)
		snprintf(out, 32, "%lld min", s / 60);
	else if (s < 2 * 86400)
		snprintf(out, 32, "%lld h", s / 3600);
	else
		snprintf(out, 32, "%lld d", s / 86400);
}

int cli_snapshot(struct cli *c, struct err *err)
{
	AUTOFREE char *path = cli_agent_path(c->args[0], "/snapshots", err),
		      *doing = xasprintf("taking a snapshot of %s", c->args[0]);
	const char *tag = cli_option(c, "tag");
	AUTOJSON *v = NULL;
	char size[32];
	cJSON *body;
	int r;

	if (!path)
		return err->code;
	body = cJSON_CreateObject();
	if (tag)
		cJSON_AddStringToObject(body, "tag", tag);
	if (cli_flag(c, "disk-only"))
		cJSON_AddBoolToObject(body, "memory", false);
	r = cli_call(c, "POST", path, body, doing, &v, err);
	if (r < 0)
		return r;
	if (c->json) {
		cli_print_json(v);
		return 0;
	}
	cli_format_size((double)json_int(v, "own_bytes", 0), size);
	cli_print("%s of %s: %s, %s, it stood still for %lld ms", json_str(v, "id", "?"),
		c->args[0], json_bool(v, "memory", false) ? "memory and disk" : "disk only", size,
		(long long)json_int(v, "pause_ms", 0));
	return 0;
}

/*
 * The tree: a snapshot stands below the one its agent was at before. One whose parent is not in the
 * list is a root, and so is, at the end, what no root leads to: a list from elsewhere may have
 * circles.
 */
struct item {
	const cJSON *v;
	const char *id, *parent;
	bool shown;
};

struct tree {
	struct item *items; /* the oldest first */
	size_t n;
	struct cli_table table;
};

static void show_below(struct tree *t, const char *parent, const char *indent);

static void show_item(struct tree *t, struct item *one, const char *indent, const char *branch)
{
	AUTOFREE char *id = xasprintf("%s%s%s", indent, branch, one->id);
	char age[32], frees[32];

	one->shown = true;
	format_age(json_str(one->v, "created_at", ""), age);
	cli_format_size((double)json_int(one->v, "own_bytes", 0), frees);
	cli_table_row(&t->table,
		(const char *[]){id, json_str(one->v, "tag", NULL), json_str(one->v, "agent", NULL),
			age, json_bool(one->v, "memory", false) ? "memory" : "disk", frees});
}

static struct item *next_child(struct tree *t, struct item *after, const char *parent)
{
	for (struct item *one = after; one < t->items + t->n; one++)
		if (!one->shown && streq(one->parent, parent))
			return one;
	return NULL;
}

static void show_below(struct tree *t, const char *parent, const char *indent)
{
	struct item *one = next_child(t, t->items, parent), *next;

	for (; one; one = next) {
		AUTOFREE char *deeper = NULL;

		next = next_child(t, one + 1, parent);
		deeper = xasprintf("%s%s", indent, next ? "│ " : "  ");
		show_item(t, one, indent, next ? "├─" : "└─");
		show_below(t, one->id, deeper);
		/* A circle may have shown it meanwhile. */
		next = next_child(t, one + 1, parent);
	}
}

static bool has_parent(const struct tree *t, const struct item *one)
{
	for (size_t i = 0; i < t->n; i++)
		if (one->parent[0] && streq(t->items[i].id, one->parent))
			return true;
	return false;
}

static void print_tree(const cJSON *list)
{
	size_t n = (size_t)cJSON_GetArraySize(list);
	AUTOFREE struct item *items = xcalloc(n + 1, sizeof(*items));
	struct tree t = {.items = items, .table = {.columns = 6}};
	const cJSON *v;

	cJSON_ArrayForEach (v, list) {
		items[t.n++] =
			(struct item){v, json_str(v, "id", "?"), json_str(v, "parent", ""), false};
	}
	cli_table_row(&t.table,
		(const char *[]){"SNAPSHOT", "TAG", "AGENT", "AGE", "KEEPS", "REMOVING FREES"});
	for (unsigned pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < t.n; i++)
			if (!items[i].shown && (pass > 0 || !has_parent(&t, &items[i]))) {
				show_item(&t, &items[i], "", "");
				show_below(&t, items[i].id, "");
			}
	cli_table_print(&t.table);
}

int cli_snapshots(struct cli *c, struct err *err)
{
	AUTOFREE char *path = c->n_args ? cli_agent_path(c->args[0], "/snapshots", err)
					: xstrdup("/v1/snapshots");
	AUTOJSON *v = NULL;
	const cJSON *one;
	int r = path ? cli_call(c, "GET", path, NULL, NULL, &v, err) : err->code;

	if (r < 0)
		return r;
	if (c->json) {
		cli_print_json(v);
	} else if (cli_flag(c, "quiet")) {
		cJSON_ArrayForEach (one, json_get(v, "snapshots")) {
			cli_print("%s", json_str(one, "id", "?"));
		}
	} else {
		print_tree(json_get(v, "snapshots"));
	}
	return 0;
}

int cli_restore(struct cli *c, struct err *err)
{
	AUTOFREE char *path = cli_agent_path(c->args[0], "/restore", err),
		      *doing = xasprintf("putting %s back", c->args[0]);
	AUTOJSON *v = NULL;
	cJSON *body;
	int r;

	if (!path)
		return err->code;
	body = cJSON_CreateObject();
	cJSON_AddStringToObject(body, "snapshot", c->args[1]);
	r = cli_call(c, "POST", path, body, doing, &v, err);
	if (r < 0)
		return r;
	if (c->json)
		cli_print_json(v);
	else
		cli_print("%s %s, as it was at %s", c->args[0], json_str(v, "state", "restored"),
			json_str(v, "snapshot", c->args[1]));
	return 0;
}

static int add_names(const struct cli *c, cJSON *body, struct err *err)
{
	long long count = 0;
	int r = cli_number(c, "count", 1, 100, &count, err);
	cJSON *names;

	if (r < 0)
		return r;
	if ((count > 0) == (c->n_args > 1)) {
		cli_usage_error(err, "`berth fork` needs names for the new agents, or --count");
		return err_hint(err, "for example: berth fork %s --count 2", c->args[0]);
	}
	if (count > 0) {
		cJSON_AddNumberToObject(body, "count", (double)count);
		return 0;
	}
	names = cJSON_AddArrayToObject(body, "names");
	for (size_t i = 1; i < c->n_args; i++) {
		if (agent_name_check(c->args[i], err) < 0)
			return err->code;
		cJSON_AddItemToArray(names, cJSON_CreateString(c->args[i]));
	}
	return 0;
}

int cli_fork(struct cli *c, struct err *err)
{
	AUTOFREE char *path = cli_agent_path(c->args[0], "/fork", err),
		      *doing = xasprintf("forking %s", c->args[0]);
	const char *snapshot = cli_option(c, "snapshot");
	AUTOJSON *v = NULL, *body = cJSON_CreateObject();
	const cJSON *a;
	int r = path ? add_names(c, body, err) : err->code;

	if (r < 0)
		return r;
	if (snapshot)
		cJSON_AddStringToObject(body, "snapshot", snapshot);
	r = cli_call(c, "POST", path, steal(&body), doing, &v, err);
	if (r < 0)
		return r;
	if (c->json) {
		cli_print_json(v);
		return 0;
	}
	cJSON_ArrayForEach (a, json_get(v, "agents")) {
		cli_print("%s %s", json_str(a, "name", "?"), json_str(a, "state", "?"));
	}
	return 0;
}

int cli_snapshot_rm(struct cli *c, struct err *err)
{
	for (size_t i = 0; i < c->n_args; i++) {
		AUTOFREE char *id = cli_encode(c->args[i], false);
		AUTOFREE char *path = xasprintf("/v1/snapshots/%s", id);
		int r = cli_call(c, "DELETE", path, NULL, NULL, NULL, err);

		if (r < 0)
			return r;
		if (!c->json)
			cli_print("%s removed", c->args[i]);
	}
	if (c->json)
		puts("{}");
	return 0;
}
