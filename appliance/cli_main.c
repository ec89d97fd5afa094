/* berth: the command line. */
#include "cli.h"
#include "http_client.h"
#include "util.h"

#include <signal.h>
#include <string.h>

/* One line: the thing, the cause, the way out. */
static void print_error(const struct err *err)
{
	char line[sizeof(err->msg) + sizeof(err->hint) + 8];

	snprintf(line, sizeof(line), "%s%s%s", err->msg, err->hint[0] ? "; " : "", err->hint);
	for (char *p = line; *p; p++)
		if ((unsigned char)*p < 32 || *p == 127)
			*p = ' ';
	fprintf(stderr, "berth: %s\n", line);
}

static int run(struct cli *c, int argc, char **argv, struct err *err)
{
	int r = cli_parse(c, argc, argv, err);

	if (r < 0)
		return r;
	if (!c->command && argc > 0 && !cli_flag(c, "help"))
		return cli_usage_error(err, "no command was given");
	if (!c->command) {
		cli_print_overview();
		return 0;
	}
	if (cli_flag(c, "help")) {
		cli_print_help(c->command);
		return 0;
	}
	return c->command->run(c, err);
}

int main(int argc, char **argv)
{
	static char version[] = "version";
	struct err err = {0};
	struct cli c;
	int r;

	signal(SIGPIPE, SIG_IGN);
	if (argc == 2 && streq(argv[1], "--version"))
		argv[1] = version;
	r = run(&c, argc - 1, argv + 1, &err);
	if (r < 0)
		print_error(&err);
	http_client_free(c.client);
	cli_done(&c);
	if (fflush(stdout) != 0 && r >= 0) {
		fprintf(stderr, "berth: the output could not be written: %m\n");
		return 1;
	}
	return r >= 0 ? r : cli_is_usage_error(&err) ? 2 : 1;
}
