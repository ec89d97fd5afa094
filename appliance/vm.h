/* One microVM: QEMU started, adopted, watched and ended; the guest's control channel. */
#ifndef BERTH_VM_H
#define BERTH_VM_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "err.h"
#include "guest.h"

/* What to run. Strings are copied. */
struct vm_spec {
	const char *state;     /* the state folder */
	const char *id, *name; /* the agent's; name is the guest's hostname */
	unsigned slot;         /* 0…: uid 1000 + slot inside the appliance's user namespace */
	const char *image_dir; /* rootfs.erofs, vmlinuz, initrd.img */
	const char *disk;      /* the agent's qcow2, made by vm_make_disk */
	unsigned memory_mib, cpus;
	uint8_t machine_id[16];
	bool browser; /* run Chromium */
};

enum vm_end {
	VM_END_POWEROFF, /* the guest ended by itself or because vm_shutdown asked */
	VM_END_CRASH,    /* panic, reset, QEMU died */
	VM_END_HANG,     /* no answer on the guest channel in time; QEMU has been killed */
};

/* Events go up through these. None is called from within a vm_ function; the vm may be freed only
 * outside of them (vm_free from within `ended` is allowed). */
struct vm_callbacks {
	void (*ready)(void *data, const struct guest_ready *ready);
	void (*browser)(void *data, const struct guest_browser *browser);
	void (*pong)(void *data, const struct guest_pong *pong); /* may be NULL */
	void (*log)(void *data, unsigned source, const char *line);
	/* The last one. detail: one line saying how, with the console's last lines for a crash. */
	void (*ended)(void *data, enum vm_end how, const char *detail);
	/* The machine stands still until the host's disk has room again (why), or goes on (why is
	 * NULL). May be NULL. */
	void (*stalled)(void *data, const char *why);
};

struct vm; /* owned by the agent that started it */

/* Makes the agent's disk: a sparse qcow2 of gib GiB owned by the slot's uid. -EEXIST if there is
 * one. */
int vm_make_disk(const char *path, unsigned gib, unsigned slot, struct err *err);
/*
 * Starts QEMU in the agent's namespace (which exists) and connects to the guest channel as soon as
 * it answers. Returns once QEMU's process runs; failures after that arrive as `ended`.
 */
int vm_start(struct vm **ret, uv_loop_t *loop, const struct vm_spec *spec,
	const struct vm_callbacks *cb, void *data, struct err *err);
/* Takes over a QEMU that an earlier daemon started (qemu.pid, qmp.sock). -ESRCH when it is gone.
 * `ready` comes again. */
int vm_adopt(struct vm **ret, uv_loop_t *loop, const struct vm_spec *spec,
	const struct vm_callbacks *cb, void *data, struct err *err);
/* Asks the guest to power off; after timeout_ms QEMU is killed. `ended` follows. */
void vm_shutdown(struct vm *vm, unsigned timeout_ms);
/* Kills QEMU. `ended` follows (VM_END_POWEROFF if a shutdown had been asked for, else CRASH). */
void vm_kill(struct vm *vm);
void vm_browser_restart(struct vm *vm);
/* Lets go of it without ending QEMU (daemon shutdown or after `ended`). */
void vm_free(struct vm *vm);
int vm_pid(const struct vm *vm);
/* "tcg" or "kvm". */
const char *vm_accel(const struct vm *vm);
/* Host memory of the QEMU process in bytes (PSS), 0 if unknown. */
uint64_t vm_memory(const struct vm *vm);

#endif
