/* One microVM for real: started, looked at, killed, panicked, hung, adopted, powered off. Needs
 * root and a guest image. */
#include "cgroup.h"
#include "disk.h"
#include "guest.h"
#include "house.h"
#include "netns.h"
#include "paths.h"
#include "process.h"
#include "util.h"
#include "vm.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>

#define ID "ag_harness"
#define BOOT_MS 180000
#define END_MS 120000 /* for whatever else takes seconds at most, on a machine that is not busy */

static char state[64], *image, *disk, *memory;
static uv_loop_t loop;
static int connection = -1; /* of run_in_guest */
static struct vm *current;  /* for the teardown of a test that failed */

/* What the callbacks saw. */
static struct seen {
	unsigned ready, pong, lines, loaded;
	struct guest_ready how;
	int browser; /* enum guest_browser_state, -1: nothing yet */
	bool ended;
	enum vm_end end;
	char detail[800];
} seen;

static void on_ready(void *data, const struct guest_ready *r)
{
	seen.ready++;
	seen.how = *r;
}

static void on_browser(void *data, const struct guest_browser *b)
{
	seen.browser = (int)b->state;
}

static void on_pong(void *data, const struct guest_pong *p)
{
	seen.pong++;
}

static void on_log(void *data, unsigned source, const char *line)
{
	seen.lines++;
}

static void on_ended(void *data, enum vm_end how, const char *detail)
{
	seen.ended = true;
	seen.end = how;
	snprintf(seen.detail, sizeof(seen.detail), "%s", detail);
}

static void on_loaded(void *data)
{
	seen.loaded++;
}

static const struct vm_callbacks callbacks = {.ready = on_ready,
	.browser = on_browser,
	.pong = on_pong,
	.log = on_log,
	.loaded = on_loaded,
	.ended = on_ended};

static void on_tick(uv_timer_t *t)
{
	(void)t;
}

static bool is_ready(void)
{
	return seen.ready > 0;
}

static bool is_browser_up(void)
{
	return seen.browser == GUEST_BROWSER_UP;
}

static bool is_ended(void)
{
	return seen.ended;
}

static uint64_t pause_until;

static bool is_pause_over(void)
{
	return now_ms() >= pause_until;
}

static bool has_pong(void)
{
	return seen.pong > 0;
}

/* Runs the loop until the condition holds or the vm ended. */
static bool run_until(bool (*done)(void), uint64_t ms)
{
	uint64_t deadline = now_ms() + ms;
	uv_timer_t tick;

	uv_timer_init(&loop, &tick);
	uv_timer_start(&tick, on_tick, 20, 20);
	while (!done() && !seen.ended && now_ms() < deadline)
		uv_run(&loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&tick, NULL);
	uv_run(&loop, UV_RUN_NOWAIT);
	if (!done())
		print_message("ended %d: %s\n", seen.ended, seen.detail);
	return done();
}

static struct vm_spec spec(void)
{
	return (struct vm_spec){.state = state,
		.id = ID,
		.name = "harness",
		.slot = 7,
		.image_dir = image,
		.disk = "d_test",
		.memory = memory,
		.memory_mib = 1024,
		.cpus = 2,
		.machine_id = {1, 2, 3},
		.browser = true};
}

static struct vm *start(void)
{
	struct vm_spec s = spec();
	struct err err = {0};
	struct vm *vm = NULL;

	seen = (struct seen){.browser = -1};
	if (vm_start(&vm, &loop, &s, &callbacks, NULL, &err) < 0)
		print_message("%s\n", err.msg);
	assert_non_null(vm);
	current = vm;
	return vm;
}

static void finish(struct vm *vm)
{
	AUTOFREE char *pid_file = path_in(state, "run/agents/" ID "/qemu.pid");
	AUTOFREE char *qmp = path_in(state, "run/agents/" ID "/qmp.sock");

	assert_true(seen.ended);
	vm_free(vm);
	current = NULL;
	uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(access(pid_file, F_OK), -1);
	assert_int_equal(access(qmp, F_OK), -1);
}

static char *proc_text(int pid, const char *file)
{
	char path[64], *text = NULL;
	int r;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	r = file_read(AT_FDCWD, path, 1 << 20, &text, NULL, NULL);
	assert_int_equal(r, 0);
	return text ? text : xstrdup("");
}

