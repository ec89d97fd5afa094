/* Members of an action, by the type that a vendor's table gives them, into struct action. Pure. */
#include "vendor.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <strings.h>

#include "bytes.h"
#include "json.h"
#include "util.h"

static int wrong(struct err *err, const struct vendor_field *f, const char *wanted)
{
	return err_set(err, -EINVAL, "%s must be %s", f->name, wanted);
}

static int read_number(
	const cJSON *v, const struct vendor_field *f, bool whole, double *ret, struct err *err)
{
	double d = cJSON_IsNumber(v) ? v->valuedouble : NAN;

	if (!isfinite(d))
		return wrong(err, f, whole ? "a whole number" : "a number");
	if (d < (double)f->min || d > (double)f->max)
		return err_set(err, -ERANGE, "%s is %.15g; it must be from %lld to %lld", f->name,
			d, (long long)f->min, (long long)f->max);
	if (whole && d != (double)(int64_t)d)
		return wrong(err, f, "a whole number");
	*ret = d;
	return 0;
}

static int read_int(const cJSON *v, const struct vendor_field *f, int *ret, struct err *err)
{
	double d = 0;
	int r = read_number(v, f, true, &d, err);

	*ret = (int)d;
	return r;
}

/* n whole numbers. */
static int read_ints(const cJSON *v, const struct vendor_field *f, int *ret, int n,
	const char *wanted, struct err *err)
{
	struct vendor_field one = *f;
	char name[48];

	if (!cJSON_IsArray(v) || cJSON_GetArraySize(v) != n)
		return wrong(err, f, wanted);
	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%s[%d]", f->name, i);
		one.name = name;
		if (read_int(cJSON_GetArrayItem(v, i), &one, &ret[i], err) < 0)
			return err->code;
	}
	return 0;
}

static int read_point(
	const cJSON *v, const struct vendor_field *f, struct point *ret, struct err *err)
{
	int xy[2] = {0};
	int r = read_ints(v, f, xy, 2, "[x, y], two whole numbers", err);

	*ret = (struct point){xy[0], xy[1]};
	return r;
}

static int read_path(
	const cJSON *v, const struct vendor_field *f, struct action *a, struct err *err)
{
	int n = cJSON_IsArray(v) ? cJSON_GetArraySize(v) : 0;
	struct vendor_field one = *f;
	const cJSON *p;
	char name[48];

	if (n < 2 || n > ACTION_PATH_MAX)
		return err_set(err, -EINVAL, "%s must be a list of 2 to %d points {x, y}", f->name,
			ACTION_PATH_MAX);
	a->path = xcalloc((size_t)n, sizeof(*a->path));
	one.name = name;
	cJSON_ArrayForEach (p, v) {
		struct point *to = &a->path[a->n_path];

		snprintf(name, sizeof(name), "%s[%zu].x", f->name, a->n_path);
		if (read_int(plan_get(p, "x"), &one, &to->x, err) < 0)
			return err->code;
		snprintf(name, sizeof(name), "%s[%zu].y", f->name, a->n_path);
		if (read_int(plan_get(p, "y"), &one, &to->y, err) < 0)
			return err->code;
		a->n_path++;
	}
	return 0;
}

static int read_region(
	const cJSON *v, const struct vendor_field *f, struct action *a, struct err *err)
{
	static const char rule[] = "[x0, y0, x1, y1], four whole numbers with x0 < x1 and y0 < y1";

	if (read_ints(v, f, a->region, 4, rule, err) < 0)
		return err->code;
	if (a->region[0] >= a->region[2] || a->region[1] >= a->region[3])
		return wrong(err, f, rule);
	return 0;
}

