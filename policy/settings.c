/* What berthd says of the way out of all agents: name servers and a proxy. */
#include "settings.h"
#include "addr.h"
#include "json.h"
#include "util.h"

#include <errno.h>
#include <string.h>

static const struct json_member members[] = {
	{"resolvers", JSON_STRINGS, false, 0, RESOLV_SERVERS_MAX},
	{"proxy", JSON_OBJECT, false, 0, 0},
};
static const struct json_member proxy_members[] = {
	{"kind", JSON_STRING, true, 1, 8},
	{"host", JSON_STRING, true, 1, 255},
	{"port", JSON_INTEGER, true, 1, 65535},
	{"names", JSON_BOOL, false, 0, 0},
	{"user", JSON_STRING, false, 0, PROXY_WORD_MAX - 1},
	{"password", JSON_STRING, false, 0, PROXY_WORD_MAX - 1},
};

static int refuse(struct err *err)
{
	return err_type(err, 400, "invalid-request");
}

static int read_proxy(const cJSON *o, struct proxy *ret, struct err *err)
{
	int r = json_check(o, proxy_members, ARRAY_SIZE(proxy_members), err);
	const char *kind = json_str(o, "kind", ""), *host = json_str(o, "host", "");

	if (r < 0)
		return r;
	ret->kind = streq(kind, "http")     ? PROXY_HTTP
		    : streq(kind, "socks5") ? PROXY_SOCKS5
					    : PROXY_NONE;
	ret->port = (uint16_t)json_int(o, "port", 0);
	ret->names = json_bool(o, "names", false);
	snprintf(ret->user, sizeof(ret->user), "%s", json_str(o, "user", ""));
	snprintf(ret->password, sizeof(ret->password), "%s", json_str(o, "password", ""));
	if (ret->kind != PROXY_NONE && snprintf(ret->host, sizeof(ret->host), "%s", host) > 0)
		return 0;
	err_set(err, EINVAL, "there is no proxy of kind '%.8s'", kind);
	return refuse(err);
}

int settings_read(const cJSON *args, struct settings *ret, struct err *err)
{
	const cJSON *proxy = json_get(args, "proxy"), *text;
	int r = json_check(args, members, ARRAY_SIZE(members), err);

	*ret = (struct settings){0};
	if (r < 0)
		return r;
	cJSON_ArrayForEach (text, json_get(args, "resolvers")) {
		if (addr_parse(text->valuestring, 53, &ret->servers[ret->n_servers++], err) < 0)
			return refuse(err);
	}
	return proxy ? read_proxy(proxy, &ret->proxy, err) : 0;
}
