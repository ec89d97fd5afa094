/* The supervisor: the process behind `berth up`, parent of berthd and berth-gateway. */
#include "supervisor.h"
#include "house.h"
#include "kvm_probe.h"
#include "log.h"
#include "paths.h"
#include "process.h"
#include "supervisor_ask.h"
#include "supervisor_child.h"
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <uv.h>

/*
 * Theory of operation. It parses nothing and keeps no connection. Questions that block (is all up?
 * please shut down) are asked by forks of it, whose exit status is the answer.
 *
 *   STARTING --both answer--> RUNNING --berthd exits with 0, or a signal--> STOPPING --> ended
 *       `--a program ends, or 30 s--> failed: everything is ended, the error goes to the person
 *
 * RUNNING: what dies is started again after a while (backoff). berthd's exit status 0 means that it
 * was told to shut down and every agent is stopped; it is never started again then. Daemonised, the
 * caller's process waits on a pipe for notes and ends when one says that all is up, or why not.
 */
#define UP_TIMEOUT_MS 30000
#define SHUTDOWN_TIMEOUT_MS 180000
#define GATEWAY_END_MS 5000
#define ROTATE_EVERY_MS 10000

enum phase { STARTING, RUNNING, STOPPING, ENDED };
enum { DAEMON, GATEWAY, N_CHILDREN };

/* What the waiting caller hears: one write to a pipe each. */
struct note {
	char kind; /* 'P' progress, 'U' up, 'E' error */
	char text[200];
	struct err err;
};

/* On the stack of supervisor_run. */
struct supervisor {
	const struct supervisor_options *o;
	enum phase phase;
	uv_loop_t loop;
	uv_signal_t on_child, on_term, on_int;
	uv_timer_t rotate, deadline;
	struct child children[N_CHILDREN];
	pid_t checker, stopper; /* forks that ask; 0: none */
	unsigned signals;
	int notes; /* pipe to the caller, or -1 */
	struct err err;
	int result;
};

static void end_now(struct supervisor *s);

static void tell(struct supervisor *s, char kind, const char *text)
{
	struct note n = {.kind = kind, .err = s->err};

	snprintf(n.text, sizeof(n.text), "%s", text);
	if (s->notes >= 0 && write(s->notes, &n, sizeof(n)) < 0)
		log_warning("nobody waits for this appliance to come up");
	else if (s->notes < 0 && kind == 'P' && s->o->progress)
		s->o->progress(s->o->data, text);
	else if (s->notes < 0 && kind == 'U' && s->o->up)
		s->o->up(s->o->data);
	if (s->notes >= 0 && kind != 'P')
		close(steal_fd(&s->notes));
}

/* ---- starting ---- */

static int start_child(struct supervisor *s, int which)
{
	struct child *c = &s->children[which];
	AUTOFREE char *state = xstrdup(s->o->state), *listen = xstrdup(s->o->listen);
	AUTOFREE char *program = xstrdup(c->program);
	char state_option[] = "--state", listen_option[] = "--listen";
	char *argv[] = {program, state_option, state, which == GATEWAY ? listen_option : NULL,
		listen, NULL};

	return child_start(c, s->o->state, argv, &s->err);
}

static void on_again(uv_timer_t *t)
{
	struct supervisor *s = t->data;

	for (int i = 0; i < N_CHILDREN; i++)
		if (&s->children[i].again == t && !s->children[i].pid && s->phase == RUNNING &&
			start_child(s, i) < 0)
			uv_timer_start(t, on_again, child_ended(&s->children[i]), 0);
}

static pid_t fork_question(
	int (*ask)(const char *, int, struct err *), const char *state, int timeout_ms)
{
	pid_t pid = fork();
	struct err err = {0};

	if (pid != 0)
		return pid < 0 ? 0 : pid;
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_IGN);
	_exit(ask(state, timeout_ms, &err) < 0);
}

static void fail(struct supervisor *s)
{
	s->result = s->err.code ? s->err.code : -EIO;
	end_now(s);
}

/* A program ended before all was up: its last words are the error. */
static void fail_child(struct supervisor *s, const struct child *c, int status)
{
	char words[400];

	child_last_words(c, s->o->state, words);
	if (words[0])
		err_set(&s->err, EIO, "%s: %s", c->program, words);
	else if (WIFSIGNALED(status))
		err_set(&s->err, EIO, "%s was ended by signal %d", c->program, WTERMSIG(status));
	else
		err_set(&s->err, EIO, "%s ended at once with status %d", c->program,
			WEXITSTATUS(status));
	err_hint(&s->err, "its log is %s/log/%s.log", s->o->state, c->title);
	fail(s);
}

