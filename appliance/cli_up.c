/* berth up, down and status: the appliance on this machine. */
#include "cli.h"
#include "bytes.h"
#include "cli_progress.h"
#include "config.h"
#include "control_ask.h"
#include "house.h"
#include "paths.h"
#include "supervisor.h"
#include "util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#define STOP_WAIT_MS 120000 /* per message of the daemon while agents power off */
#define GONE_WAIT_MS 20000
#define TOKEN_MAX 256

static int refuse_elsewhere(const struct cli *c, struct err *err)
{
	if (!c->url)
		return 0;
	cli_usage_error(err, "`berth %s` is for the appliance on this machine", c->command->name);
	return err_hint(err, "leave out --url and BERTH_URL");
}

/* The admin token of the first start, which berthd left for us to show once. NULL if there is none.
 */
static char *take_first_token(const char *state)
{
	AUTOFREE char *path = path_in(state, "run/first-token");
	char *token = NULL;

	if (file_read(AT_FDCWD, path, TOKEN_MAX, &token, NULL, NULL) < 0)
		return NULL;
	unlink(path);
	token[strcspn(token, "\r\n")] = 0;
	return token;
}

struct starting {
	struct cli *c;
	struct progress progress;
	const char *listen, *warning;
};

static void on_progress(void *data, const char *step)
{
	struct starting *s = data;

	progress_step(&s->progress, step, NULL);
}

static void print_up_json(const char *listen, const char *token, bool already)
{
	AUTOJSON *v = cJSON_CreateObject();

	cJSON_AddBoolToObject(v, "already", already);
	cJSON_AddStringToObject(v, "listen", listen);
	if (token)
		cJSON_AddStringToObject(v, "token", token);
	cli_print_json(v);
}

static void tell_up(struct starting *s)
{
	AUTOFREE char *token = take_first_token(s->c->state);

	progress_end(&s->progress, true);
	if (s->c->json) {
		print_up_json(s->listen, token, false);
	} else {
		printf("berth is up on http://%s\n", s->listen);
		if (token)
			printf("\nThe admin token, shown only now (on this machine `berth` needs "
			       "none):\n\n  %s\n\n",
				token);
		printf("Next: berth create NAME --allow example.com\n");
	}
	fflush(stdout);
}

static void on_up(void *data)
{
	tell_up(data);
}

static int tell_already(struct cli *c, pid_t pid)
{
	struct err ignored = {0};
	AUTOJSON *v = NULL;
	const char *listen = "?";

	if (cli_call(c, "GET", "/v1/status", NULL, NULL, &v, &ignored) == 0)
		listen = json_str(v, "listen", "?");
	if (c->json)
		print_up_json(listen, NULL, true);
	else
		cli_print("berth is up already on http://%s (supervisor %d, state %s)", listen,
			(int)pid, c->state);
	return 0;
}

/* Port 0 becomes a free one here, once: the gateway keeps it when it is restarted, and everybody
 * who names it names the same. */
static int settle_port(char listen[128], struct err *err)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *ai;
	struct sockaddr_in6 bound;
	socklen_t len = sizeof(bound);
	char host[128], *colon = strrchr(listen, ':');
	size_t n = (size_t)(colon - listen);
	AUTOFD int fd = -1;
	bool bracketed = n > 2 && listen[0] == '[' && listen[n - 1] == ']';
	int r;

	if (!streq(colon, ":0"))
		return 0;
	snprintf(host, sizeof(host), "%.*s", (int)(bracketed ? n - 2 : n), listen + bracketed);
	if (getaddrinfo(streq(host, "localhost") ? "127.0.0.1" : host, "0", &hints, &ai) != 0)
		return err_set(err, EINVAL, "'%.60s' is not an IP address with a port", listen);
	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	r = fd < 0 ? -1 : bind(fd, ai->ai_addr, ai->ai_addrlen);
	freeaddrinfo(ai);
	if (r < 0 || getsockname(fd, (struct sockaddr *)&bound, &len) < 0)
		return err_sys(err, "cannot find a free port on %.60s", host);
	/* The port lies at the same place for IPv4. */
	snprintf(colon, 128 - n, ":%u", ntohs(bound.sin6_port));
	return 0;
}

