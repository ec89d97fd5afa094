/* How much of the network an agent may use: the vocabulary of limits, as people and as JSON say
 * them. */
#include "limit.h"
#include "json.h"
#include "util.h"

#include <errno.h>
#include <string.h>

#define BYTES_MAX (UINT64_C(1) << 50)

static const struct row {
	const char *name;
	uint64_t min, max, otherwise;
	bool bytes;
} rows[LIMITS_N] = {
	[LIMIT_BANDWIDTH_UP] = {"bandwidth_up", 1024, BYTES_MAX, 0, true},
	[LIMIT_BANDWIDTH_DOWN] = {"bandwidth_down", 1024, BYTES_MAX, 0, true},
	[LIMIT_CONNECTIONS] = {"connections", 1, 512, 512, false},
	[LIMIT_CONNECTION_RATE] = {"connections_per_second", 1, 10000, 100, false},
	[LIMIT_DNS_RATE] = {"dns_per_second", 1, 10000, 100, false},
	[LIMIT_BYTES_PER_RUN] = {"bytes_per_run", 1024, BYTES_MAX, 0, true},
	[LIMIT_BYTES_PER_DAY] = {"bytes_per_day", 1024, BYTES_MAX, 0, true},
};
static const char on_limit[] = "on_limit";
static const char suffixes[] = "KMGT";

const char *limit_name(enum limit limit)
{
	return rows[limit].name;
}

struct limits limit_default(void)
{
	struct limits l = {0};

	for (size_t i = 0; i < LIMITS_N; i++)
		l.values[i] = rows[i].otherwise;
	return l;
}

__attribute__((format(printf, 2, 3))) static int refuse(struct err *err, const char *fmt, ...)
{
	char text[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	err_set(err, EINVAL, "%s", text);
	return err_type(err, 400, "invalid-request");
}

static const struct row *find(const char *name)
{
	for (size_t i = 0; i < LIMITS_N; i++)
		if (streq(rows[i].name, name))
			return &rows[i];
	return NULL;
}

static int unknown(const char *name, struct err *err)
{
	refuse(err, "there is no limit '%.40s'", name);
	err_hint(err, "there are bandwidth_up, bandwidth_down, connections, "
		      "connections_per_second, dns_per_second, bytes_per_run, bytes_per_day and "
		      "on_limit");
	return err ? err->code : -EINVAL;
}

static int wrong_number(const struct row *row, struct err *err)
{
	return refuse(err, "'%s' must be a whole number between %llu and %llu, or none", row->name,
		(unsigned long long)row->min, (unsigned long long)row->max);
}

static int change_on_limit(struct limits *l, const cJSON *v, struct err *err)
{
	const char *text = cJSON_IsString(v) ? v->valuestring : "";

	if (!streq(text, "refuse") && !streq(text, "suspend"))
		return refuse(err, "'%s' must be refuse or suspend", on_limit);
	l->suspend = streq(text, "suspend");
	return 0;
}

static int change_one(struct limits *l, const cJSON *v, struct err *err)
{
	const struct row *row = find(v->string);

	if (streq(v->string, on_limit))
		return change_on_limit(l, v, err);
	if (!row)
		return unknown(v->string, err);
	if (cJSON_IsNull(v)) {
		l->values[row - rows] = 0;
		return 0;
	}
	if (!cJSON_IsNumber(v) || !(v->valuedouble >= (double)row->min) ||
		v->valuedouble > (double)row->max ||
		(double)(uint64_t)v->valuedouble != v->valuedouble)
		return wrong_number(row, err);
	l->values[row - rows] = (uint64_t)v->valuedouble;
	return 0;
}

int limit_change(struct limits *l, const cJSON *wish, struct err *err)
{
	struct limits next = *l;
	const cJSON *v;

	if (wish && !cJSON_IsObject(wish))
		return refuse(err, "'limits' must be an object");
	cJSON_ArrayForEach (v, wish) {
		int r = change_one(&next, v, err);

		if (r < 0)
			return r;
	}
	*l = next;
	return 0;
}

cJSON *limit_json(const struct limits *l)
{
	cJSON *o = cJSON_CreateObject();

	for (size_t i = 0; i < LIMITS_N; i++) {
		if (l->values[i])
			cJSON_AddNumberToObject(o, rows[i].name, (double)l->values[i]);
		else
			cJSON_AddNullToObject(o, rows[i].name);
	}
	cJSON_AddStringToObject(o, on_limit, l->suspend ? "suspend" : "refuse");
	return o;
}

/* Digits, and one suffix where bytes are meant. */
static bool parse_value(const struct row *row, const char *text, uint64_t *ret)
{
	char digits[24];
	size_t n = strspn(text, "0123456789");
	const char *suffix = text[n] ? strchr(suffixes, text[n]) : NULL;
	unsigned shift = suffix ? 10 * (unsigned)(suffix - suffixes + 1) : 0;

	if (n == 0 || n >= sizeof(digits) || (text[n] && (!suffix || text[n + 1] || !row->bytes)))
		return false;
	memcpy(digits, text, n);
	digits[n] = 0;
	if (!parse_u64(digits, 1, row->max >> shift, ret))
		return false;
	*ret <<= shift;
	return *ret >= row->min;
}

int limit_add_word(cJSON *wish, const char *word, struct err *err)
{
	const char *equals = strchr(word, '='), *value = equals ? equals + 1 : "";
	char name[40];
	const struct row *row;
	uint64_t number;

	if (!equals)
		return refuse(err, "'%.60s' is not KEY=VALUE", word);
	snprintf(name, sizeof(name), "%.*s", (int)MIN(equals - word, 39), word);
	row = find(name);
	if (!row && !streq(name, on_limit))
		return unknown(name, err);
	if (cJSON_GetObjectItemCaseSensitive(wish, name))
		return refuse(err, "'%s' is given twice", name);
	if (!row)
		cJSON_AddStringToObject(wish, on_limit, value);
	else if (streq(value, "none"))
		cJSON_AddNullToObject(wish, name);
	else if (parse_value(row, value, &number))
		cJSON_AddNumberToObject(wish, name, (double)number);
	else
		return refuse(err, "'%s' must be between %llu and %llu%s, or none", name,
			(unsigned long long)row->min, (unsigned long long)row->max,
			row->bytes ? ", as in 64K, 10M, 2G" : "");
	return 0;
}

void limit_format(const struct limits *l, enum limit limit, char out[32])
{
	uint64_t v = l->values[limit];
	unsigned shift = 0;

	if (v == 0) {
		strcpy(out, "none");
		return;
	}
	while (rows[limit].bytes && shift < 4 && v >> (10 * (shift + 1)) &&
		(v & ((UINT64_C(1) << (10 * (shift + 1))) - 1)) == 0)
		shift++;
	snprintf(out, 32, "%llu%.1s", (unsigned long long)(v >> (10 * shift)),
		shift ? &suffixes[shift - 1] : "");
}
