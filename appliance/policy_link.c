/*
 * One agent's berth-policy: started or adopted, spoken to, started again when it dies.
 *
 * Theory of operation. The link knows the policy that should be in force. Each time it gets hold of
 * a process (the one that policy.pid names after a restart of berthd, or a new one) it says hello,
 * sets this policy, and only then is up. A process that dies, breaks the channel or does not answer
 * in ANSWER_MS is killed with its whole session and replaced after a backoff. Nobody has to close
 * anything meanwhile: a namespace without its relay has no way out.
 *
 *     connect/spawn -> hello -> budget, upstream, policy.set -> up -> (death) -> wait -> spawn …
 */
#include "policy_link.h"
#include "ctl.h"
#include "json.h"
#include "log.h"
#include "netns.h"
#include "paths.h"
#include "process.h"
#include "sock.h"
#include "util.h"
#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define ANSWER_MS 10000
#define STATS_MS 15000
#define BACKOFF_FIRST 200
#define BACKOFF_MAX 30000
#define STEADY_MS 30000 /* up for so long, the backoff starts anew */
#define WAITING_MAX 64
#define ERRORS_MAX 16 /* told within ERRORS_MS */
#define ERRORS_MS 10000
#define LAST_MS \
	300 /* from the end of the channel to the end of the process, whose status says more */

/* Fixed ids of requests; those of policy.set for which somebody waits count up from ID_POLICY.
 */
enum {
	ID_HELLO = 1,
	ID_FIRST_POLICY = 2,
	ID_STATS = 3,
	ID_UPSTREAM = 4,
	ID_BUDGET = 5,
	ID_POLICY = 16
};

enum link_state { LINK_DOWN, LINK_HELLO, LINK_POLICY, LINK_UP };

struct waiting {
	int64_t id;
	policy_done_fn *done;
	void *data;
};

struct policy_link {
	uv_loop_t *loop;
	char *state, *id, *name, *program, *private_networks;
	struct policy_callbacks cb;
	void *data;
	cJSON *policy, *stats;
	const cJSON *upstream;
	enum link_state phase;
	pid_t pid;
	int pidfd;
	struct ctl *ctl;
	struct watch_fd *ctl_watch, *pid_watch;
	struct watch_timer *timer; /* the backoff, the deadline of an answer, or the next stats */
	struct watch_timer *stats_timer;
	uint64_t up_at, errors_began;
	unsigned errors;
	unsigned backoff;
	bool hung_up;                    /* the channel has ended, the process may follow */
	bool told_down, tell_up, broken; /* broken: found in the middle of reading the channel */
	int64_t next_id;
	struct waiting waiting[WAITING_MAX];
	size_t n_waiting;
};

static char *run_path(const struct policy_link *l, const char *name)
{
	return path_in(l->state, "run/agents/%s/%s", l->id, name);
}

/* pid leads a session of its own: its wall goes with it. */
static void kill_session(pid_t pid)
{
	kill(-pid, SIGKILL);
	kill(pid, SIGKILL);
}

void policy_kill_left(const char *state, const char *id)
{
	AUTOFREE char *path = path_in(state, "run/agents/%s/policy.pid", id);
	pid_t pid = process_read_file(path);

	if (pid > 1)
		kill_session(pid);
}

static void tell_waiting(struct policy_link *l, size_t n, const struct err *err)
{
	struct waiting told[WAITING_MAX];

	memcpy(told, l->waiting, n * sizeof(told[0]));
	l->n_waiting -= n;
	memmove(l->waiting, l->waiting + n, l->n_waiting * sizeof(l->waiting[0]));
	for (size_t i = 0; i < n; i++)
		told[i].done(told[i].data, err);
}

static void let_go(struct policy_link *l)
{
	watch_fd_free(l->ctl_watch);
	watch_fd_free(l->pid_watch);
	l->ctl_watch = l->pid_watch = NULL;
	ctl_free(l->ctl);
	l->ctl = NULL;
	if (l->pidfd >= 0)
		close(steal_fd(&l->pidfd));
	watch_timer_stop(l->timer);
	watch_timer_stop(l->stats_timer);
	l->hung_up = false;
	l->phase = LINK_DOWN;
}

