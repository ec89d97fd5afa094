/* berthd: the control daemon, started by `berth up`. */
#include "config.h"
#include "daemon.h"
#include "log.h"
#include "util.h"

#include <getopt.h>
#include <string.h>
#include <sys/stat.h>

static const char usage[] =
	"usage: berthd --state DIR\n"
	"The control daemon of an appliance; `berth up` starts it (see berth(1)).\n"
	"  --state DIR    the state folder, an absolute path\n"
	"  --config       print every setting of berth.conf with its default\n"
	"  --version\n";

static int wrong_usage(void)
{
	fputs(usage, stderr);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"state", required_argument, NULL, 's'},
		{"config", no_argument, NULL, 'c'}, {"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'v'}, {0}};
	const char *state = NULL;
	struct err err = {0};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's':
			state = optarg;
			break;
		case 'c':
			config_help(stdout);
			return 0;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case 'v':
			puts("berthd " BERTH_VERSION);
			return 0;
		default:
			return wrong_usage();
		}
	}
	if (!state || state[0] != '/' || optind != argc)
		return wrong_usage();
	umask(022);
	log_init("berthd", LOG_INFO);
	if (daemon_run(state, NULL, &err) == 0)
		return 0;
	log_error("%s%s%s", err.msg, err.hint[0] ? "; " : "", err.hint);
	return 1;
}
