/* One microVM: QEMU started, adopted, watched and ended; the guest's control channel. */
#ifndef BERTH_VM_H
#define BERTH_VM_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "err.h"
#include "guest.h"

/* A guest's memory at one moment, on top of vm_spec.memory. Paths and lower-case hex digests. */
struct vm_wake {
	const char *device, *pages; /* pages NULL: the memory is just the file */
	const char *device_digest, *pages_digest;
	const char *machine; /* vm_saved.machine: no other can wake it */
};

/* What to run. Strings are copied. */
struct vm_spec {
	const char *state;     /* the state folder */
	const char *id, *name; /* the agent's; name is the guest's hostname */
	unsigned slot;         /* 0…: uid 1000 + slot inside the appliance's user namespace */
	const char *image_dir; /* rootfs.erofs, vmlinuz, initrd.img */
	const char *disk;      /* STATE/agents/ID/DISK.qcow2 is what the guest writes (disk.h) */
	const char *memory;    /* a file of memory_mib: what the guest's RAM is a private view of */
	struct vm_wake wake;   /* device NULL: boot */
	unsigned memory_mib, cpus;
	uint8_t machine_id[16];
	bool browser; /* run Chromium */
	bool woken;   /* to vm_adopt: the guest has woken and not yet been told who it is */
};

enum vm_end {
	VM_END_POWEROFF,   /* the guest ended by itself or because vm_shutdown asked */
	VM_END_CRASH,      /* panic, reset, QEMU died */
	VM_END_HANG,       /* no answer on the guest channel in time; QEMU has been killed */
	VM_END_SAVED,      /* vm_end_saved */
	VM_END_UNWAKEABLE, /* the memory is not one to wake from; the guest has not run */
	VM_END_NOT_WOKEN,  /* the memory could not be put back this time; the guest has not run */
};

/* Events go up through these. None is called from within a vm_ function; the vm may be freed only
 * outside of them (vm_free from within `ended` is allowed). */
struct vm_callbacks {
	void (*ready)(void *data, const struct guest_ready *ready);
	void (*browser)(void *data, const struct guest_browser *browser);
	void (*pong)(void *data, const struct guest_pong *pong); /* may be NULL */
	void (*log)(void *data, unsigned source, const char *line);
	/*
	 * Of one that wakes: its memory is back, as it was saved. It runs on with vm_continue, and
	 * with that what it was saved as becomes old. Then `ready`.
	 */
	void (*loaded)(void *data);
	/* The last one. detail: one line saying how, with the console's last lines for a crash. */
	void (*ended)(void *data, enum vm_end how, const char *detail);
	/* The machine stands still until the host's disk has room again (why), or goes on (why is
	 * NULL). May be NULL. */
	void (*stalled)(void *data, const char *why);
};

struct vm; /* owned by the agent that started it */

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
/* Lets a guest that has been loaded or saved run on. */
void vm_continue(struct vm *vm);

struct vm_saved {
	char machine[200]; /* what saved it and alone can wake it: QEMU, accelerator, CPU */
	char device_digest[65], pages_digest[65]; /* BLAKE2b-256 in lower-case hex */
	uint64_t pages, zero_pages, bytes;        /* bytes: of the file of pages */
};
struct vm_save_callbacks {
	/* The memory is taken: the guest may go on (vm_switch_disk, vm_continue), or end. */
	void (*captured)(void *data);
	/* All is in the folder, and on the disk; or err. The guest stands still unless continued.
	 */
	void (*saved)(void *data, const struct vm_saved *saved, const struct err *err);
	void *data;
};
/*
 * Stops the guest and writes its device state and memory into folder/device and folder/pages. One
 * such task at a time: -EBUSY. Neither callback comes from within.
 */
int vm_save(struct vm *vm, const char *folder, const struct vm_save_callbacks *cb, struct err *err);
/* The guest, which stands still, goes on writing to another file, which stands on its present one
 * (disk_make). */
void vm_switch_disk(struct vm *vm, const char *disk,
	void (*done)(void *data, const struct err *err), void *data);
/*
 * Copies into the file `into` (disk_make, standing on the layer right below the disk) what the
 * layers between it and the layer `base` hold; then it stands on base, and QEMU has closed it. The
 * guest runs meanwhile. done: not from within, and not after vm_merge_cancel. -EBUSY: one at a
 * time.
 */
typedef void vm_disk_fn(void *data, const struct err *err);
int vm_merge(struct vm *vm, const char *into, const char *base, vm_disk_fn *done, void *data,
	struct err *err);
void vm_merge_cancel(struct vm *vm);
/*
 * Puts the disk of a running guest on the file `on`, which holds what those below it hold. The
 * disk's header says whether it was done, whatever done says; then it is on the host's disk. What
 * nobody stands on any more is closed.
 */
void vm_rest_disk(struct vm *vm, const char *on, vm_disk_fn *done, void *data);
/* The name of the file that the guest writes, as QEMU says; asked anew by vm_adopt, before `ready`.
 */
const char *vm_disk(const struct vm *vm);
/* Ends QEMU after a save; `ended` follows with VM_END_SAVED. */
void vm_end_saved(struct vm *vm);
void vm_browser_restart(struct vm *vm);
/* Lets go of it without ending QEMU (daemon shutdown or after `ended`). */
void vm_free(struct vm *vm);
int vm_pid(const struct vm *vm);
/* "tcg" or "kvm". */
const char *vm_accel(const struct vm *vm);
/* Host memory of the QEMU process in bytes (PSS), 0 if unknown. */
uint64_t vm_memory(const struct vm *vm);
/* It stands still: a write of its found no room on the host. */
bool vm_stalled(const struct vm *vm);

#endif