/* A killed process that has not ended yet. Owned by this list. */
static struct reaper {
	struct reaper *next;
	int pidfd;
	struct watch_fd *watch;
} * reapers;

static void on_reaped(void *data, int events)
{
	struct reaper *r = data, **p = &reapers;

	waitid(P_PIDFD, (id_t)r->pidfd, &(siginfo_t){0},
		WEXITED | WNOHANG); /* an adopted one is not ours to reap */
	while (*p != r)
		p = &(*p)->next;
	*p = r->next;
	watch_fd_free(r->watch);
	close(r->pidfd);
	free(r);
}

void policy_links_forget_killed(void)
{
	while (reapers)
		on_reaped(reapers, 0);
}

static void kill_process(struct policy_link *l)
{
	struct reaper *r;

	if (l->pid <= 0)
		return;
	kill_session(l->pid);
	l->pid = 0;
	if (l->pidfd < 0)
		return;
	watch_fd_free(l->pid_watch);
	l->pid_watch = NULL;
	r = xcalloc(1, sizeof(*r));
	r->pidfd = steal_fd(&l->pidfd);
	r->next = reapers;
	reapers = r;
	r->watch = watch_fd_new(l->loop, r->pidfd, UV_READABLE, on_reaped, r);
}

/* The process is of no use any more: away with it, and a new one after a while. code: see `down`.
 * Ends in a callback. */
static void lost_for(struct policy_link *l, const char *detail, int code)
{
	struct err err;

	kill_process(l);
	let_go(l);
	if (l->up_at && now_ms() - l->up_at > STEADY_MS)
		l->backoff = BACKOFF_FIRST;
	l->up_at = 0;
	log_warning("berth-policy of %s: %s; starts again in %u ms", l->name, detail, l->backoff);
	watch_timer_start(l->timer, l->backoff);
	l->backoff = MIN(l->backoff * 2, BACKOFF_MAX);
	err_set(&err, EAGAIN, "berth-policy %s; nothing gets out until it is back with this policy",
		detail);
	err_type(&err, 503, "internal");
	tell_waiting(l, l->n_waiting, &err);
	if (l->told_down)
		return;
	l->told_down = true;
	l->cb.down(l->data, detail, code);
}

static void lost(struct policy_link *l, const char *detail)
{
	lost_for(l, detail, 0);
}

static int ask(struct policy_link *l, int64_t id, const char *op, cJSON *args)
{
	cJSON *msg = cJSON_CreateObject();
	int r;

	cJSON_AddNumberToObject(msg, "id", (double)id);
	cJSON_AddStringToObject(msg, "op", op);
	cJSON_AddItemToObject(msg, "args", args);
	r = ctl_send(l->ctl, msg, -1);
	cJSON_Delete(msg);
	watch_fd_events(l->ctl_watch, UV_READABLE | (ctl_wants_write(l->ctl) ? UV_WRITABLE : 0));
	return r;
}

static int send_policy(struct policy_link *l, int64_t id)
{
	return ask(l, id, "policy.set", cJSON_Duplicate(l->policy, true));
}

/* After hello: what this process must know before anything else, then its agent's policy. */
static int send_all(struct policy_link *l, const char *instance)
{
	int r = ask(l, ID_BUDGET, "budget.set", l->cb.hello(l->data, instance));

	if (r == 0 && l->upstream)
		r = ask(l, ID_UPSTREAM, "upstream.set", cJSON_Duplicate(l->upstream, true));
	return r < 0 ? r : send_policy(l, ID_FIRST_POLICY);
}

static void became_up(struct policy_link *l)
{
	l->phase = LINK_UP;
	l->up_at = now_ms();
	l->told_down = false;
	watch_timer_stop(l->timer);
	l->tell_up = true;
	watch_timer_start(l->stats_timer, 0); /* not from here, in the middle of reading */
}

