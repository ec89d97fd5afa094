/* Completion scripts for bash, zsh and fish, written from the table of commands. */
#include "cli.h"
#include "util.h"

#include <string.h>

/*
 * bash and zsh (through its bashcompinit) share one script: a function that finds the verb among
 * the words and looks up, by verb, the options, the options with a value, and what each argument
 * is. Names of agents come from `berth ls --quiet`.
 */
static const char *kind_name(enum cli_kind kind)
{
	static const char *const names[] = {
		"nothing", "agent", "snapshot", "file", "folder", "remote", "verb", "words"};

	return names[kind];
}

static void print_verbs(void)
{
	const char *last = "";
	size_t n = 0;

	for (size_t i = 0; i < cli_n_commands; i++) {
		const char *name = cli_commands[i].name;
		size_t len = strcspn(name, " ");

		if (n == len && strncmp(name, last, n) == 0)
			continue;
		printf("%s%.*s", i ? " " : "", (int)len, name);
		last = name;
		n = len;
	}
}

/* ":one,two" */
static void print_words(const char *words)
{
	if (words)
		putchar(':');
	for (; words && *words; words++)
		putchar(*words == ' ' ? ',' : *words);
}

static void bash_options(const struct cli_command *c)
{
	printf("\t'%s')\n\t\toptions='", c->name);
	for (const struct cli_option *o = c->options; o->name; o++)
		printf("--%s ", o->name);
	printf("'\n\t\targs='");
	for (const struct cli_arg *a = c->args; a->name; a++) {
		printf("%s%s", a == c->args ? "" : " ", kind_name(a->words ? CLI_WORDS : a->kind));
		print_words(a->words);
		if (a->repeat)
			printf(" ...");
	}
	printf("' ;;\n");
}

static void bash_value(const struct cli_option *o)
{
	if (!o->value)
		return;
	printf("\t--%s", o->name);
	if (o->letter)
		printf(" | -%c", o->letter);
	printf(") kind='%s", kind_name(o->words ? CLI_WORDS : o->kind));
	print_words(o->words);
	printf("' ;;\n");
}

/* Every option with a value once; two commands give one name the same meaning. */
static void bash_values(void)
{
	const struct cli_option *seen[CLI_OPTIONS_MAX * 64];
	size_t n = 0;

	for (size_t i = 0; i <= cli_n_commands; i++) {
		const struct cli_option *o =
			i < cli_n_commands ? cli_commands[i].options : cli_global_options;

		for (; o->name; o++) {
			size_t k = 0;

			while (k < n && !streq(seen[k]->name, o->name))
				k++;
			if (k < n || !o->value)
				continue;
			seen[n++] = o;
			bash_value(o);
		}
	}
}

static const char bash_head[] =
	"# Completion for berth; made by `berth completion`.\n"
	"_berth_fill() {\n"
	"\tlocal kind=$1\n"
	"\tcase $kind in\n"
	"\tagent) COMPREPLY=($(compgen -W \"$(berth ls --quiet 2>/dev/null)\" -- \"$cur\")) ;;\n"
	"\tsnapshot)\n"
	"\t\tCOMPREPLY=($(compgen -W \"$(berth snapshots --quiet 2>/dev/null)\" -- \"$cur\")) ;;\n"
	"\tverb) COMPREPLY=($(compgen -W \"$verbs\" -- \"$cur\")) ;;\n"
	"\twords:*) kind=${kind#words:}; COMPREPLY=($(compgen -W \"${kind//,/ }\" -- \"$cur\")) "
	";;\n"
	"\tfolder) COMPREPLY=($(compgen -d -- \"$cur\")) ;;\n"
	"\tfile) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n"
	"\tremote)\n"
	"\t\tCOMPREPLY=($(compgen -f -- \"$cur\")"
	" $(compgen -S : -W \"$(berth ls --quiet 2>/dev/null)\" -- \"$cur\")) ;;\n"
	"\tesac\n"
	"}\n"
	"_berth_value_kind() {\n"
	"\tkind=\n"
	"\tcase $1 in\n";

static const char bash_middle[] = "\tesac\n"
				  "}\n"
				  "_berth_command() {\n"
				  "\toptions= args= known=1\n"
				  "\tcase $1 in\n";

