/* The executor's pictures: the size of the view, and what it looks like. */
#include <math.h>
#include <string.h>

#include "base64.h"
#include "discovery.h"
#include "executor_state.h"
#include "json.h"
#include "json_scan.h"
#include "util.h"

/*
 * Pictures have the size of the view in CSS pixels whatever the device scale factor is, so that
 * what a model points at in them is where the mouse goes. While a dialog or an endless script
 * blocks the page only the screencast gives a picture, the one that was drawn last.
 */
#define VIEW_MS 10000
#define PICTURE_MS 20000
#define FRAME_MS 5000
#define VIEW_MAX 16384
#define ZOOM_MAX 8.0

/* ---- The view ---- */

static double number(const cJSON *v, double min, double max)
{
	return cJSON_IsNumber(v) && isfinite(v->valuedouble) && v->valuedouble >= min &&
			       v->valuedouble <= max
		       ? v->valuedouble
		       : 0;
}

static void on_size(void *data, uint64_t tag, const char *result, size_t n, const struct err *err)
{
	struct executor *ex = data;
	cJSON *o = err ? NULL : discovery_parse(result, n, CDP_OBJECT);
	const cJSON *list = json_get(json_get(o, "result"), "value");
	double w = number(cJSON_GetArrayItem(list, 0), 1, VIEW_MAX),
	       h = number(cJSON_GetArrayItem(list, 1), 1, VIEW_MAX),
	       scale = number(cJSON_GetArrayItem(list, 2), 0.1, 16);

	cJSON_Delete(o);
	if (executor_stale(ex, tag) || ex->wait != WAIT_VIEW)
		return;
	if (w < 1 || h < 1 || scale <= 0) {
		executor_fail(ex, "The page does not say how large it is%s%s", err ? ": " : ".",
			err ? err->msg : "");
		return;
	}
	ex->view = (struct view){.width = w,
		.height = h,
		.device_scale = scale,
		.shot_width = (int)w,
		.shot_height = (int)h};
	ex->view_known = true;
	executor_advance(ex);
}

static void on_world(void *data, uint64_t tag, const char *result, size_t n, const struct err *err)
{
	struct executor *ex = data;
	const struct tab *t = tabs_front(ex);
	struct json_found m;
	char id[16];
	cJSON *p;

	if (executor_stale(ex, tag) || ex->wait != WAIT_VIEW || !t)
		return;
	if (err || json_scan_find(result, n, "executionContextId", &m) != 1 ||
		m.kind != JSON_KIND_NUMBER || m.raw_len >= sizeof(id)) {
		executor_fail(ex, "The page does not say how large it is%s%s", err ? ": " : ".",
			err ? err->msg : "");
		return;
	}
	snprintf(id, sizeof(id), "%.*s", (int)m.raw_len, m.raw);
	p = cJSON_CreateObject();
	cJSON_AddStringToObject(p, "expression", "[innerWidth,innerHeight,devicePixelRatio]");
	cJSON_AddNumberToObject(p, "contextId", strtod(id, NULL));
	cJSON_AddBoolToObject(p, "returnByValue", true);
	executor_call(ex, t->session, "Runtime.evaluate", p, on_size);
}

/* Asked in a world of its own, where the page's scripts cannot answer for the browser. */
bool capture_view(struct executor *ex)
{
	const struct tab *t = tabs_front(ex);
	cJSON *p;

	if (ex->view_known)
		return true;
	p = cJSON_CreateObject();
	cJSON_AddStringToObject(p, "frameId", t->id);
	cJSON_AddStringToObject(p, "worldName", "berth");
	executor_wait(ex, WAIT_VIEW, VIEW_MS);
	executor_call(ex, t->session, "Page.createIsolatedWorld", p, on_world);
	return false;
}

/* ---- Pictures ---- */

/* The member `data` of text; false when it holds none, or a run would have too many bytes of them.
 */
static bool take(struct executor *ex, const char *text, size_t n)
{
	struct action_result *r = executor_result(ex);
	struct json_found m;

	if (json_scan_find(text, n, "data", &m) != 1 || m.kind != JSON_KIND_STRING ||
		m.raw_len - 2 < 8 || !base64_valid(m.raw + 1, m.raw_len - 2) ||
		m.raw_len > EXECUTOR_IMAGES_MAX - ex->runs->image_bytes)
		return false;
	ex->runs->image_bytes += m.raw_len;
	r->image_len = m.raw_len - 2;
	r->image = xmalloc(r->image_len + 1);
	memcpy(r->image, m.raw + 1, r->image_len);
	r->image[r->image_len] = '\0';
	return true;
}

static void took(struct executor *ex, const char *text, size_t n)
{
	if (take(ex, text, n))
		executor_done(ex, NULL);
	else
		executor_fail(ex,
			"The browser's answer is no picture, or the request has over %u MiB of "
			"them.",
			EXECUTOR_IMAGES_MAX >> 20);
}

