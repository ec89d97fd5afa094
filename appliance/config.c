/* The settings of an appliance: STATE/berth.conf (INI, libinih), one table of keys. */
#include "config.h"
#include "addr.h"
#include "ipv4.h"
#include "paths.h"
#include "rules.h"
#include "util.h"

#include <errno.h>
#include <ini.h>
#include <string.h>

struct key;
typedef int parse_fn(const struct key *k, const char *value, void *at, struct err *err);

/* One key: where its value goes, how it is read, what it is when nobody says, what it is for. */
struct key {
	const char *section, *name;
	size_t offset;
	parse_fn *parse;
	size_t min, max; /* numbers: the value; texts: room in bytes */
	const char *otherwise, *help;
};

static int parse_number(const struct key *k, const char *value, void *at, struct err *err)
{
	uint64_t n;

	if (!parse_u64(value, k->min, k->max, &n))
		return err_set(err, ERANGE, "'%s' must be a number between %zu and %zu", k->name,
			k->min, k->max);
	*(unsigned *)at = (unsigned)n;
	return 0;
}

static int parse_idle(const struct key *k, const char *value, void *at, struct err *err)
{
	int r = parse_number(k, value, at, err);

	if (r == 0 && *(unsigned *)at > 0 && *(unsigned *)at < CONFIG_IDLE_MIN)
		r = err_set(err, ERANGE, "'%s' must be 0 (never) or at least %d", k->name,
			CONFIG_IDLE_MIN);
	return r;
}

static int parse_text(const struct key *k, const char *value, void *at, struct err *err)
{
	if (strlen(value) >= k->max)
		return err_set(
			err, ERANGE, "'%s' is longer than %zu characters", k->name, k->max - 1);
	memcpy(at, value, strlen(value) + 1);
	return 0;
}

static int parse_listen(const struct key *k, const char *value, void *at, struct err *err)
{
	const char *colon = strrchr(value, ':');
	uint64_t port;

	if (!colon || colon == value || !parse_u64(colon + 1, 0, 65535, &port))
		return err_set(
			err, EINVAL, "'%s' must be ADDRESS:PORT, as in 127.0.0.1:7900", k->name);
	return parse_text(k, value, at, err);
}

static int parse_on_crash(const struct key *k, const char *value, void *at, struct err *err)
{
	if (!streq(value, "restart") && !streq(value, "stop"))
		return err_set(err, EINVAL, "'%s' must be restart or stop", k->name);
	return parse_text(k, value, at, err);
}

static int parse_image(const struct key *k, const char *value, void *at, struct err *err)
{
	if (*value && (strlen(value) != 16 || strspn(value, "0123456789abcdef") != 16))
		return err_set(err, EINVAL, "'%s' must be an image's id (16 hex digits) or empty",
			k->name);
	return parse_text(k, value, at, err);
}

/* Words between spaces or commas into rows of k->max bytes; the list ends with an empty one. */
static int parse_list(const struct key *k, const char *value, void *at, struct err *err)
{
	char *row = at;
	size_t n = 0;

	memset(at, 0, CONFIG_LIST_MAX * k->max);
	for (value += strspn(value, " ,\t"); *value; value += strspn(value, " ,\t")) {
		size_t len = strcspn(value, " ,\t");

		if (n == CONFIG_LIST_MAX - 1 || len >= k->max)
			return err_set(err, ERANGE,
				"'%s' takes at most %d words of less than %zu characters", k->name,
				CONFIG_LIST_MAX - 1, k->max);
		memcpy(row + n++ * k->max, value, len);
		value += len;
	}
	return 0;
}

/* One word of parse_networks. What would open more than it says, or nothing, is refused. */
static int check_network(const struct key *k, const char *word, struct err *err)
{
	struct ipv4_network n, address;
	int r = ipv4_network_parse(word, strlen(word), &n, err);

	if (r < 0)
		return err_context(err, "'%s'", k->name);
	if (n.mask < 0xff000000)
		return err_set(err, EINVAL, "'%s': %s is wider than a /8", k->name, word);
	if (ipv4_never_reached(&n))
		return err_set(err, EINVAL, "'%s': no agent can reach %s", k->name, word);
	if (ipv4_network_parse(word, strcspn(word, "/"), &address, err) < 0 || address.net != n.net)
		return err_set(err, EINVAL, "'%s': %s has bits beyond its prefix", k->name, word);
	return 0;
}

