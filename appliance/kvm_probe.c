/*
 * Does KVM really run a stock kernel here?
 *
 * A host can offer /dev/kvm, create a vCPU, and yet never get a kernel up (nested virtualisation
 * that emulates the guest instruction by instruction; models that abort on an MSR). So the kernel
 * that agents will run is booted with no root file system and `panic=-1`: it works if the kernel's
 * panic appears on the serial console and QEMU ends by the reset that follows, before the deadline.
 */
#include "kvm_probe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bytes.h"
#include "house.h"
#include "json.h"
#include "paths.h"
#include "util.h"

#define PROBE_MS 10000
#define NOT_RUN 125 /* exit statuses of a child that did not become QEMU */
#define PROBE_OUTPUT_MAX (256u << 10)
#define QEMU "/usr/bin/qemu-system-x86_64"

/* "BOOT-ID QEMU-SIZE QEMU-MTIME": what a verdict holds for. Empty if there is no QEMU. */
static void verdict_key(char *out, size_t n)
{
	AUTOFREE char *boot = NULL;
	struct stat st;

	out[0] = 0;
	if (stat(QEMU, &st) < 0 ||
		file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 128, &boot, NULL, NULL) < 0)
		return;
	boot[strcspn(boot, "\n")] = 0;
	snprintf(out, n, "%s %lld %lld", boot, (long long)st.st_size, (long long)st.st_mtime);
}

/* The kept verdict with its reason (the caller's to cJSON_Delete), or NULL. */
static cJSON *kept_verdict(const char *state)
{
	AUTOFREE char *path = path_in(state, "kvm.json");
	AUTOFREE char *text = NULL;
	char key[200];
	cJSON *kept;

	verdict_key(key, sizeof(key));
	if (!key[0] || file_read(AT_FDCWD, path, 4096, &text, NULL, NULL) < 0)
		return NULL;
	kept = cJSON_Parse(text);
	if (streq(json_str(kept, "key", ""), key))
		return kept;
	cJSON_Delete(kept);
	return NULL;
}

int kvm_verdict(const char *state)
{
	const char *wish = getenv("BERTH_ACCEL");
	cJSON *kept;
	int r;

	if (wish && (streq(wish, "kvm") || streq(wish, "tcg")))
		return streq(wish, "kvm");
	kept = kept_verdict(state);
	r = kept ? json_bool(kept, "works", false) : -ENODATA;
	cJSON_Delete(kept);
	return r;
}