static int read_text(
	const cJSON *v, const struct vendor_field *f, struct action *a, struct err *err)
{
	const char *s = cJSON_GetStringValue(v);
	size_t n = s ? strlen(s) : 0;

	if (!s)
		return wrong(err, f, "a string");
	if ((int64_t)n < f->min || (int64_t)n > f->max)
		return err_set(err, -E2BIG, "%s has %zu bytes; it may have %lld to %lld", f->name,
			n, (long long)f->min, (long long)f->max);
	free(a->text);
	a->text = xstrdup(s);
	return 0;
}

static int read_chord(
	const cJSON *v, const struct vendor_field *f, struct chord *ret, struct err *err)
{
	const char *s = cJSON_GetStringValue(v);

	if (!s)
		return wrong(err, f, "a string with keys, as \"ctrl+s\"");
	return keys_chord(s, ret, err) < 0 ? err_context(err, "%s", f->name) : 0;
}

static int read_keys(
	const cJSON *v, const struct vendor_field *f, struct chord *ret, struct err *err)
{
	const cJSON *k;

	if (!cJSON_IsArray(v))
		return wrong(err, f, "a list of keys");
	cJSON_ArrayForEach (k, v) {
		if (!cJSON_IsString(k))
			return wrong(err, f, "a list of keys");
		if (keys_add(ret, k->valuestring, err) < 0)
			return err_context(err, "%s", f->name);
	}
	return f->required && !ret->n ? wrong(err, f, "a list of one key or more") : 0;
}

/* One word of a list, in any case. */
static int read_word(const cJSON *v, const struct vendor_field *f, const char *const *words,
	const char *wanted, unsigned int *ret, struct err *err)
{
	const char *s = cJSON_GetStringValue(v);

	for (unsigned int i = 0; s && words[i]; i++) {
		if (strcasecmp(words[i], s) == 0) {
			*ret = i;
			return 0;
		}
	}
	return wrong(err, f, wanted);
}

static int read_button(
	const cJSON *v, const struct vendor_field *f, struct action *a, struct err *err)
{
	static const char *const words[] = {
		"left", "right", "wheel", "back", "forward", "middle", NULL};
	unsigned int i = 0;
	int r = read_word(v, f, words, "left, right, wheel, back or forward", &i, err);

	a->button = i == 5 ? BUTTON_MIDDLE : (enum action_button)i;
	return r;
}

static int read_direction(
	const cJSON *v, const struct vendor_field *f, struct action *a, struct err *err)
{
	static const char *const words[] = {"up", "down", "left", "right", NULL};
	unsigned int i = 0;
	int r = read_word(v, f, words, "up, down, left or right", &i, err);

	a->direction = (enum action_direction)(i + SCROLL_UP);
	return r;
}

static int read_bool(const cJSON *v, const struct vendor_field *f, bool *ret, struct err *err)
{
	*ret = cJSON_IsTrue(v);
	return cJSON_IsBool(v) ? 0 : wrong(err, f, "true or false");
}

static int read_seconds(
	const cJSON *v, const struct vendor_field *f, struct action *a, struct err *err)
{
	double s = 0;
	int r = read_number(v, f, f->type == FIELD_WHOLE_SECONDS, &s, err);

	a->ms = (int64_t)(s * 1000);
	return r;
}

/* ---- Of the browser toolset ---- */

static int read_ref(const cJSON *v, const struct vendor_field *f, struct action *a, struct err *err)
{
	const char *s = cJSON_GetStringValue(v);
	uint64_t n;

	if (!s || !starts_with(s, "ref_") || !parse_u64(s + 4, 1, UINT32_MAX, &n))
		return wrong(err, f, "a reference that read_page or find gave, as \"ref_7\"");
	a->ref = (unsigned int)n;
	snprintf(a->shown, sizeof(a->shown), "ref_%u", a->ref);
	return 0;
}

