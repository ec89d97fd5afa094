/* berth-gateway: the one network front. Started by the supervisor. */
#include "gateway_run.h"
#include "log.h"
#include "paths.h"
#include "util.h"

#include <getopt.h>
#include <malloc.h>
#include <sodium.h>

static const char usage[] = "usage: berth-gateway [--state DIR] [--listen ADDR:PORT]\n"
			    "Serves the HTTP API and CDP of the agents. berth up starts it.\n";

int main(int argc, char **argv)
{
	static const struct option options[] = {{"state", required_argument, NULL, 's'},
		{"listen", required_argument, NULL, 'l'}, {"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'v'}, {0}};
	AUTOFREE char *state = NULL;
	const char *listen = NULL;
	struct err err = {0};
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (o) {
		case 's':
			free(state);
			state = xstrdup(optarg);
			break;
		case 'l':
			listen = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case 'v':
			puts("berth-gateway " BERTH_VERSION);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind < argc) {
		fputs(usage, stderr);
		return 2;
	}
	if (!state)
		state = paths_default_state();
	log_init("berth-gateway", LOG_INFO);
	/* Pieces of large messages come and go: giving their pages back each time costs more than
	 * they do. */
	mallopt(M_MMAP_THRESHOLD, 1 << 20);
	mallopt(M_TRIM_THRESHOLD, 4 << 20);
	if (sodium_init() < 0)
		die("libsodium cannot start");
	if (gateway_run(state, listen, &err) < 0) {
		log_error("%s%s%s", err.msg, err.hint[0] ? "; " : "", err.hint);
		return 1;
	}
	return 0;
}
