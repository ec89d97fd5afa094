/* What this machine has and lacks for running agents. Looks, tries in namespaces of its own,
 * changes nothing. */
#include "doctor.h"
#include "doctor_image.h"
#include "doctor_leftovers.h"
#include "house.h"
#include "paths.h"
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>

#include "kvm_probe.h"

#define QEMU "qemu-system-x86_64"
#define QEMU_MAJOR 8
#define QEMU_MINOR 2
#define MEMORY_LEAST_MIB 700 /* one agent of the smallest useful size */
#define MEMORY_GOOD_MIB 2048
#define DISK_LEAST_GIB 1
#define DISK_GOOD_GIB 6 /* building an image takes 3, an agent's profile grows */

__attribute__((format(printf, 3, 4))) static void say(
	struct doctor_finding *f, enum doctor_result result, const char *what, ...)
{
	va_list ap;

	f->result = result;
	va_start(ap, what);
	vsnprintf(f->what, sizeof(f->what), what, ap);
	va_end(ap);
}

__attribute__((format(printf, 2, 3))) static void because(
	struct doctor_finding *f, const char *cause, ...)
{
	va_list ap;

	va_start(ap, cause);
	vsnprintf(f->cause, sizeof(f->cause), cause, ap);
	va_end(ap);
}

__attribute__((format(printf, 2, 3))) static void way_out(
	struct doctor_finding *f, const char *text, ...)
{
	va_list ap;

	va_start(ap, text);
	vsnprintf(f->way_out, sizeof(f->way_out), text, ap);
	va_end(ap);
}

/* A program in PATH or in the folders of root's programs, which an ordinary user's PATH lacks on
 * Debian. */
static char *find_program(const char *name)
{
	const char *path = getenv("PATH");
	AUTOFREE char *all = xasprintf("%s:/usr/sbin:/sbin:/usr/bin", path ? path : "");
	char *save = NULL;

	for (char *dir = strtok_r(all, ":", &save); dir; dir = strtok_r(NULL, ":", &save)) {
		AUTOFREE char *file = xasprintf("%s/%s", dir, name);

		if (access(file, X_OK) == 0)
			return steal(&file);
	}
	return NULL;
}

/* Runs a program and keeps the start of what it prints. Its exit status, or -1. */
static int run_program(const char *const *argv, char *out, size_t n)
{
	int p[2], status = 0;
	size_t len = 0;
	ssize_t got;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		dup2(p[1], STDOUT_FILENO);
		dup2(p[1], STDERR_FILENO);
		execv(argv[0], (char *const *)argv);
		_exit(127);
	}
	close(p[1]);
	while (len + 1 < n && (got = read(p[0], out + len, n - 1 - len)) > 0)
		len += (size_t)got;
	close(p[0]);
	out[len] = 0;
	out[strcspn(out, "\n")] = 0;
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

static void check_kernel(const char *state, struct doctor_finding *f)
{
	struct utsname u;
	unsigned major = 0, minor = 0;

	(void)state;
	uname(&u);
	say(f, DOCTOR_OK, "kernel %.40s", u.release);
	if (!streq(u.machine, "x86_64")) {
		say(f, DOCTOR_FAIL, "machine %.40s", u.machine);
		because(f, "the guest is built for x86_64");
	} else if (sscanf(u.release, "%u.%u", &major, &minor) == 2 &&
		   (major < 5 || (major == 5 && minor < 10))) {
		f->result = DOCTOR_FAIL;
		because(f, "5.10 or newer is needed");
		way_out(f, "use Debian 12 or 13");
	}
}

static void check_namespaces(const char *state, struct doctor_finding *f)
{
	struct err err = {0};

	(void)state;
	say(f, DOCTOR_OK, "user and network namespaces");
	if (house_check_namespaces(&err))
		return;
	f->result = DOCTOR_FAIL;
	because(f, "%.290s", err.msg);
	way_out(f, "%.290s",
		err.hint[0] ? err.hint
			    : "allow user namespaces (sysctl user.max_user_namespaces), or run as "
			      "root");
}