/* A connection to a port of the guest, from outside its namespace. */
static int dial(int port)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = inet_addr(GUEST_ADDR)};
	struct timeval wait = {.tv_sec = 120};
	struct err err = {0};
	int fd = netns_socket(state, ID, AF_INET, SOCK_STREAM, &err);

	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

/* Starts a script in the guest as root. The connection stays: closing it would end the command. */
static void run_in_guest(const char *script)
{
	const struct guest_exec e = {
		.argc = 3, .user = "root", .cwd = "/", .argv = {"/bin/sh", "-c", script}};
	uint8_t hello[GUEST_HELLO_LEN], header[GUEST_HEADER_LEN];
	int fd = dial(GUEST_PORT);
	struct buf b;

	guest_put_hello(hello, GUEST_EXEC);
	assert_int_equal(write_all(fd, hello, sizeof(hello)), 0);
	assert_int_equal(recv(fd, hello, sizeof(hello), MSG_WAITALL), sizeof(hello));
	buf_init(&b, 4096);
	assert_true(guest_put_exec(&b, &e));
	guest_put_header(header, GUEST_EXEC_START, (uint32_t)b.len);
	assert_int_equal(write_all(fd, header, sizeof(header)), 0);
	assert_int_equal(write_all(fd, b.data, b.len), 0);
	assert_int_equal(recv(fd, header, sizeof(header), MSG_WAITALL), sizeof(header));
	assert_int_equal(header[4], GUEST_STARTED);
	buf_done(&b);
	connection = fd;
}

/* Runs a script in the guest as root to its end: its exit status. */
static int guest_status(const char *script)
{
	uint8_t header[GUEST_HEADER_LEN], type, *payload;
	uint32_t n, status = 255;

	run_in_guest(script); /* up to STARTED's header */
	n = 4;
	type = GUEST_STARTED;
	while (type != GUEST_EXIT) {
		payload = xmalloc(n + 1);
		assert_int_equal(recv(connection, payload, n, MSG_WAITALL), n);
		if (type == GUEST_STDERR)
			print_message("%.*s", (int)n, payload);
		free(payload);
		assert_int_equal(
			recv(connection, header, sizeof(header), MSG_WAITALL), sizeof(header));
		assert_true(guest_get_header(header, &type, &n));
	}
	assert_int_equal(n, 8);
	assert_int_equal(recv(connection, &status, 4, MSG_WAITALL), 4);
	close(steal_fd(&connection));
	return (int)status;
}

/* A failed test's machine must not stand in the way of the next test. */
static int clear(void **unused)
{
	if (connection >= 0)
		close(steal_fd(&connection));
	if (!current)
		return 0;
	vm_kill(current);
	run_until(is_ended, END_MS);
	vm_free(current);
	current = NULL;
	return 0;
}

/* ---- tests ---- */

static void check_identity(int pid)
{
	AUTOFREE char *status = proc_text(pid, "status");
	char uid[64];
	unsigned id = house_has_ids() ? HOUSE_UID_AGENT + 7 : 0;

	snprintf(uid, sizeof(uid), "\nUid:\t%u\t%u\t%u\t%u\n", id, id, id, id);
	assert_non_null(strstr(status, uid));
	assert_non_null(strstr(status, "\nCapEff:\t0000000000000000\n"));
	assert_non_null(strstr(status, "\nCapPrm:\t0000000000000000\n"));
	assert_non_null(strstr(status, "\nCapBnd:\t0000000000000000\n"));
	assert_non_null(strstr(status, "\nNoNewPrivs:\t1\n"));
	assert_non_null(strstr(status, "\nSeccomp:\t2\n"));
	assert_non_null(strstr(status, "\nGroups:\t \n"));
}