/* --listen, else BERTH_LISTEN, else what berth.conf says. */
static int settle_listen(struct cli *c, char out[128], struct err *err)
{
	const char *listen = cli_option(c, "listen");
	struct config config;
	int r = config_load(c->state, &config, err);

	if (r < 0)
		return r;
	if (!listen)
		listen = getenv("BERTH_LISTEN");
	if (!listen || !listen[0])
		listen = config.listen;
	if (!strchr(listen, ':') || strlen(listen) > 120)
		return cli_usage_error(
			err, "--listen must look like 127.0.0.1:7900, not '%.60s'", listen);
	snprintf(out, 128, "%s", listen);
	return settle_port(out, err);
}

int cli_up(struct cli *c, struct err *err)
{
	struct starting s = {.c = c};
	struct supervisor_options o = {.state = c->state,
		.foreground = cli_flag(c, "foreground"),
		.progress = on_progress,
		.up = on_up,
		.data = &s};
	struct house house;
	char listen[128];
	pid_t pid;
	int r = refuse_elsewhere(c, err);

	if (r < 0)
		return r;
	pid = supervisor_pid(c->state);
	if (pid > 0)
		return tell_already(c, pid);
	r = settle_listen(c, listen, err);
	if (r < 0)
		return r;
	s.listen = o.listen = listen;
	progress_start(&s.progress, "starting berth");
	r = house_enter(c->state, &house, err);
	if (r == 0 && house.warning[0])
		fprintf(stderr, "berth: %s\n", house.warning);
	if (r == 0)
		r = supervisor_run(&o, err);
	if (r == -EALREADY)
		return tell_already(c, supervisor_pid(c->state));
	if (r < 0)
		progress_end(&s.progress, false);
	else if (!o.foreground)
		tell_up(&s);
	return r < 0 ? r : 0;
}

static void on_stop_progress(void *data, const char *step, const char *detail)
{
	progress_step(data, step, detail);
}

/* `shutdown` on the control channel, for when the gateway does not answer. */
static int shutdown_by_control(const struct cli *c, struct progress *p, struct err *err)
{
	cJSON *ok = control_ask(c->state, "shutdown", STOP_WAIT_MS, on_stop_progress, p, err);
	int r = ok ? 0 : err->code;

	cJSON_Delete(ok);
	return r;
}

/* Gently through the API, then through the daemon's own channel, then by a signal to the
 * supervisor. */
static int ask_to_end(struct cli *c, pid_t pid, struct err *err)
{
	struct progress p;
	int r = cli_call(c, "POST", "/v1/shutdown", NULL, "stopping berth", NULL, err);

	if (r == 0 || err->status != 503)
		return r;
	progress_start(&p, "stopping berth");
	r = shutdown_by_control(c, &p, err);
	progress_end(&p, r == 0);
	if (r < 0 && kill(pid, SIGTERM) == 0)
		r = 0;
	return r;
}

/*
 * The supervisor has died and what it started lives on: as `berth up` does, a new one takes over,
 * so that agents are powered off and nothing is left. Nobody needs its front, so any port will do.
 * When no appliance comes up any more (a damaged database) everything is ended at once; 1 then, and
 * err says why.
 */
static int take_over(struct cli *c, struct err *err)
{
	struct starting s = {.c = c, .listen = "127.0.0.1:0"};
	const struct supervisor_options o = {
		.state = c->state, .listen = s.listen, .progress = on_progress, .data = &s};
	struct house house;
	int r;

	progress_start(&s.progress, "the supervisor has died, taking its place");
	r = house_enter(c->state, &house, err);
	if (r == 0) {
		r = supervisor_run(&o, err);
		if (r < 0 && r != -EALREADY) {
			house_kill_living(c->state);
			house_leave(c->state);
			r = 1;
		}
	}
	progress_end(&s.progress, r == 0);
	return r == -EALREADY ? 0 : r;
}

enum end { WAS_NOT_UP, ENDED, ENDED_ORPHANS, KILLED_ORPHANS };

