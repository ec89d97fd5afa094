/*
 * One microVM: QEMU started, adopted, watched and ended; the guest's control channel.
 *
 * Theory of operation. Three things are watched: QEMU's process (a pidfd, so that an adopted one is
 * seen to end as well), its monitor, and the guest channel. Only the process's end ends the vm;
 * everything else leads there.
 *
 *   the guest powers off, resets, panics --> SHUTDOWN on the monitor; QEMU pauses --> read the
 * console --> quit, or kill vm_shutdown --> the guest channel --> the same; no end in time
 * ---------------------------------------> SIGKILL no answer from the guest (guest_link)
 * -------------------------------------> read the console --------> SIGKILL QEMU dies by itself;
 * vm_kill
 */
#include "vm_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cgroup.h"
#include "guest_link.h"
#include "host_tsc.h"
#include "house.h"
#include "json.h"
#include "kvm_probe.h"
#include "log.h"
#include "netns.h"
#include "paths.h"
#include "process.h"
#include "qemu_args.h"
#include "qmp.h"
#include "sandbox.h"
#include "sock.h"
#include "util.h"
#include "watch.h"

#define QUIT_MS 5000
#define OVERHEAD_BYTES \
	(768ull << 20) /* QEMU's own memory beside the guest's; most of it TCG's code cache */
#define PIDS_MAX 256
#define ROOM_MS 2000    /* how often a machine that ran out of room tries again */
#define WENT_ON_MS 1000 /* its write is tried again before that; till then it may answer a ping */

void vm_settle(struct vm *vm, enum vm_end how, const char *why)
{
	if (vm->ending)
		return;
	vm->ending = true;
	vm->how = how;
	snprintf(vm->why, sizeof(vm->why), "%s", why);
}

static void kill_now(void *data)
{
	struct vm *vm = data;

	process_signal(vm->pidfd, SIGKILL);
}

/* What says most of what the guest wrote to its console: from its panic on, or the end. Made
 * printable. */
static void keep_console(struct vm *vm, const char *text)
{
	const char *panic = strstr(text, "Kernel panic");
	size_t n = strlen(text), from = n > CONSOLE_TAIL ? n - CONSOLE_TAIL : 0, at = 0;

	if (panic) {
		from = (size_t)(panic - text);
		n = MIN(n, from + CONSOLE_TAIL);
	}

	for (size_t i = from; i < n; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '\n')
			c = '|';
		if (c >= 32 && c < 127)
			vm->console[at++] = (char)c;
	}
	vm->console[at] = 0;
}

static void on_console(void *data, const cJSON *ret, const struct err *err)
{
	struct vm *vm = data;

	if (cJSON_IsString(ret)) {
		keep_console(vm, ret->valuestring);
		/* Nobody watched when it ended: the kernel's last word tells (kernel/reboot.c). */
		if (vm->unseen && strstr(ret->valuestring, "reboot: Power down")) {
			vm->how = VM_END_POWEROFF;
			snprintf(vm->why, sizeof(vm->why), "the guest powered off");
		}
	}
	if (vm->how == VM_END_POWEROFF && vm->qmp)
		qmp_command(vm->qmp, "quit", NULL, QMP_MS, NULL, NULL);
	else
		kill_now(vm);
}

/* The machine is over; QEMU still stands. Read its last words, then end it. */
static void wind_up(struct vm *vm)
{
	cJSON *args;

	guest_link_free(vm->link);
	vm->link = NULL;
	watch_timer_start(vm->deadline, QUIT_MS);
	if (!vm->qmp) {
		kill_now(vm);
		return;
	}
	args = cJSON_CreateObject();
	cJSON_AddStringToObject(args, "device", "console");
	cJSON_AddNumberToObject(args, "size", 65536);
	cJSON_AddStringToObject(args, "format", "utf8");
	qmp_command(vm->qmp, "ringbuf-read", args, QMP_MS / 2, on_console, vm);
}

static void on_shutdown(struct vm *vm, const char *reason)
{
	if (vm->asked || streq(reason, "guest-shutdown"))
		vm_settle(vm, VM_END_POWEROFF, vm->asked ? "stopped" : "the guest powered off");
	else if (starts_with(reason, "host-"))
		vm_settle(vm, VM_END_CRASH, "QEMU was told to end by a signal or its monitor");
	else
		vm_settle(vm, VM_END_CRASH, "the guest's kernel panicked or reset the machine");
	wind_up(vm);
}

