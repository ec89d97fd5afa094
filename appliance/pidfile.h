/* "PID STARTTIME\n": a process named so that another one with the same number is not mistaken for it. */
#ifndef BERTH_PIDFILE_H
#define BERTH_PIDFILE_H

#include <sys/types.h>

#include "err.h"

/* Writes the file for a living process. */
int pidfile_write(const char *path, pid_t pid, struct err *err);
/* The pid if that very process is alive (a zombie is not), or 0. */
pid_t pidfile_read(const char *path);

#endif
