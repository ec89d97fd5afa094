/* Stand-ins for QEMU, namespaces and images (fake_world.h). */
#include "fake_world.h"
#include "image.h"
#include "netns.h"
#include "paths.h"
#include "process.h"
#include "util.h"
#include "disk.h"
#include "verify.h"
#include "vm.h"
#include "watch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define TICK_MS 5

struct fake_world fake;

/* A place where the daemon may be killed. */
static void point(void)
{
	if (++fake.points == fake.die_at)
		_exit(77);
}

static int touch(const char *path, struct err *err)
{
	AUTOFD int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	return fd < 0 ? err_sys(err, "cannot make %s", path) : 0;
}

int netns_create(const char *state, const char *id, unsigned owner, struct err *err)
{
	AUTOFREE char *path = path_in(state, "run/ns/%s", id);
	int r;

	point();
	r = touch(path, err);
	point();
	return r;
}

int netns_remove(const char *state, const char *id, struct err *err)
{
	AUTOFREE char *path = path_in(state, "run/ns/%s", id);

	point();
	unlink(path);
	point();
	return 0;
}

int netns_open(const char *state, const char *id, struct err *err)
{
	AUTOFREE char *path = path_in(state, "run/ns/%s", id);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? err_sys(err, "cannot open %s", path) : fd;
}

int netns_socket(const char *state, const char *id, int domain, int type, struct err *err)
{
	return err_set(err, ECONNREFUSED, "there is no guest here");
}

int netns_tap(const char *state, const char *id, struct err *err)
{
	return err_set(err, ENODEV, "there is no tap here");
}

int image_get(const char *state, const char *id, struct image *ret, struct err *err)
{
	if (fake.no_image || !streq(id, FAKE_IMAGE)) {
		err_set(err, ENOENT, "there is no image '%.40s'", id);
		return err_type(err, 404, "image-not-found");
	}
	*ret = (struct image){.flavor = "headless-shell",
		.built_at = "2026-01-01T00:00:00Z",
		.packages = 3,
		.size = 7};
	snprintf(ret->id, sizeof(ret->id), "%s", id);
	return 0;
}

int image_newest(const char *state, struct image *ret, struct err *err)
{
	if (!fake.no_image)
		return image_get(state, FAKE_IMAGE, ret, err);
	err_set(err, ENOENT, "there is no image");
	err_hint(err, "berth image build");
	return err_type(err, 409, "no-image");
}

int image_list(const char *state, struct image **ret, size_t *ret_n, struct err *err)
{
	*ret = xcalloc(1, sizeof(**ret));
	*ret_n = fake.no_image ? 0 : 1;
	return fake.no_image ? 0 : image_get(state, FAKE_IMAGE, *ret, err);
}

int image_verified(const char *state, const char *id, struct err *err)
{
	return fake.verify_ms == 0 && !fake.image_damaged;
}

int image_verify(const char *state, const char *id, bool fully, struct err *err)
{
	AUTOFREE char *path = path_in(state, "verified-%s", id);
	AUTOFD int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	usleep(fake.verify_ms * 1000);
	if (write(fd, ".", 1) != 1) /* one for each reading */
		abort();
	if (!fake.image_damaged)
		return 0;
	err_set(err, EIO, "image %s is damaged", id);
	return err_type(err, 409, "image-damaged");
}

char *image_dir(const char *state, const char *id)
{
	return path_in(state, "images/%s", id);
}

int image_remove(const char *state, const char *id, struct err *err)
{
	struct image image;

	return image_get(state, id, &image, err);
}

#ifndef FAKE_HOST_ONLY /* else fake_machine.c has all this */

/*
 * A disk: the name of the file it stands on, then a line for each write. All names are of one
 * length.
 */
