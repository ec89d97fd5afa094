/* The house: the user and mount namespace that all of an appliance's processes live in. */
#include "house.h"
#include "house_prepare.h"
#include "paths.h"
#include "process.h"
#include "util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/securebits.h>
#include <poll.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

/*
 * Theory of operation. Two processes, tied by a socket pair:
 *
 *   entrant (the caller)                     helper (a fork, keeps the caller's rights on the host)
 *   unshare(user, mount)          'm' --->   writes the id maps (root: itself, else newuidmap)
 *   becomes uid 0 inside
 *   empties and furnishes STATE/run  'n' --> device nodes, cgroups given away; answers with
 * run/cgroups …the appliance's whole life…             waits for one byte or the end of the socket
 *   the supervisor ends           'q' --->   removes the cgroups; ends
 *
 * The helper takes fixed bytes and reads nothing else, so the inside can ask it for these three
 * things only. When the supervisor is killed the helper just ends: what it made stays for those who
 * live on. The next `berth up` joins their namespaces.
 */
#define SUBID_MIN 2048
#define REPLY_MAX 2048
#define LEAVE_TIMEOUT_S 3
#define KILL_MAX 2000 /* processes: two for each agent, and what is in the way */
#define KILL_WAIT_MS 5000

static int helper_sock = -1; /* to the helper; held by the supervisor alone */
static int lock_fd = -1;     /* flock on STATE: one supervisor */

struct reply {
	int result;
	struct err err;
	char text[REPLY_MAX];
};

/* ---- the helper ---- */

static int write_map(pid_t pid, const char *file, const char *text, struct err *err)
{
	char path[64];
	AUTOFD int fd = -1;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return err_sys(err, "cannot write %s of the user namespace", file);
	return 0;
}

/* First range of at least SUBID_MIN ids of the user in /etc/subuid or subgid (subuid(5)). */
static bool find_subids(
	const char *file, const char *user, unsigned *ret_start, unsigned *ret_count)
{
	AUTOFILE FILE *f = fopen(file, "re");
	char line[256], name[128], uid[16];
	unsigned start, count;

	snprintf(uid, sizeof(uid), "%u", (unsigned)getuid());
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%127[^:]:%u:%u", name, &start, &count) != 3 || count < SUBID_MIN)
			continue;
		if (!streq(name, uid) && !(user && streq(name, user)))
			continue;
		*ret_start = start;
		*ret_count = MIN(count, HOUSE_IDS - 1);
		return true;
	}
	return false;
}

static int run_map_tool(const char *tool, pid_t pid, unsigned self, unsigned start, unsigned count)
{
	char args[6][16];
	pid_t child;
	int status;

	snprintf(args[0], 16, "%d", (int)pid);
	snprintf(args[1], 16, "%u", self);
	snprintf(args[2], 16, "%u", start);
	snprintf(args[3], 16, "%u", count);
	child = fork();
	if (child == 0) {
		execlp(tool, tool, args[0], "0", args[1], "1", "1", args[2], args[3], (char *)NULL);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) < 0)
		return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPERM;
}

static int map_user(pid_t pid, struct err *err)
{
	struct passwd *pw = getpwuid(getuid());
	unsigned us, un, gs, gn;
	char map[64];
	int r;

	if (find_subids("/etc/subuid", pw ? pw->pw_name : NULL, &us, &un) &&
		find_subids("/etc/subgid", pw ? pw->pw_name : NULL, &gs, &gn) &&
		run_map_tool("newuidmap", pid, getuid(), us, un) == 0)
		return run_map_tool("newgidmap", pid, getgid(), gs, gn) == 0
			       ? 0
			       : err_set(err, EPERM, "newgidmap refused the ids of /etc/subgid");
	r = write_map(pid, "setgroups", "deny", err);
	snprintf(map, sizeof(map), "0 %u 1", (unsigned)getuid());
	if (r == 0)
		r = write_map(pid, "uid_map", map, err);
	snprintf(map, sizeof(map), "0 %u 1", (unsigned)getgid());
	return r < 0 ? r : write_map(pid, "gid_map", map, err);
}

static int map_root(pid_t pid, const struct house_ids *ids, struct err *err)
{
	char map[64];
	int r;

	snprintf(map, sizeof(map), "0 %u %u", ids->base, ids->count);
	r = write_map(pid, "uid_map", map, err);
	return r < 0 ? r : write_map(pid, "gid_map", map, err);
}

