/* GET …/screenshot: Page.captureScreenshot of the page in front, with region, full page and scale.
 */
#include "screenshot.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "browser.h"
#include "discovery.h"
#include "http.h"
#include "json_scan.h"
#include "util.h"

#define SCREENSHOT_MS 60000
#define EDGE_MAX 16384 /* of a picture: what Chromium's compositor can draw */

/* One picture; freed when its connection closes. */
struct shot {
	struct http_conn *c;
	struct browser *browser;
	char format[8];
	int quality;  /* -1: Chromium's own */
	int max_edge; /* 0: none */
	bool full_page, has_region, answered;
	double region[4], scale;
};

static void on_close(void *data)
{
	struct shot *s = data;

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

static int digit(char c)
{
	static const char set[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	static int8_t table[256];

	if (!table['B'])
		for (int i = 0; i < 64; i++)
			table[(uint8_t)set[i]] = (int8_t)(i + 1);
	return table[(uint8_t)c] - 1;
}

long long screenshot_base64(const char *text, size_t n, uint8_t *out)
{
	size_t len = 0;

	if (n % 4)
		return -1;
	for (size_t i = 0; i < n; i += 4) {
		bool last = i + 4 == n;
		int a = digit(text[i]), b = digit(text[i + 1]);
		int pad = !last || text[i + 3] != '=' ? 0 : text[i + 2] == '=' ? 2 : 1;
		int c = pad == 2 ? 0 : digit(text[i + 2]), d = pad ? 0 : digit(text[i + 3]);

		if (a < 0 || b < 0 || c < 0 || d < 0)
			return -1;
		out[len++] = (uint8_t)(a << 2 | b >> 4);
		if (pad < 2)
			out[len++] = (uint8_t)(b << 4 | c >> 2);
		if (pad < 1)
			out[len++] = (uint8_t)(c << 6 | d);
	}
	return (long long)len;
}

static void reply_picture(struct shot *s, const uint8_t *data, size_t n)
{
	char type[32], headers[64] = "";

	snprintf(type, sizeof(type), "image/%s", s->format);
	if (s->scale > 0)
		snprintf(headers, sizeof(headers), "X-Berth-Scale: %.6g\r\n", s->scale);
	s->answered = true;
	http_reply(s->c, 200, type, headers[0] ? headers : NULL, data, n);
}

static void odd(struct shot *s)
{
	struct err err;

	metric_add(METRIC_GUEST_PROTOCOL_ERRORS, 1);
	err_set(&err, -EPROTO, "the browser's answer is no picture");
	err_type(&err, 502, "browser-unavailable");
	problem_out(s, &err);
}

static void on_picture(void *data, const char *result, size_t n, const struct err *err)
{
	struct shot *s = data;
	struct json_found m;
	AUTOFREE uint8_t *picture = NULL;
	long long len;

	if (err) {
		problem_out(s, err);
		return;
	}
	if (json_scan_find(result, n, "data", &m) != 1 || m.kind != JSON_KIND_STRING) {
		odd(s);
		return;
	}
	picture = xmalloc(m.raw_len);
	len = screenshot_base64(m.raw + 1, m.raw_len - 2, picture);
	if (len <= 0)
		odd(s);
	else
		reply_picture(s, picture, (size_t)len);
}

static void capture(struct shot *s, cJSON *clip)
{
	cJSON *p = cJSON_CreateObject();

	cJSON_AddStringToObject(p, "format", s->format);
	if (s->quality >= 0)
		cJSON_AddNumberToObject(p, "quality", s->quality);
	if (clip) {
		cJSON_AddItemToObject(p, "clip", clip);
		if (s->full_page)
			cJSON_AddBoolToObject(p, "captureBeyondViewport", true);
	}
	browser_call(s->browser, "Page.captureScreenshot", p, on_picture);
}

/* A number of the layout, made harmless: what is none is 0. */
static double number(const cJSON *o, const char *name)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, name);

	return cJSON_IsNumber(v) && isfinite(v->valuedouble) ? v->valuedouble : 0;
}

/* x, y, width, height of what is wanted, in CSS pixels of the page; false when there is nothing. */
static bool area(const struct shot *s, const cJSON *layout, double a[4])
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