/*
 * A write that finds no room on the host stops the machine (QEMU's werror=enospc): nothing is lost,
 * and `cont` tries that write again. Silence is no hang meanwhile.
 */
static void on_full(struct vm *vm)
{
	vm->full = true;
	watch_timer_start(vm->room, ROOM_MS);
	if (vm->stalled)
		return;
	vm->stalled = true;
	if (vm->cb.stalled)
		vm->cb.stalled(vm->data, "the host's disk is full: it goes on when there is room");
}

static void on_room_timer(void *data)
{
	struct vm *vm = data;

	if (!vm->full || !vm->link || !vm->qmp || vm->task)
		return;
	guest_link_excuse(vm->link);
	qmp_command(vm->qmp, "cont", NULL, QMP_MS, NULL, NULL);
	watch_timer_start(vm->room, ROOM_MS);
}

static void on_qmp_event(void *data, const char *name, const cJSON *event)
{
	struct vm *vm = data;

	if (streq(name, "SHUTDOWN"))
		on_shutdown(vm, json_str(event, "reason", ""));
	else if (streq(name, "BLOCK_IO_ERROR") && json_bool(event, "nospace", false))
		on_full(vm);
	else if (streq(name, "RESUME")) {
		vm->full = false;
		vm->tried_at = now_ms();
	} else if (starts_with(name, "BLOCK_JOB_")) {
		vm_merge_event(vm, name, event);
	}
}

static void on_qmp_closed(void *data, const char *why)
{
	struct vm *vm = data;

	snprintf(vm->monitor, sizeof(vm->monitor), "%s", why);
	qmp_free(vm->qmp);
	vm->qmp = NULL;
	/* Nearly always QEMU's end, which the pidfd tells. A living QEMU without a monitor is of no
	 * use. */
	if (vm->process)
		watch_timer_start(vm->deadline, QUIT_MS);
}

static void on_status(void *data, const cJSON *ret, const struct err *err)
{
	struct vm *vm = data;
	const char *status = json_str(ret, "status", "");

	if (streq(status, "io-error"))
		on_full(vm);
	if (streq(status, "shutdown") || streq(status, "guest-panicked")) {
		vm->unseen = true;
		on_shutdown(vm, "");
	} else if (streq(status, "paused") || streq(status, "postmigrate")) {
		/* An earlier daemon stopped it for a snapshot and did not live to let it go on. */
		qmp_command(vm->qmp, "cont", NULL, QMP_MS, NULL, NULL);
	}
}

static void on_kvm(void *data, const cJSON *ret, const struct err *err)
{
	struct vm *vm = data;

	vm->kvm = json_bool(ret, "enabled", vm->kvm);
}

static void link_ready(void *data, const struct guest_ready *ready)
{
	struct vm *vm = data;

	vm->cb.ready(vm->data, ready);
}

static void link_browser(void *data, const struct guest_browser *browser)
{
	struct vm *vm = data;

	vm->cb.browser(vm->data, browser);
}

static void link_pong(void *data, const struct guest_pong *pong)
{
	struct vm *vm = data;

	if (vm->stalled && !vm->full && now_ms() - vm->tried_at >= WENT_ON_MS) {
		vm->stalled = false;
		if (vm->cb.stalled)
			vm->cb.stalled(vm->data, NULL);
	}
	if (vm->cb.pong)
		vm->cb.pong(vm->data, pong);
}

static void link_log(void *data, unsigned source, const char *line)
{
	struct vm *vm = data;

	vm->cb.log(vm->data, source, line);
}

static void link_ended(void *data, enum guest_link_end how)
{
	struct vm *vm = data;

	if (how == GUEST_LINK_HANG)
		vm_settle(vm, VM_END_HANG, "the guest stopped answering");
	else
		vm_settle(vm, VM_END_CRASH, "the guest did not come up");
	wind_up(vm);
}

static const struct guest_link_callbacks link_callbacks = {.ready = link_ready,
	.browser = link_browser,
	.pong = link_pong,
	.log = link_log,
	.ended = link_ended};
static const struct qmp_callbacks qmp_callbacks = {.event = on_qmp_event, .closed = on_qmp_closed};

static void remove_run_files(const struct vm *vm)
{
	static const char *const names[] = {"qmp.sock", "qemu.pid"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		AUTOFREE char *path = path_in(vm->state, "run/agents/%s/%s", vm->id, names[i]);

		unlink(path);
	}
}

/* What QEMU prints is read as long as somebody is there, and only its end kept: it can fill no
 * disk. */
