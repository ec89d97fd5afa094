/* GET …/screenshot: Page.captureScreenshot of the page in front, when it is quiet, with region,
 * full page, scale and cursor. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "browser.h"
#include "discovery.h"
#include "gateway.h"
#include "http.h"
#include "json_scan.h"
#include "picture.h"
#include "settle.h"
#include "util.h"

#define SCREENSHOT_MS 60000 /* for all but the wait for idle */
#define EDGE_MAX 16384      /* of a picture, in CSS pixels: what Chromium's compositor can draw */
#define SCALE_MAX 16        /* device pixels in a CSS pixel, if the browser is to be believed */

/*
 * Theory of operation. Chromium captures at the device's resolution and encodes. Where nothing is
 * scaled or painted its bytes are the answer. Where something is, it is asked for a PNG made in
 * haste (optimizeForSpeed), and picture.c makes the answer of that.
 *
 *   connect -> [settle] -> [layout] -> capture -> picture.c -> answer
 *                                         ^----------' it must be changed and is no PNG
 *
 * What will be changed is guessed from the layout, as the size is known only from the picture. A
 * wrong guess costs a second capture, no more.
 */
struct shot {
	struct gateway *gw;
	struct http_conn *c;
	struct browser *browser;
	struct settle *settle;
	struct picture_job *job;
	struct picture_want want;
	bool full_page, has_region, answered;
	bool as_png; /* whatever is wanted in the end */
	int wait_ms; /* 0: not at all */
	bool idle;   /* it came to rest in that time */
	double region[4], cursor[2];
	double clip[4]; /* x, y, width, height in CSS pixels of the page; width 0: the view */
};

static void on_close(void *data)
{
	struct shot *s = data;

	picture_job_cancel(s->job);
	settle_free(s->settle);
	browser_free(s->browser);
	free(s);
}

static void problem_out(struct shot *s, const struct err *err)
{
	if (s->answered)
		return;
	s->answered = true;
	http_reply_problem(s->c, err);
}

static void refuse(struct shot *s, int code, int status, const char *type, const char *text)
{
	struct err err;

	err_set(&err, code, "%s", text);
	err_type(&err, status, type);
	problem_out(s, &err);
}

static void odd(struct shot *s)
{
	metric_add(METRIC_GUEST_PROTOCOL_ERRORS, 1);
	refuse(s, -EPROTO, 502, "browser-unavailable", "the browser's answer is no picture");
}

/* ---- the answer ---- */

static void reply(struct shot *s, const struct picture *p)
{
	double scale = (double)MAX(p->width, p->height) / MAX(p->from_width, p->from_height);
	char type[32], headers[128];

	snprintf(type, sizeof(type), "image/%s", picture_format_names[p->format]);
	snprintf(headers, sizeof(headers), "X-Berth-Scale: %.6g\r\n%s", scale,
		!s->wait_ms ? ""
		: s->idle   ? "X-Berth-Settled: true\r\n"
			    : "X-Berth-Settled: false\r\n");
	s->answered = true;
	http_reply(s->c, 200, type, headers, p->data, p->n);
}

static void capture(struct shot *s);

static void on_made(void *data, const struct picture *p, const struct err *err)
{
	struct shot *s = data;

	s->job = NULL;
	if (s->answered)
		return;
	if (p) {
		reply(s, p);
	} else if (err->code == -EMSGSIZE && !s->as_png) {
		s->as_png = true;
		capture(s);
	} else if (err->code == -EPROTO || err->code == -EMSGSIZE) {
		odd(s);
	} else {
		problem_out(s, err);
	}
}

static void on_picture(void *data, const char *result, size_t n, const struct err *err)
{
	struct shot *s = data;
	struct json_found m;
	struct err full;

	if (err) {
		problem_out(s, err);
		return;
	}
	if (json_scan_find(result, n, "data", &m) != 1 || m.kind != JSON_KIND_STRING) {
		odd(s);
		return;
	}
	s->job = picture_job_new(
		gateway_loop(s->gw), m.raw + 1, m.raw_len - 2, &s->want, on_made, s, &full);
	if (!s->job)
		problem_out(s, &full);
}

/* ---- the capture ---- */

static cJSON *clip_of(const struct shot *s)
{
	static const char *const names[] = {"x", "y", "width", "height"};
	cJSON *clip = cJSON_CreateObject();

	for (size_t i = 0; i < 4; i++)
		cJSON_AddNumberToObject(clip, names[i], s->clip[i]);
	cJSON_AddNumberToObject(clip, "scale", 1);
	return clip;
}

static void capture(struct shot *s)
{
	enum picture_format format = s->as_png ? PICTURE_PNG : s->want.format;
	cJSON *p = cJSON_CreateObject();

	cJSON_AddStringToObject(p, "format", picture_format_names[format]);
	if (s->as_png)
		cJSON_AddBoolToObject(p, "optimizeForSpeed", true);
	else if (s->want.quality >= 0)
		cJSON_AddNumberToObject(p, "quality", s->want.quality);
	if (s->clip[2] > 0)
		cJSON_AddItemToObject(p, "clip", clip_of(s));
	if (s->clip[2] > 0 && s->full_page)
		cJSON_AddBoolToObject(p, "captureBeyondViewport", true);
	browser_call(s->browser, "Page.captureScreenshot", p, on_picture);
}

