/* What the vm*.c files share. Nobody else includes this. */
#ifndef BERTH_VM_PRIV_H
#define BERTH_VM_PRIV_H

#include "disk.h"
#include "guest_link.h"
#include "job.h"
#include "qmp.h"
#include "vm.h"
#include "watch.h"

#define CONSOLE_TAIL 400
#define QMP_MS 5000

/* What is being saved (vm_save.c) or loaded (vm_wake.c): one at a time. */
struct vm_task {
	struct vm *vm;
	struct job *job;
	struct watch_timer *timer;
	char *folder; /* of a save */
	struct vm_save_callbacks cb;
	struct vm_saved saved;
	bool captured;
};

struct vm {
	uv_loop_t *loop;
	struct vm_callbacks cb;
	void *data;
	char *state, *id;
	pid_t pid;
	int pidfd;
	bool kvm;
	struct watch_fd *process;
	int output_fd; /* what QEMU prints, -1 when it was adopted */
	struct watch_fd *output;
	char said[CONSOLE_TAIL + 1];  /* the last of that */
	struct watch_timer *deadline; /* then SIGKILL */
	struct qmp *qmp;              /* NULL once it is gone */
	struct guest_link *link;      /* NULL once the guest is known to have ended */
	bool asked;                   /* vm_shutdown was called */
	bool ending;                  /* how and why are settled */
	char monitor[64];             /* why it is gone, "" while it is there */
	struct watch_timer *room;     /* tries again */
	bool full;                    /* QEMU waits with a write that found no room */
	bool stalled;                 /* told so, and not yet that it goes on */
	uint64_t tried_at;            /* when it last went on, perhaps not for good */
	bool unseen;                  /* the guest had ended before we looked */
	enum vm_end how;
	char why[200];
	char console[CONSOLE_TAIL + 1];
	bool browser; /* run Chromium */
	bool woken;   /* the guest is of another moment, or another agent's: tell it */
	char *name;   /* the guest's hostname */
	uint8_t machine_id[16];
	char *memory;                 /* what RAM is a view of */
	char disk[DISK_NAME_MAX + 1]; /* the file (and node) that the guest writes */
	struct vm_wake wake;          /* what it wakes from; zeroes: it boots. Strings are owned */
	struct vm_task *task;         /* NULL: nothing is being saved or loaded */
	void (*machine_fn)(struct vm *vm, const char *machine); /* of vm_ask_machine */
	struct {
		char disk[DISK_NAME_MAX + 1];
		void (*done)(void *data, const struct err *err);
		void *data;
	} going; /* vm_switch_disk under way */
	struct {
		char disk[DISK_NAME_MAX + 1]; /* "": nothing is under way */
		char base[DISK_NAME_MAX + 1];
		vm_disk_fn *done; /* NULL: cancelled */
		void *data;
		struct err err; /* of the job, while its file is closed */
	} merging;              /* vm_merge or vm_rest_disk */
};

/* vm.c: begins to speak to the guest, once it may run. */
void vm_begin_link(struct vm *vm);
/* vm.c: how it ends from here on, unless that is settled already. */
void vm_settle(struct vm *vm, enum vm_end how, const char *why);

/* vm_wake.c: puts the memory back into a QEMU that waits for it, then cb.loaded. */
void vm_wake_begin(struct vm *vm);
/* vm_save.c: asks QEMU for the file that the guest writes. */
void vm_look_at_disk(struct vm *vm);
/* vm_save.c: a disk's node, as in qemu_args.c; what it stands on is still to be added. */
cJSON *vm_disk_node(const char *disk, bool read_only);
/* vm_merge.c: a block job has ended. */
void vm_merge_event(struct vm *vm, const char *name, const cJSON *event);
/* vm_merge.c: ends jobs that an earlier daemon began, and closes what nobody stands on. */
void vm_merge_sweep(struct vm *vm);
/* vm_save.c: QEMU, accelerator and CPU in words; answered with NULL and err when QEMU does not say.
 */
void vm_ask_machine(struct vm *vm, void (*fn)(struct vm *vm, const char *machine));
/* vm_save.c: drops what is under way; no callback of it comes any more. */
void vm_task_drop(struct vm *vm);

#endif