/* An answer to one of the requests for which somebody waits; they are answered in order. */
static void on_policy_answer(struct policy_link *l, int64_t id, const struct err *err)
{
	size_t n = 0;

	while (n < l->n_waiting && l->waiting[n].id <= id)
		n++;
	if (n == l->n_waiting)
		watch_timer_stop(l->timer);
	tell_waiting(l, n, err);
}

static void on_answer(struct policy_link *l, int64_t id, cJSON *msg)
{
	const cJSON *error = json_get(msg, "error");
	struct err err;

	if (error)
		json_to_err(error, &err);
	if (id == ID_STATS && !error) {
		cJSON_Delete(l->stats);
		l->stats = cJSON_DetachItemFromObjectCaseSensitive(msg, "ok");
	} else if (id == ID_HELLO && !error && l->phase == LINK_HELLO) {
		l->phase = LINK_POLICY;
		watch_timer_start(l->timer, ANSWER_MS);
		l->broken = send_all(l, json_str(json_get(msg, "ok"), "instance", "")) < 0;
	} else if (id == ID_FIRST_POLICY && !error && l->phase == LINK_POLICY) {
		became_up(l);
	} else if (id >= ID_POLICY) {
		on_policy_answer(l, id, error ? &err : NULL);
	} else if (error && id != ID_STATS) {
		log_error("berth-policy of %s refuses: %s", l->name, err.msg);
		l->broken = true;
	}
}

/* berth-policy keeps its rate, unless its guest has taken it over. */
static void on_error(struct policy_link *l, const char *detail)
{
	uint64_t now = now_ms();

	if (now - l->errors_began > ERRORS_MS) {
		l->errors_began = now;
		l->errors = 0;
	}
	if (l->errors++ < ERRORS_MAX)
		l->cb.error(l->data, detail);
}

static void on_event(struct policy_link *l, const cJSON *event)
{
	const char *type = json_str(event, "type", "");

	if (streq(type, "egress"))
		l->cb.egress(l->data, event);
	else if (streq(type, "error"))
		on_error(l, json_str(event, "detail", ""));
	else
		l->cb.told(l->data, type, event);
}

static void on_message(void *data, cJSON *msg, int fd)
{
	struct policy_link *l = data;
	const cJSON *event = json_get(msg, "event");

	if (fd >= 0)
		close(fd);
	if (l->broken)
		return;
	if (event)
		on_event(l, event);
	else
		on_answer(l, json_int(msg, "id", 0), msg);
}

static void hung_up(struct policy_link *l)
{
	watch_fd_free(l->ctl_watch);
	l->ctl_watch = NULL;
	l->phase = LINK_HELLO;
	l->hung_up = true;
	watch_timer_start(l->timer, LAST_MS);
}

static void on_ctl(void *data, int events)
{
	struct policy_link *l = data;
	int r = 0;

	if (events & UV_WRITABLE)
		r = ctl_flush(l->ctl);
	if (r == 0 && (events & UV_READABLE))
		r = ctl_readable(l->ctl, on_message, l);
	if (l->broken || (r < 0 && r != -EPIPE && r != -ECONNRESET)) {
		l->broken = false;
		lost(l, "broke the channel");
		return;
	}
	if (r < 0) {
		hung_up(l);
		return;
	}
	watch_fd_events(l->ctl_watch, UV_READABLE | (ctl_wants_write(l->ctl) ? UV_WRITABLE : 0));
}

static void on_pid(void *data, int events)
{
	struct policy_link *l = data;
	siginfo_t info = {0};
	char detail[80] = "ended";

	if (waitid(P_PIDFD, (id_t)l->pidfd, &info, WEXITED | WNOHANG) == 0 && info.si_pid)
		snprintf(detail, sizeof(detail),
			info.si_code == CLD_EXITED ? "ended with status %d"
						   : "was killed by signal %d",
			info.si_status);
	lost(l, detail);
}