/* A number of the layout, made harmless: what is none is 0. */
static double number(const cJSON *o, const char *name)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, name);

	return cJSON_IsNumber(v) && isfinite(v->valuedouble) ? v->valuedouble : 0;
}

/* x, y, width, height of what is wanted, in CSS pixels of the page; false when there is nothing. */
static bool area_of(const struct shot *s, const cJSON *layout, double a[4])
{
	const cJSON *view = cJSON_GetObjectItemCaseSensitive(layout, "cssVisualViewport");
	const cJSON *page = cJSON_GetObjectItemCaseSensitive(layout, "cssContentSize");

	a[0] = s->full_page ? 0 : number(view, "pageX");
	a[1] = s->full_page ? 0 : number(view, "pageY");
	a[2] = s->full_page ? number(page, "width") : number(view, "clientWidth");
	a[3] = s->full_page ? number(page, "height") : number(view, "clientHeight");
	if (s->has_region) {
		a[0] += s->region[0];
		a[1] += s->region[1];
		a[2] = MIN(s->region[2], a[2]) - s->region[0];
		a[3] = MIN(s->region[3], a[3]) - s->region[1];
	}
	a[2] = MIN(a[2], EDGE_MAX);
	a[3] = MIN(a[3], EDGE_MAX);
	return a[2] >= 1 && a[3] >= 1;
}

/* Device pixels in a CSS pixel: the layout comes in both. */
static double device_scale(const cJSON *layout)
{
	double css = number(
		cJSON_GetObjectItemCaseSensitive(layout, "cssLayoutViewport"), "clientWidth");
	double device =
		number(cJSON_GetObjectItemCaseSensitive(layout, "layoutViewport"), "clientWidth");

	return css >= 1 && device >= 1 && device / css <= SCALE_MAX ? device / css : 1;
}

/* The cursor's place in the view becomes one in the picture. */
static void place_cursor(struct shot *s, const cJSON *layout, const double a[4], double scale)
{
	const cJSON *view = cJSON_GetObjectItemCaseSensitive(layout, "cssVisualViewport");

	s->want.cursor_x = (s->cursor[0] + number(view, "pageX") - a[0]) * scale;
	s->want.cursor_y = (s->cursor[1] + number(view, "pageY") - a[1]) * scale;
}

/* Whole device pixels of so many in CSS; at least one. */
static unsigned int pixels(double css, double scale)
{
	return (unsigned int)ceil(MAX(css * scale, 1));
}

static void use_layout(struct shot *s, const cJSON *layout)
{
	bool clipped = s->full_page || s->has_region;
	double a[4], scale = device_scale(layout);

	if (!area_of(s, layout, a) && clipped) {
		refuse(s, -ERANGE, 400, "invalid-request", "the region lies outside of the page");
		return;
	}
	if (clipped)
		memcpy(s->clip, a, sizeof(a));
	place_cursor(s, layout, a, scale);
	s->as_png = !picture_unchanged(&s->want, pixels(a[2], scale), pixels(a[3], scale));
	capture(s);
}

static void on_layout(void *data, const char *result, size_t n, const struct err *err)
{
	struct shot *s = data;
	cJSON *layout = err ? NULL : discovery_parse(result, n, CDP_OBJECT);

	if (err)
		problem_out(s, err);
	else if (!layout)
		odd(s);
	else
		use_layout(s, layout);
	cJSON_Delete(layout);
}

static void begin(struct shot *s)
{
	if (s->full_page || s->has_region || s->want.has_cursor || s->want.max_edge)
		browser_call(s->browser, "Page.getLayoutMetrics", NULL, on_layout);
	else
		capture(s);
}

/* ---- waiting for the page ---- */

static void on_settle_answer(void *data, const char *result, size_t n, const struct err *err)
{
	struct shot *s = data;

	settle_answer(s->settle, result, n, err);
}

static void settle_call(void *data, const char *method, cJSON *params)
{
	struct shot *s = data;

	browser_call(s->browser, method, params, on_settle_answer);
}

static void settle_done(void *data, bool idle)
{
	struct shot *s = data;

	settle_free(s->settle);
	s->settle = NULL;
	s->idle = idle;
	begin(s);
}

static const struct settle_owner settle_owner = {.call = settle_call, .done = settle_done};

static void on_ready(void *data, const char *target)
{
	struct shot *s = data;

	if (!s->wait_ms) {
		begin(s);
		return;
	}
	s->settle =
		settle_new(gateway_loop(s->gw), target, (unsigned int)s->wait_ms, &settle_owner, s);
	settle_start(s->settle);
}

