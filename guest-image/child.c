/* Child processes: started with given descriptors as a given user, and reaped, orphans included. */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "util.h"

#define STATUS_FD 3
#define SELF_FD 4
#define FILES_SOFT 8192
#define FILES_HARD 65536

static struct {
	pid_t pid; /* 0: free */
	child_ended_fn *fn;
	void *data;
} watched[CHILD_MAX];
static uv_signal_t reaper;

static void reset_signals(void)
{
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		if (s != SIGKILL && s != SIGSTOP)
			signal(s, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Puts fds[i] at i for all i < n and closes the rest. -1 in fds leaves its place closed. */
static int place_fds(int *fds, int n)
{
	for (int i = 0; i < n; i++)
		if (fds[i] >= 0 && fds[i] < n && (fds[i] = fcntl(fds[i], F_DUPFD, n)) < 0)
			return -1;
	for (int i = 0; i < n; i++)
		if (fds[i] < 0)
			close(i);
		else if (dup2(fds[i], i) < 0)
			return -1;
	return (int)syscall(SYS_close_range, (unsigned)n, ~0u, 0u);
}

static int enter_folder(const struct child_spec *spec)
{
	if (spec->cwd)
		return chdir(spec->cwd);
	return chdir(spec->user->home) == 0 ? 0 : chdir("/");
}

__attribute__((noreturn)) static void fail(void)
{
	int code = errno;

	(void)!write(STATUS_FD, &code, sizeof(code));
	_exit(127);
}

__attribute__((noreturn)) static void run(const struct child_spec *spec, int status)
{
	int fds[] = {spec->in, spec->out, spec->err, status, spec->self};
	struct rlimit files = {FILES_SOFT, FILES_HARD};

	reset_signals();
	setsid();
	if (place_fds(fds, ARRAY_SIZE(fds)) < 0)
		fail();
	fcntl(STATUS_FD, F_SETFD, FD_CLOEXEC);
	if (spec->self >= 0)
		fcntl(SELF_FD, F_SETFD, FD_CLOEXEC);
	if (spec->tty && ioctl(0, TIOCSCTTY, 0) < 0)
		fail();
	umask(022);
	if (setrlimit(RLIMIT_NOFILE, &files) < 0 && errno != EPERM)
		fail();
	if (user_become(spec->user) < 0 || enter_folder(spec) < 0)
		fail();
	if (spec->prepare)
		spec->prepare();
	environ = (char **)spec->env;
	if (spec->self >= 0)
		syscall(SYS_execveat, SELF_FD, "", spec->argv, spec->env, AT_EMPTY_PATH);
	else
		execvp(spec->argv[0], (char *const *)spec->argv);
	fail();
}

pid_t child_start(const struct child_spec *spec, int *ret_status, struct err *err)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, "cannot make a pipe");
	pid = fork();
	if (pid == 0)
		run(spec, fds[1]);
	close(fds[1]);
	if (pid < 0) {
		err_sys(err, "cannot fork");
		close(fds[0]);
		return err ? err->code : -EAGAIN;
	}
	*ret_status = fds[0];
	return pid;
}

int child_watch(pid_t pid, child_ended_fn *fn, void *data)
{
	for (size_t i = 0; i < CHILD_MAX; i++) {
		if (watched[i].pid)
			continue;
		watched[i].pid = pid;
		watched[i].fn = fn;
		watched[i].data = data;
		return 0;
	}
	return -ENOBUFS;
}

void child_forget(pid_t pid)
{
	for (size_t i = 0; i < CHILD_MAX; i++)
		if (watched[i].pid == pid)
			watched[i].pid = 0;
}

static void ended(pid_t pid, int status)
{
	for (size_t i = 0; i < CHILD_MAX; i++) {
		if (watched[i].pid != pid)
			continue;
		watched[i].pid = 0;
		watched[i].fn(watched[i].data, status);
		return;
	}
}

static void on_sigchld(uv_signal_t *handle, int signum)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		ended(pid, status);
}

int child_reaper_init(uv_loop_t *loop, struct err *err)
{
	int r = uv_signal_init(loop, &reaper);

	if (r == 0)
		r = uv_signal_start(&reaper, on_sigchld, SIGCHLD);
	if (r < 0)
		return err_set(err, r, "cannot watch for children: %s", uv_strerror(r));
	uv_unref((uv_handle_t *)&reaper);
	return 0;
}

void child_reaper_done(void)
{
	uv_close((uv_handle_t *)&reaper, NULL);
}