/* Watches pid and connects to its socket. */
static int attach(struct policy_link *l, pid_t pid, struct err *err)
{
	AUTOFREE char *path = run_path(l, "policy.sock");
	int fd;

	l->pid = pid;
	l->pidfd = process_pidfd(pid);
	if (l->pidfd < 0)
		return err_sys(err, "cannot watch process %d", (int)pid);
	fd = sock_connect_unix(path, err);
	if (fd < 0)
		return fd;
	l->ctl = ctl_new(fd);
	l->ctl_watch = watch_fd_new(l->loop, fd, UV_READABLE, on_ctl, l);
	l->pid_watch = watch_fd_new(l->loop, l->pidfd, UV_READABLE, on_pid, l);
	l->phase = LINK_HELLO;
	watch_timer_start(l->timer, ANSWER_MS);
	return ask(l, ID_HELLO, "hello", cJSON_CreateObject()) < 0
		       ? err_set(err, EPIPE, "it does not listen")
		       : 0;
}

/*
 * In the child: descriptors 3 and 4 in place, everything else closed, a session of its own. It goes
 * on only when berthd says that it has written its name down (a byte from `go`), so that none runs
 * that a next berthd would not find.
 */
static void child(
	const char *program, char *const argv[], char *const envp[], int sock, int ns, int go)
{
	sigset_t none;
	int null = open("/dev/null", O_RDONLY);
	char byte;

	if (read(go, &byte, 1) != 1)
		_exit(125);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setsid();
	sock = fcntl(sock, F_DUPFD, 16);
	ns = fcntl(ns, F_DUPFD, 16);
	if (null < 0 || sock < 0 || ns < 0 || dup2(null, 0) < 0 || dup2(sock, 3) < 0 ||
		dup2(ns, 4) < 0)
		_exit(126);
	syscall(SYS_close_range, 5u, ~0u, 0u);
	execve(program, argv, envp);
	_exit(127);
}

/* The pid, or a negative errno. */
static pid_t spawn(struct policy_link *l, struct err *err)
{
	AUTOFREE char *sock_path = run_path(l, "policy.sock"),
		      *pid_path = run_path(l, "policy.pid");
	AUTOFREE char *env_state = xasprintf("BERTH_STATE=%s", l->state), *env_log = NULL;
	AUTOFREE char *env_private =
		xasprintf("BERTH_POLICY_ALLOW_PRIVATE=%s", l->private_networks);
	AUTOFD int sock = -1, ns = -1, go = -1, wait = -1;
	int ends[2];
	char arg_agent[] = "--agent", arg_name[] = "--name",
	     path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
	char *argv[] = {l->program, arg_agent, l->id, arg_name, l->name, NULL};
	char *envp[] = {env_state, path, env_private, NULL, NULL};
	const char *level = getenv("BERTH_LOG");
	pid_t pid;

	if (level)
		envp[3] = env_log = xasprintf("BERTH_LOG=%s", level);
	if (access(l->program, X_OK) < 0)
		return err_sys(err, "cannot run %s", l->program);
	sock = sock_listen_unix(sock_path, 0600, err);
	if (sock < 0)
		return sock;
	ns = netns_open(l->state, l->id, err);
	if (ns < 0)
		return ns;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, "cannot start %s", l->program);
	wait = ends[0];
	go = ends[1];
	pid = fork();
	if (pid == 0) {
		close(go);
		child(l->program, argv, envp, sock, ns, wait);
	}
	if (pid < 0)
		return err_sys(err, "cannot start %s", l->program);
	if (process_write_file(pid_path, pid, err) < 0 || write_all(go, "", 1) < 0) {
		close(steal_fd(&go));
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return err && err->code < 0 ? err->code : -EIO;
	}
	return pid;
}