static void disk_put(const char *path, const char *on, const char *text)
{
	AUTOFD int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	char head[FAKE_DISK_HEAD + 1];

	snprintf(head, sizeof(head), "%-*s\n", FAKE_DISK_HEAD - 1, on ? on : "-");
	if (fd < 0 || (on && write(fd, head, FAKE_DISK_HEAD) != FAKE_DISK_HEAD) ||
		write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		abort();
}

char *fake_disk(const char *folder, const char *file)
{
	AUTOFREE char *path = xasprintf("%s/%s", folder, file), *text = NULL, *below = NULL;
	char on[FAKE_DISK_HEAD];

	if (file_read(AT_FDCWD, path, 1 << 20, &text, NULL, NULL) < 0 ||
		sscanf(text, "%63s", on) != 1)
		return NULL;
	below = streq(on, "-") ? xstrdup("") : fake_disk(folder, on);
	return below ? xasprintf("%s%s", below, text + FAKE_DISK_HEAD) : NULL;
}

int disk_stands_on(const char *path, char ret[DISK_NAME_MAX + 1], struct err *err)
{
	AUTOFREE char *text = NULL;
	int r = file_read(AT_FDCWD, path, 1 << 20, &text, NULL, err);

	if (r < 0)
		return r;
	snprintf(ret, DISK_NAME_MAX + 1, "%.*s", (int)strcspn(text, ". "), text);
	return 0;
}

bool disk_is_blank(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && st.st_size <= FAKE_DISK_HEAD;
}

int disk_make(const char *path, const char *on, unsigned gib, unsigned slot, struct err *err)
{
	point();
	if (fake.disk_full)
		return err_set(err, ENOSPC, "cannot make %s: No space left on device", path);
	if (access(path, F_OK) == 0)
		return err_set(err, EEXIST, "there is a disk already");
	disk_put(path, on ? on : "-", "");
	point();
	return 0;
}

int disk_freeze(const char *path, struct err *err)
{
	point();
	return access(path, F_OK) < 0 ? err_sys(err, "cannot freeze %s", path) : 0;
}

bool disk_name_valid(const char *name)
{
	return starts_with(name, "d_");
}

struct vm {
	uv_timer_t timer;
	struct vm_callbacks cb;
	void *data;
	pid_t pid;
	unsigned ticks;
	bool asked, waking, ending_saved;
	enum vm_end how; /* it ends; 0: as it comes */
	char *folder;    /* of a save under way */
	struct vm_save_callbacks save;
	bool captured;
	char disk[64];
	void (*switched)(void *data, const struct err *err);
	void *switched_data;
	char *agent_dir, *state, *id;
	bool told; /* that it has woken */
	struct {
		char file[64], base[64];
		vm_disk_fn *done;
		void *data;
	} merging; /* base "": vm_rest_disk */
};

/* The guest writes. */
static void write_disk(struct vm *vm)
{
	AUTOFREE char *path = xasprintf("%s/%s.qcow2", vm->agent_dir, vm->disk), *text = NULL;

	text = xasprintf("%s %d %u\n", vm->disk, (int)vm->pid, vm->ticks);
	if (vm->agent_dir)
		disk_put(path, NULL, text);
}

/* Fills the file with what lies between it and the base, and makes it stand on that. */
static void fill_merged(struct vm *vm)
{
	AUTOFREE char *path = xasprintf("%s/%s.qcow2", vm->agent_dir, vm->merging.file),
		      *base = xasprintf("%s.qcow2", vm->merging.base),
		      *all = fake_disk(vm->agent_dir, strrchr(path, '/') + 1),
		      *lower = fake_disk(vm->agent_dir, base);

	if (!all || !lower)
		abort();
	unlink(path);
	disk_put(path, base, all + strlen(lower));
}

static void rest_disk(struct vm *vm)
{
	AUTOFREE char *path = xasprintf("%s/%s.qcow2", vm->agent_dir, vm->disk),
		      *on = xasprintf("%s.qcow2", vm->merging.file);
	AUTOFD int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || pwrite(fd, on, strlen(on), 0) != (ssize_t)strlen(on))
		abort();
}

/* Files that the new one stands on, if it is to be filled. */
static unsigned chain_length(struct vm *vm)
{
	char name[DISK_NAME_MAX + 1];
	unsigned n = 0;

	if (!vm->merging.base[0])
		return ~0u;
	snprintf(name, sizeof(name), "%s", vm->merging.file);
	for (; name[0] == 'd'; n++) {
		AUTOFREE char *path = xasprintf("%s/%s.qcow2", vm->agent_dir, name);

		if (disk_stands_on(path, name, NULL) < 0)
			abort();
	}
	return n - 1;
}

