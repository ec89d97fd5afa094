/* Errors: what failed, why, and the way out. */
#include "err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int negative(int code)
{
	return code > 0 ? -code : code < 0 ? code : -EINVAL;
}

static void fill(struct err *err, int code, const char *fmt, va_list ap)
{
	*err = (struct err){.code = negative(code), .status = 500, .type = "internal"};
	vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return negative(code);
	va_start(ap, fmt);
	fill(err, code, fmt, ap);
	va_end(ap);
	return err->code;
}

int err_sys(struct err *err, const char *fmt, ...)
{
	int saved = errno ? errno : EIO;
	va_list ap;
	size_t used;

	if (!err)
		return -saved;
	va_start(ap, fmt);
	fill(err, saved, fmt, ap);
	va_end(ap);
	used = strlen(err->msg);
	snprintf(err->msg + used, sizeof(err->msg) - used, ": %s", strerror(saved));
	return err->code;
}

int err_context(struct err *err, const char *fmt, ...)
{
	char context[200], msg[sizeof(err->msg)];
	va_list ap;

	if (!err)
		return -EIO;
	va_start(ap, fmt);
	vsnprintf(context, sizeof(context), fmt, ap);
	va_end(ap);
	memcpy(msg, err->msg, sizeof(msg));
	snprintf(err->msg, sizeof(err->msg), "%s: %.*s", context,
		(int)(sizeof(msg) - 3 - strlen(context)), msg);
	return err->code;
}

int err_type(struct err *err, int status, const char *type)
{
	if (!err)
		return -EIO;
	err->status = status;
	snprintf(err->type, sizeof(err->type), "%s", type);
	return err->code;
}

int err_hint(struct err *err, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return -EIO;
	va_start(ap, fmt);
	vsnprintf(err->hint, sizeof(err->hint), fmt, ap);
	va_end(ap);
	return err->code;
}