static void helper_step(
	char what, const char *state, const struct house_ids *ids, pid_t pid, struct reply *reply)
{
	AUTOFREE char *lines = NULL;

	switch (what) {
	case 'm':
		reply->result = geteuid() == 0 ? map_root(pid, ids, &reply->err)
					       : map_user(pid, &reply->err);
		break;
	case 'n':
		house_prepare_nodes(state, ids);
		lines = house_prepare_cgroups(state, ids, pid);
		snprintf(reply->text, sizeof(reply->text), "%s", lines ? lines : "");
		break;
	case 'q':
		house_remove_cgroups(state);
		break;
	default:
		reply->result = -EPROTO;
	}
}

__attribute__((noreturn)) static void helper_main(
	int sock, const char *state, const struct house_ids *ids, pid_t entrant)
{
	char what;

	setsid();
	prctl(PR_SET_NAME, "berth-helper");
	signal(SIGINT, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	if (chdir("/") < 0)
		_exit(1);
	while (read(sock, &what, 1) == 1) {
		struct reply reply = {0};

		helper_step(what, state, ids, entrant, &reply);
		if (write(sock, &reply, sizeof(reply)) != sizeof(reply) || what == 'q')
			break;
	}
	_exit(0);
}

/* Lets go of the caller's standard streams and descriptors, all but sock. */
static void helper_detach(int sock)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	dup2(sock, 3);
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	close_range(4, ~0u, 0);
}

static int start_helper(const char *state, const struct house_ids *ids, struct err *err)
{
	int pair[2];
	pid_t entrant = getpid(), pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "cannot make a socket pair");
	/* Forked twice: nobody has to wait for it. */
	pid = fork();
	if (pid == 0) {
		if (fork() != 0)
			_exit(0);
		helper_detach(pair[1]);
		helper_main(3, state, ids, entrant);
	}
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return err_sys(err, "cannot fork");
	}
	waitpid(pid, NULL, 0);
	helper_sock = pair[0];
	return 0;
}

static int ask_helper(char what, struct reply *reply, struct err *err)
{
	if (write(helper_sock, &what, 1) != 1 ||
		recv(helper_sock, reply, sizeof(*reply), MSG_WAITALL) != sizeof(*reply))
		return err_set(err, EPIPE, "the helper that prepares the house has died");
	if (reply->result < 0 && err)
		*err = reply->err;
	return reply->result;
}

/* ---- the entrant ---- */

static int unshare_house(struct err *err)
{
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0)
		return 0;
	err_sys(err, "cannot make a user namespace");
	return err_hint(err,
		"allow them: sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone=1, "
		"and on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0");
}

static int become_root(struct err *err)
{
	if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		return err_sys(err, "cannot become uid 0 of the appliance");
	/* Denied in a single-id namespace; then the caller's groups stay, and with them /dev/kvm.
	 */
	if (setgroups(0, NULL) < 0 && errno != EPERM)
		return err_sys(err, "cannot leave the caller's groups");
	prctl(PR_SET_DUMPABLE, 1);
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return err_sys(err, "cannot set mount propagation");
	return 0;
}

static int check_reachable(const char *state, struct err *err)
{
	if (access(state, R_OK | W_OK | X_OK) == 0)
		return 0;
	err_sys(err, "the appliance cannot reach its state folder %s", state);
	return err_hint(err, "inside, root is nobody on the host: every folder above it needs o+x, "
			     "or choose another "
			     "with --state");
}

#define LOCK_ROUNDS 40 /* of 50 ms */

