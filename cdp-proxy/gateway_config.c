/* berth.conf's [gateway] section; the other sections are other programs'. */
#include "gateway_config.h"
#include "util.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <string.h>

#define LIST_MAX 256

struct reading {
	struct gateway_config *config;
	struct err *err;
};

static void list_free(char **list)
{
	for (size_t i = 0; list && list[i]; i++)
		free(list[i]);
	free(list);
}

/* Words between spaces and commas. */
static char **split(const char *text)
{
	AUTOFREE char *copy = xstrdup(text);
	char **list = xcalloc(LIST_MAX + 1, sizeof(*list)), *rest = NULL;
	size_t n = 0;

	for (char *w = strtok_r(copy, ", \t", &rest); w && n < LIST_MAX;
		w = strtok_r(NULL, ", \t", &rest)) {
		for (char *p = w; *p; p++)
			*p = (char)tolower((unsigned char)*p);
		list[n++] = xstrdup(w);
	}
	return list;
}

static void set_list(char ***list, const char *text)
{
	list_free(*list);
	*list = split(text);
}

/* inih: 1 is good, 0 is an error. */
static int on_key(void *data, const char *section, const char *name, const char *value)
{
	struct reading *r = data;

	if (!streq(section, "gateway"))
		return 1;
	if (streq(name, "listen") && strlen(value) < sizeof(r->config->listen))
		snprintf(r->config->listen, sizeof(r->config->listen), "%s", value);
	else if (streq(name, "hosts"))
		set_list(&r->config->hosts, value);
	else if (streq(name, "origins"))
		set_list(&r->config->origins, value);
	else
		return err_set(r->err, EINVAL,
			       "[gateway] has no key '%.60s', or its value is too long", name),
		       0;
	return 1;
}

int gateway_config_read(const char *path, struct gateway_config *ret, struct err *err)
{
	struct reading r = {.config = ret, .err = err};
	int line;

	*ret = (struct gateway_config){
		.listen = "127.0.0.1:7900", .hosts = split(""), .origins = split("")};
	err_set(err, EINVAL, "malformed");
	line = ini_parse(path, on_key, &r);
	if (line == 0 || line == -1)
		return 0;
	return err_context(err, "%s, line %d", path, line);
}

void gateway_config_done(struct gateway_config *c)
{
	list_free(c->hosts);
	list_free(c->origins);
	*c = (struct gateway_config){0};
}
