/* Reading JSON that somebody else wrote: every member named, typed and bounded; unknown ones
 * refused. */
#include "json.h"
#include "util.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

static const char *const type_names[] = {"a string", "an integer", "true or false",
	"a list of strings", "an object of strings", "an object", "a list"};

static bool all_strings(const cJSON *list)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, list) {
		if (!cJSON_IsString(item))
			return false;
	}
	return true;
}

static bool type_fits(const cJSON *v, enum json_type type)
{
	switch (type) {
	case JSON_STRING:
		return cJSON_IsString(v);
	case JSON_INTEGER:
		return cJSON_IsNumber(v) && fabs(v->valuedouble) < 9007199254740992.0 &&
		       (double)(int64_t)v->valuedouble == v->valuedouble;
	case JSON_BOOL:
		return cJSON_IsBool(v);
	case JSON_STRINGS:
		return cJSON_IsArray(v) && all_strings(v);
	case JSON_STRING_MAP:
		return cJSON_IsObject(v) && all_strings(v);
	case JSON_OBJECT:
		return cJSON_IsObject(v);
	case JSON_ARRAY:
		return cJSON_IsArray(v);
	}
	return false;
}

static int64_t measure(const cJSON *v, enum json_type type)
{
	if (type == JSON_INTEGER)
		return (int64_t)v->valuedouble;
	if (type == JSON_STRING)
		return (int64_t)strlen(v->valuestring);
	return cJSON_GetArraySize(v);
}

static int check_member(const cJSON *v, const struct json_member *m, struct err *err)
{
	int64_t size;

	if (!type_fits(v, m->type))
		return err_set(err, EINVAL, "'%s' must be %s", m->name, type_names[m->type]);
	if (m->type == JSON_BOOL || (m->min == 0 && m->max == 0))
		return 0;
	size = measure(v, m->type);
	if (size >= m->min && size <= m->max)
		return 0;
	return err_set(err, ERANGE,
		"'%s' must %s between %" PRId64 " and %" PRId64 ", not %" PRId64, m->name,
		m->type == JSON_INTEGER ? "be" : "have a length", m->min, m->max, size);
}

int json_check(const cJSON *obj, const struct json_member *members, size_t n, struct err *err)
{
	const cJSON *v;

	if (obj && !cJSON_IsObject(obj)) {
		err_set(err, EINVAL, "the request must be a JSON object");
		return err_type(err, 400, "invalid-request");
	}
	cJSON_ArrayForEach (v, obj) {
		const struct json_member *m = NULL;

		for (size_t i = 0; i < n && !m; i++)
			if (streq(members[i].name, v->string))
				m = &members[i];
		if (!m)
			err_set(err, EINVAL, "'%.80s' is not a member of this request", v->string);
		else if (json_get(obj, m->name) != v)
			err_set(err, EINVAL, "'%s' is given twice", m->name);
		else if (check_member(v, m, err) == 0)
			continue;
		return err_type(err, 400, "invalid-request");
	}
	for (size_t i = 0; i < n; i++) {
		if (!members[i].required || json_get(obj, members[i].name))
			continue;
		err_set(err, EINVAL, "'%s' is missing", members[i].name);
		return err_type(err, 400, "invalid-request");
	}
	return 0;
}

const cJSON *json_get(const cJSON *obj, const char *name)
{
	return obj ? cJSON_GetObjectItemCaseSensitive(obj, name) : NULL;
}

const char *json_str(const cJSON *obj, const char *name, const char *otherwise)
{
	const cJSON *v = json_get(obj, name);

	return cJSON_IsString(v) ? v->valuestring : otherwise;
}

int64_t json_int(const cJSON *obj, const char *name, int64_t otherwise)
{
	const cJSON *v = json_get(obj, name);

	return v && type_fits(v, JSON_INTEGER) ? (int64_t)v->valuedouble : otherwise;
}

bool json_bool(const cJSON *obj, const char *name, bool otherwise)
{
	const cJSON *v = json_get(obj, name);

	return cJSON_IsBool(v) ? cJSON_IsTrue(v) : otherwise;
}

cJSON *json_from_err(const struct err *err)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "type", err->type);
	cJSON_AddNumberToObject(o, "status", err->status);
	cJSON_AddStringToObject(o, "detail", err->msg);
	if (err->hint[0])
		cJSON_AddStringToObject(o, "hint", err->hint);
	return o;
}

void json_to_err(const cJSON *obj, struct err *err)
{
	err_set(err, EREMOTEIO, "%s", json_str(obj, "detail", "the answer was not understood"));
	err_type(err, (int)json_int(obj, "status", 500), json_str(obj, "type", "internal"));
	err_hint(err, "%s", json_str(obj, "hint", ""));
}

void json_add_time(cJSON *obj, const char *name, int64_t unix_ns)
{
	char text[32];

	format_time(unix_ns, text);
	cJSON_AddStringToObject(obj, name, text);
}
