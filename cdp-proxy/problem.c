/* Errors as HTTP carries them. */
#include "problem.h"
#include "json.h"
#include "util.h"

#include <errno.h>
#include <stdarg.h>

char *problem_text(const struct err *err)
{
	cJSON *o = json_from_err(err);
	char *text = cJSON_PrintUnformatted(o);

	cJSON_Delete(o);
	return text ? text : xstrdup("{}");
}

int problem(struct err *err, int status, const char *type, const char *fmt, ...)
{
	char msg[sizeof(err->msg)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	err_set(err, status == 404 ? ENOENT : EPROTO, "%s", msg);
	return err_type(err, status, type);
}