int kvm_open(const char *state)
{
	AUTOFREE char *own = path_in(state, "run/dev/kvm");
	int fd = open(own, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static void keep(const char *state, bool works, const char *detail)
{
	AUTOFREE char *path = path_in(state, "kvm.json");
	AUTOFREE char *text = NULL;
	cJSON *o = cJSON_CreateObject();
	char key[200];

	verdict_key(key, sizeof(key));
	cJSON_AddStringToObject(o, "key", key);
	cJSON_AddBoolToObject(o, "works", works);
	cJSON_AddStringToObject(o, "detail", detail);
	text = cJSON_PrintUnformatted(o);
	cJSON_Delete(o);
	if (text)
		file_write_atomic(path, text, strlen(text), 0644, NULL);
}

/* The kernel of any image; the caller's to free, or NULL. */
static char *find_kernel(const char *state)
{
	AUTOFREE char *images = path_in(state, "images");
	DIR *d = opendir(images);
	struct dirent *e;
	char *found = NULL;

	while (d && !found && (e = readdir(d))) {
		found = e->d_name[0] == '.' ? NULL : xasprintf("%s/%s/vmlinuz", images, e->d_name);
		if (found && access(found, R_OK) < 0) {
			free(found);
			found = NULL;
		}
	}
	if (d)
		closedir(d);
	return found;
}

/* The probe runs as an agent without a name would: no rights, no network, its output is ours. */
static pid_t start(int node, const char *kernel, int out)
{
	int image, null;
	pid_t pid;

	house_has_ids(); /* looked up before the fork */
	pid = fork();
	if (pid != 0)
		return pid;
	null = open("/dev/null", O_RDONLY);
	image = open(kernel, O_RDONLY);
	dup2(null, 0);
	dup2(out, 1);
	dup2(out, 2);
	if (image < 0 || dup2(node, 100) < 0 || dup2(image, 101) < 0 || dup2(100, 3) < 0 ||
		dup2(101, 4) < 0)
		_exit(126);
	close_range(5, ~0u, 0);
	if (geteuid() == 0 && (unshare(CLONE_NEWNET) < 0 || house_drop(HOUSE_UID_PROBE) < 0))
		_exit(125);
	execl(QEMU, QEMU, "-M", "microvm,acpi=on,rtc=on", "-add-fd", "fd=3,set=1", "-accel",
		"kvm,device=/dev/fdset/1", "-cpu", "host", "-m", "256", "-nodefaults",
		"-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio", "-kernel",
		"/proc/self/fd/4", "-append", "console=ttyS0 panic=-1", "-sandbox",
		"on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		(char *)NULL);
	_exit(127);
}

/* Collects what the probe prints until it ends or the time is over; its exit status, or -ETIMEDOUT.
 */
static int watch(pid_t pid, int out, struct buf *text)
{
	uint64_t deadline = now_ms() + PROBE_MS;
	int status;
	bool late;

	for (uint64_t now = now_ms(); now < deadline; now = now_ms()) {
		struct pollfd p = {.fd = out, .events = POLLIN};
		uint8_t piece[4096];
		ssize_t n;

		if (poll(&p, 1, (int)(deadline - now)) <= 0)
			continue;
		n = read(out, piece, sizeof(piece));
		if (n <= 0)
			break;
		buf_add(text, piece, (size_t)n);
	}
	late = now_ms() >= deadline;
	if (late)
		kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) < 0)
		return -errno;
	return late ? -ETIMEDOUT : WIFEXITED(status) ? WEXITSTATUS(status) : -EIO;
}

/* The last printable line, for the person who reads the verdict. */
static const char *last_line(struct buf *text)
{
	char *s = text->data ? (char *)text->data : (char *)"";
	char *end;

	for (char *p = s; *p; p++)
		if ((unsigned char)*p < 32 && *p != '\n')
			*p = ' ';
	for (end = s + strlen(s); end > s && (end[-1] == '\n' || end[-1] == ' ');)
		*--end = 0;
	end = strrchr(s, '\n');
	return end ? end + 1 : s;
}

/* Runs the probe with what has been found. 1 or 0. */
static int run_probe(const char *state, int node, const char *kernel, struct err *err)
{
	struct err why = {0};
	struct buf text;
	int out[2], status;
	bool works;
	pid_t pid;

	if (pipe2(out, O_CLOEXEC) < 0)
		return err_sys(err, "cannot make a pipe");
	buf_init(&text, PROBE_OUTPUT_MAX);
	pid = start(node, kernel, out[1]);
	close(out[1]);
	status = pid < 0 ? -errno : watch(pid, out[0], &text);
	close(out[0]);
	if (status >= NOT_RUN) {
		buf_done(&text);
		return err_set(err, EIO, "the KVM probe could not be started (status %d)", status);
	}
	works = status == 0 && strstr(buf_str(&text), "Kernel panic");
	if (!works)
		err_set(&why, ENODEV, "no kernel boots under KVM here (%s): %.200s",
			status == -ETIMEDOUT ? "no end after 10 s" : "QEMU gave up",
			last_line(&text));
	keep(state, works, works ? "a probe guest booted" : why.msg);
	if (err)
		*err = why;
	buf_done(&text);
	return works;
}

int kvm_probe(const char *state, struct err *err)
{
	AUTOFREE char *kernel = find_kernel(state);
	AUTOFD int node = kvm_open(state);
	cJSON *kept;

	if (node < 0)
		return err_set(err, ENODEV, "this machine offers no /dev/kvm");
	kept = kept_verdict(state);
	if (kept) {
		bool works = json_bool(kept, "works", false);

		if (!works)
			err_set(err, ENODEV, "%s", json_str(kept, "detail", ""));
		cJSON_Delete(kept);
		return works;
	}
	if (access(QEMU, X_OK) < 0)
		return err_set(err, ENOEXEC, "%s is not there", QEMU);
	if (!kernel)
		return err_set(
			err, ENOENT, "there is no image yet whose kernel could be tried under KVM");
	return run_probe(state, node, kernel, err);
}