/* Namespaces of its own, and a root that holds nothing of the host's but QEMU. */
static void check_room(int pid)
{
	static const char *const spaces[] = {"mnt", "net", "ipc", "uts", "pid"};
	static const char known[] = " agent dev etc image lib lib64 memory usr ";
	char path[64];
	struct dirent *e;
	DIR *d;

	for (size_t i = 0; i < ARRAY_SIZE(spaces); i++) {
		struct stat own, its;

		snprintf(path, sizeof(path), "/proc/self/ns/%s", spaces[i]);
		assert_int_equal(stat(path, &own), 0);
		snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, spaces[i]);
		assert_int_equal(stat(path, &its), 0);
		assert_int_not_equal(own.st_ino, its.st_ino);
	}
	snprintf(path, sizeof(path), "/proc/%d/root", pid);
	d = opendir(path);
	assert_non_null(d);
	while ((e = readdir(d))) {
		char word[300];

		snprintf(word, sizeof(word), " %s ", e->d_name);
		if (e->d_name[0] != '.' && !strstr(known, word))
			fail_msg("/%s is in QEMU's root", e->d_name);
	}
	closedir(d);
}

/* No descriptor of ours but the ones it was given. */
static void check_descriptors(int pid)
{
	char path[64], target[300];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	assert_non_null(d);
	while ((e = readdir(d))) {
		ssize_t n = readlinkat(dirfd(d), e->d_name, target, sizeof(target) - 1);

		if (n <= 0)
			continue;
		target[n] = 0;
		if (strstr(target, "berth.db") || strstr(target, "control") ||
			starts_with(target, "/proc"))
			fail_msg("QEMU holds %s", target);
	}
	closedir(d);
}

static void check_cdp(void)
{
	static const char request[] = "GET /json/version HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
	char answer[4096] = "";
	size_t n = 0;
	int fd = dial(GUEST_CDP_PORT);

	assert_int_equal(write_all(fd, request, strlen(request)), 0);
	while (n < sizeof(answer) - 1 && !strstr(answer, "webSocketDebuggerUrl")) {
		ssize_t got = recv(fd, answer + n, sizeof(answer) - 1 - n, 0);

		if (got <= 0)
			break;
		n += (size_t)got;
		answer[n] = 0;
	}
	assert_non_null(strstr(answer, "webSocketDebuggerUrl"));
	close(fd);
}

/* The disk is made at the first boot and kept from then on. */
static void check_fresh(void)
{
	static bool booted;

	assert_int_equal(seen.how.fresh, !booted);
	booted = true;
}

/* The first boot: everything comes up, QEMU has nothing. Then it freezes, and that is seen. */
static void test_up_and_hang(void **unused)
{
	struct vm *vm = start();

	assert_true(run_until(is_ready, BOOT_MS));
	check_fresh();
	assert_true(run_until(is_browser_up, BOOT_MS));
	assert_true(run_until(has_pong, END_MS));
	check_identity(vm_pid(vm));
	check_room(vm_pid(vm));
	check_descriptors(vm_pid(vm));
	check_cdp();
	assert_true(vm_memory(vm) > 64u << 20);
	assert_true(!cgroup_available(state) || cgroup_memory(state, ID) > 64u << 20);
	print_message("kernel %u ms, init %u ms, %llu MiB\n", seen.how.kernel_ms, seen.how.init_ms,
		(unsigned long long)vm_memory(vm) >> 20);
	assert_int_equal(kill(vm_pid(vm), SIGSTOP), 0);
	assert_true(run_until(is_ended, END_MS));
	assert_int_equal(seen.end, VM_END_HANG);
	finish(vm);
}

static void test_killed(void **unused)
{
	struct vm *vm = start();

	assert_int_equal(kill(vm_pid(vm), SIGKILL), 0);
	assert_true(run_until(is_ended, END_MS));
	assert_int_equal(seen.end, VM_END_CRASH);
	finish(vm);
	vm = start();
	vm_kill(vm);
	assert_true(run_until(is_ended, END_MS));
	assert_int_equal(seen.end, VM_END_CRASH);
	finish(vm);
	/* Asked to stop while it boots: killed when the time is over, and that is no crash. */
	vm = start();
	vm_shutdown(vm, 300);
	assert_true(run_until(is_ended, END_MS));
	assert_int_equal(seen.end, VM_END_POWEROFF);
	finish(vm);
}

static void test_panic(void **unused)
{
	struct vm *vm = start();

	assert_true(run_until(is_ready, BOOT_MS));
	check_fresh();
	run_in_guest("echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger");
	assert_true(run_until(is_ended, END_MS));
	print_message("%s\n", seen.detail);
	assert_int_equal(seen.end, VM_END_CRASH);
	assert_non_null(strstr(seen.detail, "Kernel panic - not syncing"));
	finish(vm);
}