static void check_tun(const char *state, struct doctor_finding *f)
{
	struct err err = {0};

	say(f, DOCTOR_OK, "tun devices");
	if (house_check_tun(state, &err))
		return;
	f->result = DOCTOR_FAIL;
	because(f, "%.290s", err.msg);
	way_out(f, "%.290s",
		err.hint[0] ? err.hint : "as root: modprobe tun; chmod 0666 /dev/net/tun");
}

static void map_root(uid_t uid, gid_t gid)
{
	AUTOFREE char *users = xasprintf("0 %u 1", uid), *groups = xasprintf("0 %u 1", gid);
	const char *const files[] = {
		"/proc/self/setgroups", "/proc/self/uid_map", "/proc/self/gid_map"};
	const char *const texts[] = {"deny", users, groups};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		AUTOFD int fd = open(files[i], O_WRONLY | O_CLOEXEC);

		if (fd < 0 || write(fd, texts[i], strlen(texts[i])) < 0)
			continue; /* what follows will fail and tell */
	}
}

/* nft's exit status in a user and network namespace of its own; 126: there is no such namespace. */
static int try_nft(const char *nft, char *out, size_t n)
{
	static const char script[] = "add table inet berth_doctor; delete table inet berth_doctor";
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int p[2], status = 0;
	ssize_t got;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return 126;
	pid = fork();
	if (pid == 0) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
			_exit(126);
		map_root(uid, gid);
		dup2(p[1], STDERR_FILENO);
		execl(nft, "nft", script, (char *)NULL);
		_exit(127);
	}
	close(p[1]);
	got = read(p[0], out, n - 1);
	close(p[0]);
	out[got > 0 ? got : 0] = 0;
	out[strcspn(out, "\n")] = 0;
	return pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) ? 126
									     : WEXITSTATUS(status);
}

static void check_nftables(const char *state, struct doctor_finding *f)
{
	AUTOFREE char *nft = find_program("nft");
	char out[200] = "";
	int status;

	(void)state;
	say(f, DOCTOR_OK, "nftables");
	if (!nft) {
		f->result = DOCTOR_FAIL;
		because(f, "nft is not installed");
		way_out(f, "apt-get install nftables");
		return;
	}
	status = try_nft(nft, out, sizeof(out));
	if (status == 0)
		return;
	f->result = DOCTOR_FAIL;
	because(f, "no table can be made in a namespace of our own: %s",
		status == 126 ? "no namespace"
		: out[0]      ? out
			      : "nft failed");
	way_out(f, "as root: modprobe nf_tables nft_chain_nat nft_redir nft_reject_inet");
}

static void check_qemu(const char *state, struct doctor_finding *f)
{
	AUTOFREE char *qemu = find_program(QEMU);
	unsigned major = 0, minor = 0;
	const char *version;
	char out[200];

	(void)state;
	way_out(f, "scripts/install-deps.sh run, or apt-get install qemu-system-x86 (Debian 12: "
		   "from bookworm-backports)");
	if (!qemu ||
		run_program((const char *[]){qemu, "--version", NULL}, out, sizeof(out)) != 0) {
		say(f, DOCTOR_FAIL, "QEMU");
		because(f, qemu ? "%s does not run" : "%s is not installed", QEMU);
		return;
	}
	version = strstr(out, "version ");
	if (version)
		sscanf(version, "version %u.%u", &major, &minor);
	say(f, DOCTOR_OK, "QEMU %u.%u", major, minor);
	if (major > QEMU_MAJOR || (major == QEMU_MAJOR && minor >= QEMU_MINOR)) {
		f->way_out[0] = 0;
		return;
	}
	f->result = DOCTOR_FAIL;
	because(f, "%d.%d or newer is needed", QEMU_MAJOR, QEMU_MINOR);
}

static void check_kvm(const char *state, struct doctor_finding *f)
{
	struct err err = {0};

	if (kvm_probe(state, &err) > 0) {
		say(f, DOCTOR_OK, "KVM (a probe guest booted)");
		return;
	}
	say(f, DOCTOR_WARN, "no KVM; QEMU's TCG is used");
	because(f, "%.200s; everything in the guest is some 5 to 10 times slower", err.msg);
	way_out(f, "%.290s",
		err.hint[0] ? err.hint : "use a machine with nested virtualisation, or bare metal");
}

static bool in_file(const char *path, const char *word)
{
	AUTOFREE char *text = NULL;

	return file_read(AT_FDCWD, path, 1 << 16, &text, NULL, NULL) == 0 && strstr(text, word);
}

