/* What the browser toolset's results tell of the browser: its tabs, and what changed. */
#include <string.h>

#include "discovery.h"
#include "executor_state.h"
#include "filter.h"
#include "json.h"
#include "util.h"

/*
 * Changes are kept as the objects that are sent, from the event on until a report takes them. Of a
 * download the last one counts. A new tab's own report tells of no other one: those wait.
 */
#define REPORT_MS 5000
#define CHANGES_MAX 100
#define DOWNLOADS_MAX 64
#define URL_MAX 4096 /* bytes; the vendor's limit is as many characters */

/* ---- Text ---- */

/* The length of a character that is no part of a line; 0: it is one. C0, C1, line separators, and
 * marks of direction (UAX 9). */
static size_t unsafe(const unsigned char *s)
{
	if (*s < 0x20 || *s == 0x7f)
		return 1;
	if ((s[0] == 0xc2 && s[1] >= 0x80 && s[1] <= 0x9f) || (s[0] == 0xd8 && s[1] == 0x9c))
		return 2;
	if (s[0] != 0xe2)
		return 0;
	if (s[1] == 0x80 && (s[2] == 0x8e || s[2] == 0x8f || (s[2] >= 0xa8 && s[2] <= 0xae)))
		return 3;
	return s[1] == 0x81 && s[2] >= 0xa6 && s[2] <= 0xa9 ? 3 : 0;
}