/* qemu-img's verdict on the disk: 0 all right, 3 clusters that nobody uses, anything else is
 * damage. */
static int check_disk(void)
{
	AUTOFREE char *command = xasprintf("qemu-img check -q %s >&2", disk);
	int status = system(command);

	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/*
 * QEMU is killed: what the guest flushed is in the qcow2 file, mapping tables included, and what it
 * wrote ten seconds ago has been flushed by itself. /opt is on the overlay of the root.
 */
static void test_disk_after_kill(void **unused)
{
	struct vm *vm = start();
	int verdict;

	assert_true(run_until(is_ready, BOOT_MS));
	assert_int_equal(
		guest_status("seq 1 300000 >/home/agent/old && seq 1 300000 >/opt/old"), 0);
	pause_until = now_ms() + 10000;
	assert_true(run_until(is_pause_over, END_MS));
	assert_int_equal(guest_status("seq 2 300001 >/home/agent/new && sync /home/agent/new"), 0);
	assert_int_equal(kill(vm_pid(vm), SIGKILL), 0);
	assert_true(run_until(is_ended, END_MS));
	assert_int_equal(seen.end, VM_END_CRASH);
	finish(vm);
	verdict = check_disk();
	assert_true(verdict == 0 || verdict == 3);

	vm = start();
	assert_true(run_until(is_ready, BOOT_MS));
	assert_int_equal(seen.how.fresh, 0);
	assert_int_equal(guest_status("seq 2 300001 | cmp - /home/agent/new >&2"), 0);
	assert_int_equal(guest_status("seq 1 300000 | cmp - /home/agent/old >&2"), 0);
	assert_int_equal(guest_status("seq 1 300000 | cmp - /opt/old >&2"), 0);
	vm_shutdown(vm, 60000);
	assert_true(run_until(is_ended, END_MS));
	finish(vm);
	assert_int_equal(check_disk(), verdict); /* nothing else, and nothing worse */
}

/* A daemon that starts the machine and is killed as soon as it is ready. */
static void start_and_abandon(void)
{
	int told[2], status;
	char word = 'n';
	pid_t first;

	fflush(stdout);
	assert_int_equal(pipe(told), 0);
	first = fork();
	if (first == 0) {
		uv_loop_fork(&loop);
		start();
		word = run_until(is_ready, BOOT_MS) ? 'y' : 'n';
		if (word == 'n')
			vm_kill(current);
		(void)!write(told[1], &word, 1);
		while (word == 'y' && getppid() != 1)
			sleep(1);
		_exit(1);
	}
	close(told[1]);
	(void)!read(told[0], &word, 1);
	kill(first, SIGKILL);
	assert_int_equal(waitpid(first, &status, 0), first);
	close(told[0]);
	assert_int_equal(word, 'y');
	seen = (struct seen){.browser = -1};
}

/* This process takes the machine of a killed one over. */
static void test_adopt(void **unused)
{
	struct vm_spec s = spec();
	struct err err = {0};
	struct vm *vm = NULL;

	start_and_abandon();
	assert_int_equal(vm_adopt(&vm, &loop, &s, &callbacks, NULL, &err), 0);
	current = vm;
	assert_true(run_until(is_ready, END_MS));
	assert_true(run_until(is_browser_up, BOOT_MS));
	check_cdp();
	assert_string_equal(vm_accel(vm), "tcg");
	vm_shutdown(vm, 60000);
	assert_true(run_until(is_ended, END_MS));
	print_message("%s\n", seen.detail);
	assert_int_equal(seen.end, VM_END_POWEROFF);
	finish(vm);
	assert_int_equal(vm_adopt(&vm, &loop, &s, &callbacks, NULL, &err), -ESRCH);
}

/* The guest switches itself off. */
static void test_poweroff(void **unused)
{
	struct vm *vm = start();

	assert_true(run_until(is_ready, BOOT_MS));
	check_fresh();
	run_in_guest("echo o >/proc/sysrq-trigger");
	assert_true(run_until(is_ended, END_MS));
	assert_int_equal(seen.end, VM_END_POWEROFF);
	finish(vm);
}

/* It did so while nobody looked. */
static void test_poweroff_unseen(void **unused)
{
	struct vm_spec s = spec();
	struct err err = {0};
	struct vm *vm = NULL;

	start_and_abandon();
	run_in_guest("echo o >/proc/sysrq-trigger");
	sleep(5);
	assert_int_equal(vm_adopt(&vm, &loop, &s, &callbacks, NULL, &err), 0);
	current = vm;
	assert_true(run_until(is_ended, END_MS));
	assert_int_equal(seen.end, VM_END_POWEROFF);
	finish(vm);
}

static void test_refusals(void **unused)
{
	struct vm_spec s = spec();
	struct err err = {0};
	struct vm *vm = NULL;

	assert_int_equal(disk_make(disk, NULL, 8, 7, &err), -EEXIST);
	s.image_dir = "/nonexistent";
	seen = (struct seen){.browser = -1};
	assert_true(vm_start(&vm, &loop, &s, &callbacks, NULL, &err) < 0);
	assert_non_null(strstr(err.msg, "/nonexistent"));
	assert_null(vm);
	s = spec();
	s.disk = "d_none";
	if (vm_start(&vm, &loop, &s, &callbacks, NULL, &err) == 0) {
		assert_true(run_until(is_ended, END_MS));
		assert_int_equal(seen.end, VM_END_CRASH);
		assert_non_null(strstr(seen.detail, "d_none.qcow2"));
		finish(vm);
	}
}

/* ---- the stage ---- */

/* "latest" below the images folder, or any image in it. */
static char *find_image(const char *images)
{
	char *latest = xasprintf("%s/latest", images), *found = NULL;
	struct dirent *e;
	DIR *d;

	if (access(latest, R_OK) == 0)
		return latest;
	free(latest);
	d = opendir(images);
	while (d && !found && (e = readdir(d))) {
		AUTOFREE char *manifest = xasprintf("%s/%s/manifest.json", images, e->d_name);

		if (e->d_name[0] != '.' && access(manifest, R_OK) == 0)
			found = xasprintf("%s/%s", images, e->d_name);
	}
	if (d)
		closedir(d);
	return found;
}

static void set_the_stage(void)
{
	struct err err = {0};
	struct house house;
	AUTOFREE char *dir = NULL;

	snprintf(state, sizeof(state), "/tmp/berth-vm-XXXXXX");
	if (!mkdtemp(state))
		die("cannot make a state folder");
	if (house_enter(state, &house, &err) < 0)
		die("%s", err.msg);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	uv_loop_init(&loop);
	dir = path_in(state, "agents/" ID);
	disk = xasprintf("%s/d_test.qcow2", dir);
	memory = xasprintf("%s/m_zero", dir);
	if (make_dir(dir, 0711, &err) < 0 || disk_make(disk, NULL, 8, 7, &err) < 0 ||
		file_write_atomic(memory, "", 0, 0444, &err) < 0 ||
		truncate(memory, (off_t)spec().memory_mib << 20) < 0 ||
		netns_create(state, ID, HOUSE_UID_AGENT + 7, &err) < 0)
		die("%s", err.msg);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_refusals, clear),
		cmocka_unit_test_teardown(test_killed, clear),
		cmocka_unit_test_teardown(test_up_and_hang, clear),
		cmocka_unit_test_teardown(test_panic, clear),
		cmocka_unit_test_teardown(test_disk_after_kill, clear),
		cmocka_unit_test_teardown(test_adopt, clear),
		cmocka_unit_test_teardown(test_poweroff, clear),
		cmocka_unit_test_teardown(test_poweroff_unseen, clear),
	};
	const char *images = getenv("BERTH_TEST_IMAGES");
	int failed;

	image = images ? find_image(images) : NULL;
	if (geteuid() != 0 || !image) {
		printf("[  SKIPPED ] vm: needs root and an image below BERTH_TEST_IMAGES\n");
		return 0;
	}
	setenv("BERTH_ACCEL", "tcg", 1);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	set_the_stage();
	failed = cmocka_run_group_tests_name("vm", tests, NULL, NULL);
	netns_remove(state, ID, NULL);
	house_leave(state);
	remove_tree(state, NULL);
	return failed;
}