/* {"type": "coordinate", "x", "y"} */
static int read_coordinate(
	const cJSON *v, const struct vendor_field *f, struct point *ret, struct err *err)
{
	static const char *const names[] = {"x", "y"};
	struct vendor_field one = *f;
	int xy[2] = {0};
	char name[48];

	for (size_t i = 0; i < 2; i++) {
		snprintf(name, sizeof(name), "%s.%s", f->name, names[i]);
		one.name = name;
		if (!plan_get(v, names[i]))
			return err_set(err, -EINVAL, "%s is missing", name);
		if (read_int(plan_get(v, names[i]), &one, &xy[i], err) < 0)
			return err->code;
	}
	*ret = (struct point){xy[0], xy[1]};
	return 0;
}

/* A point where one may stand, or an element: {"type": "ref", "ref"}. */
static int read_target(
	const cJSON *v, const struct vendor_field *f, struct action *a, struct err *err)
{
	const char *type = plan_text(v, "type") ? plan_text(v, "type") : "";
	bool from = f->type == FIELD_TARGET_FROM;
	struct vendor_field one = *f;
	char name[48];

	if (streq(type, "coordinate") && f->type != FIELD_TARGET_REF) {
		*(from ? &a->has_from : &a->has_at) = true;
		return read_coordinate(v, f, from ? &a->from : &a->at, err);
	}
	if (streq(type, "ref") && (f->type == FIELD_TARGET || f->type == FIELD_TARGET_REF)) {
		snprintf(name, sizeof(name), "%s.ref", f->name);
		one.name = name;
		return read_ref(plan_get(v, "ref"), &one, a, err);
	}
	if (f->type == FIELD_TARGET)
		return wrong(err, f, "{type: \"coordinate\", x, y} or {type: \"ref\", ref}");
	return wrong(err, f,
		f->type == FIELD_TARGET_REF ? "{type: \"ref\", ref}"
					    : "{type: \"coordinate\", x, y}");
}

static int read_tab(const cJSON *v, const struct vendor_field *f, struct action *a, struct err *err)
{
	const char *s = cJSON_GetStringValue(v);

	if (!s)
		return wrong(err, f, "a tab_id, a string");
	if (!*s && !f->required)
		return 0;
	if (!*s || strlen(s) > ACTION_TAB_MAX)
		return err_set(err, -EINVAL, "%s is no tab's id", f->name);
	free(a->tab);
	a->tab = xstrdup(s);
	return 0;
}

/* As text, and as the JSON that it is. */
static int read_value(
	const cJSON *v, const struct vendor_field *f, struct action *a, struct err *err)
{
	if (!cJSON_IsString(v) && !cJSON_IsBool(v) &&
		!(cJSON_IsNumber(v) && isfinite(v->valuedouble)))
		return wrong(err, f, "a string, a number, true or false");
	free(a->choices);
	a->choices = cJSON_PrintUnformatted(v);
	if (cJSON_IsString(v))
		return read_text(v, f, a, err);
	free(a->text);
	a->text = xstrdup(a->choices);
	return 0;
}

static int read_part(
	const cJSON *v, const struct vendor_field *f, struct action *a, struct err *err)
{
	static const char *const words[] = {"interactive", "all", NULL};
	unsigned int i = 0;
	int r = read_word(v, f, words, "interactive or all", &i, err);

	a->part = i ? PART_ALL : PART_INTERACTIVE;
	return r;
}

/* One path in each line. */
static int read_files(
	const cJSON *v, const struct vendor_field *f, struct action *a, struct err *err)
{
	int n = cJSON_IsArray(v) ? cJSON_GetArraySize(v) : 0;
	const cJSON *path;
	struct buf b;

	if (n < 1 || n > f->max)
		return err_set(
			err, -EINVAL, "%s must be a list of 1 to %d paths", f->name, (int)f->max);
	buf_init(&b, 65536);
	cJSON_ArrayForEach (path, v) {
		const char *s = cJSON_GetStringValue(path);

		if (!s || !*s || strchr(s, '\n') || !buf_addf(&b, "%s%s", b.len ? "\n" : "", s)) {
			buf_done(&b);
			return wrong(err, f, "a list of paths, 64 KiB in all");
		}
	}
	free(a->text);
	a->text = xstrdup(buf_str(&b));
	buf_done(&b);
	return 0;
}