static void on_output(void *data, int events)
{
	struct vm *vm = data;
	char piece[4096];
	ssize_t n = read(vm->output_fd, piece, sizeof(piece));
	size_t have = strlen(vm->said), add, drop;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		watch_fd_free(vm->output);
		vm->output = NULL;
		return;
	}
	for (ssize_t i = 0; i < n; i++)
		if (!piece[i])
			piece[i] = ' ';
	add = MIN((size_t)n, (size_t)CONSOLE_TAIL);
	drop = have + add > CONSOLE_TAIL ? have + add - CONSOLE_TAIL : 0;
	memmove(vm->said, vm->said + drop, have - drop);
	memcpy(vm->said + have - drop, piece + n - add, add);
	vm->said[have - drop + add] = 0;
}

/* QEMU's own last words, when it ended without a word on its monitor. */
static void keep_output(struct vm *vm)
{
	if (vm->output)
		on_output(vm, UV_READABLE);
	if (!vm->console[0])
		keep_console(vm, vm->said);
}

static void on_process_end(void *data, int events)
{
	struct vm *vm = data;
	struct vm_callbacks cb = vm->cb;
	char detail[700];
	enum vm_end how;
	/* Ours to wait for or, adopted, the supervisor's; then nobody knows how it ended. */
	char why[120] = "QEMU ended";
	int status;

	if (waitpid(vm->pid, &status, WNOHANG) == vm->pid)
		snprintf(why, sizeof(why), "QEMU ended with %s %d%s%.40s",
			WIFSIGNALED(status) ? "signal" : "status",
			WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
			vm->monitor[0] ? "; its monitor: " : "", vm->monitor);
	watch_fd_free(vm->process);
	vm->process = NULL;
	vm_task_drop(vm);
	watch_timer_stop(vm->deadline);
	vm_settle(vm, vm->asked ? VM_END_POWEROFF : VM_END_CRASH, vm->asked ? "stopped" : why);
	how = vm->how;
	if (how != VM_END_POWEROFF)
		keep_output(vm);
	snprintf(detail, sizeof(detail), "%s%s%s", vm->why,
		how != VM_END_POWEROFF && vm->console[0] ? "; last words: " : "",
		how != VM_END_POWEROFF ? vm->console : "");
	remove_run_files(vm);
	cgroup_remove(vm->state, vm->id, NULL);
	cb.ended(vm->data, how, detail);
}

static char *copy(const char *s)
{
	return s ? xstrdup(s) : NULL;
}

static void wake_done(struct vm_wake *w)
{
	const char *const all[] = {
		w->device, w->pages, w->device_digest, w->pages_digest, w->machine};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		free((char *)all[i]);
}

void vm_free(struct vm *vm)
{
	if (!vm)
		return;
	vm_task_drop(vm);
	guest_link_free(vm->link);
	qmp_free(vm->qmp);
	watch_fd_free(vm->process);
	watch_fd_free(vm->output);
	if (vm->output_fd >= 0)
		close(vm->output_fd);
	watch_timer_free(vm->deadline);
	watch_timer_free(vm->room);
	if (vm->pidfd >= 0)
		close(vm->pidfd);
	wake_done(&vm->wake);
	free(vm->state);
	free(vm->id);
	free(vm->name);
	free(vm->memory);
	free(vm);
}

static struct vm *vm_new(
	uv_loop_t *loop, const struct vm_spec *spec, const struct vm_callbacks *cb, void *data)
{
	struct vm *vm = xcalloc(1, sizeof(*vm));

	*vm = (struct vm){.loop = loop, .cb = *cb, .data = data, .pidfd = -1, .output_fd = -1};
	vm->state = xstrdup(spec->state);
	vm->id = xstrdup(spec->id);
	vm->name = xstrdup(spec->name);
	vm->memory = xstrdup(spec->memory);
	vm->browser = spec->browser;
	vm->woken = spec->woken || spec->wake.device;
	memcpy(vm->machine_id, spec->machine_id, sizeof(vm->machine_id));
	snprintf(vm->disk, sizeof(vm->disk), "%s", spec->disk);
	vm->wake = (struct vm_wake){copy(spec->wake.device), copy(spec->wake.pages),
		copy(spec->wake.device_digest), copy(spec->wake.pages_digest),
		copy(spec->wake.machine)};
	vm->deadline = watch_timer_new(loop, kill_now, vm);
	vm->room = watch_timer_new(loop, on_room_timer, vm);
	return vm;
}