static int parse_networks(const struct key *k, const char *value, void *at, struct err *err)
{
	const char *row = at;
	int r = parse_list(k, value, at, err);

	for (; r == 0 && row[0]; row += k->max)
		r = check_network(k, row, err);
	return r;
}

static int parse_limits(const struct key *k, const char *value, void *at, struct err *err)
{
	AUTOFREE char *copy = xstrdup(value);
	cJSON *wish = cJSON_CreateObject();
	char *save = NULL;
	int r = 0;

	for (char *word = strtok_r(copy, " ,\t", &save); word && r == 0;
		word = strtok_r(NULL, " ,\t", &save))
		r = limit_add_word(wish, word, err);
	*(struct limits *)at = limit_default();
	if (r == 0)
		r = limit_change(at, wish, err);
	cJSON_Delete(wish);
	return r < 0 ? err_context(err, "'%s'", k->name) : 0;
}

static int parse_resolvers(const struct key *k, const char *value, void *at, struct err *err)
{
	const char *row = at;
	struct sockaddr_storage server;
	int n = 0, r = parse_list(k, value, at, err);

	for (; r == 0 && row[0]; row += k->max) {
		if (++n > CONFIG_RESOLVERS_MAX)
			return err_set(err, ERANGE, "'%s' takes at most %d name servers", k->name,
				CONFIG_RESOLVERS_MAX);
		r = addr_parse(row, 53, &server, err);
		if (r < 0)
			return err_context(err, "'%s'", k->name);
	}
	return r;
}

int config_proxy_split(
	const char *text, char kind[8], char host[256], uint16_t *port, struct err *err)
{
	size_t scheme = starts_with(text, "http://") ? 4 : starts_with(text, "socks5://") ? 6 : 0;
	char given[256];
	struct ipv4_network address;

	*port = 0;
	if (strchr(text, '@'))
		return err_set(err, EINVAL,
			"credentials belong in the file that upstream_proxy_auth_file names");
	if (scheme == 0 || addr_split(text + scheme + 3, given, port, err) < 0 || *port == 0)
		return err_set(err, EINVAL,
			"it must be http://HOST:PORT or socks5://HOST:PORT, without anything "
			"behind it");
	memcpy(kind, text, scheme);
	kind[scheme] = 0;
	if (!strchr(given, '/') && ipv4_network_parse(given, strlen(given), &address, NULL) == 0)
		strcpy(host, given);
	else if (!rule_normalise_name(given, strlen(given), host))
		return err_set(err, EINVAL, "'%.80s' is neither an IPv4 address nor a name", given);
	return 0;
}

static int parse_proxy(const struct key *k, const char *value, void *at, struct err *err)
{
	char kind[8], host[256];
	uint16_t port;

	if (*value && config_proxy_split(value, kind, host, &port, err) < 0)
		return err_context(err, "'%s'", k->name);
	return parse_text(k, value, at, err);
}

