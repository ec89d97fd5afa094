/* Requests as JSON: what json_check lets through holds to its bounds, and an error's text is
 * bounded. */
#include "json.h"
#include "util.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const struct json_member members[] = {
	{"name", JSON_STRING, true, 1, 63},
	{"memory_mib", JSON_INTEGER, false, 256, 65536},
	{"force", JSON_BOOL, false, 0, 0},
	{"allow", JSON_STRINGS, false, 0, 4},
	{"labels", JSON_STRING_MAP, false, 0, 4},
	{"args", JSON_OBJECT, false, 0, 0},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	cJSON *obj = cJSON_ParseWithLength((const char *)data, n);
	struct err err = {0};

	if (obj && json_check(obj, members, ARRAY_SIZE(members), &err) == 0) {
		size_t len = strlen(json_str(obj, "name", ""));
		int64_t memory = json_int(obj, "memory_mib", 256);

		if (len < 1 || len > 63 || memory < 256 || memory > 65536)
			abort();
	} else if (obj &&
		   (err.status != 400 || strnlen(err.msg, sizeof(err.msg)) == sizeof(err.msg))) {
		abort();
	}
	cJSON_Delete(obj);
	return 0;
}
