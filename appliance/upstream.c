/* The way out of all agents, as berth-policy is told it: name servers, and a proxy with its
 * credentials. */
#include "upstream.h"
#include "paths.h"
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define WORD_MAX 255u /* as much as SOCKS5 takes */

/* The first line of a file that only its owner may read. text has n bytes. */
static int read_secret(const char *path, char *text, size_t n, struct err *err)
{
	AUTOFD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	ssize_t got;

	if (fd < 0 || fstat(fd, &st) < 0) {
		err_sys(err, "cannot open %s", path);
		return err_hint(err, "a file in the state folder can be read by the appliance");
	}
	if (!S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "%s is not a file", path);
	if (st.st_mode & 077) {
		err_set(err, EPERM, "%s may be read by others (mode %04o)", path,
			(unsigned)st.st_mode & 07777);
		return err_hint(err, "chmod 600 %s", path);
	}
	got = read(fd, text, n - 1);
	if (got < 0)
		return err_sys(err, "cannot read %s", path);
	if ((size_t)got == n - 1)
		return err_set(err, EFBIG, "%s is too long", path);
	text[got] = 0;
	text[strcspn(text, "\r\n")] = 0;
	return 0;
}

static int add_credentials(cJSON *proxy, const char *path, struct err *err)
{
	char text[2 * WORD_MAX + 4], *colon;
	int r = read_secret(path, text, sizeof(text), err);

	if (r < 0)
		return r;
	colon = strchr(text, ':');
	if (!colon || (size_t)(colon - text) > WORD_MAX || strlen(colon + 1) > WORD_MAX) {
		r = err_set(err, EINVAL,
			"%s must hold one line, user:password, each of at most %u bytes", path,
			WORD_MAX);
	} else {
		*colon = 0;
		cJSON_AddStringToObject(proxy, "user", text);
		cJSON_AddStringToObject(proxy, "password", colon + 1);
	}
	explicit_bzero(text, sizeof(text));
	return r;
}

static int add_proxy(cJSON *o, const struct config *c, const char *state, struct err *err)
{
	const char *file = c->upstream_proxy_auth_file;
	AUTOFREE char *path = file[0] == '/' ? xstrdup(file) : path_in(state, "%s", file);
	cJSON *proxy = cJSON_AddObjectToObject(o, "proxy");
	char kind[8], host[256];
	uint16_t port;
	int r = config_proxy_split(c->upstream_proxy, kind, host, &port, err);

	if (r < 0)
		return r;
	cJSON_AddStringToObject(proxy, "kind", kind);
	cJSON_AddStringToObject(proxy, "host", host);
	cJSON_AddNumberToObject(proxy, "port", port);
	cJSON_AddBoolToObject(proxy, "names", c->upstream_proxy_names);
	r = file[0] ? add_credentials(proxy, path, err) : 0;
	return r < 0 ? err_context(err, "upstream_proxy_auth_file") : 0;
}

cJSON *upstream_settings(const struct config *c, const char *state, struct err *err)
{
	cJSON *o = cJSON_CreateObject(), *resolvers = cJSON_AddArrayToObject(o, "resolvers");

	for (size_t i = 0; c->resolvers[i][0]; i++)
		cJSON_AddItemToArray(resolvers, cJSON_CreateString(c->resolvers[i]));
	if (c->upstream_proxy[0] && add_proxy(o, c, state, err) < 0) {
		cJSON_Delete(o);
		return NULL;
	}
	return o;
}
