/* A stand-in for QEMU with memory and a disk (fake_machine.h). */
#include "fake_machine.h"
#include "fake_world.h"
#include "paths.h"
#include "process.h"
#include "scratch.h"
#include "util.h"
#include "vm_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define TICK_MS 3
#define QUEUE_MAX 8
#define DEVICE_LEN 19000
#define AT_PAGE 7               /* where it remembers */
#define WRITTEN_LEN (5 * 65536) /* of a file that something was written to (disk_is_blank) */

struct command {
	char name[40];
	cJSON *args;
	qmp_answer_fn *fn;
	void *data;
};

/* The monitor: answers one command a tick. */
struct qmp {
	struct vm *vm;
	struct command queue[QUEUE_MAX];
	size_t n;
	char added[64];
	bool linked;
	unsigned ticks;
	uv_timer_t timer;
};

/* What QEMU itself would know, for a daemon that adopts it. */
static char *disk_file(const struct vm *vm)
{
	return path_in(vm->state, "qemus/disk-%s", vm->id);
}

static void note_disk(const struct vm *vm, const char *disk)
{
	AUTOFREE char *path = disk_file(vm);

	if (file_write_atomic(path, disk, strlen(disk), 0600, NULL) < 0)
		abort();
}

static int sync_disk(const struct vm *vm, struct err *err)
{
	AUTOFREE char *path = path_in(vm->state, "agents/%s/%s.qcow2", vm->id, vm->disk);
	AUTOFD int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? err_sys(err, "cannot flush the disk") : 0;
}

static int write_device(const struct vm *vm, struct err *err)
{
	AUTOFREE char *path = path_in(vm->state, "agents/%s/device.part", vm->id);
	AUTOFD int fd = open(path, O_WRONLY | O_CLOEXEC);
	char device[DEVICE_LEN];

	for (size_t i = 0; i < sizeof(device); i++)
		device[i] = (char)('a' + i % 23);
	return fd < 0 || write_all(fd, device, sizeof(device)) < 0
		       ? err_sys(err, "QEMU cannot write its device state")
		       : 0;
}

static cJSON *blocks(const struct vm *vm)
{
	AUTOFREE char *text = xasprintf("[{\"inserted\":{\"node-name\":\"%s\"}}]", vm->disk);

	return cJSON_Parse(text);
}

static cJSON *obey(struct qmp *q, const struct command *c, struct err *err)
{
	struct vm *vm = q->vm;
	int r = 0;

	if (streq(c->name, "query-version"))
		return cJSON_Parse("{\"qemu\":{\"major\":9,\"minor\":2,\"micro\":0}}");
	if (streq(c->name, "query-status"))
		return cJSON_Parse("{\"status\":\"paused\"}");
	if (streq(c->name, "query-block"))
		return blocks(vm);
	if (streq(c->name, "stop"))
		r = sync_disk(vm, err);
	else if (streq(c->name, "xen-save-devices-state"))
		r = write_device(vm, err);
	else if (streq(c->name, "blockdev-add"))
		snprintf(q->added, sizeof(q->added), "%s",
			cJSON_GetStringValue(cJSON_GetObjectItem(c->args, "node-name")));
	else if (streq(c->name, "blockdev-snapshot"))
		note_disk(vm, q->added);
	return r < 0 ? NULL : cJSON_CreateObject();
}

static void answer_one(struct qmp *q)
{
	struct command c = q->queue[0];
	struct err err = {0};
	cJSON *ret = obey(q, &c, &err);

	memmove(q->queue, q->queue + 1, --q->n * sizeof(q->queue[0]));
	cJSON_Delete(c.args);
	if (c.fn)
		c.fn(c.data, ret, ret ? NULL : &err);
	cJSON_Delete(ret);
}

static void tell_ready(struct qmp *q)
{
	static const struct guest_ready ready = {.init_version = 1, .kernel = "fake"};
	struct vm *vm = q->vm;

	if (++q->ticks == 1)
		vm->cb.ready(vm->data, &ready);
	else if (q->ticks == 2)
		vm->cb.browser(vm->data, &(struct guest_browser){.state = GUEST_BROWSER_UP});
}

