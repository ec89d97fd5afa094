/* Dialogs and file choosers: what the model is told of them, and how it answers. */
#include <string.h>

#include "executor_state.h"
#include "filter.h"
#include "json.h"
#include "util.h"

/*
 * Theory of operation. The browser holds a dialog of a page until CDP answers it, and the page is
 * blocked meanwhile: nothing on it is answered. The model is told of it in words, and answers as a
 * person would: types (a prompt), Return, Escape. A file chooser takes the names of files in the
 * agent's folder of uploads in the same way, but blocks nothing: whatever else is done closes it.
 */
#define ANSWER_MS 10000

static const struct {
	const char *type, *name, *how;
} kinds[] = {
	[MODAL_NONE] = {"", "", ""},
	[MODAL_ALERT] = {"alert", "An alert", "Press Return to close it."},
	[MODAL_CONFIRM] = {"confirm", "A confirmation",
		"Press Return to accept it or Escape to dismiss it."},
	[MODAL_PROMPT] = {"prompt", "A prompt",
		"Type the answer and press Return, or press Escape to dismiss it."},
	[MODAL_LEAVE] = {"beforeunload", "A question whether to leave the page",
		"Press Return to leave it or Escape to stay."},
	[MODAL_FILES] = {"", "A file chooser",
		"Type the path of a file below " FILTER_UPLOADS
		" and press Return, or press Escape to close it."},
};

static void announce(struct executor *ex)
{
	const struct modal *m = &ex->modal;
	bool says = m->message[0];

	executor_note(ex, "%s is open%s%s%s%s%s%s. %s", kinds[m->kind].name, says ? ": \"" : "",
		m->message, says ? "\"" : "",
		m->kind == MODAL_PROMPT && m->text[0] ? " with \"" : "",
		m->kind == MODAL_PROMPT ? m->text : "",
		m->kind == MODAL_PROMPT && m->text[0] ? "\" in it" : "", kinds[m->kind].how);
}

static void open_modal(struct executor *ex, enum modal_kind kind, const char *session)
{
	memset(&ex->modal, 0, sizeof(ex->modal));
	ex->modal.kind = kind;
	snprintf(ex->modal.session, sizeof(ex->modal.session), "%s", session);
}

/* A tab that is not in front shows nothing, and must not stay blocked. */
static void dismiss_behind(struct executor *ex, const struct tab *t)
{
	cJSON *p = cJSON_CreateObject();

	cJSON_AddBoolToObject(p, "accept", false);
	executor_call(ex, t->session, "Page.handleJavaScriptDialog", p, NULL);
	executor_note(ex, "A dialog of a tab that is not in front was dismissed: %s", t->url);
}

void modal_dialog_opened(struct executor *ex, const char *session, const cJSON *params)
{
	const char *type = json_str(params, "type", "alert");
	enum modal_kind kind = MODAL_ALERT;
	const struct tab *t = tabs_of_session(ex, session);

	/* Frames of other sites tell it too; their tab has done so. */
	if (!t)
		return;
	if (t != tabs_front(ex)) {
		dismiss_behind(ex, t);
		return;
	}
	for (size_t i = MODAL_ALERT; i <= MODAL_LEAVE; i++)
		if (streq(type, kinds[i].type))
			kind = (enum modal_kind)i;
	open_modal(ex, kind, session);
	snprintf(ex->modal.message, sizeof(ex->modal.message), "%s",
		json_str(params, "message", ""));
	snprintf(ex->modal.text, sizeof(ex->modal.text), "%s",
		json_str(params, "defaultPrompt", ""));
	announce(ex);
	perform_interrupted(ex);
}

void modal_remind(struct executor *ex)
{
	if (!ex->notes.len)
		announce(ex);
}

void modal_dialog_closed(struct executor *ex)
{
	if (ex->modal.kind != MODAL_FILES)
		ex->modal.kind = MODAL_NONE;
}

void modal_files_wanted(struct executor *ex, const char *session, const cJSON *params)
{
	open_modal(ex, MODAL_FILES, session);
	ex->modal.node = (uint64_t)MAX(json_int(params, "backendNodeId", 0), 0);
	ex->modal.multiple = streq(json_str(params, "mode", ""), "selectMultiple");
	announce(ex);
}

bool modal_blocks(const struct executor *ex)
{
	const struct tab *t = tabs_front(ex);

	return ex->modal.kind != MODAL_NONE && ex->modal.kind != MODAL_FILES && t &&
	       streq(t->session, ex->modal.session);
}

/* ---- Answering ---- */

static void on_answered(
	void *data, uint64_t tag, const char *result, size_t n, const struct err *err)
{
	struct executor *ex = data;

	(void)result;
	(void)n;
	if (executor_stale(ex, tag) || ex->wait != WAIT_ANSWER)
		return;
	ex->last_input = now_ms();
	if (err)
		executor_failed(ex, err);
	else
		perform_wait_load(ex); /* it may have been asked whether to leave the page */
}

static void answer_dialog(struct executor *ex, bool accept)
{
	cJSON *p = cJSON_CreateObject();

	cJSON_AddBoolToObject(p, "accept", accept);
	if (ex->modal.kind == MODAL_PROMPT && accept)
		cJSON_AddStringToObject(p, "promptText", ex->modal.text);
	ex->modal.kind = MODAL_NONE;
	executor_wait(ex, WAIT_ANSWER, ANSWER_MS);
	executor_call(ex, ex->modal.session, "Page.handleJavaScriptDialog", p, on_answered);
}

/* The paths in the lines of a text, as DOM.setFileInputFiles wants them. NULL when there is none,
 * or one that is not below the folder of uploads. */
