/*
 * Layers of a running guest's disk made one, and the disk put on that.
 *
 * Theory of operation. The guest notices nothing, and what is killed anywhere leaves a disk that
 * holds what it held: the new file holds the same as what it takes the place of.
 *
 *   vm_merge       blockdev-add (the new file, with a chain of nodes of its own) -> block-stream
 *                  copies what lies above the base, then its header names the base ->
 *                  blockdev-del, which writes what QEMU still kept of it
 *   vm_rest_disk   blockdev-add -> change-backing-file: the header of the disk names the new file
 *                  -> blockdev-reopen: QEMU reads through it, after it flushed the disk (block.c,
 *                  bdrv_reopen_prepare), so the header is on the host's disk -> what nobody
 *                  stands on is closed
 *
 * The job has the name of its file, so that one which an earlier daemon began is known for what it
 * is.
 */
#include "vm_priv.h"

#include <errno.h>
#include <string.h>

#include "json.h"
#include "qmp.h"
#include "util.h"

#define DISK_MS 30000             /* commands that may wait for the host's disk */
#define SPEED (128 * 1024 * 1024) /* bytes a second: the guest reads and writes beside it */

static cJSON *text_args(const char *name, const char *value)
{
	cJSON *args = cJSON_CreateObject();

	cJSON_AddStringToObject(args, name, value);
	return args;
}

static void finish(struct vm *vm, const struct err *err)
{
	vm_disk_fn *done = vm->merging.done;

	vm->merging.disk[0] = 0;
	if (done)
		done(vm->merging.data, err);
}

static int begin(struct vm *vm, const char *disk, vm_disk_fn *done, void *data, struct err *err)
{
	if (!vm->qmp || vm->ending || vm->merging.disk[0])
		return err_set(err, EBUSY, "the disk cannot be worked on now");
	snprintf(vm->merging.disk, sizeof(vm->merging.disk), "%s", disk);
	vm->merging.done = done;
	vm->merging.data = data;
	vm->merging.err = (struct err){0};
	return 0;
}

static void on_closed(void *data, const cJSON *ret, const struct err *err)
{
	struct vm *vm = data;

	finish(vm, vm->merging.err.code ? &vm->merging.err : ret ? NULL : err);
}

/* Closes the file that was filled, or was to be; err: why it is of no use. */
static void close_file(struct vm *vm, const struct err *err)
{
	if (err)
		vm->merging.err = *err;
	if (vm->qmp)
		qmp_command(vm->qmp, "blockdev-del", text_args("node-name", vm->merging.disk),
			DISK_MS, on_closed, vm);
	else
		finish(vm, err);
}

void vm_merge_event(struct vm *vm, const char *name, const cJSON *event)
{
	const char *job = json_str(event, "device", ""), *why = json_str(event, "error", NULL);
	struct err err;

	if (!streq(name, "BLOCK_JOB_COMPLETED") && !streq(name, "BLOCK_JOB_CANCELLED"))
		return;
	if (!streq(job, vm->merging.disk)) { /* an earlier daemon's */
		if (vm->qmp && disk_name_valid(job))
			qmp_command(vm->qmp, "blockdev-del", text_args("node-name", job), DISK_MS,
				NULL, NULL);
		return;
	}
	if (streq(name, "BLOCK_JOB_CANCELLED"))
		why = "cancelled";
	if (why)
		err_set(&err, strstr(why, strerror(ENOSPC)) ? ENOSPC : EIO,
			"the layers of the disk cannot be merged: %.200s", why);
	close_file(vm, why ? &err : NULL);
}

static void on_streaming(void *data, const cJSON *ret, const struct err *err)
{
	struct vm *vm = data;

	if (!ret)
		close_file(vm, err);
	else if (!vm->merging.done)
		vm_merge_cancel(vm);
}

static void on_added(void *data, const cJSON *ret, const struct err *err)
{
	struct vm *vm = data;
	AUTOFREE char *base = xasprintf("%s.qcow2", vm->merging.base);
	cJSON *args;

	if (!ret || !vm->qmp) {
		finish(vm, err);
		return;
	}
	args = text_args("job-id", vm->merging.disk);
	cJSON_AddStringToObject(args, "device", vm->merging.disk);
	cJSON_AddStringToObject(args, "base", base);
	cJSON_AddStringToObject(args, "backing-file", base);
	cJSON_AddNumberToObject(args, "speed", SPEED);
	qmp_command(vm->qmp, "block-stream", args, DISK_MS, on_streaming, vm);
}