static const char bash_tail[] =
	"\t*) known= ;;\n"
	"\tesac\n"
	"}\n"
	"_berth_argument() {\n"
	"\tlocal spec i=0 last=\n"
	"\tfor spec in $args; do\n"
	"\t\tif [ \"$spec\" = ... ]; then _berth_fill \"$last\"; return; fi\n"
	"\t\tif [ \"$i\" -eq \"$1\" ]; then _berth_fill \"$spec\"; return; fi\n"
	"\t\tlast=$spec i=$((i + 1))\n"
	"\tdone\n"
	"}\n"
	"_berth() {\n"
	"\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
	"\tlocal verb= options= args= known= kind= n=0 i word verbs\n"
	"\tverbs='@VERBS@'\n"
	"\tCOMPREPLY=()\n"
	"\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	"\t\tword=${COMP_WORDS[i]}\n"
	"\t\tcase $word in\n"
	"\t\t--) return ;;\n"
	"\t\t-*) _berth_value_kind \"$word\"; [ -n \"$kind\" ] && i=$((i + 1)) ;;\n"
	"\t\t*)\n"
	"\t\t\tif [ -n \"$known\" ]; then n=$((n + 1)); continue; fi\n"
	"\t\t\tverb=${verb:+$verb }$word\n"
	"\t\t\t_berth_command \"$verb\" ;;\n"
	"\t\tesac\n"
	"\tdone\n"
	"\t_berth_value_kind \"$prev\"\n"
	"\tif [ -n \"$kind\" ]; then _berth_fill \"$kind\"; return; fi\n"
	"\tif [[ $cur == -* ]]; then\n"
	"\t\tCOMPREPLY=($(compgen -W \"$options @GLOBALS@\" -- \"$cur\"))\n"
	"\telif [ -n \"$known\" ]; then _berth_argument \"$n\"\n"
	"\telse\n"
	"\t\tcase $verb in\n"
	"\t\timage) verbs='build ls rm' ;;\n"
	"\t\ttoken) verbs='create ls revoke' ;;\n"
	"\t\tesac\n"
	"\t\t_berth_fill verb\n"
	"\tfi\n"
	"}\n"
	"complete -F _berth berth\n";

/* The tail with its two lists filled in. */
static void bash_print_tail(void)
{
	for (const char *p = bash_tail; *p; p++) {
		if (starts_with(p, "@VERBS@")) {
			print_verbs();
			p += strlen("@VERBS@") - 1;
		} else if (starts_with(p, "@GLOBALS@")) {
			for (const struct cli_option *o = cli_global_options; o->name; o++)
				printf("%s--%s", o == cli_global_options ? "" : " ", o->name);
			p += strlen("@GLOBALS@") - 1;
		} else {
			putchar(*p);
		}
	}
}

static void print_bash(void)
{
	fputs(bash_head, stdout);
	bash_values();
	fputs(bash_middle, stdout);
	for (size_t i = 0; i < cli_n_commands; i++)
		bash_options(&cli_commands[i]);
	bash_print_tail();
}

static void print_zsh(void)
{
	printf("#compdef berth\nautoload -U +X bashcompinit && bashcompinit\n");
	print_bash();
}

static void fish_quote(const char *s)
{
	putchar('\'');
	for (; *s; s++) {
		if (*s == '\'' || *s == '\\')
			putchar('\\');
		putchar(*s);
	}
	putchar('\'');
}

static void fish_kind(enum cli_kind kind, const char *words)
{
	if (words) {
		printf(" -a ");
		fish_quote(words);
	} else if (kind == CLI_AGENT) {
		printf(" -a '(berth ls --quiet 2>/dev/null)'");
	} else if (kind == CLI_SNAPSHOT) {
		printf(" -a '(berth snapshots --quiet 2>/dev/null)'");
	} else if (kind == CLI_REMOTE) {
		printf(" -F -a '(berth ls --quiet 2>/dev/null | string replace -r $ :)'");
	} else if (kind == CLI_FILE) {
		printf(" -F");
	} else if (kind == CLI_FOLDER) {
		printf(" -a '(__fish_complete_directories)'");
	}
}

static void fish_option(const char *condition, const struct cli_option *o)
{
	printf("complete -c berth -n '%s' -l %s", condition, o->name);
	if (o->letter)
		printf(" -s %c", o->letter);
	if (o->value)
		printf(" -r");
	if (o->value)
		fish_kind(o->kind, o->words);
	printf(" -d ");
	fish_quote(o->help);
	putchar('\n');
}

static void fish_command(const struct cli_command *c)
{
	const char *space = strchr(c->name, ' ');
	int first = (int)(space ? space - c->name : (long)strlen(c->name));
	AUTOFREE char *seen = NULL;

	printf("complete -c berth -n __fish_use_subcommand -a %.*s -d ", first, c->name);
	fish_quote(space ? "more commands" : c->summary);
	putchar('\n');
	if (space) {
		printf("complete -c berth -n '__fish_seen_subcommand_from %.*s' -a %s -d ", first,
			c->name, space + 1);
		fish_quote(c->summary);
		putchar('\n');
		seen = xasprintf(
			"__fish_seen_subcommand_from %.*s; and __fish_seen_subcommand_from %s",
			first, c->name, space + 1);
	} else {
		seen = xasprintf("__fish_seen_subcommand_from %s", c->name);
	}
	for (const struct cli_arg *a = c->args; a->name; a++) {
		if (!a->words && (a->kind == CLI_NOTHING || a->kind == CLI_VERB))
			continue;
		printf("complete -c berth -n '%s'", seen);
		fish_kind(a->kind, a->words);
		putchar('\n');
	}
	for (const struct cli_option *o = c->options; o->name; o++)
		fish_option(seen, o);
}

static void print_fish(void)
{
	printf("# Completion for berth; made by `berth completion fish`.\ncomplete -c berth -f\n");
	for (const struct cli_option *o = cli_global_options; o->name; o++)
		fish_option("true", o);
	for (size_t i = 0; i < cli_n_commands; i++)
		fish_command(&cli_commands[i]);
}

int cli_completion(struct cli *c, struct err *err)
{
	(void)err;
	if (streq(c->args[0], "bash"))
		print_bash();
	else if (streq(c->args[0], "zsh"))
		print_zsh();
	else
		print_fish();
	return 0;
}