static void on_tick(uv_timer_t *timer)
{
	struct qmp *q = timer->data;
	struct vm *vm = q->vm;
	char why[sizeof(vm->why)];

	waitpid(vm->pid, NULL, WNOHANG);
	if (!process_start_time(vm->pid)) {
		uv_timer_stop(timer);
		vm_task_drop(vm);
		vm_settle(vm, vm->asked ? VM_END_POWEROFF : VM_END_CRASH, "the process is gone");
		snprintf(why, sizeof(why), "%s", vm->why); /* the callback frees it */
		vm->cb.ended(vm->data, vm->how, why);
	} else if (q->n > 0) {
		answer_one(q);
	} else if (q->linked && q->ticks < 2) {
		tell_ready(q);
	}
}

void qmp_command(struct qmp *q, const char *command, cJSON *args, unsigned timeout_ms,
	qmp_answer_fn *fn, void *data)
{
	struct command *c = &q->queue[q->n++];

	if (q->n > QUEUE_MAX)
		abort();
	*c = (struct command){.args = args, .fn = fn, .data = data};
	snprintf(c->name, sizeof(c->name), "%s", command);
}

void vm_begin_link(struct vm *vm)
{
	vm->qmp->linked = true;
}

void vm_settle(struct vm *vm, enum vm_end how, const char *why)
{
	if (vm->ending)
		return;
	vm->ending = true;
	vm->how = how;
	snprintf(vm->why, sizeof(vm->why), "%s", why);
}

static struct vm *vm_new(
	uv_loop_t *loop, const struct vm_spec *spec, const struct vm_callbacks *cb, void *data)
{
	struct vm *vm = xcalloc(1, sizeof(*vm));
	const struct vm_wake *w = &spec->wake;

	vm->loop = loop;
	vm->cb = *cb;
	vm->data = data;
	vm->state = xstrdup(spec->state);
	vm->id = xstrdup(spec->id);
	vm->memory = xstrdup(spec->memory);
	vm->woken = spec->woken || w->device;
	snprintf(vm->disk, sizeof(vm->disk), "%s", spec->disk);
	if (w->device)
		vm->wake = (struct vm_wake){xstrdup(w->device), w->pages ? xstrdup(w->pages) : NULL,
			xstrdup(w->device_digest), xstrdup(w->pages_digest), xstrdup(w->machine)};
	return vm;
}

static void watch(struct vm *vm)
{
	struct qmp *q = vm->qmp = xcalloc(1, sizeof(*q));

	q->vm = vm;
	q->timer.data = q;
	uv_timer_init(vm->loop, &q->timer);
	uv_timer_start(&q->timer, on_tick, TICK_MS, TICK_MS);
}

static void be_the_machine(const char *memory, int go, int mapped)
{
	int fd = open(memory, O_RDONLY);
	struct stat st;
	char byte;

	if (fd < 0 || fstat(fd, &st) < 0 ||
		mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE,
			fd, 0) == MAP_FAILED ||
		write(mapped, "", 1) != 1 || read(go, &byte, 1) != 1)
		_exit(1);
	setsid();
	signal(SIGTERM, SIG_DFL);
	close_range(0, ~0u, 0);
	for (;;)
		pause();
}

/* It lives only once its name is written down, like the real one. */
static int run(struct vm *vm, struct err *err)
{
	AUTOFREE char *folder = path_in(vm->state, "qemus"), *path = NULL,
		      *pid_file = path_in(vm->state, "run/agents/%s/qemu.pid", vm->id);
	int go[2], mapped[2], r;
	char byte;

	if (pipe2(go, O_CLOEXEC) < 0 || pipe2(mapped, O_CLOEXEC) < 0)
		abort();
	vm->pid = fork();
	if (vm->pid == 0) {
		close(go[1]);
		be_the_machine(vm->memory, go[0], mapped[1]);
	}
	close(go[0]);
	close(mapped[1]);
	if (read(mapped[0], &byte, 1) != 1)
		abort();
	close(mapped[0]);
	make_dir(folder, 0700, NULL);
	path = xasprintf("%s/%d", folder, (int)vm->pid);
	process_write_file(path, vm->pid, NULL);
	note_disk(vm, vm->disk);
	r = process_write_file(pid_file, vm->pid, err);
	if (r == 0 && write(go[1], "", 1) != 1)
		abort();
	close(go[1]);
	if (r < 0)
		waitpid(vm->pid, NULL, 0);
	return r;
}

