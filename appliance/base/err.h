/* Errors: what failed, why, and the way out. Lives on the caller's stack. */
#ifndef BERTH_BASE_ERR_H
#define BERTH_BASE_ERR_H

#include <stdarg.h>

/*
 * A function that can fail takes `struct err *err` last (NULL if the caller does not care) and
 * returns 0 or a negative errno. The message is made where it happened; callers add context on the
 * way up; the top logs or prints it once.
 */
struct err {
	int code;      /* negative errno */
	int status;    /* HTTP status that fits, 500 if nobody said */
	char type[40]; /* stable problem type: "agent-not-found" (docs/api.md), "internal" if nobody
			  said */
	char msg[600]; /* the thing and the cause */
	char hint[300]; /* the way out, "" if there is none */
};

/* Sets the message and returns code (made negative). errno is not added: use err_sys for that. */
__attribute__((format(printf, 3, 4))) int err_set(struct err *err, int code, const char *fmt, ...);
/* As err_set with the current errno as the code, and ": strerror" appended. */
__attribute__((format(printf, 2, 3))) int err_sys(struct err *err, const char *fmt, ...);
/* Puts "context: " in front of the message; returns err->code. */
__attribute__((format(printf, 2, 3))) int err_context(struct err *err, const char *fmt, ...);
/* Sets the stable type and the HTTP status; returns err->code. */
int err_type(struct err *err, int status, const char *type);
/* Sets the way out; returns err->code. */
__attribute__((format(printf, 2, 3))) int err_hint(struct err *err, const char *fmt, ...);

#endif
