/* Help, version and the manual page berth(1), all from the table of commands. */
#include "cli.h"
#include "config.h"
#include "util.h"

#include <ctype.h>
#include <string.h>

#define WIDTH 78

/* "NAME [ACTION [RULE...]]" */
static void print_synopsis(FILE *f, const struct cli_command *c)
{
	size_t open = 0;

	fprintf(f, "berth %s", c->name);
	if (c->options[0].name && !c->verbatim)
		fputs(" [OPTION]...", f);
	for (const struct cli_arg *a = c->args; a->name; a++) {
		bool command = c->verbatim && a != c->args;

		if (command)
			fputs(" [OPTION]... --", f);
		fprintf(f, " %s%s%s", a->optional ? "[" : "", a->name, a->repeat ? "..." : "");
		open += a->optional;
	}
	while (open-- > 0)
		fputc(']', f);
}

static void print_wrapped(FILE *f, const char *text, size_t indent, size_t column)
{
	while (*text) {
		size_t n = strcspn(text, " \n");

		if (column > indent && column + 1 + n > WIDTH) {
			fprintf(f, "\n%*s", (int)indent, "");
			column = indent;
		} else if (column > indent) {
			fputc(' ', f);
			column++;
		}
		fwrite(text, 1, n, f);
		column += n;
		text += n;
		if (text[0] == '\n') {
			fprintf(f, "%s%*s", text[1] == '\n' ? "\n\n" : "\n", (int)indent, "");
			column = indent;
		}
		text += strspn(text, " \n");
	}
	fputc('\n', f);
}

static void print_option(const struct cli_option *o)
{
	char left[64], letter[8] = "    ";

	if (o->letter)
		snprintf(letter, sizeof(letter), "-%c, ", o->letter);
	snprintf(left, sizeof(left), "  %s--%s%s%s", letter, o->name, o->value ? " " : "",
		o->value ? o->value : "");
	printf("%-26s", left);
	if (strlen(left) >= 26)
		printf("\n%26s", "");
	print_wrapped(stdout, o->help, 26, 26);
}

void cli_print_help(const struct cli_command *c)
{
	printf("Usage: ");
	print_synopsis(stdout, c);
	printf("\n\n%c%s.\n", toupper((unsigned char)c->summary[0]), c->summary + 1);
	if (c->help) {
		putchar('\n');
		print_wrapped(stdout, c->help, 0, 0);
	}
	if (c->options[0].name)
		printf("\nOptions:\n");
	for (const struct cli_option *o = c->options; o->name; o++)
		print_option(o);
	printf("\nOptions of every command:\n");
	for (const struct cli_option *o = cli_global_options; o->name; o++)
		print_option(o);
	printf("\nExamples:\n");
	for (size_t i = 0; i < ARRAY_SIZE(c->examples) && c->examples[i]; i++)
		printf("  %s\n", c->examples[i]);
}

void cli_print_overview(void)
{
	const char *group = "";

	printf("Usage: berth COMMAND [OPTION]... [ARGUMENT]...\n\n");
	print_wrapped(stdout,
		"berth gives every agent one computer of its own: a small virtual machine with a "
		"browser, driven over CDP, "
		"whose network reaches only what you allow.",
		0, 0);
	for (size_t i = 0; i < cli_n_commands; i++) {
		if (!streq(cli_commands[i].group, group))
			printf("\n%s:\n", group = cli_commands[i].group);
		printf("  %-14s %s\n", cli_commands[i].name, cli_commands[i].summary);
	}
	printf("\nOptions of every command:\n");
	for (const struct cli_option *o = cli_global_options; o->name; o++)
		print_option(o);
	printf("\n`berth help COMMAND` explains one. First steps: berth doctor, berth up, berth "
	       "create NAME.\n");
}

void cli_print_group(const char *first_word)
{
	size_t n = strlen(first_word);

	printf("Usage: berth %s COMMAND\n\n", first_word);
	for (size_t i = 0; i < cli_n_commands; i++)
		if (strncmp(cli_commands[i].name, first_word, n) == 0 &&
			cli_commands[i].name[n] == ' ')
			printf("  %-14s %s\n", cli_commands[i].name, cli_commands[i].summary);
	printf("\n`berth help %s COMMAND` explains one.\n", first_word);
}

/* Text into man(7) source: hyphens and backslashes escaped, no line that starts like a request. */
static void man_text(const char *s)
{
	for (bool first = true; *s; s++, first = false) {
		if (first && (*s == '.' || *s == '\''))
			fputs("\\&", stdout);
		if (s[0] == '\n' && s[1] == '\n') {
			fputs("\n.PP\n", stdout);
			s++;
		} else if (*s == '\n') {
			putchar(' ');
		} else if (*s == '-') {
			fputs("\\-", stdout);
		} else if (*s == '\\') {
			fputs("\\e", stdout);
		} else if (*s == '`') {
			fputs("\\(ga", stdout);
		} else if (*s == '\'') {
			fputs("\\(aq", stdout);
		} else {
			putchar(*s);
		}
	}
}

static void man_option(const struct cli_option *o)
{
	printf(".TP\n.B ");
	if (o->letter)
		printf("\\-%c\\fR,\\fB ", o->letter);
	printf("\\-\\-");
	man_text(o->name);
	if (o->value)
		printf(" \\fI%s\\fR", o->value);
	putchar('\n');
	man_text(o->help);
	putchar('\n');
}