static int read_field(
	const cJSON *v, const struct vendor_field *f, struct action *a, struct err *err)
{
	switch (f->type) {
	case FIELD_AT:
		a->has_at = true;
		return read_point(v, f, &a->at, err);
	case FIELD_FROM:
		a->has_from = true;
		return read_point(v, f, &a->from, err);
	case FIELD_AT_X:
		a->has_at = true;
		return read_int(v, f, &a->at.x, err);
	case FIELD_AT_Y:
		a->has_at = true;
		return read_int(v, f, &a->at.y, err);
	case FIELD_FROM_X:
		a->has_from = true;
		return read_int(v, f, &a->from.x, err);
	case FIELD_FROM_Y:
		a->has_from = true;
		return read_int(v, f, &a->from.y, err);
	case FIELD_PATH:
		return read_path(v, f, a, err);
	case FIELD_REGION:
		return read_region(v, f, a, err);
	case FIELD_TEXT:
	case FIELD_URL:
		return read_text(v, f, a, err);
	case FIELD_CHORD:
		return read_chord(v, f, &a->keys, err);
	case FIELD_KEYS:
		return read_keys(v, f, &a->keys, err);
	case FIELD_MODIFIERS:
		if (read_chord(v, f, &a->modifiers, err) < 0 ||
			keys_only_modifiers(&a->modifiers, err) < 0)
			return err->code;
		return 0;
	case FIELD_HELD:
		return read_keys(v, f, &a->modifiers, err);
	case FIELD_BUTTON:
		return read_button(v, f, a, err);
	case FIELD_DIRECTION:
		return read_direction(v, f, a, err);
	case FIELD_AMOUNT:
		return read_int(v, f, &a->amount, err);
	case FIELD_DX:
		return read_int(v, f, &a->dx, err);
	case FIELD_DY:
		return read_int(v, f, &a->dy, err);
	case FIELD_SECONDS:
	case FIELD_WHOLE_SECONDS:
		return read_seconds(v, f, a, err);
	case FIELD_REPEAT:
		return read_int(v, f, &a->repeat, err);
	case FIELD_CLEAR:
		return read_bool(v, f, &a->clear_first, err);
	case FIELD_ENTER:
		return read_bool(v, f, &a->press_enter, err);
	case FIELD_TARGET:
	case FIELD_TARGET_AT:
	case FIELD_TARGET_FROM:
	case FIELD_TARGET_REF:
		return read_target(v, f, a, err);
	case FIELD_REF:
		return read_ref(v, f, a, err);
	case FIELD_TAB:
		return read_tab(v, f, a, err);
	case FIELD_VALUE:
		return read_value(v, f, a, err);
	case FIELD_PART:
		return read_part(v, f, a, err);
	case FIELD_DEPTH:
		return read_int(v, f, &a->depth, err);
	case FIELD_FILES:
		return read_files(v, f, a, err);
	case FIELD_ABSENT:
		return err_set(err, -EINVAL, "%s is no member of it in this version", f->name);
	case FIELD_END:
		break;
	}
	return 0;
}

/* For {text}, {n} and {dir} of the row's answer. */
static void note_shown(struct action *a, const cJSON *v, const struct vendor_field *f)
{
	if (f->type == FIELD_CHORD)
		snprintf(a->shown, sizeof(a->shown), "%s", cJSON_GetStringValue(v));
}

int fields_read(const struct vendor_row *row, const cJSON *args, struct action *a, struct err *err)
{
	for (const struct vendor_field *f = row->fields; f && f->type != FIELD_END; f++) {
		const cJSON *v = plan_get(args, f->name);

		if (!v && f->required)
			return err_set(err, -EINVAL, "%s is missing", f->name);
		if (!v)
			continue;
		if (read_field(v, f, a, err) < 0)
			return err->code;
		note_shown(a, v, f);
	}
	return 0;
}
