/* Processes of others: named by pid and start time, so that a number used again is not taken for
 * the old process. */
#ifndef BERTH_PROCESS_H
#define BERTH_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"

/* Start time in clock ticks since boot (proc(5), stat, field 22); 0 when there is no such process
 * or it is a zombie. */
uint64_t process_start_time(pid_t pid);
/* Writes "PID STARTTIME\n" whole or not at all. */
int process_write_file(const char *path, pid_t pid, struct err *err);
/* The living process that a pid file names, or 0. */
pid_t process_read_file(const char *path);
/* A pidfd of it (close-on-exec) and its pid; -ESRCH when it is gone. */
int process_open_file(const char *path, pid_t *ret_pid);
int process_pidfd(pid_t pid);
int process_signal(int pidfd, int signal);
/* Proportional set size in bytes, 0 if unknown. */
uint64_t process_memory(pid_t pid);
/* True while one of its threads runs or waits for a processor; false if unknown. */
bool process_wants_cpu(pid_t pid);
/* The number that follows the argument `option`, 1 to 2^20; otherwise what is given. */
unsigned process_arg_number(pid_t pid, const char *option, unsigned otherwise);
/* True if one of its arguments is exactly `arg`. */
bool process_has_arg(pid_t pid, const char *arg);

#endif
