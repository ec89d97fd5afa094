/* Users of the guest, read from its own files: a static program has no NSS. */
#include "user.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>

#include "util.h"

#define LINE_MAX_BYTES 16384

static FILE *open_in(const char *etc, const char *name, struct err *err)
{
	AUTOFREE char *path = xasprintf("%s/%s", etc, name);
	FILE *f = fopen(path, "re");

	if (!f)
		err_sys(err, "cannot read %s", path);
	return f;
}

static bool copy(char *to, size_t n, const char *from)
{
	return from && (size_t)snprintf(to, n, "%s", from) < n;
}

static void find_groups(const char *etc, struct user *u)
{
	AUTOFILE FILE *f = open_in(etc, "group", NULL);
	struct group g, *found;
	char line[LINE_MAX_BYTES];

	u->groups[u->n_groups++] = u->gid;
	while (f && fgetgrent_r(f, &g, line, sizeof(line), &found) == 0)
		for (char **m = g.gr_mem; *m; m++)
			if (streq(*m, u->name) && g.gr_gid != u->gid &&
				u->n_groups < USER_GROUPS_MAX)
				u->groups[u->n_groups++] = g.gr_gid;
}

int user_find(const char *etc, const char *name, struct user *ret, struct err *err)
{
	AUTOFILE FILE *f = open_in(etc, "passwd", err);
	struct passwd p, *found;
	char line[LINE_MAX_BYTES];

	if (!f)
		return err ? err->code : -EIO;
	while (fgetpwent_r(f, &p, line, sizeof(line), &found) == 0) {
		if (!streq(p.pw_name, name))
			continue;
		*ret = (struct user){.uid = p.pw_uid, .gid = p.pw_gid};
		if (!copy(ret->name, sizeof(ret->name), p.pw_name) ||
			!copy(ret->home, sizeof(ret->home), p.pw_dir) ||
			!copy(ret->shell, sizeof(ret->shell), p.pw_shell))
			return err_set(
				err, ENAMETOOLONG, "the entry of the user '%s' is too long", name);
		find_groups(etc, ret);
		return 0;
	}
	return err_set(err, ENOENT, "there is no user '%s'", name);
}

int user_become(const struct user *u)
{
	if (geteuid() != 0 && geteuid() == u->uid)
		return 0;
	if (setgroups(u->n_groups, u->groups) < 0 || setresgid(u->gid, u->gid, u->gid) < 0)
		return -1;
	return setresuid(u->uid, u->uid, u->uid);
}