/* Gets hold of a process. From the timer only, as a failure calls back. */
static void begin(struct policy_link *l, bool adopt)
{
	AUTOFREE char *pid_path = run_path(l, "policy.pid");
	struct err err = {0};
	pid_t pid = adopt ? process_read_file(pid_path) : 0;

	if (pid > 0 && attach(l, pid, &err) == 0)
		return;
	kill_process(l);
	let_go(l);
	policy_kill_left(l->state, l->id);
	pid = spawn(l, &err);
	if (pid > 0 && attach(l, pid, &err) == 0)
		return;
	lost_for(l, err.msg, err.code);
}

static void on_timer(void *data)
{
	struct policy_link *l = data;

	if (l->phase == LINK_DOWN)
		begin(l, l->up_at == 0 && !l->told_down && l->backoff == BACKOFF_FIRST);
	else
		lost(l, l->hung_up ? "closed the channel" : "does not answer");
}

static void on_stats_timer(void *data)
{
	struct policy_link *l = data;

	if (l->phase != LINK_UP)
		return;
	watch_timer_start(l->stats_timer, STATS_MS);
	if (l->tell_up) {
		l->tell_up = false;
		l->cb.up(l->data);
		return;
	}
	if (ask(l, ID_STATS, "stats", cJSON_CreateObject()) < 0)
		lost(l, "has gone");
}

struct policy_link *policy_link_new(uv_loop_t *loop, const struct policy_spec *spec,
	const cJSON *policy, const struct policy_callbacks *cb, void *data)
{
	struct policy_link *l = xcalloc(1, sizeof(*l));

	l->loop = loop;
	l->state = xstrdup(spec->state);
	l->id = xstrdup(spec->id);
	l->name = xstrdup(spec->name);
	l->program = spec->program ? xstrdup(spec->program) : path_libexec("berth-policy");
	l->private_networks = xstrdup(spec->private_networks ? spec->private_networks : "");
	l->upstream = spec->upstream;
	l->cb = *cb;
	l->data = data;
	l->pidfd = -1;
	l->backoff = BACKOFF_FIRST;
	l->next_id = ID_POLICY;
	l->policy = cJSON_Duplicate(policy, true);
	l->stats_timer = watch_timer_new(loop, on_stats_timer, l);
	l->timer = watch_timer_new(loop, on_timer, l);
	watch_timer_start(l->timer, 0);
	return l;
}

void policy_link_set(struct policy_link *l, const cJSON *policy, policy_done_fn *done, void *data)
{
	struct err err;

	cJSON_Delete(l->policy);
	l->policy = cJSON_Duplicate(policy, true);
	if (l->phase >= LINK_POLICY && l->n_waiting < WAITING_MAX) {
		if (done)
			l->waiting[l->n_waiting++] = (struct waiting){l->next_id, done, data};
		watch_timer_start(l->timer, ANSWER_MS);
		send_policy(l, l->next_id++);
		return;
	}
	err_set(&err, EBUSY, "too many changes of the policy wait for berth-policy");
	err_type(&err, 429, "too-many-requests");
	if (done)
		done(data, l->phase >= LINK_POLICY ? &err : NULL);
}

void policy_link_budget(struct policy_link *l, const cJSON *budget)
{
	if (l->phase == LINK_UP)
		ask(l, ID_BUDGET, "budget.set", cJSON_Duplicate(budget, true));
}

bool policy_link_is_up(const struct policy_link *l)
{
	return l->phase == LINK_UP;
}

const cJSON *policy_link_stats(const struct policy_link *l)
{
	return l->stats;
}

void policy_link_free(struct policy_link *l)
{
	struct err err;

	if (!l)
		return;
	err_set(&err, ECANCELED, "berth-policy was ended");
	let_go(l);
	watch_timer_free(l->timer);
	watch_timer_free(l->stats_timer);
	tell_waiting(l, l->n_waiting, &err);
	cJSON_Delete(l->policy);
	cJSON_Delete(l->stats);
	free(l->state);
	free(l->id);
	free(l->name);
	free(l->program);
	free(l->private_networks);
	free(l);
}

void policy_link_end(struct policy_link *l)
{
	if (!l)
		return;
	kill_process(l);
	policy_link_free(l);
}