/* The length of the character that begins here; 0: none does, or it is cut. */
static size_t whole_character(const unsigned char *s)
{
	size_t n = *s < 0x80             ? 1
		   : (*s & 0xe0) == 0xc0 ? 2
		   : (*s & 0xf0) == 0xe0 ? 3
		   : (*s & 0xf8) == 0xf0 ? 4
					 : 0;

	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

void report_line(struct buf *b, const char *text)
{
	const unsigned char *s = (const unsigned char *)(text ? text : "");

	while (*s) {
		size_t bad = unsafe(s), n = bad ? bad : whole_character(s);

		if (bad)
			buf_add_u8(b, ' ');
		else if (n)
			buf_add(b, s, n);
		s += n ? n : 1;
	}
}

/* One that is too long must not read as an address of another site. */
static void add_line(cJSON *o, const char *name, const char *text, bool cut)
{
	struct buf b;

	buf_init(&b, URL_MAX - 4);
	if (cut || strlen(text) > URL_MAX - 4)
		buf_add_str(&b, "…");
	report_line(&b, text);
	cJSON_AddStringToObject(o, name, buf_str(&b));
	buf_done(&b);
}

/* ---- Changes ---- */

/* Of this download none is left: the next one takes its place. */
static void drop_download(struct executor *ex, const char *id)
{
	for (int i = cJSON_GetArraySize(ex->changes) - 1; i >= 0; i--)
		if (streq(json_str(cJSON_GetArrayItem(ex->changes, i), "download_id", ""), id))
			cJSON_DeleteItemFromArray(ex->changes, i);
}

static cJSON *add_change(struct executor *ex, const char *type)
{
	cJSON *o = cJSON_CreateObject();

	if (!ex->changes)
		ex->changes = cJSON_CreateArray();
	if (cJSON_GetArraySize(ex->changes) >= CHANGES_MAX)
		cJSON_DeleteItemFromArray(ex->changes, 0);
	cJSON_AddStringToObject(o, "type", type);
	cJSON_AddItemToArray(ex->changes, o);
	return o;
}

void report_opened(struct executor *ex, const char *tab)
{
	cJSON_AddStringToObject(add_change(ex, "tab_opened"), "tab_id", tab);
}

static void begun(struct executor *ex, const char *id, const cJSON *params)
{
	const char *url = json_str(params, "url", "");
	cJSON *o = add_change(ex, "download_started");

	if (!ex->downloads)
		ex->downloads = cJSON_CreateObject();
	if (cJSON_GetArraySize(ex->downloads) >= DOWNLOADS_MAX)
		cJSON_DeleteItemFromArray(ex->downloads, 0);
	cJSON_AddStringToObject(o, "download_id", id);
	add_line(o, "url", url, false);
	cJSON_DeleteItemFromObjectCaseSensitive(ex->downloads, id);
	add_line(ex->downloads, id, url, false);
}

static void ended(struct executor *ex, const char *id, const cJSON *params, bool completed)
{
	const char *url = json_str(ex->downloads, id, NULL),
		   *path = json_str(params, "filePath", "");
	int64_t size = json_int(params, "receivedBytes", -1);
	cJSON *o;

	if (!url)
		return;
	drop_download(ex, id);
	o = add_change(ex, completed ? "download_completed" : "download_failed");
	cJSON_AddStringToObject(o, "download_id", id);
	cJSON_AddStringToObject(o, "url", url);
	if (!completed)
		cJSON_AddStringToObject(o, "error", "canceled");
	if (completed && filter_path_below(path, FILTER_DOWNLOADS))
		cJSON_AddStringToObject(o, "path", path);
	if (completed && size >= 0)
		cJSON_AddNumberToObject(o, "size_bytes", (double)size);
	cJSON_DeleteItemFromObjectCaseSensitive(ex->downloads, id);
}

void report_download(struct executor *ex, const char *method, const cJSON *params)
{
	const char *id = json_str(params, "guid", ""), *state = json_str(params, "state", "");

	if (!*id || strlen(id) >= CDP_SESSION_MAX)
		return;
	if (streq(method, "Browser.downloadWillBegin"))
		begun(ex, id, params);
	else if (streq(state, "completed") || streq(state, "canceled"))
		ended(ex, id, params, streq(state, "completed"));
}

void report_failed(struct executor *ex)
{
	for (int i = cJSON_GetArraySize(ex->changes) - 1; i >= 0; i--)
		if (json_str(cJSON_GetArrayItem(ex->changes, i), "tab_id", NULL))
			cJSON_DeleteItemFromArray(ex->changes, i);
}

void report_forget(struct executor *ex)
{
	cJSON_Delete(steal(&ex->changes));
	cJSON_Delete(steal(&ex->downloads));
}

/* ---- The report ---- */

static void add_tabs(struct executor *ex, cJSON *list)
{
	const struct tab *t;

	for (int i = 0; (t = tabs_at(ex, i)); i++) {
		cJSON *o = cJSON_CreateObject();

		cJSON_AddStringToObject(o, "tab_id", t->id);
		add_line(o, "title", t->title, false);
		add_line(o, "url", t->url, strlen(t->url) == TAB_URL_MAX - 1);
		if (t == tabs_front(ex))
			cJSON_AddTrueToObject(o, "active");
		cJSON_AddItemToArray(list, o);
	}
}

/* What is told now moves to list; tabs that are gone are forgotten. */
static void take_changes(struct executor *ex, cJSON *list)
{
	const struct tab *front = tabs_front(ex);
	bool only = executor_action(ex)->opened;
	int i = 0;

	while (i < cJSON_GetArraySize(ex->changes)) {
		const char *tab = json_str(cJSON_GetArrayItem(ex->changes, i), "tab_id", NULL);

		if (tab && !tabs_of_id(ex, tab))
			cJSON_DeleteItemFromArray(ex->changes, i);
		else if (tab && only && front && !streq(tab, front->id))
			i++;
		else
			cJSON_AddItemToArray(list, cJSON_DetachItemFromArray(ex->changes, i));
	}
}

static void report(struct executor *ex)
{
	cJSON *o = cJSON_CreateObject(), *changes = cJSON_CreateArray();

	if (tabs_front(ex))
		tabs_front(ex)->announced = true;
	add_tabs(ex, cJSON_AddArrayToObject(o, "tabs"));
	take_changes(ex, changes);
	if (cJSON_GetArraySize(changes))
		cJSON_AddItemToObject(o, "state_changes", changes);
	else
		cJSON_Delete(changes);
	executor_result(ex)->state = cJSON_PrintUnformatted(o);
	cJSON_Delete(o);
	executor_done(ex, NULL);
}

static void on_targets(
	void *data, uint64_t tag, const char *result, size_t n, const struct err *err)
{
	struct executor *ex = data;
	cJSON *o = err ? NULL : discovery_parse(result, n, CDP_OBJECT);
	const cJSON *info;

	if (!executor_stale(ex, tag) && ex->wait == WAIT_REPORT) {
		cJSON_ArrayForEach (info, json_get(o, "targetInfos")) {
			struct tab *t = tabs_of_id(ex, json_str(info, "targetId", ""));

			if (t)
				tabs_read_info(t, info);
		}
		report(ex);
	}
	cJSON_Delete(o);
}

/* Asked for, as events tell titles late. */
void report_begin(struct executor *ex)
{
	tabs_return(ex);
	executor_wait(ex, WAIT_REPORT, REPORT_MS);
	executor_call(ex, "", "Target.getTargets", NULL, on_targets);
}

void report_late(struct executor *ex)
{
	report(ex);
}
