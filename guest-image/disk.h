/* The agent's disk: is it blank, ours, damaged; made or repaired before it is mounted. */
#ifndef BERTH_INIT_DISK_H
#define BERTH_INIT_DISK_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

enum disk_state {
	DISK_BLANK,   /* nothing was ever written where a file system begins */
	DISK_CLEAN,   /* ext4; what its journal holds the kernel replays */
	DISK_DAMAGED, /* ext4 that the kernel has marked with errors */
	DISK_FOREIGN, /* something else */
};

/* From the first DISK_HEAD bytes. */
#define DISK_HEAD 4096
enum disk_state disk_state_of(const uint8_t head[DISK_HEAD]);

/*
 * Makes the file system on `device` if it is blank, checks it if it is damaged. The tools run from
 * `tools`, a root file system with /dev mounted in it. *ret_fresh: 1 if made.
 */
int disk_prepare(const char *device, const char *tools, int *ret_fresh, struct err *err);

#endif
