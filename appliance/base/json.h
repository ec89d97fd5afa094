/* Reading JSON that somebody else wrote: every member named, typed and bounded; unknown ones
 * refused. */
#ifndef BERTH_BASE_JSON_H
#define BERTH_BASE_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

enum json_type {
	JSON_STRING,
	JSON_INTEGER,
	JSON_BOOL,
	JSON_STRINGS,
	JSON_STRING_MAP,
	JSON_OBJECT,
	JSON_ARRAY
};

/* One member of an object. For strings and lists min and max bound the length, for integers the
 * value. */
struct json_member {
	const char *name;
	enum json_type type;
	bool required;
	int64_t min, max;
};

/* 0, or 400 invalid-request naming the member and its bounds. obj may be NULL, which is an empty
 * object. */
int json_check(const cJSON *obj, const struct json_member *members, size_t n, struct err *err);

/* Members of a checked object; the default when absent. */
const char *json_str(const cJSON *obj, const char *name, const char *otherwise);
int64_t json_int(const cJSON *obj, const char *name, int64_t otherwise);
bool json_bool(const cJSON *obj, const char *name, bool otherwise);
const cJSON *json_get(const cJSON *obj, const char *name);

/* {"type":"…","status":…,"title":"…","detail":"…","hint":"…"}: an error as control messages and
 * HTTP carry it. */
cJSON *json_from_err(const struct err *err);
void json_to_err(const cJSON *obj, struct err *err);

/* Adds "name": RFC 3339 time. */
void json_add_time(cJSON *obj, const char *name, int64_t unix_ns);

#endif
