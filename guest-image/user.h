/* Users of the guest, read from its own files: a static program has no NSS. */
#ifndef BERTH_INIT_USER_H
#define BERTH_INIT_USER_H

#include <stddef.h>
#include <sys/types.h>

#include "err.h"

#define USER_GROUPS_MAX 64

struct user {
	uid_t uid;
	gid_t gid;
	gid_t groups[USER_GROUPS_MAX];
	size_t n_groups;
	char name[64], home[256], shell[256];
};

/* By name, from <etc>/passwd and <etc>/group. -ENOENT when there is no such user. */
int user_find(const char *etc, const char *name, struct user *ret, struct err *err);
/* Becomes that user, for good. Async-signal-safe; 0 or -1 with errno. */
int user_become(const struct user *u);

#endif