static int end_it(struct cli *c, enum end *ret, struct err *err)
{
	pid_t pid = supervisor_pid(c->state);
	int r = 0;

	*ret = ENDED;
	if (pid == 0) {
		*ret = house_living(c->state) ? ENDED_ORPHANS : WAS_NOT_UP;
		if (*ret == WAS_NOT_UP)
			return 0;
		r = take_over(c, err);
		pid = supervisor_pid(c->state);
	}
	if (r == 1)
		*ret = KILLED_ORPHANS;
	if (r != 0)
		return MIN(r, 0);
	r = ask_to_end(c, pid, err);
	return r < 0 ? r : supervisor_wait_gone(c->state, GONE_WAIT_MS, err);
}

static void tell_down(const struct cli *c, enum end how, const struct err *why)
{
	static const char *const lines[] = {
		[ENDED] = "berth is down",
		[ENDED_ORPHANS] =
			"berth is down: its supervisor had died, what lived on has been stopped",
		[KILLED_ORPHANS] = "berth is down: its supervisor had died and what lived on was "
				   "ended at once, agents without powering off",
	};
	AUTOJSON *v = cJSON_CreateObject();

	if (how == KILLED_ORPHANS)
		fprintf(stderr, "berth: %s\n", why->msg);
	if (c->json) {
		cJSON_AddBoolToObject(v, "was_up", how != WAS_NOT_UP);
		cJSON_AddBoolToObject(v, "supervisor_died", how > ENDED);
		cJSON_AddBoolToObject(v, "killed", how == KILLED_ORPHANS);
		cli_print_json(v);
	} else if (how == WAS_NOT_UP) {
		cli_print("berth was not up (state %s)", c->state);
	} else {
		cli_print("%s", lines[how]);
	}
}

int cli_down(struct cli *c, struct err *err)
{
	int r = refuse_elsewhere(c, err);
	enum end how;

	if (r == 0)
		r = end_it(c, &how, err);
	if (r == 0)
		tell_down(c, how, err);
	return r;
}

/* "2 running, 1 stopped" */
static void print_counts(const cJSON *agents)
{
	CLEANUP(buf_done) struct buf text;
	const cJSON *n;

	buf_init(&text, 1024);
	cJSON_ArrayForEach (n, agents) {
		if (cJSON_IsNumber(n) && n->valuedouble > 0 && !streq(n->string, "total"))
			buf_addf(&text, "%s%.0f %s", text.len ? ", " : "", n->valuedouble,
				n->string);
	}
	cli_print("%-14s %s", "agents", text.len ? buf_str(&text) : "none");
}

static void print_status(const cJSON *v)
{
	const cJSON *m;

	cJSON_ArrayForEach (m, v) {
		if (cJSON_IsString(m))
			cli_print("%-14s %s", m->string, m->valuestring);
		else if (cJSON_IsNumber(m))
			cli_print("%-14s %lld", m->string, (long long)m->valuedouble);
		else if (streq(m->string, "agents"))
			print_counts(m);
	}
}

/* The API does not answer: say how far up the appliance is. Always 1. */
static int status_without_api(const struct cli *c, const struct err *why)
{
	pid_t pid = c->url ? 0 : supervisor_pid(c->state);
	AUTOJSON *v = cJSON_CreateObject();

	cJSON_AddStringToObject(v, "up", pid > 0 ? "half" : "no");
	cJSON_AddStringToObject(v, "state", c->state);
	if (pid > 0)
		cJSON_AddNumberToObject(v, "supervisor_pid", pid);
	cJSON_AddStringToObject(v, "detail", why->msg);
	if (c->json) {
		cli_print_json(v);
		return 1;
	}
	print_status(v);
	if (pid > 0)
		fprintf(stderr,
			"berth: the supervisor runs but the API does not answer: %s; see %s/log\n",
			why->msg, c->state);
	else
		fprintf(stderr, "berth: %s%s%s\n", why->msg, why->hint[0] ? "; " : "", why->hint);
	return 1;
}

int cli_status(struct cli *c, struct err *err)
{
	AUTOJSON *v = NULL;
	int r = cli_call(c, "GET", "/v1/status", NULL, NULL, &v, err);

	if (r < 0 && (err->status == 503 || !c->url) && err->status != 401)
		return status_without_api(c, err);
	if (r < 0)
		return r;
	if (c->json)
		cli_print_json(v);
	else
		print_status(v);
	if (!c->url && supervisor_pid(c->state) == 0)
		fprintf(stderr, "berth: the supervisor has died: what ends now is not started "
				"again; berth up takes its place, berth down stops everything\n");
	return 0;
}