void vm_begin_link(struct vm *vm)
{
	struct guest_config config = {.flags = vm->browser ? GUEST_CONFIG_BROWSER : 0,
		.view_width = 1280,
		.view_height = 800};

	if (vm->woken)
		config.flags |= GUEST_CONFIG_WOKEN;
	memcpy(config.machine_id, vm->machine_id, sizeof(config.machine_id));
	snprintf(config.hostname, sizeof(config.hostname), "%s", vm->name);
	vm->link = guest_link_new(vm->loop, vm->state, vm->id, &config, &link_callbacks, vm);
}

/* Everything that is watched, once vm->pid and vm->pidfd are known. */
static int begin_watching(struct vm *vm, struct err *err)
{
	AUTOFREE char *socket = path_in(vm->state, "run/agents/%s/qmp.sock", vm->id);
	int r = qmp_connect(&vm->qmp, vm->loop, socket, &qmp_callbacks, vm, err);

	if (r < 0)
		return err_context(err, "QEMU's monitor of agent %s", vm->name);
	if (vm->output_fd >= 0)
		vm->output = watch_fd_new(vm->loop, vm->output_fd, UV_READABLE, on_output, vm);
	vm->process = watch_fd_new(vm->loop, vm->pidfd, UV_READABLE, on_process_end, vm);
	qmp_command(vm->qmp, "query-kvm", NULL, QMP_MS, on_kvm, vm);
	if (vm->wake.device) {
		vm_wake_begin(vm);
		return 0;
	}
	vm_begin_link(vm);
	qmp_command(vm->qmp, "query-status", NULL, QMP_MS, on_status, vm);
	return 0;
}

/* Descriptors that QEMU gets. */
struct gifts {
	int tap, qmp, log, kvm;
};

static void gifts_done(struct gifts *g)
{
	const int all[] = {g->tap, g->qmp, g->log, g->kvm};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (all[i] >= 0)
			close(all[i]);
}

