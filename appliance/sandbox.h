/* The room QEMU runs in: an agent's network, its own few files, no rights, limits. */
#ifndef BERTH_SANDBOX_H
#define BERTH_SANDBOX_H

#include <stdbool.h>
#include <sys/types.h>

#include "err.h"

/* Where QEMU finds things inside. */
#define SANDBOX_IMAGE "/image"
#define SANDBOX_AGENT "/agent"
#define SANDBOX_MEMORY "/memory"
#define SANDBOX_DEVICE "/device"
/* The descriptors it gets beside 0, 1 and 2. */
#define SANDBOX_TAP_FD 3
#define SANDBOX_QMP_FD 4
#define SANDBOX_KVM_FD 5

struct sandbox {
	const char *state, *id;
	uid_t uid;
	const char *image_dir;      /* seen as SANDBOX_IMAGE, read-only */
	const char *agent_dir;      /* seen as SANDBOX_AGENT */
	const char *memory;         /* a file, seen as SANDBOX_MEMORY, read-only */
	const char *device;         /* a file, seen as SANDBOX_DEVICE, read-only; or NULL */
	int tap_fd, qmp_fd, log_fd; /* the caller's; log_fd becomes stdout and stderr */
	int kvm_fd;                 /* the caller's, or -1 */
	char *const *argv;
	const char
		*pid_file; /* names the process before it becomes QEMU, so that none runs unknown */
};

/*
 * Starts argv[0] inside: in the agent's cgroup and network namespace; in a mount namespace whose
 * root holds QEMU, its libraries and firmware, the image, and the agent's folder; as uid without
 * capabilities and with no_new_privs; in a process namespace of its own, so that it can signal
 * nobody. Its pid, or a negative errno with the step that failed. The caller's cgroup and namespace
 * for `id` exist.
 */
int sandbox_spawn(const struct sandbox *s, pid_t *ret, struct err *err);

#endif
