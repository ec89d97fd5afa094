/* One program that the supervisor keeps running. */
#include "supervisor_child.h"
#include "house.h"
#include "log.h"
#include "paths.h"
#include "process.h"
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define BACKOFF_MIN_MS 100u
#define BACKOFF_MAX_MS 5000u
#define BACKOFF_RESET_MS 30000u
#define END_WAIT_MS 5000
#define LAST_WORDS_MAX 8192
#define KILL_ROUNDS 50

static char *log_path(const struct child *c, const char *state)
{
	return path_in(state, "log/%s.log", c->title);
}

/* In the child: never returns. */
__attribute__((noreturn)) static void exec_child(
	const struct child *c, int log, const char *path, char *const argv[])
{
	sigset_t none;
	int null = open("/dev/null", O_RDONLY);
	int r = 0;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(null, 0);
	dup2(log, 1);
	dup2(log, 2);
	close_range(3, ~0u, 0);
	if (c->uid)
		r = house_drop(c->uid);
	if (r == 0)
		execv(path, argv);
	fprintf(stderr, "%s: cannot be started: %s\n", path, strerror(r < 0 ? -r : errno));
	_exit(127);
}

int child_start(struct child *c, const char *state, char *const argv[], struct err *err)
{
	AUTOFREE char *path = path_libexec(c->program), *log = log_path(c, state);
	AUTOFREE char *pid_file = path_in(state, "run/%s.pid", c->title);
	AUTOFD int fd = -1;
	struct stat st;

	child_rotate_log(c, state);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, "cannot open %s", log);
	c->log_start = st.st_size;
	c->started_ms = now_ms();
	house_has_ids(); /* looked up before the fork */
	c->pid = fork();
	if (c->pid == 0)
		exec_child(c, fd, path, argv);
	if (c->pid < 0) {
		c->pid = 0;
		return err_sys(err, "cannot fork");
	}
	process_write_file(pid_file, c->pid, NULL);
	return 0;
}

/* "TIME LEVEL PROGRAM: text" without its first part. */
static const char *without_prefix(const char *line)
{
	const char *colon = strchr(line, ' ');

	if (!colon || line[0] < '0' || line[0] > '9' || !(colon = strstr(colon, ": ")))
		return line;
	return colon + 2;
}

void child_last_words(const struct child *c, const char *state, char out[400])
{
	AUTOFREE char *log = log_path(c, state);
	AUTOFILE FILE *f = fopen(log, "re");
	char line[1024];
	bool error = false;
	long end;

	out[0] = 0;
	if (!f || fseek(f, 0, SEEK_END) < 0 || (end = ftell(f)) < 0)
		return;
	if (fseek(f, MAX(c->log_start, end - LAST_WORDS_MAX), SEEK_SET) < 0)
		return;
	while (fgets(line, sizeof(line), f)) {
		bool is_error = strstr(line, " error ") != NULL;

		line[strcspn(line, "\n")] = 0;
		if (!line[0] || (error && !is_error))
			continue;
		error = is_error;
		snprintf(out, 400, "%.399s", without_prefix(line));
	}
}

unsigned child_ended(struct child *c)
{
	if (now_ms() - c->started_ms >= BACKOFF_RESET_MS || !c->backoff_ms)
		c->backoff_ms = BACKOFF_MIN_MS;
	else
		c->backoff_ms = MIN(c->backoff_ms * 2, BACKOFF_MAX_MS);
	c->pid = 0;
	return c->backoff_ms;
}

void child_end_old(const struct child *c, const char *state)
{
	AUTOFREE char *pid_file = path_in(state, "run/%s.pid", c->title);
	pid_t pid;
	AUTOFD int fd = process_open_file(pid_file, &pid);
	struct pollfd p = {.fd = fd, .events = POLLIN};

	if (fd < 0)
		return;
	log_info("taking the place of %s %d", c->program, (int)pid);
	/* Not SIGTERM: a daemon that is killed leaves the agents as they are, for the next one to
	 * adopt. */
	process_signal(fd, SIGKILL);
	poll(&p, 1, END_WAIT_MS);
}

void child_rotate_log(const struct child *c, const char *state)
{
	AUTOFREE char *log = log_path(c, state), *old = xasprintf("%s.1", log);
	AUTOFD int from = open(log, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	AUTOFD int to = -1;
	struct stat st;

	if (from < 0 || fstat(from, &st) < 0 || st.st_size <= CHILD_LOG_MAX)
		return;
	unlink(old);
	to = open(old, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (to >= 0) {
		off_t at = st.st_size - CHILD_LOG_MAX;

		while (at < st.st_size && sendfile(to, from, &at, (size_t)(st.st_size - at)) > 0)
			;
	}
	/* The writer appends, so it goes on at the new end. */
	if (ftruncate(from, 0) < 0)
		log_warning("cannot cut %s: %s", log, strerror(errno));
}

void child_kill_all(void)
{
	AUTOFREE char *path = xasprintf("/proc/self/task/%d/children", (int)getpid());

	for (int i = 0; i < KILL_ROUNDS; i++) {
		AUTOFREE char *text = NULL;
		char *save = NULL;

		if (file_read(AT_FDCWD, path, 1u << 20, &text, NULL, NULL) < 0)
			return;
		for (char *p = strtok_r(text, " ", &save); p; p = strtok_r(NULL, " ", &save)) {
			pid_t pid = (pid_t)strtol(p, NULL, 10);

			if (pid > 1)
				kill(pid, SIGKILL);
		}
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD)
			return;
		usleep(100000);
	}
}