int vm_start(struct vm **ret, uv_loop_t *loop, const struct vm_spec *spec,
	const struct vm_callbacks *cb, void *data, struct err *err)
{
	struct vm *vm = vm_new(loop, spec, cb, data);
	AUTOFREE char *folder = path_in(vm->state, "agents/%s", vm->id);
	char chain[200] = "?";
	struct stat st;
	int r;

	if (stat(spec->memory, &st) < 0 || st.st_size != (off_t)spec->memory_mib << 20)
		r = err_set(err, EINVAL, "%s is not of %u MiB", spec->memory, spec->memory_mib);
	else
		r = run(vm, err);
	if (r < 0) {
		vm_free(vm);
		return r;
	}
	watch(vm);
	/* as QEMU does that cannot open its disk */
	machine_disk(folder, vm->disk, chain, sizeof(chain));
	if (strchr(chain, '?')) {
		vm_settle(vm, VM_END_CRASH, "the disk cannot be opened");
		kill(vm->pid, SIGKILL);
	} else if (vm->wake.device) {
		vm_wake_begin(vm);
	} else {
		vm_begin_link(vm);
	}
	*ret = vm;
	return 0;
}

int vm_adopt(struct vm **ret, uv_loop_t *loop, const struct vm_spec *spec,
	const struct vm_callbacks *cb, void *data, struct err *err)
{
	AUTOFREE char *pid_file = path_in(spec->state, "run/agents/%s/qemu.pid", spec->id),
		      *path = NULL, *disk = NULL;
	pid_t pid = process_read_file(pid_file);
	struct vm *vm;

	if (!pid)
		return err_set(err, ESRCH, "it is gone");
	vm = vm_new(loop, spec, cb, data);
	vm->pid = pid;
	path = disk_file(vm);
	if (file_read(AT_FDCWD, path, 100, &disk, NULL, NULL) == 0)
		snprintf(vm->disk, sizeof(vm->disk), "%s", disk);
	watch(vm);
	vm_begin_link(vm);
	*ret = vm;
	return 0;
}

void vm_shutdown(struct vm *vm, unsigned timeout_ms)
{
	vm->asked = true;
	sync_disk(vm, NULL);
	kill(vm->pid, SIGTERM);
}

void vm_kill(struct vm *vm)
{
	kill(vm->pid, SIGKILL);
}

