/*
 * A guest's memory put back.
 *
 * Theory of operation. QEMU stands with -incoming defer, its RAM a fresh view of the base file:
 *
 *   query-version (is it the same machine?) -> berth-pages load (pages into RAM, digests) ->
 *   migrate-incoming file:/device -> query-status until it is no longer inmigrate -> loaded
 *
 * Whatever fails ends QEMU before the guest has run: VM_END_UNWAKEABLE with the reason, or
 * VM_END_NOT_WOKEN if the memory itself is not to blame.
 */
#include "vm_priv.h"

#include <errno.h>
#include <string.h>

#include "job.h"
#include "json.h"
#include "paths.h"
#include "qmp.h"
#include "sandbox.h"
#include "util.h"
#include "watch.h"

#define LOAD_MS 60000
#define LOOK_MS 2 /* between looks at whether the device state is in */

static void give_up(struct vm *vm, enum vm_end how, const char *why)
{
	vm_task_drop(vm);
	vm_settle(vm, how, why);
	vm_kill(vm);
}

static void unwakeable(struct vm *vm, const char *why)
{
	give_up(vm, VM_END_UNWAKEABLE, why);
}

static void look(void *data);

static void on_status(void *data, const cJSON *ret, const struct err *err)
{
	struct vm_task *t = data;
	struct vm *vm = t->vm;
	const char *status = json_str(ret, "status", "");

	if (!ret) {
		give_up(vm, VM_END_NOT_WOKEN, err->msg);
	} else if (streq(status, "inmigrate")) {
		watch_timer_start(t->timer, LOOK_MS);
	} else {
		vm_task_drop(vm);
		vm->cb.loaded(vm->data);
	}
}

static void look(void *data)
{
	struct vm_task *t = data;

	if (t->vm->qmp)
		qmp_command(t->vm->qmp, "query-status", NULL, QMP_MS, on_status, t);
}

static void on_incoming(void *data, const cJSON *ret, const struct err *err)
{
	struct vm_task *t = data;

	if (!ret)
		unwakeable(t->vm, err->msg);
	else
		look(t);
}

static void on_pages(void *data, const cJSON *last, const struct err *err)
{
	struct vm_task *t = data;
	const struct vm_wake *w = &t->vm->wake;
	cJSON *args;

	t->job = NULL;
	if (err) {
		give_up(t->vm, err->code == -EBADMSG ? VM_END_UNWAKEABLE : VM_END_NOT_WOKEN,
			err->msg);
	} else if (!streq(json_str(last, "device", ""), w->device_digest) ||
		   (w->pages && !streq(json_str(last, "digest", ""), w->pages_digest))) {
		unwakeable(t->vm, "the saved memory is damaged: it is not the one that was saved");
	} else if (t->vm->qmp) {
		args = cJSON_CreateObject();
		cJSON_AddStringToObject(args, "uri", "file:" SANDBOX_DEVICE);
		qmp_command(t->vm->qmp, "migrate-incoming", args, QMP_MS, on_incoming, t);
	}
}

static void on_machine(struct vm *vm, const char *machine)
{
	AUTOFREE char *program = path_libexec("berth-pages"), *pid = xasprintf("%d", vm->pid);
	const struct vm_wake *w = &vm->wake;
	const char *const argv[] = {
		program, "load", pid, vm->memory, w->pages ? w->pages : "-", w->device, NULL};
	const struct job_callbacks cb = {.done = on_pages, .data = vm->task};
	char why[500];
	struct err err;

	if (!vm->task)
		return;
	if (!machine || !streq(machine, w->machine)) {
		snprintf(why, sizeof(why), "its memory belongs to another machine (%s; this is %s)",
			w->machine, machine ? machine : "unknown");
		unwakeable(vm, why);
	} else if (job_start(&vm->task->job, vm->loop, argv, &cb, &err) < 0) {
		give_up(vm, VM_END_NOT_WOKEN, err.msg);
	}
}

void vm_wake_begin(struct vm *vm)
{
	vm->task = xcalloc(1, sizeof(*vm->task));
	vm->task->vm = vm;
	vm->task->timer = watch_timer_new(vm->loop, look, vm->task);
	vm_ask_machine(vm, on_machine);
}
