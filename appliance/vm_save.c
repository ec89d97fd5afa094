/*
 * A guest stopped and its memory saved; its disk switched to another file.
 *
 * Theory of operation. One task at a time hangs on the vm:
 *
 *   query-version -> stop -> xen-save-devices-state (the state of the devices without RAM, for all
 *   its name: QEMU's qapi/migration.json) -> berth-pages save -> captured -> saved
 *
 * QEMU may write one prepared file in its folder, device.part; what it wrote is copied before
 * anybody believes it. Whoever asked decides what comes after `captured`. The task vanishes with
 * the vm, without a word: `ended` says enough.
 */
#include "vm_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>

#include "house.h"
#include "job.h"
#include "json.h"
#include "log.h"
#include "paths.h"
#include "process.h"
#include "qmp.h"
#include "sandbox.h"
#include "util.h"

#define STOP_MS 30000
#define DEVICE_MAX (64u << 20)

static void task_free(struct vm_task *t)
{
	job_cancel(t->job);
	watch_timer_free(t->timer);
	free(t->folder);
	free(t);
}

void vm_task_drop(struct vm *vm)
{
	if (vm->task)
		task_free(steal(&vm->task));
}

static char *device_part(const struct vm *vm)
{
	return path_in(vm->state, "agents/%s/device.part", vm->id);
}

static void finish(struct vm_task *t, const struct err *err)
{
	struct vm_save_callbacks cb = t->cb;
	struct vm_saved saved = t->saved;
	AUTOFREE char *part = device_part(t->vm);

	unlink(part);
	t->vm->task = NULL;
	task_free(t);
	cb.saved(cb.data, err ? NULL : &saved, err);
}

/* A file that QEMU may write, and nothing else in its folder. */
static int make_part(const struct vm *vm, struct err *err)
{
	AUTOFREE char *path = device_part(vm);
	AUTOFREE char *disk = path_in(vm->state, "agents/%s/%s.qcow2", vm->id, vm->disk);
	AUTOFD int fd = -1;
	struct stat st;

	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(err, "cannot make %s", path);
	/* It belongs to whom the disk belongs. */
	if (stat(disk, &st) < 0)
		return err_sys(err, "cannot look at %s", disk);
	return house_chown(path, st.st_uid, st.st_gid, err);
}

static void digest_hex(const char *data, size_t n, char out[65])
{
	uint8_t digest[32];

	crypto_generichash(digest, sizeof(digest), (const uint8_t *)data, n, NULL, 0);
	hex_encode(digest, sizeof(digest), out);
}

/* Takes over what QEMU wrote, which must be small, into a file of ours. */
static int take_device(struct vm_task *t, struct err *err)
{
	AUTOFREE char *part = device_part(t->vm), *path = xasprintf("%s/device", t->folder),
		      *data = NULL;
	size_t n;
	int r = file_read(AT_FDCWD, part, DEVICE_MAX, &data, &n, err);

	if (r < 0)
		return r;
	if (n == 0)
		return err_set(err, EIO, "QEMU wrote no device state");
	digest_hex(data, n, t->saved.device_digest);
	return file_write_atomic(path, data, n, 0444, err);
}

static void on_line(void *data, const cJSON *line)
{
	struct vm_task *t = data;

	if (!json_get(line, "captured") || t->captured)
		return;
	t->captured = true;
	t->cb.captured(t->cb.data);
}

static void on_saved(void *data, const cJSON *last, const struct err *err)
{
	struct vm_task *t = data;
	struct err why;

	t->job = NULL;
	if (err) {
		finish(t, err);
		return;
	}
	snprintf(t->saved.pages_digest, sizeof(t->saved.pages_digest), "%s",
		json_str(last, "digest", ""));
	t->saved.pages = (uint64_t)json_int(last, "pages", 0);
	t->saved.zero_pages = (uint64_t)json_int(last, "zero", 0);
	t->saved.bytes = (uint64_t)json_int(last, "bytes", 0);
	finish(t, take_device(t, &why) < 0 ? &why : NULL);
}

static void on_device(void *data, const cJSON *ret, const struct err *err)
{
	struct vm_task *t = data;
	AUTOFREE char *program = path_libexec("berth-pages"), *pid = xasprintf("%d", t->vm->pid),
		      *pages = xasprintf("%s/pages", t->folder);
	const char *const argv[] = {program, "save", pid, t->vm->memory, pages, NULL};
	const struct job_callbacks cb = {on_line, on_saved, t};
	struct err why;

	if (!ret)
		finish(t, err);
	else if (job_start(&t->job, t->vm->loop, argv, &cb, &why) < 0)
		finish(t, &why);
}

static void on_stopped(void *data, const cJSON *ret, const struct err *err)
{
	struct vm_task *t = data;
	cJSON *args;

	if (!ret) {
		finish(t, err);
		return;
	}
	args = cJSON_CreateObject();
	cJSON_AddStringToObject(args, "filename", SANDBOX_AGENT "/device.part");
	cJSON_AddBoolToObject(args, "live", false);
	qmp_command(t->vm->qmp, "xen-save-devices-state", args, STOP_MS, on_device, t);
}