static void man_command(const struct cli_command *c)
{
	AUTOFREE char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	print_synopsis(f, c);
	fclose(f);
	printf(".SS ");
	man_text(text);
	printf("\n%c", toupper((unsigned char)c->summary[0]));
	man_text(c->summary + 1);
	printf(".\n");
	if (c->help) {
		printf(".PP\n");
		man_text(c->help);
		putchar('\n');
	}
	for (const struct cli_option *o = c->options; o->name; o++)
		man_option(o);
	printf(".PP\nFor example:\n.PP\n.RS 4\n.nf\n");
	for (size_t i = 0; i < ARRAY_SIZE(c->examples) && c->examples[i]; i++) {
		man_text(c->examples[i]);
		putchar('\n');
	}
	printf(".fi\n.RE\n");
}

static const char man_head[] =
	".\\\" Made by `berth help --man` from the table of commands.\n"
	".TH BERTH 1 \"\" \"berth " BERTH_VERSION "\" \"User Commands\"\n"
	".SH NAME\nberth \\- one virtual machine with a browser for every agent\n"
	".SH SYNOPSIS\n.B berth\n.I COMMAND\n[\\fIOPTION\\fR]... [\\fIARGUMENT\\fR]...\n"
	".SH DESCRIPTION\n"
	"berth gives every agent one computer of its own: a small virtual machine with a headless "
	"browser that is driven "
	"over the Chrome DevTools Protocol (CDP), keeps its profile, files and packages, and "
	"reaches only those names on "
	"the network that its policy allows.\n.PP\n"
	"The command speaks HTTP to the appliance's gateway: to the one on this machine through a "
	"unix socket in the state "
	"folder, or to one elsewhere with a URL and a token. Names of agents are 1 to 63 of a\\-z, "
	"0\\-9 and \\(aq\\-\\(aq, "
	"not starting with \\(aq\\-\\(aq.\n"
	".SH COMMON OPTIONS\n";

static const char man_tail[] =
	".SH EXIT STATUS\n.TP\n.B 0\nDone.\n.TP\n.B 1\nRefused or failed; one line on the standard "
	"error says what, why and "
	"what to do.\n.TP\n.B 2\nWrong usage.\n.PP\n.B berth exec\nends with the exit status of "
	"the command, or with "
	"128 + N when signal N ended it.\n"
	".SH ENVIRONMENT\n.TP\n.B BERTH_STATE\nThe state folder of this machine\\(aqs appliance; "
	"by default "
	"/var/lib/berth for root and ~/.local/share/berth for others. With different folders "
	"several appliances run side "
	"by side.\n.TP\n.BR BERTH_URL \", \" BERTH_TOKEN\nA gateway elsewhere and the token to "
	"show there, as with "
	"\\-\\-url and \\-\\-token.\n"
	".SH FILES\n.TP\n.I STATE/run/api/api.sock\nThe local socket. Whoever may open it is "
	"admin.\n.TP\n"
	".I STATE/berth.conf\nThe configuration, see \\fBberth.conf\\fR(5).\n"
	".SH SEE ALSO\n.BR berth.conf (5),\n.BR berthd (8),\n.BR berth\\-gateway (8),\n.BR "
	"berth\\-policy (8)\n";

void cli_print_man(void)
{
	const char *group = "";

	fputs(man_head, stdout);
	for (const struct cli_option *o = cli_global_options; o->name; o++)
		man_option(o);
	for (size_t i = 0; i < cli_n_commands; i++) {
		if (!streq(cli_commands[i].group, group)) {
			group = cli_commands[i].group;
			printf(".SH ");
			for (const char *p = group; *p; p++)
				putchar(toupper((unsigned char)*p));
			putchar('\n');
		}
		man_command(&cli_commands[i]);
	}
	fputs(man_tail, stdout);
}

int cli_help(struct cli *c, struct err *err)
{
	AUTOFREE char *two = NULL;
	const struct cli_command *command;

	if (cli_flag(c, "man")) {
		cli_print_man();
		return 0;
	}
	if (cli_flag(c, "conf")) {
		config_help(stdout);
		return 0;
	}
	if (c->n_args == 0) {
		cli_print_overview();
		return 0;
	}
	two = c->n_args > 1 ? xasprintf("%s %s", c->args[0], c->args[1]) : xstrdup(c->args[0]);
	command = cli_find(two) ? cli_find(two) : cli_find(c->args[0]);
	if (command) {
		cli_print_help(command);
		return 0;
	}
	if (c->n_args == 1 && (streq(two, "image") || streq(two, "token"))) {
		cli_print_group(two);
		return 0;
	}
	/* Parsing the words as a command gives the right complaint. */
	{
		struct cli probe;
		int r = cli_parse(&probe, (int)c->n_args, (char **)c->args, err);

		cli_done(&probe);
		return r < 0 ? r : cli_usage_error(err, "there is no help about '%s'", two);
	}
}

int cli_version(struct cli *c, struct err *err)
{
	cJSON *v;

	(void)err;
	if (!c->json) {
		printf("berth %s\n", BERTH_VERSION);
		return 0;
	}
	v = cJSON_CreateObject();
	cJSON_AddStringToObject(v, "version", BERTH_VERSION);
	cli_print_json(v);
	cJSON_Delete(v);
	return 0;
}