static int gifts_make(struct gifts *g, struct vm *vm, const struct vm_spec *spec, struct err *err)
{
	int output[2];
	AUTOFREE char *dir = path_in(spec->state, "run/agents/%s", spec->id);
	AUTOFREE char *socket = xasprintf("%s/qmp.sock", dir);
	int r = make_dir(dir, 0700, err);

	*g = (struct gifts){-1, -1, -1, -1};
	if (r < 0)
		return r;
	g->tap = netns_tap(spec->state, spec->id, err);
	if (g->tap < 0)
		return g->tap;
	g->qmp = sock_listen_unix(socket, 0600, err);
	if (g->qmp < 0)
		return g->qmp;
	if (pipe2(output, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_sys(err, "cannot make a pipe");
	vm->output_fd = output[0];
	g->log = output[1];
	return 0;
}

/* KVM if it is proven; the probe runs here when this is the first time that there is an image to
 * try it with. */
static int open_kvm(struct vm *vm, const char *state, struct gifts *g, struct err *err)
{
	int verdict = kvm_verdict(state);

	if (verdict < 0)
		verdict = kvm_probe(state, NULL);
	vm->kvm = verdict > 0;
	if (vm->kvm)
		g->kvm = kvm_open(state);
	return vm->kvm && g->kvm < 0 ? err_set(err, g->kvm, "cannot open /dev/kvm") : 0;
}

static int spawn_qemu(
	struct vm *vm, const struct vm_spec *spec, const struct gifts *g, struct err *err)
{
	AUTOFREE char *pid_file = path_in(spec->state, "run/agents/%s/qemu.pid", spec->id);
	AUTOFREE char *agent_dir = path_in(spec->state, "agents/%s", spec->id);
	AUTOFREE char *disk = xasprintf(SANDBOX_AGENT "/%s.qcow2", spec->disk);
	const struct qemu_args args = {.name = spec->id,
		.kernel = SANDBOX_IMAGE "/vmlinuz",
		.initrd = SANDBOX_IMAGE "/initrd.img",
		.rootfs = SANDBOX_IMAGE "/rootfs.erofs",
		.disk = disk,
		.disk_node = spec->disk,
		.memory = SANDBOX_MEMORY,
		.incoming = spec->wake.device,
		.memory_mib = spec->memory_mib,
		.cpus = spec->cpus,
		.tsc_khz = vm->kvm ? 0 : host_tsc_khz(),
		.kvm_fd = g->kvm < 0 ? -1 : SANDBOX_KVM_FD,
		.tap_fd = SANDBOX_TAP_FD,
		.qmp_fd = SANDBOX_QMP_FD};
	struct sandbox s = {.state = spec->state,
		.id = spec->id,
		.uid = HOUSE_UID_AGENT + spec->slot,
		.image_dir = spec->image_dir,
		.agent_dir = agent_dir,
		.memory = spec->memory,
		.device = spec->wake.device,
		.tap_fd = g->tap,
		.qmp_fd = g->qmp,
		.log_fd = g->log,
		.kvm_fd = g->kvm,
		.pid_file = pid_file};
	char *argv[QEMU_ARGS_MAX];
	int r = qemu_args_make(&args, argv);

	s.argv = argv;
	if (r == 0)
		r = sandbox_spawn(&s, &vm->pid, err);
	qemu_args_free(argv);
	return r;
}

static int start(struct vm *vm, const struct vm_spec *spec, struct err *err)
{
	const struct cgroup_limits limits = {
		.memory_bytes = ((uint64_t)spec->memory_mib << 20) + OVERHEAD_BYTES,
		.cpus = spec->cpus,
		.pids = PIDS_MAX};
	struct gifts gifts;
	int r = gifts_make(&gifts, vm, spec, err);

	if (r == 0)
		r = cgroup_create(spec->state, spec->id, &limits, err);
	if (r == 0)
		r = open_kvm(vm, spec->state, &gifts, err);
	if (r == 0)
		r = spawn_qemu(vm, spec, &gifts, err);
	gifts_done(&gifts);
	if (r < 0)
		return r;
	vm->pidfd = process_pidfd(vm->pid);
	r = vm->pidfd < 0 ? err_set(err, vm->pidfd, "QEMU of agent %s ended at once", spec->name)
			  : 0;
	if (r == 0)
		r = begin_watching(vm, err);
	if (r < 0 && vm->pidfd >= 0) {
		process_signal(vm->pidfd, SIGKILL);
		waitpid(vm->pid, NULL, 0);
	}
	return r;
}

int vm_start(struct vm **ret, uv_loop_t *loop, const struct vm_spec *spec,
	const struct vm_callbacks *cb, void *data, struct err *err)
{
	struct vm *vm = vm_new(loop, spec, cb, data);
	int r = start(vm, spec, err);

	if (r < 0) {
		remove_run_files(vm);
		cgroup_remove(vm->state, vm->id, NULL);
		vm_free(vm);
		return err_context(err, "agent %s", spec->name);
	}
	*ret = vm;
	return 0;
}

int vm_adopt(struct vm **ret, uv_loop_t *loop, const struct vm_spec *spec,
	const struct vm_callbacks *cb, void *data, struct err *err)
{
	AUTOFREE char *pid_file = path_in(spec->state, "run/agents/%s/qemu.pid", spec->id);
	struct vm *vm = vm_new(loop, spec, cb, data);
	int r;

	vm->pidfd = process_open_file(pid_file, &vm->pid);
	r = vm->pidfd < 0 ? err_set(err, ESRCH, "QEMU of agent %s is gone", spec->name) : 0;
	if (r == 0)
		r = begin_watching(vm, err);
	if (r == 0) {
		vm_look_at_disk(vm);
		vm_merge_sweep(vm);
	}
	if (r < 0) {
		if (vm->pidfd >= 0)
			process_signal(
				vm->pidfd, SIGKILL); /* it runs, but nobody can speak to it */
		remove_run_files(vm);
		vm_free(vm);
		return r;
	}
	*ret = vm;
	return 0;
}

void vm_shutdown(struct vm *vm, unsigned timeout_ms)
{
	if (!vm->process)
		return;
	vm->asked = true;
	if (vm->link)
		guest_link_send(vm->link, GUEST_SHUTDOWN);
	if (!vm->ending)
		watch_timer_start(vm->deadline, timeout_ms);
}

void vm_kill(struct vm *vm)
{
	if (vm->process)
		kill_now(vm);
}

void vm_browser_restart(struct vm *vm)
{
	if (vm->link)
		guest_link_send(vm->link, GUEST_BROWSER_RESTART);
}

int vm_pid(const struct vm *vm)
{
	return (int)vm->pid;
}

const char *vm_accel(const struct vm *vm)
{
	return vm->kvm ? "kvm" : "tcg";
}

uint64_t vm_memory(const struct vm *vm)
{
	return process_memory(vm->pid);
}

bool vm_stalled(const struct vm *vm)
{
	return vm->stalled;
}