#define AT(member) offsetof(struct config, member)
static const struct key keys[] = {
	{"gateway", "listen", AT(listen), parse_listen, 0, 128, "127.0.0.1:7900",
		"address and port of the one network front; port 0 takes a free one"},
	{"gateway", "hosts", AT(hosts), parse_list, 0, 256, "",
		"names this appliance is reached by, besides addresses and localhost"},
	{"gateway", "origins", AT(origins), parse_list, 0, 256, "",
		"web origins whose pages may call the API, besides the appliance's own"},
	{"agent", "image", AT(image), parse_image, 0, 17, "",
		"image of a new agent; empty: the newest"},
	{"agent", "memory", AT(memory_mib), parse_number, 256, 65536, "1024", "MiB of a new agent"},
	{"agent", "cpus", AT(cpus), parse_number, 1, 16, "2", "processors of a new agent"},
	{"agent", "disk", AT(disk_gib), parse_number, 1, 1024, "8",
		"GiB of a new agent's disk (sparse: it takes what is written)"},
	{"agent", "on_crash", AT(on_crash), parse_on_crash, 0, 8, "restart",
		"restart or stop a new agent whose guest crashes or hangs"},
	{"agent", "warm_templates", AT(warm), parse_number, 0, 1, "1",
		"1: new agents begin from a machine kept warm for their image and size"},
	{"agent", "idle_suspend", AT(idle_suspend_s), parse_idle, 0, 30 * 86400, "0",
		"seconds without a request after which a new agent is suspended; 0: never"},
	{"agent", "log_pictures", AT(log_pictures), parse_number, 0, 1, "1",
		"1: the action log keeps small pictures of what models saw; 0: it does not"},
	{"agent", "stop_timeout", AT(stop_timeout_s), parse_number, 1, 600, "20",
		"seconds a guest gets to power off"},
	{"agent", "browser_timeout", AT(browser_timeout_s), parse_number, 1, 600, "60",
		"seconds a start waits for the browser"},
	{"host", "memory_reserve", AT(memory_reserve_mib), parse_number, 0, 1 << 20, "512",
		"MiB of the host's memory to keep free: starts and wake-ups wait for it"},
	{"policy", "private_networks", AT(private_networks), parse_networks, 0, 20, "",
		"networks that are not public and that agents may reach all the same, by names "
		"their rules allow"},
	{"policy", "limits", AT(limits), parse_limits, 0, 0, "",
		"how much a new agent may use of the network: KEY=VALUE words, as in berth policy "
		"NAME limit"},
	{"policy", "resolvers", AT(resolvers), parse_resolvers, 0, 64, "",
		"name servers to ask for agents (ADDRESS or ADDRESS:PORT); empty: the host's"},
	{"policy", "upstream_proxy", AT(upstream_proxy), parse_proxy, 0, 300, "",
		"proxy by which agents' connections go out: http://HOST:PORT or "
		"socks5://HOST:PORT"},
	{"policy", "upstream_proxy_names", AT(upstream_proxy_names), parse_number, 0, 1, "0",
		"1: the proxy gets names and resolves them by itself; 0: it gets addresses"},
	{"policy", "upstream_proxy_auth_file", AT(upstream_proxy_auth_file), parse_text, 0, 256, "",
		"file with user:password for the proxy, mode 0600; below the state folder if its "
		"path is not absolute"},
};

static int set(struct config *c, const struct key *k, const char *value, struct err *err)
{
	return k->parse(k, value, (char *)c + k->offset, err);
}

void config_init(struct config *c)
{
	struct err err;

	memset(c, 0, sizeof(*c));
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (set(c, &keys[i], keys[i].otherwise, &err) < 0)
			abort();
}

struct load {
	struct config *config;
	struct err *err;
	bool given[ARRAY_SIZE(keys)];
};

/* Also the rest of a line that libinih has cut at 200 characters may come as a second value. */
static int set_once(struct load *load, size_t key, const char *value)
{
	if (load->given[key])
		return err_set(load->err, EEXIST, "'%s' is given twice, or its line is too long",
			keys[key].name);
	load->given[key] = true;
	return set(load->config, &keys[key], value, load->err);
}

/* libinih's callback: 1 is fine, 0 is an error. Only the first error is kept. */
static int on_value(void *data, const char *section, const char *name, const char *value)
{
	struct load *load = data;

	if (load->err->code < 0)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (streq(keys[i].section, section) && streq(keys[i].name, name))
			return set_once(load, i, value ? value : "") == 0;
	err_set(load->err, EINVAL, "there is no key '%.40s' in the section [%.40s]", name, section);
	return 0;
}

int config_load(const char *state, struct config *ret, struct err *err)
{
	AUTOFREE char *path = path_in(state, "berth.conf");
	AUTOFILE FILE *f = fopen(path, "re");
	struct err first = {0};
	struct load load = {.config = ret, .err = &first};
	int line;

	config_init(ret);
	if (!f)
		return errno == ENOENT ? 0 : err_sys(err, "cannot open %s", path);
	line = ini_parse_file(f, on_value, &load);
	if (line == 0)
		return 0;
	err_set(err, EINVAL, "%s, line %d: %s", path, line,
		first.code < 0 ? first.msg : "not understood");
	return err_hint(err, "correct the line or remove it; berth.conf(5) lists the keys");
}

void config_private_networks(const struct config *c, char out[CONFIG_LIST_MAX * 20])
{
	size_t at = 0;

	out[0] = 0;
	for (size_t i = 0; c->private_networks[i][0]; i++)
		at += (size_t)sprintf(out + at, "%s%s", i ? "," : "", c->private_networks[i]);
}

void config_help(FILE *out)
{
	const char *section = "";

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (!streq(section, keys[i].section))
			fprintf(out, "%s[%s]\n", i ? "\n" : "", keys[i].section);
		section = keys[i].section;
		fprintf(out, "; %s\n%s = %s\n", keys[i].help, keys[i].name, keys[i].otherwise);
	}
}
