/* Limits of agents: cgroup v2, or v1's memory, cpu and pids, behind one interface. */
#ifndef BERTH_CGROUP_H
#define BERTH_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"

/*
 * The house delegates folders and writes them into STATE/run/cgroups, one a line: "v2 PATH", or "v1
 * CONTROLLER PATH" for each of memory, cpu, pids. No such file: no limits, and every function here
 * succeeds and does nothing.
 */
#define CGROUP_FOLDERS 3

struct cgroup_limits {
	uint64_t memory_bytes;
	unsigned cpus;
	unsigned pids;
};

/* True when limits will be in force. */
bool cgroup_available(const char *state);
/* Makes agent ID's group with its limits; one that is there gets them again. */
int cgroup_create(
	const char *state, const char *id, const struct cgroup_limits *limits, struct err *err);
/*
 * Descriptors of the group's cgroup.procs files (-1 where there is none), for cgroup_enter in a
 * child that is still uid 0. The caller closes them.
 */
int cgroup_open(const char *state, const char *id, int ret_fds[CGROUP_FOLDERS], struct err *err);
/* For a child before exec: moves the caller into the group. Allocates nothing. 0 or a negative
 * errno. */
int cgroup_enter(const int fds[CGROUP_FOLDERS]);
/* Memory charged to the group in bytes, 0 if unknown. */
uint64_t cgroup_memory(const char *state, const char *id);
/* SIGKILL for all that is in it. */
void cgroup_kill(const char *state, const char *id);
/* Removes the group, killing what is left in it; waits for that at most a second. A missing one is
 * fine. */
int cgroup_remove(const char *state, const char *id, struct err *err);
/* Calls fn with the name of each group that is there; with v1 once for each controller. */
void cgroup_each(const char *state, void (*fn)(void *data, const char *name), void *data);

#endif