static void check_cgroups(const char *state, struct doctor_finding *f)
{
	bool v2 = in_file("/sys/fs/cgroup/cgroup.controllers", "memory");
	bool v1 = access("/sys/fs/cgroup/memory", F_OK) == 0;

	(void)state;
	say(f, DOCTOR_OK, "cgroups (version %d)", v2 ? 2 : 1);
	if (!v1 && !v2) {
		say(f, DOCTOR_WARN, "cgroups");
		because(f,
			"no memory controller; an agent's limits are only its machine's own size");
		way_out(f, "mount cgroup2 at /sys/fs/cgroup with memory, cpu and pids");
	} else if (geteuid() != 0) {
		f->result = DOCTOR_WARN;
		because(f, "an ordinary user's appliance limits agents only in a delegated cgroup");
		way_out(f, "systemd-run --user --scope -p Delegate=yes berth up");
	}
}

static void check_memory(const char *state, struct doctor_finding *f)
{
	AUTOFREE char *text = NULL;
	unsigned long long kib = 0;
	const char *line;

	(void)state;
	if (file_read(AT_FDCWD, "/proc/meminfo", 1 << 16, &text, NULL, NULL) < 0)
		text = xstrdup("");
	line = strstr(text, "MemAvailable:");
	if (line)
		sscanf(line, "MemAvailable: %llu", &kib);
	say(f, DOCTOR_OK, "memory: %llu MiB available", kib / 1024);
	if (kib / 1024 >= MEMORY_GOOD_MIB)
		return;
	f->result = kib / 1024 < MEMORY_LEAST_MIB ? DOCTOR_FAIL : DOCTOR_WARN;
	because(f, "an agent takes up to its --memory (1024 MiB unless told) and some for QEMU");
	way_out(f, "free memory, or give agents less: berth create NAME --memory 512");
}

/* The folder itself or what is there of the way to it; the caller's to free. */
static char *nearest_folder(const char *path)
{
	char *p = xstrdup(path);

	while (access(p, F_OK) < 0 && strrchr(p, '/') > p)
		*strrchr(p, '/') = 0;
	if (access(p, F_OK) < 0)
		strcpy(p, "/");
	return p;
}

static void check_disk(const char *state, struct doctor_finding *f)
{
	AUTOFREE char *folder = nearest_folder(state);
	struct statvfs s;
	double gib;

	if (statvfs(folder, &s) < 0)
		memset(&s, 0, sizeof(s));
	gib = (double)s.f_bavail * (double)s.f_frsize / (1u << 30);
	say(f, DOCTOR_OK, "disk: %.1f GiB free", gib);
	if (gib >= DISK_GOOD_GIB)
		return;
	f->result = gib < DISK_LEAST_GIB ? DOCTOR_FAIL : DOCTOR_WARN;
	because(f, "%.200s: building an image takes 3 GiB, an agent's disk grows with use", folder);
	way_out(f, "free space, or choose another folder with --state or BERTH_STATE");
}

static void check_tools(const char *state, struct doctor_finding *f)
{
	static const char *const tools[] = {
		"mmdebstrap", "mkfs.erofs", "lz4", "cpio", "xz", "python3", "dpkg-deb"};
	char missing[200] = "";

	for (size_t i = 0; i < ARRAY_SIZE(tools); i++) {
		AUTOFREE char *found = find_program(tools[i]);
		size_t used = strlen(missing);

		if (!found)
			snprintf(missing + used, sizeof(missing) - used, "%s%s", used ? ", " : "",
				tools[i]);
	}
	say(f, DOCTOR_OK, "tools for building images");
	if (!missing[0])
		return;
	f->result = doctor_image_any(state) ? DOCTOR_WARN : DOCTOR_FAIL;
	because(f, "missing: %s", missing);
	way_out(f, "apt-get install mmdebstrap erofs-utils lz4 cpio xz-utils python3-minimal");
}

static void check_state(const char *state, struct doctor_finding *f)
{
	AUTOFREE char *folder = nearest_folder(state);

	say(f, DOCTOR_OK, "state folder %.60s", state);
	if (geteuid() == 0 || access(folder, W_OK) == 0)
		return;
	f->result = DOCTOR_FAIL;
	because(f, "%.200s cannot be written by this user", folder);
	way_out(f, "choose another with --state or BERTH_STATE");
}