static void fail_timeout(struct supervisor *s)
{
	char words[400];

	child_last_words(&s->children[GATEWAY], s->o->state, words);
	if (!words[0])
		child_last_words(&s->children[DAEMON], s->o->state, words);
	err_set(&s->err, ETIMEDOUT, "the appliance did not answer within %d s%s%s",
		UP_TIMEOUT_MS / 1000, words[0] ? "; the last it said: " : "", words);
	err_hint(&s->err, "the logs are in %s/log", s->o->state);
	fail(s);
}

/* ---- ending ---- */

static void close_handle(uv_handle_t *h, void *unused)
{
	if (!uv_is_closing(h))
		uv_close(h, NULL);
}

static void end_now(struct supervisor *s)
{
	s->phase = ENDED;
	child_kill_all();
	uv_walk(&s->loop, close_handle, NULL);
}

static void on_gateway_deadline(uv_timer_t *t)
{
	end_now(t->data);
}

/* berthd has ended for good. The gateway is next, then whatever is left. */
static void end_gateway(struct supervisor *s)
{
	struct child *g = &s->children[GATEWAY];

	s->phase = STOPPING;
	if (!g->pid) {
		end_now(s);
		return;
	}
	kill(g->pid, SIGTERM);
	uv_timer_start(&s->deadline, on_gateway_deadline, GATEWAY_END_MS, 0);
}

static void on_stop_signal(uv_signal_t *h, int number)
{
	struct supervisor *s = h->data;

	if (++s->signals > 1 || s->phase == STARTING) {
		log_warning("signal %d: ending at once", number);
		err_set(&s->err, EINTR, "interrupted");
		fail(s);
		return;
	}
	log_info("signal %d: stopping every agent", number);
	s->stopper = fork_question(ask_shutdown, s->o->state, SHUTDOWN_TIMEOUT_MS);
}

/* ---- what ended ---- */

static void child_has_ended(struct supervisor *s, int which, int status)
{
	struct child *c = &s->children[which];
	unsigned again = child_ended(c);

	if (s->phase == STARTING) {
		fail_child(s, c, status);
	} else if (which == DAEMON && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		end_gateway(s);
	} else if (s->phase == STOPPING) {
		end_now(s);
	} else {
		log_warning("%s ended (%s %d); starting it again in %u ms", c->program,
			WIFSIGNALED(status) ? "signal" : "status",
			WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), again);
		uv_timer_start(&c->again, on_again, again, 0);
	}
}

static void checker_has_ended(struct supervisor *s, int status)
{
	s->checker = 0;
	if (s->phase != STARTING)
		return;
	if (status != 0) {
		fail_timeout(s);
		return;
	}
	s->phase = RUNNING;
	tell(s, 'U', "");
}

static void stopper_has_ended(struct supervisor *s, int status)
{
	s->stopper = 0;
	if (status == 0 || s->phase == ENDED)
		return;
	log_warning("berthd did not shut down in time: ending everything");
	end_now(s);
}

static void on_child(uv_signal_t *h, int number)
{
	struct supervisor *s = h->data;
	int status;
	pid_t pid;

	(void)number;
	while (s->phase != ENDED && (pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == s->children[DAEMON].pid)
			child_has_ended(s, DAEMON, status);
		else if (pid == s->children[GATEWAY].pid)
			child_has_ended(s, GATEWAY, status);
		else if (pid == s->checker)
			checker_has_ended(s, status);
		else if (pid == s->stopper)
			stopper_has_ended(s, status);
		/* Anything else is an orphan that berthd left; it has been reaped. */
	}
}

static void on_rotate(uv_timer_t *t)
{
	struct supervisor *s = t->data;

	for (int i = 0; i < N_CHILDREN; i++)
		child_rotate_log(&s->children[i], s->o->state);
}

/* ---- the loop ---- */

static void init_loop(struct supervisor *s)
{
	uv_loop_init(&s->loop);
	uv_signal_init(&s->loop, &s->on_child);
	uv_signal_init(&s->loop, &s->on_term);
	uv_signal_init(&s->loop, &s->on_int);
	uv_timer_init(&s->loop, &s->rotate);
	uv_timer_init(&s->loop, &s->deadline);
	s->on_child.data = s->on_term.data = s->on_int.data = s->rotate.data = s->deadline.data = s;
	for (int i = 0; i < N_CHILDREN; i++) {
		uv_timer_init(&s->loop, &s->children[i].again);
		s->children[i].again.data = s;
	}
	uv_signal_start(&s->on_child, on_child, SIGCHLD);
	uv_signal_start(&s->on_term, on_stop_signal, SIGTERM);
	uv_signal_start(&s->on_int, on_stop_signal, SIGINT);
	uv_timer_start(&s->rotate, on_rotate, ROTATE_EVERY_MS, ROTATE_EVERY_MS);
}

/* Once for each boot of the host: does KVM work? Before anything starts, so that the first machine
 * has it. */