/* True when the tick was about layers. */
static bool tick_merge(struct vm *vm)
{
	vm_disk_fn *done = vm->merging.done;

	if (!done || chain_length(vm) < fake.merge_from)
		return false;
	vm->merging.done = NULL;
	point();
	if (vm->merging.base[0])
		fill_merged(vm);
	else
		rest_disk(vm);
	point();
	done(vm->merging.data, NULL);
	return true;
}

int vm_merge(struct vm *vm, const char *into, const char *base, vm_disk_fn *done, void *data,
	struct err *err)
{
	if (vm->merging.done)
		return err_set(err, EBUSY, "one at a time");
	vm_rest_disk(vm, into, done, data);
	snprintf(vm->merging.base, sizeof(vm->merging.base), "%s", base);
	return 0;
}

void vm_merge_cancel(struct vm *vm)
{
	vm->merging.done = NULL;
}

void vm_rest_disk(struct vm *vm, const char *on, vm_disk_fn *done, void *data)
{
	point();
	snprintf(vm->merging.file, sizeof(vm->merging.file), "%s", on);
	vm->merging.base[0] = 0;
	vm->merging.done = done;
	vm->merging.data = data;
}

static void fill_saved(struct vm *vm)
{
	static const char *const names[] = {"device", "pages"};
	struct vm_saved saved = {.machine = "fake", .pages = 1, .bytes = 1};
	AUTOFREE char *folder = steal(&vm->folder);

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		AUTOFREE char *path = xasprintf("%s/%s", folder, names[i]);

		if (touch(path, NULL) < 0)
			abort();
		point();
	}
	memset(saved.device_digest, 'a', 64);
	memset(saved.pages_digest, 'a', 64);
	vm->save.saved(vm->save.data, &saved, NULL);
}

/* True when the tick was about a save. */
static bool tick_save(struct vm *vm)
{
	if (vm->switched) {
		void (*fn)(void *data, const struct err *err) = vm->switched;

		vm->switched = NULL;
		point();
		write_disk(vm);
		fn(vm->switched_data, NULL);
		return true;
	}
	if (!vm->folder)
		return false;
	if (fake.save_ends)
		kill(vm->pid, SIGKILL);
	if (fake.save_ends || fake.save_hangs)
		return true;
	if (!vm->captured) {
		vm->captured = true;
		vm->save.captured(vm->save.data);
	} else {
		fill_saved(vm);
	}
	return true;
}

/* A guest that has woken and not said so since, under whichever daemon: STATE/woken-ID. */
static void note_woken(const struct vm_spec *spec)
{
	AUTOFREE char *path = path_in(spec->state, "woken-%s", spec->id);

	if (spec->wake.device && touch(path, NULL) < 0)
		abort();
	else if (!spec->wake.device)
		unlink(path);
}

/* It says that it is ready: it had no way out until now, and has been told who it is. */
static void check_woken(struct vm *vm)
{
	AUTOFREE char *path = path_in(vm->state, "woken-%s", vm->id),
		      *leak = path_in(vm->state, "leak-%s", vm->id),
		      *rules = path_in(vm->state, "rules-%s", vm->id), *text = NULL;

	if (unlink(path) < 0)
		return;
	if (!vm->told || file_read(AT_FDCWD, rules, 65536, &text, NULL, NULL) < 0 ||
		!streq(text, "[]"))
		touch(leak, NULL);
}