static void on_event(void *data, const char *method, const char *params, size_t n)
{
	struct shot *s = data;

	if (s->settle)
		settle_event(s->settle, method, params, n);
}

static void on_failed(void *data, const struct err *err)
{
	struct shot *s = data;

	settle_free(s->settle);
	s->settle = NULL;
	problem_out(s, err);
}

/* ---- the request ---- */

static int bad(struct err *err, const char *what)
{
	err_set(err, -EINVAL, "%s", what);
	return err_type(err, 400, "invalid-request");
}

static int read_format(struct shot *s, const struct route_match *m, struct err *err)
{
	char text[8];
	int r = http_query(&m->target, "format", text, sizeof(text));

	if (r == 0)
		return 0;
	if (r > 0 && streq(text, "jpg"))
		snprintf(text, sizeof(text), "jpeg");
	for (int i = 0; r > 0 && i < PICTURE_FORMATS; i++) {
		if (!streq(text, picture_format_names[i]))
			continue;
		s->want.format = (enum picture_format)i;
		return 0;
	}
	return bad(err, "format is png, jpeg or webp");
}

/* A whole number from the query into *ret, left alone when absent. */
static int read_number(
	const struct route_match *m, const char *name, int min, int max, int *ret, struct err *err)
{
	char text[16];
	uint64_t v;
	int r = http_query(&m->target, name, text, sizeof(text));

	if (r == 0)
		return 0;
	if (r < 0 || !parse_u64(text, (uint64_t)min, (uint64_t)max, &v)) {
		err_set(err, -EINVAL, "%s is a whole number from %d to %d", name, min, max);
		return err_type(err, 400, "invalid-request");
	}
	*ret = (int)v;
	return 0;
}

/* Exactly n whole numbers with commas between. 1 read, 0 absent, -1 anything else. */
static int read_list(const struct route_match *m, const char *name, double *out, int n)
{
	char text[64], *save = NULL, *part;
	uint64_t v;
	int r = http_query(&m->target, name, text, sizeof(text)), i = 0;

	if (r <= 0)
		return r;
	for (part = strtok_r(text, ",", &save); part; part = strtok_r(NULL, ",", &save)) {
		if (i == n || !parse_u64(part, 0, 1000000, &v))
			return -1;
		out[i++] = (double)v;
	}
	return i == n ? 1 : -1;
}

static int read_places(struct shot *s, const struct route_match *m, struct err *err)
{
	int r = read_list(m, "region", s->region, 4);

	if (r < 0 || (r && (s->region[0] >= s->region[2] || s->region[1] >= s->region[3])))
		return bad(err, "region is x0,y0,x1,y1 in pixels of the view, x0 < x1, y0 < y1");
	s->has_region = r;
	r = read_list(m, "cursor", s->cursor, 2);
	if (r < 0)
		return bad(err, "cursor is x,y in pixels of the view");
	s->want.has_cursor = r;
	return 0;
}

static int read_full_page(struct shot *s, const struct route_match *m, struct err *err)
{
	char flag[8] = "";
	int r = http_query(&m->target, "full_page", flag, sizeof(flag));

	if (r < 0 || (r && !streq(flag, "0") && !streq(flag, "1") && !streq(flag, "true") &&
			     !streq(flag, "false") && flag[0]))
		return bad(err, "full_page is 0 or 1");
	s->full_page = r && !streq(flag, "0") && !streq(flag, "false");
	return 0;
}

static int read_query(struct shot *s, const struct route_match *m, struct err *err)
{
	int max_edge = 0, r;

	s->want.quality = -1;
	r = read_full_page(s, m, err);
	r = r ? r : read_format(s, m, err);
	r = r ? r : read_number(m, "quality", 0, 100, &s->want.quality, err);
	r = r ? r : read_number(m, "max_edge", 16, EDGE_MAX, &max_edge, err);
	r = r ? r : read_number(m, "wait_for_idle", 0, SETTLE_MAX_MS, &s->wait_ms, err);
	r = r ? r : read_places(s, m, err);
	s->want.max_edge = (unsigned int)max_edge;
	if (!r && s->want.quality >= 0 && s->want.format == PICTURE_PNG)
		return bad(err, "quality is for jpeg and webp");
	return r;
}

static const struct http_owner http_owner = {.on_close = on_close};
static const struct browser_owner browser_owner = {
	.on_ready = on_ready, .on_event = on_event, .on_failed = on_failed};

void screenshot_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m)
{
	struct shot *s = xcalloc(1, sizeof(*s));
	struct err err;

	s->gw = gw;
	s->c = c;
	http_set_owner(c, &http_owner, s);
	if (read_query(s, m, &err) < 0) {
		problem_out(s, &err);
		return;
	}
	s->browser = browser_new(
		gw, m->agent, false, SCREENSHOT_MS + (uint64_t)s->wait_ms, &browser_owner, s, &err);
	if (!s->browser)
		problem_out(s, &err);
}