static void try_kvm(struct supervisor *s)
{
	int node = kvm_verdict(s->o->state) < 0 ? kvm_open(s->o->state) : -1;

	if (node < 0)
		return;
	close(node);
	tell(s, 'P', "trying KVM");
	kvm_probe(s->o->state, NULL);
}

static int start_all(struct supervisor *s)
{
	AUTOFREE char *pid_file = path_in(s->o->state, "run/up.pid");
	int r = process_write_file(pid_file, getpid(), &s->err);

	if (r == 0)
		try_kvm(s);
	for (int i = 0; r == 0 && i < N_CHILDREN; i++) {
		char step[64];

		child_end_old(&s->children[i], s->o->state);
		snprintf(step, sizeof(step), "starting %s", s->children[i].program);
		tell(s, 'P', step);
		r = start_child(s, i);
	}
	s->checker = r < 0 ? 0 : fork_question(ask_until_up, s->o->state, UP_TIMEOUT_MS);
	return r;
}

static int run(const struct supervisor_options *o, int notes, struct err *err)
{
	struct supervisor s = {
		.o = o,
		.notes = notes,
		.children =
			{
				[DAEMON] = {.program = "berthd", .title = "berthd"},
				[GATEWAY] = {.program = "berth-gateway",
					.title = "gateway",
					.uid = HOUSE_UID_GATEWAY},
			},
	};

	setenv("BERTH_LISTEN", o->listen, 1); /* for berthd's `status` */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signal(SIGPIPE, SIG_IGN);
	init_loop(&s);
	s.result = start_all(&s);
	if (s.result < 0)
		end_now(&s);
	uv_run(&s.loop, UV_RUN_DEFAULT);
	uv_loop_close(&s.loop);
	house_leave(o->state);
	if (s.result < 0)
		tell(&s, 'E', "");
	if (s.result < 0 && err)
		*err = s.err;
	return s.result;
}

/* ---- daemonised ---- */

static int detach(const char *state, struct err *err)
{
	AUTOFREE char *path = path_in(state, "log/supervisor.log");
	AUTOFD int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	AUTOFD int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (null < 0 || log < 0)
		return err_sys(err, "cannot open %s", path);
	if (setsid() < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(log, 2) < 0 ||
		chdir("/") < 0)
		return err_sys(err, "cannot leave the terminal");
	return 0;
}

__attribute__((noreturn)) static void daemon_main(const struct supervisor_options *o, int notes)
{
	struct err err = {0};

	if (detach(o->state, &err) < 0)
		_exit(1);
	log_init("berth", LOG_INFO);
	_exit(run(o, notes, &err) < 0);
}

/* Relays notes until one is final. */
static int wait_for_daemon(const struct supervisor_options *o, int notes, struct err *err)
{
	struct note n;

	for (;;) {
		ssize_t got = read(notes, &n, sizeof(n));

		if (got < 0 && errno == EINTR)
			continue;
		if (got != sizeof(n))
			return err_set(err, EIO, "the supervisor died; see %s/log/supervisor.log",
				o->state);
		if (n.kind == 'U')
			return 0;
		if (n.kind == 'P' && o->progress)
			o->progress(o->data, n.text);
		if (n.kind != 'E')
			continue;
		if (err)
			*err = n.err;
		return n.err.code ? n.err.code : -EIO;
	}
}

int supervisor_run(const struct supervisor_options *o, struct err *err)
{
	AUTOFD int reads = -1;
	int pipe_fds[2];
	pid_t pid;

	if (supervisor_pid(o->state))
		return err_set(err, EALREADY, "berth is already up on %s", o->state);
	if (o->foreground)
		return run(o, -1, err);
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_sys(err, "cannot make a pipe");
	reads = pipe_fds[0];
	pid = fork();
	if (pid == 0) {
		close(pipe_fds[0]);
		daemon_main(o, pipe_fds[1]);
	}
	close(pipe_fds[1]);
	return pid < 0 ? err_sys(err, "cannot fork") : wait_for_daemon(o, reads, err);
}

pid_t supervisor_pid(const char *state)
{
	AUTOFREE char *path = path_in(state, "run/up.pid");

	return process_read_file(path);
}

int supervisor_wait_gone(const char *state, int timeout_ms, struct err *err)
{
	AUTOFREE char *path = path_in(state, "run/up.pid");
	pid_t pid;
	AUTOFD int fd = process_open_file(path, &pid);
	struct pollfd p = {.fd = fd, .events = POLLIN};

	if (fd < 0 || poll(&p, 1, timeout_ms) > 0)
		return 0;
	err_set(err, ETIMEDOUT, "the supervisor (process %d) has not ended within %d s", (int)pid,
		timeout_ms / 1000);
	return err_hint(err, "send it SIGTERM twice: kill %d", (int)pid);
}
