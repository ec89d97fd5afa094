/* One program that the supervisor keeps running. Private to the supervisor. */
#ifndef BERTH_SUPERVISOR_CHILD_H
#define BERTH_SUPERVISOR_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "err.h"

#define CHILD_LOG_MAX (10u << 20)

/* Embedded in the supervisor. */
struct child {
	const char *program; /* in libexec */
	const char *title;   /* names log/TITLE.log and run/TITLE.pid */
	uid_t uid;           /* 0: keeps all capabilities */
	pid_t pid;           /* 0: not running */
	uint64_t started_ms;
	unsigned backoff_ms;
	long log_start; /* the log's size when it was last started */
	uv_timer_t again;
};

/* Starts it with its arguments (NULL-terminated, argv[0] included). */
int child_start(struct child *c, const char *state, char *const argv[], struct err *err);
/* What it said last since it was started: the last error, else the last line; without time and
 * level. "" if nothing. */
void child_last_words(const struct child *c, const char *state, char out[400]);
/* Notes the end and says after how many ms to start it again. */
unsigned child_ended(struct child *c);
/* Ends one that an earlier supervisor left, and waits for that (5 s, then SIGKILL). */
void child_end_old(const struct child *c, const char *state);
/* Keeps log/TITLE.log within CHILD_LOG_MAX, with one older part log/TITLE.log.1. */
void child_rotate_log(const struct child *c, const char *state);
/* SIGKILL for every child process of this one, and waits for them. */
void child_kill_all(void);

#endif