static void on_tick(uv_timer_t *timer)
{
	static const struct guest_ready ready = {.init_version = 1, .kernel = "fake"};
	struct guest_browser browser = {.state = GUEST_BROWSER_UP};
	struct vm *vm = timer->data;

	vm->ticks++;
	waitpid(vm->pid, NULL, WNOHANG);
	if (!process_start_time(vm->pid)) {
		uv_timer_stop(timer);
		point();
		vm->cb.ended(vm->data,
			vm->how            ? vm->how
			: vm->ending_saved ? VM_END_SAVED
			: vm->asked        ? VM_END_POWEROFF
					   : VM_END_CRASH,
			"the process is gone");
		return;
	}
	if (tick_save(vm) || tick_merge(vm))
		return;
	if (vm->waking && vm->ticks == 1 && fake.wake_ends) {
		vm->how = fake.wake_ends;
		kill(vm->pid, SIGKILL);
	} else if (vm->waking && vm->ticks == 1) {
		vm->cb.loaded(vm->data);
	}
	if (vm->waking)
		return;
	if (vm->ticks == 2 && fake.crash_at_boot)
		kill(vm->pid, SIGKILL);
	else if (vm->ticks == 2)
		write_disk(vm);
	if (vm->ticks == 2)
		check_woken(vm);
	if (vm->ticks == 2 && !fake.crash_at_boot)
		vm->cb.ready(vm->data, &ready);
	else if (vm->ticks == 3) /* as berth-init does before it starts the browser */
		vm->cb.browser(vm->data, &(struct guest_browser){.state = GUEST_BROWSER_DOWN});
	else if (vm->ticks == 4 && !fake.no_browser)
		vm->cb.browser(vm->data, &browser);
}

static struct vm *watch(uv_loop_t *loop, pid_t pid, const struct vm_callbacks *cb, void *data)
{
	struct vm *vm = xcalloc(1, sizeof(*vm));

	vm->cb = *cb;
	vm->data = data;
	vm->pid = pid;
	vm->timer.data = vm;
	uv_timer_init(loop, &vm->timer);
	uv_timer_start(&vm->timer, on_tick, TICK_MS, TICK_MS);
	return vm;
}

/* It lives only once its name is written down, like the real one. */
static pid_t run_qemu(const char *state, const char *pid_file)
{
	AUTOFREE char *folder = path_in(state, "qemus"), *path = NULL;
	int go[2];
	char byte;
	pid_t pid;

	if (pipe(go) < 0)
		abort();
	pid = fork();
	if (pid == 0) {
		close(go[1]);
		if (read(go[0], &byte, 1) != 1)
			_exit(1);
		setsid();
		signal(SIGTERM, SIG_DFL);
		close_range(0, ~0u, 0);
		for (;;)
			pause();
	}
	close(go[0]);
	make_dir(folder, 0700, NULL);
	path = xasprintf("%s/%d", folder, (int)pid);
	process_write_file(path, pid, NULL);
	process_write_file(pid_file, pid, NULL);
	if (write(go[1], "", 1) != 1)
		abort();
	close(go[1]);
	return pid;
}

static void know(struct vm *vm, const struct vm_spec *spec)
{
	vm->agent_dir = path_in(spec->state, "agents/%s", spec->id);
	vm->state = xstrdup(spec->state);
	vm->id = xstrdup(spec->id);
	snprintf(vm->disk, sizeof(vm->disk), "%s", spec->disk);
}

int vm_start(struct vm **ret, uv_loop_t *loop, const struct vm_spec *spec,
	const struct vm_callbacks *cb, void *data, struct err *err)
{
	AUTOFREE char *path = path_in(spec->state, "run/agents/%s/qemu.pid", spec->id);
	struct stat st;
	pid_t pid;

	point();
	if (fake.qemu_missing) {
		err_set(err, ENOENT, "there is no qemu-system-x86_64");
		return err_type(err, 503, "qemu-missing");
	}
	if (process_read_file(path))
		return err_set(err, EBUSY, "a QEMU of this agent runs already");
	if (stat(spec->memory, &st) < 0 || st.st_size != (off_t)spec->memory_mib << 20)
		return err_set(err, EINVAL, "%s is not of %u MiB", spec->memory, spec->memory_mib);
	pid = run_qemu(spec->state, path);
	*ret = watch(loop, pid, cb, data);
	(*ret)->waking = spec->wake.device;
	know(*ret, spec);
	(*ret)->told = spec->wake.device;
	note_woken(spec);
	point();
	return 0;
}

