/*
 * A helper process of ours.
 *
 * Its stdout is a pipe that is read until its end, which comes when the process ends (it starts
 * nothing itself); then it is waited for.
 */
#include "job.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

#include "bytes.h"
#include "json.h"
#include "util.h"
#include "watch.h"

#define LINE_MAX_BYTES 65536

struct job {
	struct job_callbacks cb;
	pid_t pid;
	int fd;
	struct watch_fd *watch;
	struct buf in;
	cJSON *last;
};

static void job_free(struct job *j)
{
	watch_fd_free(j->watch);
	close(j->fd);
	buf_done(&j->in);
	cJSON_Delete(j->last);
	free(j);
}

static void take_lines(struct job *j)
{
	const char *text, *end;

	while ((end = strchr(text = buf_str(&j->in), '\n'))) {
		size_t n = (size_t)(end - text) + 1;
		cJSON *line = cJSON_ParseWithLength(text, n);

		buf_consume(&j->in, n);
		if (!line)
			continue;
		cJSON_Delete(j->last);
		j->last = line;
		if (j->cb.line && !json_get(line, "error"))
			j->cb.line(j->cb.data, line);
	}
}

static void finish(struct job *j)
{
	struct job_callbacks cb = j->cb;
	cJSON *last = steal(&j->last);
	struct err err = {0};
	int status = 0;

	waitpid(j->pid, &status, 0);
	job_free(j);
	if (json_get(last, "error"))
		err_set(&err, (int)json_int(last, "code", -EIO), "%s", json_str(last, "error", ""));
	else if (!last || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		err_set(&err, EIO, "a helper process ended with %s %d",
			WIFSIGNALED(status) ? "signal" : "status",
			WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	if (err.code == -ENOSPC)
		err_type(&err, 507, "disk-full");
	cb.done(cb.data, last, err.code ? &err : NULL);
	cJSON_Delete(last);
}

static void on_output(void *data, int events)
{
	struct job *j = data;
	char piece[4096];
	ssize_t n = read(j->fd, piece, sizeof(piece));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0 && buf_add(&j->in, piece, (size_t)n)) {
		take_lines(j);
		return;
	}
	if (n > 0)
		kill(j->pid, SIGKILL);
	finish(j);
}

int job_start(struct job **ret, uv_loop_t *loop, const char *const *argv,
	const struct job_callbacks *cb, struct err *err)
{
	posix_spawn_file_actions_t actions;
	struct job *j;
	int ends[2], r;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, "cannot make a pipe");
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
	r = posix_spawn(&pid, argv[0], &actions, NULL, (char *const *)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	if (r != 0) {
		close(ends[0]);
		return err_set(err, r, "cannot run %s: %s", argv[0], strerror(r));
	}
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	j = xcalloc(1, sizeof(*j));
	*j = (struct job){.cb = *cb, .pid = pid, .fd = ends[0]};
	buf_init(&j->in, LINE_MAX_BYTES);
	j->watch = watch_fd_new(loop, j->fd, UV_READABLE, on_output, j);
	*ret = j;
	return 0;
}

void job_cancel(struct job *j)
{
	if (!j)
		return;
	kill(j->pid, SIGKILL);
	waitpid(j->pid, NULL, 0);
	job_free(j);
}
