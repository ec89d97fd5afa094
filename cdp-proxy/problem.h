/* Errors as HTTP carries them: application/problem+json (RFC 9457). */
#ifndef BERTH_PROBLEM_H
#define BERTH_PROBLEM_H

#include "err.h"

#define PROBLEM_TYPE "application/problem+json"

/* The JSON text; the caller's to free. */
char *problem_text(const struct err *err);
/* Fills err in one call; returns its code. */
__attribute__((format(printf, 4, 5))) int problem(
	struct err *err, int status, const char *type, const char *fmt, ...);

#endif
