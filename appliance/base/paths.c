/* Where things are: the state folder's layout and the installed files. */
#include "paths.h"
#include "util.h"

#include <limits.h>
#include <stdarg.h>
#include <string.h>

char *paths_default_state(void)
{
	const char *s = getenv("BERTH_STATE"), *home = getenv("HOME");
	char cwd[PATH_MAX];

	if (s && s[0] == '/')
		return xstrdup(s);
	if (s && s[0])
		return xasprintf("%s/%s", getcwd(cwd, sizeof(cwd)) ? cwd : "", s);
	if (geteuid() == 0)
		return xstrdup("/var/lib/berth");
	s = getenv("XDG_DATA_HOME");
	if (s && s[0] == '/')
		return xasprintf("%s/berth", s);
	return xasprintf("%s/.local/share/berth", home && home[0] ? home : "/tmp");
}

char *path_in(const char *state, const char *fmt, ...)
{
	AUTOFREE char *rest = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&rest, fmt, ap);
	va_end(ap);
	if (n < 0)
		abort();
	return xasprintf("%s/%s", state, rest);
}

/* The installation's prefix, from /proc/self/exe. */
static char *prefix(void)
{
	char exe[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	char *end;

	if (n <= 0)
		return xstrdup("/usr/local");
	exe[n] = 0;
	for (const char *const *dir = (const char *const[]){"/libexec/berth/", "/bin/", NULL}; *dir;
		dir++) {
		end = strstr(exe, *dir);
		if (end && !strchr(end + strlen(*dir), '/')) {
			*end = 0;
			return xstrdup(exe);
		}
	}
	return xstrdup("/usr/local");
}

char *path_libexec(const char *name)
{
	AUTOFREE char *p = prefix();

	return xasprintf("%s/libexec/berth/%s", p, name);
}

char *path_share(const char *name)
{
	AUTOFREE char *p = prefix();

	return xasprintf("%s/share/berth/%s", p, name);
}
