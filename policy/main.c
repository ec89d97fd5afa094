/* berth-policy: the agent's DNS resolver, name check and TCP relay; owner of its nftables rules. */
#include "log.h"
#include "parser.h"
#include "util.h"
#include "wall.h"
#include "wall_msg.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/close_range.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define FD_CONTROL 3
#define FD_NETNS 4
#define FILES_MAX 4096

static const char usage_text[] = "usage: berth-policy --agent ID --name NAME\n"
				 "Started by berthd, with descriptors 3 (listening control socket) "
				 "and 4 (the agent's network\n"
				 "namespace). Environment: BERTH_STATE, BERTH_POLICY_ALLOW_PRIVATE "
				 "(cidr[,cidr…]), BERTH_LOG.\n";

struct options {
	const char *agent, *name;
};

static struct options read_options(int argc, char **argv)
{
	static const struct option table[] = {{"agent", required_argument, NULL, 'a'},
		{"name", required_argument, NULL, 'n'}, {"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'v'}, {0}};
	struct options o = {0};
	int c;

	while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
		if (c == 'a') {
			o.agent = optarg;
		} else if (c == 'n') {
			o.name = optarg;
		} else if (c == 'h' || c == 'v') {
			fputs(c == 'h' ? usage_text : "berth-policy " BERTH_VERSION "\n", stdout);
			exit(0);
		} else {
			fputs(usage_text, stderr);
			exit(2);
		}
	}
	if (!o.agent || !o.name || optind != argc || !agent_name_valid(o.name)) {
		fputs(usage_text, stderr);
		exit(2);
	}
	return o;
}

/* The folder of the services' sockets is entered while this is allowed; without it they are not
 * there. */
static void enter_service_folder(void)
{
	const char *state = getenv("BERTH_STATE");
	AUTOFREE char *path = state ? xasprintf("%s/run/service", state) : NULL;

	if (path && chdir(path) == 0)
		return;
	log_warning("no folder of services: the start page cannot be reached");
	if (chdir("/") < 0)
		die("cannot enter /");
}

/* Two sockets for each connection and some for DNS; the wall stays below 1024, which libnftables
 * needs. */
static void want_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = MIN(limit.rlim_max, (rlim_t)FILES_MAX);
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur < FILES_MAX)
		log_warning("at most %llu files: fewer connections at a time",
			(unsigned long long)limit.rlim_cur);
}

static int run(const struct options *o, const struct pin_networks *networks, struct err *err)
{
	int pair[2];
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "cannot make a pair of sockets");
	child = fork();
	if (child < 0)
		return err_sys(err, "cannot start a process");
	if (child == 0) {
		struct parser_config config = {.agent = o->name,
			.control = FD_CONTROL,
			.wall = pair[1],
			.private_networks = *networks};

		close(pair[0]);
		close(FD_NETNS);
		enter_service_folder();
		want_files();
		return parser_run(&config, err);
	}
	close(pair[1]);
	close(FD_CONTROL);
	if (chdir("/") < 0)
		return err_sys(err, "cannot enter /");
	return wall_run(FD_NETNS, pair[0], err);
}

int main(int argc, char **argv)
{
	struct options o = read_options(argc, argv);
	struct pin_networks networks;
	struct err err = {0};

	log_init("berth-policy", LOG_INFO);
	signal(SIGPIPE, SIG_IGN);
	if (fcntl(FD_CONTROL, F_GETFD) < 0 || fcntl(FD_NETNS, F_GETFD) < 0)
		die("descriptors 3 and 4 are missing: berthd starts this program");
	fcntl(FD_CONTROL, F_SETFD, FD_CLOEXEC);
	close_range(5, ~0u, 0);
	if (pin_networks_parse(getenv("BERTH_POLICY_ALLOW_PRIVATE"), &networks, &err) < 0)
		die("BERTH_POLICY_ALLOW_PRIVATE: %s", err.msg);
	run(&o, &networks, &err);
	log_error("%s: %s", o.agent, err.msg);
	return 1;
}