void vm_browser_restart(struct vm *vm)
{
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void vm_free(struct vm *vm)
{
	if (!vm)
		return;
	vm_task_drop(vm);
	for (size_t i = 0; vm->qmp && i < vm->qmp->n; i++)
		cJSON_Delete(vm->qmp->queue[i].args);
	if (vm->qmp)
		uv_close((uv_handle_t *)&vm->qmp->timer, on_closed);
	free((char *)vm->wake.device);
	free((char *)vm->wake.pages);
	free((char *)vm->wake.device_digest);
	free((char *)vm->wake.pages_digest);
	free((char *)vm->wake.machine);
	free(vm->state);
	free(vm->id);
	free(vm->memory);
	free(vm);
}

bool vm_stalled(const struct vm *vm)
{
	return false;
}

int vm_pid(const struct vm *vm)
{
	return vm->pid;
}

const char *vm_accel(const struct vm *vm)
{
	return "tcg";
}

uint64_t vm_memory(const struct vm *vm)
{
	return 1 << 20;
}

/* ---- the guest's doing ---- */

/* Where in the process's memory it remembers, and a way there. */
static int open_memory(pid_t pid, off_t *ret_at)
{
	AUTOFREE char *maps = xasprintf("/proc/%d/maps", (int)pid),
		      *mem = xasprintf("/proc/%d/mem", (int)pid);
	FILE *f = fopen(maps, "re");
	char line[600];
	unsigned long at = 0;

	while (f && !at && fgets(line, sizeof(line), f))
		if (strstr(line, "/m_"))
			at = strtoul(line, NULL, 16);
	if (f)
		fclose(f);
	*ret_at = (off_t)(at + AT_PAGE * 4096);
	return at ? open(mem, O_RDWR | O_CLOEXEC) : -1;
}

void machine_remember(pid_t pid, unsigned number)
{
	off_t at;
	AUTOFD int fd = open_memory(pid, &at);

	assert_int_equal(pwrite(fd, &number, sizeof(number), at), sizeof(number));
}

unsigned machine_remembers(pid_t pid)
{
	unsigned number = ~0u;
	off_t at;
	AUTOFD int fd = open_memory(pid, &at);

	if (fd < 0 || pread(fd, &number, sizeof(number), at) != sizeof(number))
		return ~0u;
	return number;
}

/* What the file stands on, and its numbers; false: it is not whole. */
static bool read_disk(const char *folder, const char *name, char on[64], char *numbers, size_t n)
{
	AUTOFREE char *path = xasprintf("%s/%s.qcow2", folder, name), *text = NULL;
	size_t used = 0;
	char *line, *rest;

	on[0] = numbers[0] = 0;
	if (file_read(AT_FDCWD, path, 1 << 20, &text, NULL, NULL) < 0 || !starts_with(text, "on "))
		return false;
	rest = text;
	while ((line = strsep(&rest, "\n")) && rest) {
		if (starts_with(line, "on "))
			snprintf(on, 64, "%.*s", (int)strcspn(line + 3, "."), line + 3);
		else if (used < n)
			used += (size_t)snprintf(numbers + used, n - used, "%.20s,", line);
	}
	return !line || line[0] == 0;
}

void machine_disk(const char *folder, const char *name, char *out, size_t n)
{
	char on[64], numbers[200], at[64];
	AUTOFREE char *all = xstrdup("");

	snprintf(at, sizeof(at), "%s", name);
	for (int i = 0; i < 70 && !streq(at, "-"); i++) {
		AUTOFREE char *above = all;
		bool whole = read_disk(folder, at, on, numbers, sizeof(numbers));

		all = xasprintf("%s%s%s", whole ? "" : "?", numbers, above);
		if (!whole)
			break;
		memcpy(at, on, sizeof(at));
	}
	snprintf(out, n, "%s", all);
}

/* Calls back with the name (without ending) of each file of a disk. */
static void each_disk(const char *folder, void (*fn)(void *data, const char *name), void *data)
{
	DIR *dir = opendir(folder);
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		size_t n = strlen(e->d_name);

		if (n > 6 && starts_with(e->d_name, "d_") && streq(e->d_name + n - 6, ".qcow2")) {
			e->d_name[n - 6] = 0;
			fn(data, e->d_name);
		}
	}
	if (dir)
		closedir(dir);
}

struct tops {
	const char *folder, *of;
	char top[64];
	unsigned n, files;
	bool stood_on;
};

static void stands_on(void *data, const char *name)
{
	struct tops *t = data;
	char on[64], numbers[200];

	read_disk(t->folder, name, on, numbers, sizeof(numbers));
	t->stood_on |= streq(on, t->of);
}

static void is_top(void *data, const char *name)
{
	struct tops *all = data, one = {.folder = all->folder, .of = name};

	all->files++;
	each_disk(all->folder, stands_on, &one);
	if (one.stood_on)
		return;
	all->n++;
	snprintf(all->top, sizeof(all->top), "%s", name);
}

void machine_top(const char *folder, char *out, size_t n)
{
	struct tops t = {.folder = folder};

	each_disk(folder, is_top, &t);
	snprintf(out, n, "%s", t.n == 1 ? t.top : "");
}

unsigned machine_files(const char *folder)
{
	struct tops t = {.folder = folder};

	each_disk(folder, is_top, &t);
	return t.files;
}

void machine_write(const char *state, const char *id, unsigned number)
{
	AUTOFREE char *known = path_in(state, "qemus/disk-%s", id), *disk = NULL, *path = NULL,
		      *text = NULL, *line = xasprintf("%u\n", number);
	AUTOFD int fd = -1;

	assert_int_equal(file_read(AT_FDCWD, known, 100, &disk, NULL, NULL), 0);
	path = path_in(state, "agents/%s/%s.qcow2", id, disk);
	assert_int_equal(file_read(AT_FDCWD, path, 1 << 20, &text, NULL, NULL), 0);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, line, strlen(line), (off_t)strlen(text)), strlen(line));
	assert_int_equal(ftruncate(fd, WRITTEN_LEN), 0);
	fsync(fd);
}