static void check_image(const char *state, struct doctor_finding *f)
{
	struct err err = {0};
	char id[40] = "";
	int n = doctor_image_check(state, id, &err);

	say(f, DOCTOR_OK, "image %.30s%s", id, n > 1 ? " and others" : "");
	if (n > 0)
		return;
	say(f, DOCTOR_FAIL, "image");
	because(f, "%.290s", n < 0 ? err.msg : "none has been built yet");
	way_out(f, n < 0 ? "berth image rm it, then berth image build" : "berth image build");
}

static void check_programs(const char *state, struct doctor_finding *f)
{
	static const char *const programs[] = {
		"berthd", "berth-gateway", "berth-policy", "berth-image-build"};

	(void)state;
	say(f, DOCTOR_OK, "berth's own programs");
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		AUTOFREE char *path = path_libexec(programs[i]);

		if (access(path, X_OK) == 0)
			continue;
		f->result = DOCTOR_FAIL;
		because(f, "%.200s: %s", path, strerror(errno));
		way_out(f, "install berth again: ./quickstart, or meson install");
		return;
	}
}

static void check_ids(const char *state, struct doctor_finding *f)
{
	AUTOFREE char *newuidmap = find_program("newuidmap"), *user = NULL;
	const char *name = getenv("USER");

	(void)state;
	say(f, DOCTOR_OK, "user ids of the appliance's own");
	if (geteuid() == 0)
		return;
	user = xasprintf("%s:", name ? name : "?");
	if (newuidmap && in_file("/etc/subuid", user))
		return;
	f->result = DOCTOR_WARN;
	because(f, "%s; all of berth's processes will run under one id",
		newuidmap ? "no line in /etc/subuid" : "newuidmap is missing");
	way_out(f,
		"apt-get install uidmap; usermod --add-subuids 100000-165535 --add-subgids "
		"100000-165535 %s",
		name ? name : "USER");
}

static void check_clock(const char *state, struct doctor_finding *f)
{
	struct stat st = {0};
	time_t now = time(NULL);
	char text[32];

	(void)state;
	stat("/proc/self/exe", &st);
	format_time(realtime_ns(), text);
	say(f, DOCTOR_OK, "clock: %s", text);
	if (now + 24 * 3600 >= st.st_mtime)
		return;
	f->result = DOCTOR_WARN;
	because(f, "it is earlier than this program's installation; certificates of web sites will "
		   "look wrong");
	way_out(f, "set the clock (timedatectl set-ntp true)");
}

static void check_leftovers(const char *state, struct doctor_finding *f)
{
	char first[300];
	bool up;
	int n = doctor_leftovers(state, &up, first, sizeof(first));

	say(f, DOCTOR_OK, "leftovers: none");
	if (n == 0)
		return;
	say(f, DOCTOR_WARN, "leftovers: %d", n);
	because(f, "%.260s%s", first, n > 1 ? ", and others" : "");
	way_out(f, up ? "berth down, then berth up removes them"
		      : "berth up takes them back or removes them");
}

static const struct {
	const char *name;
	void (*check)(const char *state, struct doctor_finding *f);
} checks[] = {
	{"kernel", check_kernel},
	{"namespaces", check_namespaces},
	{"tun", check_tun},
	{"nftables", check_nftables},
	{"qemu", check_qemu},
	{"kvm", check_kvm},
	{"cgroups", check_cgroups},
	{"memory", check_memory},
	{"disk", check_disk},
	{"ids", check_ids},
	{"programs", check_programs},
	{"image-tools", check_tools},
	{"state", check_state},
	{"image", check_image},
	{"leftovers", check_leftovers},
	{"clock", check_clock},
};

bool doctor_run(const char *state, doctor_fn *fn, doctor_busy_fn *busy, void *data)
{
	bool fine = true;

	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		struct doctor_finding f = {.result = DOCTOR_OK};

		busy(data, checks[i].name);
		checks[i].check(state, &f);
		fn(data, checks[i].name, &f);
		fine = fine && f.result != DOCTOR_FAIL;
	}
	return fine;
}
