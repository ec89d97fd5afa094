/* Parsing a command line against the table; what is unknown is answered with what is nearest. */
#include "cli.h"
#include "paths.h"
#include "util.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define WORD_MAX 40

int cli_usage_error(struct err *err, const char *fmt, ...)
{
	char msg[sizeof(err->msg)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	err_set(err, EINVAL, "%s", msg);
	return err_type(err, 400, "usage");
}

bool cli_is_usage_error(const struct err *err)
{
	return streq(err->type, "usage");
}

/* Edits (insert, delete, replace, swap neighbours) between two short words; WORD_MAX when one is
 * too long. */
static size_t distance(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b), d[WORD_MAX + 1][WORD_MAX + 1];

	if (n > WORD_MAX || m > WORD_MAX)
		return WORD_MAX;
	for (size_t i = 0; i <= n; i++) {
		for (size_t j = 0; j <= m; j++) {
			if (i == 0 || j == 0) {
				d[i][j] = i + j;
				continue;
			}
			d[i][j] = MIN(MIN(d[i - 1][j], d[i][j - 1]) + 1,
				d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				d[i][j] = MIN(d[i][j], d[i - 2][j - 2] + 1);
		}
	}
	return d[n][m];
}

const char *cli_nearest(const char *given, const char *const *words)
{
	size_t best = WORD_MAX, limit = 1 + strlen(given) / 5;
	const char *nearest = NULL;

	for (; *words; words++) {
		size_t d = distance(given, *words);

		if (d < best) {
			best = d;
			nearest = *words;
		}
	}
	return best <= limit ? nearest : NULL;
}

const struct cli_command *cli_find(const char *name)
{
	for (size_t i = 0; i < cli_n_commands; i++)
		if (streq(cli_commands[i].name, name))
			return &cli_commands[i];
	return NULL;
}

static bool is_group(const char *word)
{
	size_t n = strlen(word);

	for (size_t i = 0; i < cli_n_commands; i++)
		if (strncmp(cli_commands[i].name, word, n) == 0 && cli_commands[i].name[n] == ' ')
			return true;
	return false;
}

/* The words that can stand in a verb's place (group NULL), or behind a group's name. */
static void collect_verbs(const char *group, const char **words)
{
	size_t n = 0, skip = group ? strlen(group) + 1 : 0;

	for (size_t i = 0; i < cli_n_commands; i++) {
		if (!group || (strncmp(cli_commands[i].name, group, skip - 1) == 0 &&
				      cli_commands[i].name[skip - 1] == ' '))
			words[n++] = cli_commands[i].name + skip;
	}
	words[n] = NULL;
}

static int unknown_verb(const char *group, const char *word, struct err *err)
{
	const char *words[CLI_COMMANDS_MAX + 3], *near, *sep = group ? " " : "";
	size_t n = 0;

	collect_verbs(group, words);
	if (!group) {
		while (words[n])
			n++;
		words[n++] = "image";
		words[n++] = "token";
		words[n] = NULL;
	}
	near = cli_nearest(word, words);
	group = group ? group : "";
	cli_usage_error(err, "there is no command '%s%s%.60s'", group, sep, word);
	if (near)
		return err_hint(err, "did you mean `berth %s%s%s`?", group, sep, near);
	return err_hint(err, "`berth --help` lists the commands");
}

static const struct cli_option *find_option(
	const struct cli_option *list, const char *name, size_t n)
{
	for (; list->name; list++)
		if (strncmp(list->name, name, n) == 0 && !list->name[n])
			return list;
	return NULL;
}

static const struct cli_option *find_letter(const struct cli_option *list, char letter)
{
	for (; list->name; list++)
		if (list->letter == letter)
			return list;
	return NULL;
}

static int unknown_option(const struct cli_command *command, const char *word, struct err *err)
{
	const char *words[2 * CLI_OPTIONS_MAX + 1], *near;
	AUTOFREE char *bare = xstrdup(word + strspn(word, "-"));
	size_t n = 0;

	bare[strcspn(bare, "=")] = 0;
	for (const struct cli_option *o = command ? command->options : NULL; o && o->name; o++)
		words[n++] = o->name;
	for (const struct cli_option *o = cli_global_options; o->name; o++)
		words[n++] = o->name;
	words[n] = NULL;
	near = cli_nearest(bare, words);
	if (command)
		cli_usage_error(err, "`berth %s` has no option '%.60s'", command->name, word);
	else
		cli_usage_error(err, "there is no option '%.60s'", word);
	if (near)
		return err_hint(err, "did you mean --%s?", near);
	return command ? err_hint(err, "`berth %s --help` lists its options", command->name)
		       : err_hint(err, "`berth --help` lists what there is");
}

static bool word_fits(const char *words, const char *value)
{
	size_t n = strlen(value);

	for (const char *p = words; p && *p; p += strcspn(p, " "), p += strspn(p, " "))
		if (strcspn(p, " ") == n && strncmp(p, value, n) == 0)
			return true;
	return false;
}

static int add_value(struct cli *c, const struct cli_option *o, const char *value, struct err *err)
{
	if (value && o->value && o->words && !word_fits(o->words, value)) {
		cli_usage_error(err, "--%s cannot be '%.60s'", o->name, value);
		return err_hint(err, "it is one of: %s", o->words);
	}
	if (c->n_values == CLI_VALUES_MAX)
		return cli_usage_error(err, "more than %d options", CLI_VALUES_MAX);
	c->values[c->n_values++] = (struct cli_value){o, value};
	return 0;
}

struct words {
	char **v;
	int n, i;
};

/* The value that belongs to an option: what stands behind '=' or the next word. */
static int take_value(struct cli *c, const struct cli_option *o, const char *attached,
	struct words *w, struct err *err)
{
	if (!o->value) {
		if (attached)
			return cli_usage_error(err, "--%s takes no value", o->name);
		return add_value(c, o, NULL, err);
	}
	if (attached)
		return add_value(c, o, attached, err);
	if (w->i == w->n)
		return cli_usage_error(
			err, "--%s needs a value: --%s %s", o->name, o->name, o->value);
	return add_value(c, o, w->v[w->i++], err);
}

static int parse_long(struct cli *c, const char *word, struct words *w, struct err *err)
{
	size_t n = strcspn(word + 2, "=");
	const char *attached = word[2 + n] ? word + 3 + n : NULL;
	const struct cli_option *o = find_option(cli_global_options, word + 2, n);

	if (!o && c->command)
		o = find_option(c->command->options, word + 2, n);
	return o ? take_value(c, o, attached, w, err) : unknown_option(c->command, word, err);
}

/* "-it", "-e K=V", "-eK=V" */
static int parse_letters(struct cli *c, const char *word, struct words *w, struct err *err)
{
	for (const char *p = word + 1; *p; p++) {
		const struct cli_option *o = find_letter(cli_global_options, *p);
		int r;

		if (!o && c->command)
			o = find_letter(c->command->options, *p);
		if (!o)
			return unknown_option(c->command, word, err);
		r = take_value(c, o, o->value && p[1] ? p + 1 : NULL, w, err);
		if (r < 0 || o->value)
			return r;
	}
	return 0;
}

/* A verb of one or two words. */
static int parse_verb(struct cli *c, const char *word, struct words *w, struct err *err)
{
	AUTOFREE char *two = NULL;

	c->command = cli_find(word);
	if (c->command)
		return 0;
	if (!is_group(word))
		return unknown_verb(NULL, word, err);
	if (w->i == w->n || w->v[w->i][0] == '-') {
		const char *words[CLI_COMMANDS_MAX + 1];

		if (w->i < w->n && (streq(w->v[w->i], "--help") || streq(w->v[w->i], "-h"))) {
			cli_print_group(word);
			exit(0);
		}
		collect_verbs(word, words);
		cli_usage_error(err, "`berth %s` needs to be told what to do", word);
		return err_hint(err, "try `berth %s %s`, or `berth help %s`", word, words[0], word);
	}
	two = xasprintf("%s %s", word, w->v[w->i]);
	c->command = cli_find(two);
	if (!c->command)
		return unknown_verb(word, w->v[w->i], err);
	w->i++;
	return 0;
}

static int parse_word(struct cli *c, const char *word, struct words *w, struct err *err)
{
	if (starts_with(word, "--"))
		return parse_long(c, word, w, err);
	if (word[0] == '-' && word[1])
		return parse_letters(c, word, w, err);
	if (!c->command)
		return parse_verb(c, word, w, err);
	c->args[c->n_args++] = word;
	return 0;
}

static int check_args(const struct cli *c, struct err *err)
{
	const struct cli_arg *a = c->command->args;
	size_t n = 0;

	for (; a->name; a++, n++) {
		if (n >= c->n_args && !a->optional) {
			cli_usage_error(err, "`berth %s` needs %s", c->command->name, a->name);
			return err_hint(err, "`berth %s --help` explains", c->command->name);
		}
		if (n < c->n_args && a->words && !(a->unless && streq(c->args[0], a->unless)) &&
			!word_fits(a->words, c->args[n])) {
			cli_usage_error(err, "%s of `berth %s` cannot be '%.60s'", a->name,
				c->command->name, c->args[n]);
			return err_hint(err, "it is one of: %s", a->words);
		}
		if (a->repeat)
			return 0;
	}
	if (c->n_args <= n)
		return 0;
	cli_usage_error(err, "`berth %s` does not know what to do with '%.60s'", c->command->name,
		c->args[n]);
	return err_hint(err, "`berth %s --help` explains", c->command->name);
}

static const char *from_env(const char *given, const char *name)
{
	const char *v = given ? given : getenv(name);

	return v && v[0] ? v : NULL;
}

static void settle_globals(struct cli *c)
{
	const char *state = cli_option(c, "state");

	c->json = cli_flag(c, "json");
	if (state)
		setenv("BERTH_STATE", state, 1);
	c->state = paths_default_state();
	c->url = from_env(cli_option(c, "url"), "BERTH_URL");
	c->token = from_env(cli_option(c, "token"), "BERTH_TOKEN");
}

int cli_parse(struct cli *c, int argc, char **argv, struct err *err)
{
	struct words w = {argv, argc, 0};
	bool rest = false;
	int r = 0;

	*c = (struct cli){.args = xcalloc((size_t)argc + 1, sizeof(char *))};
	while (w.i < w.n && r == 0) {
		const char *word = w.v[w.i++];

		if (!rest && streq(word, "--")) {
			rest = true;
			continue;
		}
		if (c->command && c->command->verbatim && c->n_args == 1 && word[0] != '-')
			rest = true;
		if (rest && c->command)
			c->args[c->n_args++] = word;
		else
			r = parse_word(c, word, &w, err);
	}
	if (r < 0)
		return r;
	settle_globals(c);
	if (!c->command || cli_flag(c, "help"))
		return 0;
	return check_args(c, err);
}

void cli_done(struct cli *c)
{
	free(c->args);
	free(c->state);
}

const char *cli_nth(const struct cli *c, const char *name, size_t i)
{
	for (size_t k = 0; k < c->n_values; k++)
		if (streq(c->values[k].option->name, name) && i-- == 0)
			return c->values[k].value;
	return NULL;
}

const char *cli_option(const struct cli *c, const char *name)
{
	for (size_t k = c->n_values; k-- > 0;)
		if (streq(c->values[k].option->name, name))
			return c->values[k].value;
	return NULL;
}

bool cli_flag(const struct cli *c, const char *name)
{
	for (size_t k = 0; k < c->n_values; k++)
		if (streq(c->values[k].option->name, name))
			return true;
	return false;
}

int cli_number(const struct cli *c, const char *name, long long min, long long max, long long *ret,
	struct err *err)
{
	const char *text = cli_option(c, name);
	uint64_t v;

	if (!text)
		return 0;
	if (!parse_u64(text, (uint64_t)min, (uint64_t)max, &v))
		return cli_usage_error(err, "--%s must be a number from %lld to %lld, not '%.40s'",
			name, min, max, text);
	*ret = (long long)v;
	return 0;
}