static int take_lock(const char *state, struct err *err)
{
	lock_fd = open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (lock_fd < 0)
		return err_sys(err, "cannot open the state folder %s", state);
	/* An appliance that has just ended, or failed to start, may hold it for a moment longer. */
	for (int i = 0; i < LOCK_ROUNDS; i++) {
		if (flock(lock_fd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		usleep(50000);
	}
	close(steal_fd(&lock_fd));
	err_set(err, EALREADY, "berth is already up on %s", state);
	return err_hint(err, "berth down ends it; BERTH_STATE or --state names another appliance");
}

static void note_devices(const char *state, struct house *h)
{
	AUTOFREE char *kvm = path_in(state, "run/dev/kvm");
	AUTOFD int own = open(kvm, O_RDWR | O_CLOEXEC);
	AUTOFD int host = own < 0 ? open("/dev/kvm", O_RDWR | O_CLOEXEC) : -1;

	h->kvm = own >= 0 || host >= 0;
}

static int furnish(const char *state, struct house *h, struct err *err)
{
	AUTOFREE char *path = path_in(state, "run/cgroups");
	struct reply reply;
	int r = house_furnish(state, err);

	if (r == 0)
		r = ask_helper('n', &reply, err);
	if (r < 0)
		return r;
	h->cgroups = reply.text[0] && file_write_atomic(path, reply.text,
					      strnlen(reply.text, REPLY_MAX), 0644, NULL) == 0;
	if (!h->cgroups)
		snprintf(h->warning, sizeof(h->warning),
			"agents run without limits on memory, CPU and processes: no cgroups can be "
			"had here");
	note_devices(state, h);
	h->tun = house_check_tun(state, err);
	return h->tun ? 0 : -EACCES;
}

static int enter_new(
	const char *state, const struct house_ids *ids, struct house *h, struct err *err)
{
	struct reply reply;
	int r = start_helper(state, ids, err);

	if (r == 0)
		r = unshare_house(err);
	if (r == 0)
		r = ask_helper('m', &reply, err);
	if (r == 0)
		r = become_root(err);
	if (r == 0)
		r = check_reachable(state, err);
	return r < 0 ? r : furnish(state, h, err);
}

/* ---- joining what lives ---- */

/* A living process of the appliance: berthd, the gateway, or any agent's. *ret_mount: it shares our
 * mounts. */
static pid_t find_living(const char *state, bool *ret_mount)
{
	static const char *const daemons[] = {"berthd.pid", "gateway.pid"};
	AUTOFREE char *agents = path_in(state, "run/agents");
	struct dirent *e;
	pid_t pid = 0;
	DIR *d;

	*ret_mount = true;
	for (size_t i = 0; i < ARRAY_SIZE(daemons); i++) {
		AUTOFREE char *path = path_in(state, "run/%s", daemons[i]);

		if ((pid = process_read_file(path)))
			return pid;
	}
	d = opendir(agents);
	while (d && !pid && (e = readdir(d))) {
		AUTOFREE char *policy = xasprintf("%s/%s/policy.pid", agents, e->d_name);
		AUTOFREE char *qemu = xasprintf("%s/%s/qemu.pid", agents, e->d_name);

		if (e->d_name[0] == '.')
			continue;
		pid = process_read_file(policy);
		if (!pid && (pid = process_read_file(qemu)))
			*ret_mount = false;
	}
	if (d)
		closedir(d);
	return pid;
}

/* pid files are written by the inside: as root believe one only if its process has our ids for its
 * map. */
static bool has_our_map(pid_t pid, const struct house_ids *ids)
{
	AUTOFREE char *map = NULL;
	unsigned inside, outside, count;
	char path[64];

	if (geteuid() != 0)
		return true;
	snprintf(path, sizeof(path), "/proc/%d/uid_map", (int)pid);
	return file_read(AT_FDCWD, path, 4096, &map, NULL, NULL) == 0 &&
	       sscanf(map, "%u %u %u", &inside, &outside, &count) == 3 && inside == 0 &&
	       outside == ids->base && count == ids->count;
}

static int enter_living(const char *state, const struct house_ids *ids, pid_t pid, bool mounts,
	struct house *h, struct err *err)
{
	AUTOFD int fd = process_pidfd(pid);
	int r = start_helper(state, ids, err);

	if (r < 0)
		return r;
	if (!has_our_map(pid, ids))
		return err_set(err, EPERM,
			"process %d, which a pid file of %s names, is not the appliance's",
			(int)pid, state);
	if (fd < 0 || setns(fd, CLONE_NEWUSER | (mounts ? CLONE_NEWNS : 0)) < 0)
		return err_sys(
			err, "cannot join the appliance that process %d belongs to", (int)pid);
	if (!mounts && unshare(CLONE_NEWNS) < 0)
		return err_sys(err, "cannot make a mount namespace");
	r = become_root(err);
	if (r == 0)
		r = check_reachable(state, err);
	if (r < 0)
		return r;
	if (!mounts)
		house_repin(state);
	h->joined = true;
	h->tun = house_check_tun(state, NULL);
	note_devices(state, h);
	h->cgroups = true;
	return 0;
}

static char *absolute(const char *state)
{
	char cwd[PATH_MAX];
	char *path = state[0] == '/' || !getcwd(cwd, sizeof(cwd)) ? xstrdup(state)
								  : xasprintf("%s/%s", cwd, state);
	size_t n = strlen(path);

	while (n > 1 && path[n - 1] == '/')
		path[--n] = 0;
	return path;
}

static void count_ids(struct house *h)
{
	AUTOFREE char *map = NULL;
	unsigned long count = 1, sum = 0;
	int used;

	if (file_read(AT_FDCWD, "/proc/self/uid_map", 65536, &map, NULL, NULL) < 0)
		return;
	for (const char *p = map; sscanf(p, "%*u %*u %lu%n", &count, &used) == 1; p += used)
		sum += count;
	h->n_ids = (unsigned)sum;
}

int house_enter(const char *state, struct house *ret, struct err *err)
{
	AUTOFREE char *path = absolute(state);
	struct house_ids ids = {(unsigned)getuid(), 1};
	bool mounts;
	pid_t living;
	int r = geteuid() == 0 ? house_pick_ids(&ids, err) : 0;

	*ret = (struct house){0};
	if (r == 0)
		r = house_prepare_state(path, &ids, err);
	if (r == 0)
		r = take_lock(path, err);
	if (r < 0)
		return r;
	living = find_living(path, &mounts);
	r = living ? enter_living(path, &ids, living, mounts, ret, err)
		   : enter_new(path, &ids, ret, err);
	if (r < 0)
		return r;
	count_ids(ret);
	setenv("BERTH_STATE", path, 1);
	return 0;
}

void house_leave(const char *state)
{
	struct timeval wait = {.tv_sec = LEAVE_TIMEOUT_S};
	AUTOFREE char *run = path_in(state, "run");
	struct reply reply;
	bool mounts;

	/* An agent that survived (a start that failed beside living ones) keeps its house for the
	 * next one. */
	if (find_living(state, &mounts)) {
		AUTOFREE char *pid_file = path_in(state, "run/up.pid");

		unlink(pid_file);
		return;
	}
	if (helper_sock >= 0) {
		setsockopt(helper_sock, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
		ask_helper('q', &reply, NULL);
		close(steal_fd(&helper_sock));
	}
	house_unpin(state);
	remove_tree(run, NULL);
}

pid_t house_living(const char *state)
{
	bool mounts;

	return find_living(state, &mounts);
}

void house_kill_living(const char *state)
{
	pid_t pid;

	for (int i = 0; i < KILL_MAX && (pid = house_living(state)); i++) {
		AUTOFD int fd = process_pidfd(pid);
		struct pollfd p = {.fd = fd, .events = POLLIN};

		if (fd < 0 || house_living(state) != pid)
			continue;
		kill(-pid, SIGKILL); /* a policy's wall is in its session */
		process_signal(fd, SIGKILL);
		poll(&p, 1, KILL_WAIT_MS);
	}
}

/* ---- identities ---- */

bool house_has_ids(void)
{
	static int known = -1;
	struct house h = {0};

	if (known < 0) {
		count_ids(&h);
		known = h.n_ids > 1;
	}
	return known;
}

int house_chown(const char *path, uid_t uid, gid_t gid, struct err *err)
{
	if (!house_has_ids())
		return 0;
	return lchown(path, uid, gid) < 0 ? err_sys(err, "cannot change the owner of %s", path) : 0;
}

static int drop_capabilities(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {{0}};

	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
					     SECBIT_NO_SETUID_FIXUP_LOCKED |
					     SECBIT_KEEP_CAPS_LOCKED) < 0)
		return -errno;
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap) < 0)
			return -errno;
	return capset(&head, none) < 0 ? -errno : 0;
}

