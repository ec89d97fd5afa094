/* QEMU's command line, from values: pure, and no value leaves its place. */
#ifndef BERTH_QEMU_ARGS_H
#define BERTH_QEMU_ARGS_H

#include <stdbool.h>
#include <stddef.h>

#define QEMU_ARGS_MAX 64
#define QEMU_BINARY "/usr/bin/qemu-system-x86_64"

/* Paths are as QEMU sees them, inside its own root. */
struct qemu_args {
	const char *name; /* shown in the process list: the agent's id */
	const char *kernel, *initrd, *rootfs;
	const char *disk;      /* a qcow2 file */
	const char *disk_node; /* its node's name: a letter, then letters, digits, _; at most 31 */
	const char *memory;    /* a file of memory_mib that RAM is a private view of */
	bool incoming;         /* wait for a device state instead of booting */
	unsigned memory_mib, cpus;
	unsigned long tsc_khz; /* of the host, under TCG; 0: the guest's kernel finds out */
	int kvm_fd;            /* of a kvm node, or -1: TCG */
	int tap_fd, qmp_fd;    /* a tap, and a listening unix socket */
};

/*
 * Fills argv (NULL-terminated; each string the caller's to free, see qemu_args_free). The values go
 * in as JSON or with doubled commas, so that none of them can add an option. 0, or -E2BIG.
 */
int qemu_args_make(const struct qemu_args *a, char *argv[QEMU_ARGS_MAX]);
void qemu_args_free(char *argv[QEMU_ARGS_MAX]);

#endif
