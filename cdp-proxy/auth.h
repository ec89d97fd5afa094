/* Tokens: who a presented token is. */
#ifndef BERTH_AUTH_H
#define BERTH_AUTH_H

#include "gateway.h"

struct auth;

struct auth *auth_new(struct gateway *gw);
void auth_free(struct auth *a);
struct auth_check;

/* who, or NULL and err. */
typedef void auth_fn(void *data, const struct principal *who, const struct err *err);
/* What is known already is told from inside, and NULL returned; else the call-back comes from the
 * loop. */
struct auth_check *auth_check(struct auth *a, const char *token, auth_fn *fn, void *data);
void auth_cancel(struct auth_check *q);
/* A token was revoked: nothing known counts any longer. */
void auth_forget(struct auth *a);

#endif