int house_drop(uid_t uid)
{
	int r;

	if (house_has_ids()) {
		if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0)
			return -errno;
		/* The bounding set goes while CAP_SETPCAP is still there. */
		prctl(PR_SET_KEEPCAPS, 1);
		if (setresuid(uid, uid, uid) < 0)
			return -errno;
	}
	/* setresuid took the effective set away; raise what is needed to drop the rest. */
	if (house_has_ids() && uid != 0) {
		struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
		struct __user_cap_data_struct set[2] = {
			{.effective = 1u << CAP_SETPCAP, .permitted = 1u << CAP_SETPCAP}};

		if (capset(&head, set) < 0)
			return -errno;
	}
	r = drop_capabilities();
	if (r < 0)
		return r;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

/* ---- what doctor asks ---- */

bool house_check_tun(const char *state, struct err *err)
{
	AUTOFREE char *own = path_in(state, "run/tun");
	AUTOFD int fd = open(own, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		return true;
	err_sys(err, "cannot open /dev/net/tun");
	if (errno == ENOENT)
		err_hint(err, "load the module: modprobe tun");
	else
		err_hint(err, "run berth up as root with the state folder on a file system that is "
			      "not mounted nodev, "
			      "or as root: chmod 666 /dev/net/tun");
	return false;
}

bool house_check_namespaces(struct err *err)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID) == 0
				? 0
				: errno & 127);
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status)) {
		err_sys(err, "cannot fork");
		return false;
	}
	errno = WEXITSTATUS(status);
	if (errno == 0)
		return true;
	err_sys(err, "cannot make namespaces");
	err_hint(err, "allow them: sysctl user.max_user_namespaces, "
		      "kernel.unprivileged_userns_clone=1, and on "
		      "Ubuntu kernel.apparmor_restrict_unprivileged_userns=0");
	return false;
}