static void on_picture(
	void *data, uint64_t tag, const char *result, size_t n, const struct err *err)
{
	struct executor *ex = data;

	if (executor_stale(ex, tag) || ex->wait != WAIT_PICTURE)
		return;
	if (err)
		executor_fail(ex, "No picture could be taken: %s", err->msg);
	else
		took(ex, result, n);
}

/* clip: x, y, width, height in CSS pixels of the page; NULL: the view as it is. */
static void shoot(struct executor *ex, const double clip[4], double scale)
{
	static const char *const names[] = {"x", "y", "width", "height"};
	cJSON *p = cJSON_CreateObject(), *c;

	cJSON_AddStringToObject(p, "format", executor_action(ex)->jpeg ? "jpeg" : "png");
	cJSON_AddBoolToObject(p, "captureBeyondViewport", executor_action(ex)->full_page);
	if (clip) {
		c = cJSON_AddObjectToObject(p, "clip");
		for (size_t i = 0; i < 4; i++)
			cJSON_AddNumberToObject(c, names[i], clip[i]);
		cJSON_AddNumberToObject(c, "scale", scale);
	}
	executor_call(ex, tabs_front(ex)->session, "Page.captureScreenshot", p, on_picture);
}

/* Where the view lies in the page is known: a clip is told in the page's own pixels. */
static void on_layout(void *data, uint64_t tag, const char *result, size_t n, const struct err *err)
{
	struct executor *ex = data;
	const struct action *a;
	cJSON *o = err ? NULL : discovery_parse(result, n, CDP_OBJECT);
	const cJSON *v = json_get(o, "cssVisualViewport");
	double x = number(json_get(v, "pageX"), -1e9, 1e9),
	       y = number(json_get(v, "pageY"), -1e9, 1e9), clip[4], scale;
	double page[4] = {0, 0,
		MAX(number(json_get(json_get(o, "cssContentSize"), "width"), 1, VIEW_MAX), 1),
		MAX(number(json_get(json_get(o, "cssContentSize"), "height"), 1, VIEW_MAX), 1)};
	struct err e;

	cJSON_Delete(o);
	if (executor_stale(ex, tag) || ex->wait != WAIT_PICTURE)
		return;
	a = executor_action(ex);
	clip[0] = clip[1] = 0;
	clip[2] = ex->view.width;
	clip[3] = ex->view.height;
	scale = 1 / ex->view.device_scale;
	if (a->kind == ACTION_ZOOM) {
		if (gesture_region(a, &ex->view, clip, &e) < 0) {
			executor_failed(ex, &e);
			return;
		}
		scale *= MIN(ZOOM_MAX,
			MIN(ex->view.shot_width / clip[2], ex->view.shot_height / clip[3]));
	}
	if (a->ref)
		memcpy(clip, ex->box, sizeof(clip));
	clip[0] += x;
	clip[1] += y;
	if (a->full_page)
		memcpy(clip, page, sizeof(clip));
	shoot(ex, clip, scale);
}

void capture_begin(struct executor *ex)
{
	const struct action *a = executor_action(ex);

	if (modal_blocks(ex)) {
		modal_remind(ex);
		capture_frame(ex);
		return;
	}
	executor_wait(ex, WAIT_PICTURE, PICTURE_MS);
	if (a->kind == ACTION_SCREENSHOT && ex->view.device_scale == 1 && !a->ref && !a->full_page)
		shoot(ex, NULL, 1);
	else
		executor_call(
			ex, tabs_front(ex)->session, "Page.getLayoutMetrics", NULL, on_layout);
}

void capture_frame(struct executor *ex)
{
	cJSON *p = cJSON_CreateObject();

	cJSON_AddStringToObject(p, "format", executor_action(ex)->jpeg ? "jpeg" : "png");
	if (ex->view.shot_width > 0) {
		cJSON_AddNumberToObject(p, "maxWidth", ex->view.shot_width);
		cJSON_AddNumberToObject(p, "maxHeight", ex->view.shot_height);
	}
	executor_wait(ex, WAIT_FRAME, FRAME_MS);
	executor_call(ex, tabs_front(ex)->session, "Page.startScreencast", p, NULL);
}

void capture_late(struct executor *ex)
{
	ex->epoch++;
	if (executor_action(ex)->kind != ACTION_SCREENSHOT) {
		executor_fail(ex, "The page does not answer.");
		return;
	}
	executor_note(ex, "The page does not answer; the picture is what was drawn last.");
	capture_frame(ex);
}

void capture_took_frame(struct executor *ex, const char *params, size_t n)
{
	const struct tab *t = tabs_front(ex);

	if (!ex->runs || ex->wait != WAIT_FRAME || !t)
		return;
	executor_call(ex, t->session, "Page.stopScreencast", NULL, NULL);
	took(ex, params, n);
}