int vm_merge(struct vm *vm, const char *into, const char *base, vm_disk_fn *done, void *data,
	struct err *err)
{
	int r = begin(vm, into, done, data, err);

	if (r < 0)
		return r;
	snprintf(vm->merging.base, sizeof(vm->merging.base), "%s", base);
	qmp_command(vm->qmp, "blockdev-add", vm_disk_node(into, false), DISK_MS, on_added, vm);
	return 0;
}

void vm_merge_cancel(struct vm *vm)
{
	cJSON *args;

	if (!vm->merging.disk[0])
		return;
	vm->merging.done = NULL;
	if (!vm->qmp)
		return;
	args = text_args("device", vm->merging.disk);
	cJSON_AddBoolToObject(args, "force", true);
	qmp_command(vm->qmp, "block-job-cancel", args, DISK_MS, NULL, NULL);
}

/* Nodes of disks that nobody stands on; QEMU refuses to close one that is in use. The newest come
 * first, and so do those on top. */
static void on_nodes(void *data, const cJSON *ret, const struct err *err)
{
	struct vm *vm = data;
	const cJSON *one;

	cJSON_ArrayForEach (one, ret) {
		const char *node = json_str(one, "node-name", "");

		if (vm->qmp && disk_name_valid(node) && !streq(node, vm->disk))
			qmp_command(vm->qmp, "blockdev-del", text_args("node-name", node), DISK_MS,
				NULL, NULL);
	}
}

static void close_unused(struct vm *vm)
{
	cJSON *args = cJSON_CreateObject();

	cJSON_AddBoolToObject(args, "flat", true);
	qmp_command(vm->qmp, "query-named-block-nodes", args, DISK_MS, on_nodes, vm);
}

static void on_rests(void *data, const cJSON *ret, const struct err *err)
{
	struct vm *vm = data;

	if (vm->qmp)
		close_unused(vm);
	finish(vm, ret ? NULL : err);
}

static void on_header(void *data, const cJSON *ret, const struct err *err)
{
	struct vm *vm = data;
	cJSON *args, *node;

	if (!ret || !vm->qmp) {
		on_rests(vm, NULL, err);
		return;
	}
	node = vm_disk_node(vm->disk, false);
	cJSON_AddStringToObject(node, "backing", vm->merging.disk);
	args = cJSON_CreateObject();
	cJSON_AddItemToArray(cJSON_AddArrayToObject(args, "options"), node);
	qmp_command(vm->qmp, "blockdev-reopen", args, DISK_MS, on_rests, vm);
}

static void on_opened(void *data, const cJSON *ret, const struct err *err)
{
	struct vm *vm = data;
	AUTOFREE char *file = xasprintf("%s.qcow2", vm->merging.disk);
	cJSON *args;

	if (!ret || !vm->qmp) {
		finish(vm, err);
		return;
	}
	args = text_args("device", vm->disk);
	cJSON_AddStringToObject(args, "image-node-name", vm->disk);
	cJSON_AddStringToObject(args, "backing-file", file);
	qmp_command(vm->qmp, "change-backing-file", args, DISK_MS, on_header, vm);
}

void vm_rest_disk(struct vm *vm, const char *on, vm_disk_fn *done, void *data)
{
	struct err err;

	if (begin(vm, on, done, data, &err) < 0)
		done(data, &err);
	else
		qmp_command(
			vm->qmp, "blockdev-add", vm_disk_node(on, true), DISK_MS, on_opened, vm);
}

static void on_jobs(void *data, const cJSON *ret, const struct err *err)
{
	struct vm *vm = data;
	const cJSON *one;

	cJSON_ArrayForEach (one, ret) {
		cJSON *args = text_args("device", json_str(one, "device", ""));

		cJSON_AddBoolToObject(args, "force", true);
		if (vm->qmp)
			qmp_command(vm->qmp, "block-job-cancel", args, DISK_MS, NULL, NULL);
		else
			cJSON_Delete(args);
	}
	if (vm->qmp)
		close_unused(vm);
}

void vm_merge_sweep(struct vm *vm)
{
	qmp_command(vm->qmp, "query-block-jobs", NULL, DISK_MS, on_jobs, vm);
}