int vm_adopt(struct vm **ret, uv_loop_t *loop, const struct vm_spec *spec,
	const struct vm_callbacks *cb, void *data, struct err *err)
{
	AUTOFREE char *path = path_in(spec->state, "run/agents/%s/qemu.pid", spec->id);
	pid_t pid = process_read_file(path);

	if (!pid)
		return err_set(err, ESRCH, "it is gone");
	*ret = watch(loop, pid, cb, data);
	know(*ret, spec);
	(*ret)->told = spec->woken;
	return 0;
}

int vm_save(struct vm *vm, const char *folder, const struct vm_save_callbacks *cb, struct err *err)
{
	point();
	vm->folder = xstrdup(folder);
	vm->save = *cb;
	vm->captured = false;
	return 0;
}

void vm_switch_disk(struct vm *vm, const char *disk,
	void (*done)(void *data, const struct err *err), void *data)
{
	snprintf(vm->disk, sizeof(vm->disk), "%s", disk);
	vm->switched = done;
	vm->switched_data = data;
}

const char *vm_disk(const struct vm *vm)
{
	return vm->disk;
}

void vm_continue(struct vm *vm)
{
	point();
	vm->waking = false;
	if (vm->ticks < 2)
		vm->ticks = 0;
}

void vm_end_saved(struct vm *vm)
{
	point();
	vm->ending_saved = true;
	kill(vm->pid, SIGKILL);
}

struct verifier *verifier_new(uv_loop_t *loop)
{
	struct verifier **v = xcalloc(1, sizeof(v));

	*v = (void *)loop;
	return (void *)v;
}

void verifier_free(struct verifier *v)
{
	free(v);
}

struct verify {
	struct watch_timer *timer;
	struct verify_file files[VERIFY_FILES_MAX];
	size_t n;
	verify_done_fn *done;
	void *data;
};

static void on_verify(void *data)
{
	struct verify *q = data;
	struct err err = {0};

	for (size_t i = 0; i < q->n; i++) {
		if (access(q->files[i].path, F_OK) < 0)
			err_sys(&err, "%s", q->files[i].path);
		memset(q->files[i].digest, 'a', 64);
		q->files[i].digest[64] = 0;
	}
	point();
	if (fake.no_helper)
		err_set(&err, EIO, "a helper process ended with signal 9");
	q->done(q->data, q->files, q->n, err.code ? &err : NULL);
	verify_cancel(q);
}

struct verify *verify_files(struct verifier *v, const struct verify_file *files, size_t n,
	verify_done_fn *done, void *data)
{
	struct verify *q = xcalloc(1, sizeof(*q));

	q->n = n;
	q->done = done;
	q->data = data;
	for (size_t i = 0; i < n; i++) {
		q->files[i] = files[i];
		q->files[i].path = xstrdup(files[i].path);
	}
	q->timer = watch_timer_new(*(uv_loop_t **)(void *)v, on_verify, q);
	watch_timer_start(q->timer, 0);
	return q;
}

void verify_cancel(struct verify *q)
{
	if (!q)
		return;
	watch_timer_free(q->timer);
	for (size_t i = 0; i < q->n; i++)
		free(q->files[i].path);
	free(q);
}

void vm_shutdown(struct vm *vm, unsigned timeout_ms)
{
	vm->asked = true;
	kill(vm->pid, SIGTERM);
	point();
}

void vm_kill(struct vm *vm)
{
	kill(vm->pid, SIGKILL);
	point();
}

void vm_browser_restart(struct vm *vm)
{
}

static void on_closed(uv_handle_t *handle)
{
	struct vm *vm = handle->data;

	free(vm->agent_dir);
	free(vm->state);
	free(vm->id);
	free(vm);
}

void vm_free(struct vm *vm)
{
	if (vm)
		uv_close((uv_handle_t *)&vm->timer, on_closed);
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

bool vm_stalled(const struct vm *vm)
{
	(void)vm;
	return false;
}

#endif

unsigned fake_qemus(const char *state)
{
	AUTOFREE char *folder = path_in(state, "qemus");
	DIR *d = opendir(folder);
	struct dirent *e;
	unsigned n = 0;

	while (d && (e = readdir(d))) {
		AUTOFREE char *path = xasprintf("%s/%s", folder, e->d_name);

		n += e->d_name[0] != '.' && process_read_file(path) > 0;
	}
	if (d)
		closedir(d);
	return n;
}