static void capture_area(struct shot *s, const cJSON *layout)
{
	static const char *const names[] = {"x", "y", "width", "height"};
	cJSON *clip;
	struct err err;
	double a[4], edge;

	if (!area(s, layout, a)) {
		err_set(&err, -ERANGE, "the region lies outside of the page");
		err_type(&err, 400, "invalid-request");
		problem_out(s, &err);
		return;
	}
	edge = MAX(a[2], a[3]);
	s->scale = s->max_edge && edge > s->max_edge ? s->max_edge / edge : 1;
	clip = cJSON_CreateObject();
	for (size_t i = 0; i < 4; i++)
		cJSON_AddNumberToObject(clip, names[i], a[i]);
	cJSON_AddNumberToObject(clip, "scale", s->scale);
	capture(s, clip);
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
		capture_area(s, layout);
	cJSON_Delete(layout);
}

static void on_ready(void *data, const char *target)
{
	struct shot *s = data;

	if (s->full_page || s->has_region || s->max_edge)
		browser_call(s->browser, "Page.getLayoutMetrics", NULL, on_layout);
	else
		capture(s, NULL);
}

static void on_failed(void *data, const struct err *err)
{
	problem_out(data, err);
}

/* ---- the request ---- */

static int bad(struct err *err, const char *what)
{
	err_set(err, -EINVAL, "%s", what);
	return err_type(err, 400, "invalid-request");
}

static int read_format(struct shot *s, const struct route_match *m, struct err *err)
{
	int r = http_query(&m->target, "format", s->format, sizeof(s->format));

	if (r == 0)
		snprintf(s->format, sizeof(s->format), "png");
	if (r >= 0 && streq(s->format, "jpg"))
		snprintf(s->format, sizeof(s->format), "jpeg");
	if (r < 0 || (!streq(s->format, "png") && !streq(s->format, "jpeg") &&
			     !streq(s->format, "webp")))
		return bad(err, "format is png, jpeg or webp");
	return 0;
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

/* region=x0,y0,x1,y1 */
static int read_region(struct shot *s, const struct route_match *m, struct err *err)
{
	static const char rule[] = "region is x0,y0,x1,y1 in pixels of the view, x0 < x1, y0 < y1";
	char text[64], *save = NULL, *part;
	uint64_t v;
	int r = http_query(&m->target, "region", text, sizeof(text)), i = 0;

	if (r == 0)
		return 0;
	for (part = r > 0 ? strtok_r(text, ",", &save) : NULL; part;
		part = strtok_r(NULL, ",", &save)) {
		if (i == 4 || !parse_u64(part, 0, 1000000, &v))
			return bad(err, rule);
		s->region[i++] = (double)v;
	}
	if (i != 4 || s->region[0] >= s->region[2] || s->region[1] >= s->region[3])
		return bad(err, rule);
	s->has_region = true;
	return 0;
}

static int read_query(struct shot *s, const struct route_match *m, struct err *err)
{
	int full = 0;
	char flag[8] = "";
	int r = http_query(&m->target, "full_page", flag, sizeof(flag));

	if (r < 0 || (r && !streq(flag, "0") && !streq(flag, "1") && !streq(flag, "true") &&
			     !streq(flag, "false") && flag[0]))
		return bad(err, "full_page is 0 or 1");
	full = r && !streq(flag, "0") && !streq(flag, "false");
	s->full_page = full;
	s->quality = -1;
	r = read_format(s, m, err);
	r = r ? r : read_number(m, "quality", 0, 100, &s->quality, err);
	r = r ? r : read_number(m, "max_edge", 16, EDGE_MAX, &s->max_edge, err);
	r = r ? r : read_region(s, m, err);
	if (!r && s->quality >= 0 && streq(s->format, "png"))
		return bad(err, "quality is for jpeg and webp");
	return r;
}

static const struct http_owner http_owner = {.on_close = on_close};
static const struct browser_owner browser_owner = {.on_ready = on_ready, .on_failed = on_failed};

void screenshot_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m)
{
	struct shot *s = xcalloc(1, sizeof(*s));
	struct err err;

	s->c = c;
	http_set_owner(c, &http_owner, s);
	if (read_query(s, m, &err) < 0) {
		problem_out(s, &err);
		return;
	}
	s->browser = browser_new(gw, m->agent, false, SCREENSHOT_MS, &browser_owner, s, &err);
	if (!s->browser)
		problem_out(s, &err);
}