static void on_version(void *data, const cJSON *ret, const struct err *err)
{
	struct vm *vm = data;
	const cJSON *qemu = json_get(ret, "qemu");
	char text[200];

	snprintf(text, sizeof(text), "QEMU %d.%d.%d %.80s, %s, cpu %s",
		(int)json_int(qemu, "major", 0), (int)json_int(qemu, "minor", 0),
		(int)json_int(qemu, "micro", 0), json_str(ret, "package", ""), vm_accel(vm),
		vm->kvm ? "host" : "max,vendor=GenuineIntel");
	vm->machine_fn(vm, qemu ? text : NULL);
}

void vm_ask_machine(struct vm *vm, void (*fn)(struct vm *vm, const char *machine))
{
	vm->machine_fn = fn;
	qmp_command(vm->qmp, "query-version", NULL, QMP_MS, on_version, vm);
}

static void on_machine(struct vm *vm, const char *machine)
{
	struct vm_task *t = vm->task;
	struct err why;

	if (!t)
		return;
	if (!machine) {
		err_set(&why, EIO, "QEMU does not say what it is");
		finish(t, &why);
		return;
	}
	snprintf(t->saved.machine, sizeof(t->saved.machine), "%s", machine);
	qmp_command(vm->qmp, "stop", NULL, STOP_MS, on_stopped, t);
}

int vm_save(struct vm *vm, const char *folder, const struct vm_save_callbacks *cb, struct err *err)
{
	int r;

	if (vm->task || !vm->qmp || vm->ending || vm->full)
		return err_set(err, EBUSY, "the guest's memory cannot be saved now");
	r = make_part(vm, err);
	if (r < 0)
		return r;
	vm->task = xcalloc(1, sizeof(*vm->task));
	*vm->task = (struct vm_task){.vm = vm, .folder = xstrdup(folder), .cb = *cb};
	vm_ask_machine(vm, on_machine);
	return 0;
}

void vm_continue(struct vm *vm)
{
	if (vm->qmp)
		qmp_command(vm->qmp, "cont", NULL, QMP_MS, NULL, NULL);
	if (!vm->link)
		vm_begin_link(vm);
}

void vm_end_saved(struct vm *vm)
{
	vm_settle(vm, VM_END_SAVED, "suspended");
	vm_kill(vm);
}

static void on_switched(void *data, const cJSON *ret, const struct err *err)
{
	struct vm *vm = data;

	if (ret)
		memcpy(vm->disk, vm->going.disk, sizeof(vm->disk));
	vm->going.done(vm->going.data, ret ? NULL : err);
}

/* The new file is a node of QEMU's now, and put on top. */
static void on_added(void *data, const cJSON *ret, const struct err *err)
{
	struct vm *vm = data;
	cJSON *args;

	if (!ret || !vm->qmp) {
		vm->going.done(vm->going.data, err);
		return;
	}
	args = cJSON_CreateObject();
	cJSON_AddStringToObject(args, "node", vm->disk);
	cJSON_AddStringToObject(args, "overlay", vm->going.disk);
	qmp_command(vm->qmp, "blockdev-snapshot", args, QMP_MS, on_switched, vm);
}

cJSON *vm_disk_node(const char *disk, bool read_only)
{
	AUTOFREE char *inside = xasprintf(SANDBOX_AGENT "/%s.qcow2", disk);
	cJSON *node = cJSON_CreateObject(), *file = cJSON_AddObjectToObject(node, "file");

	cJSON_AddStringToObject(file, "driver", "file");
	cJSON_AddStringToObject(file, "filename", inside);
	cJSON_AddStringToObject(node, "driver", "qcow2");
	cJSON_AddStringToObject(node, "node-name", disk);
	if (read_only) {
		cJSON_AddBoolToObject(node, "read-only", true);
		return node;
	}
	cJSON_AddBoolToObject(file, "auto-read-only", true);
	cJSON_AddStringToObject(file, "discard", "unmap");
	cJSON_AddStringToObject(node, "discard", "unmap");
	cJSON_AddStringToObject(node, "detect-zeroes", "unmap");
	return node;
}

void vm_switch_disk(struct vm *vm, const char *disk,
	void (*done)(void *data, const struct err *err), void *data)
{
	cJSON *node = vm_disk_node(disk, false);

	snprintf(vm->going.disk, sizeof(vm->going.disk), "%s", disk);
	vm->going.done = done;
	vm->going.data = data;
	cJSON_AddNullToObject(node, "backing");
	qmp_command(vm->qmp, "blockdev-add", node, QMP_MS, on_added, vm);
}

const char *vm_disk(const struct vm *vm)
{
	return vm->disk;
}

static void on_block(void *data, const cJSON *ret, const struct err *err)
{
	struct vm *vm = data;
	const cJSON *one;

	cJSON_ArrayForEach (one, ret) {
		const char *node = json_str(json_get(one, "inserted"), "node-name", "");

		if (disk_name_valid(node))
			snprintf(vm->disk, sizeof(vm->disk), "%s", node);
	}
}

void vm_look_at_disk(struct vm *vm)
{
	qmp_command(vm->qmp, "query-block", NULL, QMP_MS, on_block, vm);
}