static cJSON *files_of(const char *text)
{
	AUTOFREE char *copy = xstrdup(text);
	cJSON *files = cJSON_CreateArray();
	char *save = NULL, *line;
	bool fine = true;

	for (line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		AUTOFREE char *path =
			line[0] == '/' ? xstrdup(line) : xasprintf(FILTER_UPLOADS "/%s", line);

		fine &= filter_path_below(path, FILTER_UPLOADS);
		cJSON_AddItemToArray(files, cJSON_CreateString(path));
	}
	if (fine && cJSON_GetArraySize(files))
		return files;
	cJSON_Delete(files);
	return NULL;
}

int modal_count_paths(const char *text)
{
	cJSON *files = files_of(text);
	int n = cJSON_GetArraySize(files);

	cJSON_Delete(files);
	return n;
}

static void set_files(struct executor *ex, const char *session, uint64_t node, const char *text)
{
	cJSON *p, *files = files_of(text);

	if (!files) {
		executor_fail(ex, "Files are chosen below %s, and there alone.", FILTER_UPLOADS);
		return;
	}
	p = cJSON_CreateObject();
	cJSON_AddItemToObject(p, "files", files);
	cJSON_AddNumberToObject(p, "backendNodeId", (double)node);
	ex->modal.kind = MODAL_NONE;
	ex->begins_until = 0;
	executor_wait(ex, WAIT_ANSWER, ANSWER_MS);
	executor_call(ex, session, "DOM.setFileInputFiles", p, on_answered);
}

/* One path, or with a chooser of several files one in each line. */
static void answer_files(struct executor *ex)
{
	AUTOFREE char *text = xstrdup(ex->modal.text);

	ex->modal.text[0] = '\0';
	ex->modal.typed = false;
	set_files(ex, ex->modal.session, ex->modal.node, text);
}

void modal_upload(struct executor *ex, const struct action *a)
{
	set_files(ex, tabs_front(ex)->session, ex->search.ref.node, a->text);
}

static void close_modal(struct executor *ex, bool accept)
{
	if (ex->modal.kind != MODAL_FILES) {
		answer_dialog(ex, accept);
	} else if (accept) {
		answer_files(ex);
	} else {
		ex->modal.kind = MODAL_NONE;
		executor_done(ex, NULL);
	}
}

/* Adds to the text; what stood there by default is replaced, as it would be selected. */
static void type_into(struct executor *ex, const struct action *a)
{
	struct modal *m = &ex->modal;
	size_t n = strlen(a->text), have = m->typed ? strlen(m->text) : 0;
	bool enter = a->press_enter;

	if (n && a->text[n - 1] == '\n') {
		enter = true;
		n--;
	}
	if (m->kind != MODAL_PROMPT && m->kind != MODAL_FILES && n) {
		announce(ex);
		executor_fail(ex, "Nothing can be typed here.");
		return;
	}
	if (have + n >= sizeof(m->text)) {
		executor_fail(ex, "A dialog takes %zu bytes of text.", sizeof(m->text) - 1);
		return;
	}
	if (n) {
		memcpy(m->text + have, a->text, n);
		m->text[have + n] = '\0';
		m->typed = true;
	}
	if (enter)
		close_modal(ex, true);
	else
		executor_done(ex, NULL);
}

static bool is_key(const struct action *a, const char *key)
{
	return (a->kind == ACTION_KEY || a->kind == ACTION_KEY_DOWN) && a->keys.n == 1 &&
	       streq(a->keys.keys[0].key, key);
}

/* In so many words: no keys. */
static void answer(struct executor *ex, const struct action *a)
{
	if (a->text && strlen(a->text) >= sizeof(ex->modal.text)) {
		executor_fail(ex, "A dialog takes %zu bytes of text.", sizeof(ex->modal.text) - 1);
		return;
	}
	if (a->text)
		snprintf(ex->modal.text, sizeof(ex->modal.text), "%s", a->text);
	close_modal(ex, a->kind == ACTION_FILES ? a->text != NULL : a->accept);
}

char *modal_text(const struct executor *ex)
{
	const struct modal *m = &ex->modal;

	if (m->kind == MODAL_FILES)
		return xstrdup("file chooser: browser_file_upload answers it");
	if (!modal_blocks(ex))
		return NULL;
	return xasprintf("%s dialog with the message \"%s\": browser_handle_dialog answers it",
		kinds[m->kind].type, m->message);
}

bool modal_takes(struct executor *ex, const struct action *a)
{
	bool blocks = modal_blocks(ex);

	if (!blocks && ex->modal.kind != MODAL_FILES)
		return false;
	if (a->kind == ACTION_SCREENSHOT)
		return false;
	if ((a->kind == ACTION_SNAPSHOT || a->kind == ACTION_FIND || a->kind == ACTION_TEXT) &&
		!blocks)
		return false;
	if (a->kind == ACTION_SNAPSHOT && a->after) {
		executor_done(ex, "");
		return true;
	}
	if (a->kind == (blocks ? ACTION_DIALOG : ACTION_FILES)) {
		answer(ex, a);
		return true;
	}
	if (is_key(a, "Enter") || is_key(a, "Escape")) {
		close_modal(ex, is_key(a, "Enter"));
		return true;
	}
	if (a->kind == ACTION_TYPE) {
		type_into(ex, a);
		return true;
	}
	if (!blocks) {
		ex->modal.kind = MODAL_NONE;
		executor_note(ex, "The file chooser was closed.");
		return false;
	}
	announce(ex);
	executor_fail(ex, "This cannot be done while a dialog is open.");
	return true;
}
