/* The house, the network namespaces and the cgroups in it: the real thing, in children that enter
 * one. */
#include "cgroup.h"
#include "guest.h"
#include "house.h"
#include "netns.h"
#include "paths.h"
#include "process.h"
#include "util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <cmocka.h>

static char state[64];
static void (*prepare)(void);    /* in the child, before it gives up its rights */
static const char *wanted_error; /* what house_enter must say */

#define CHECK(x)                                                                              \
	do {                                                                                  \
		if (!(x)) {                                                                   \
			fprintf(stderr, "%s:%d: %s (errno %d, %s)\n", __FILE__, __LINE__, #x, \
				errno, e.msg);                                                \
			_exit(1);                                                             \
		}                                                                             \
	} while (0)

/* Runs fn in a child inside the house on a fresh state folder, as the host's uid `uid`. Its exit
 * status. */
static int in_house(void (*fn)(void), uid_t uid)
{
	struct house h;
	struct err e = {0};
	int status;
	pid_t pid;

	snprintf(state, sizeof(state), "/tmp/berth-test-house-XXXXXX");
	assert_non_null(mkdtemp(state));
	assert_int_equal(chown(state, uid, uid), 0);
	assert_int_equal(chmod(state, 0755), 0);
	pid = fork();
	if (pid == 0) {
		if (prepare)
			prepare();
		if (uid && (setgroups(0, NULL) < 0 || setgid(uid) < 0 || setuid(uid) < 0))
			_exit(2);
		prctl(PR_SET_DUMPABLE, 1); /* as after an exec */
		if (wanted_error) {
			CHECK(house_enter(state, &h, &e) < 0 && strstr(e.msg, wanted_error) &&
				e.hint[0]);
			_exit(0);
		}
		CHECK(house_enter(state, &h, &e) == 0);
		CHECK(getuid() == 0);
		CHECK(house_has_ids() == (h.n_ids > 1));
		fn();
		house_leave(state);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	remove_tree(state, NULL);
	return status;
}

static int skip_unless_root(void)
{
	if (geteuid() == 0)
		return 0;
	skip();
	return 1;
}

static char *read_text(const char *path)
{
	char *text = NULL;

	return file_read(AT_FDCWD, path, 65536, &text, NULL, NULL) < 0 ? xstrdup("") : text;
}

static void network(void)
{
	struct err e = {0};
	struct sockaddr_in to = {.sin_family = AF_INET,
		.sin_port = htons(9),
		.sin_addr.s_addr = inet_addr("192.0.2.1")};
	AUTOFREE char *arp = NULL, *routes = NULL, *v6 = NULL;
	struct stat own, inside;
	int ns, sock, tap;

	CHECK(netns_create(state, "ag_test", HOUSE_UID_AGENT, &e) == 0);
	CHECK(netns_create(state, "ag_test", HOUSE_UID_AGENT, &e) == 0);
	ns = netns_open(state, "ag_test", &e);
	CHECK(ns >= 0 && fstat(ns, &inside) == 0 && stat("/proc/self/ns/net", &own) == 0);
	CHECK(own.st_ino != inside.st_ino);
	tap = netns_tap(state, "ag_test", &e);
	CHECK(tap >= 0);
	sock = netns_socket(state, "ag_test", AF_INET, SOCK_STREAM, &e);
	CHECK(sock >= 0);
	CHECK(fcntl(sock, F_GETFD) == FD_CLOEXEC);
	/* No route out. */
	CHECK(connect(sock, (struct sockaddr *)&to, sizeof(to)) < 0 && errno == ENETUNREACH);
	if (fork() == 0) {
		CHECK(setns(ns, CLONE_NEWNET) == 0);
		arp = read_text("/proc/self/net/arp");
		CHECK(strstr(arp, GUEST_ADDR) && strstr(arp, "0x6") && strstr(arp, GUEST_MAC));
		routes = read_text("/proc/self/net/fib_trie");
		CHECK(strstr(routes, GUEST_HOST_ADDR));
		v6 = read_text("/proc/self/net/if_inet6");
		CHECK(v6[0] == 0);
		_exit(0);
	}
	int status;
	CHECK(wait(&status) > 0 && status == 0);
	close(ns);
	close(sock);
	close(tap);
	CHECK(netns_remove(state, "ag_test", &e) == 0);
	CHECK(netns_remove(state, "ag_test", &e) == 0);
	CHECK(netns_open(state, "ag_test", &e) < 0);
}

static void test_network(void **unused)
{
	if (!skip_unless_root())
		assert_int_equal(in_house(network, 0), 0);
}

static void limits(void)
{
	struct cgroup_limits limits = {.memory_bytes = 64u << 20, .cpus = 1, .pids = 8};
	struct err e = {0};
	int fds[CGROUP_FOLDERS], status;
	pid_t pid;

	if (!cgroup_available(state))
		return;
	CHECK(cgroup_create(state, "ag_test", &limits, &e) == 0);
	CHECK(cgroup_open(state, "ag_test", fds, &e) == 0);
	pid = fork();
	if (pid == 0) {
		CHECK(cgroup_enter(fds) == 0);
		CHECK(house_drop(HOUSE_UID_AGENT) == 0);
		/* The ninth process is refused. */
		for (int i = 0; i < 7; i++)
			if (fork() == 0)
				pause();
		CHECK(fork() < 0 && errno == EAGAIN);
		/* More memory than the limit: killed. */
		char *p = malloc(128u << 20);
		for (size_t i = 0; p && i < 128u << 20; i += 4096)
			p[i] = 1;
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) &&
		WTERMSIG(status) == SIGKILL);
	CHECK(cgroup_remove(state, "ag_test", &e) == 0);
	CHECK(cgroup_remove(state, "ag_test", &e) == 0);
}

static void test_limits(void **unused)
{
	if (skip_unless_root())
		return;
	assert_int_equal(in_house(limits, 0), 0);
}

static void drop(void)
{
	struct err e = {0};
	int code;

	if (fork() == 0) {
		CHECK(house_drop(HOUSE_UID_GATEWAY) == 0);
		CHECK(getuid() == (house_has_ids() ? HOUSE_UID_GATEWAY : 0));
		execlp("grep", "grep", "-cE",
			"^(Cap(Inh|Prm|Eff|Bnd|Amb):.0000000000000000|NoNewPrivs:.1)$",
			"/proc/self/status", (char *)NULL);
		_exit(3);
	}
	CHECK(wait(&code) > 0 && code == 0);
}

static void test_drop(void **unused)
{
	if (!skip_unless_root())
		assert_int_equal(in_house(drop, 0), 0);
}

static void locked(void)
{
	struct err e = {0};
	int status;

	/* A second appliance on the same folder is refused, and says so. */
	if (fork() == 0) {
		struct house h;

		CHECK(house_enter(state, &h, &e) == -EALREADY);
		CHECK(strstr(e.msg, "already up"));
		_exit(0);
	}
	CHECK(wait(&status) > 0 && status == 0);
}

static void test_locked(void **unused)
{
	if (!skip_unless_root())
		assert_int_equal(in_house(locked, 0), 0);
}

/* For the child: a tun node that anybody may open, where /dev/net/tun is. */
static void open_tun_to_all(void)
{
	struct err e = {0};
	AUTOFREE char *node = xasprintf("%s.tun", state);

	CHECK(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	CHECK(mknod(node, S_IFCHR | 0666, makedev(10, 200)) == 0 && chmod(node, 0666) == 0);
	CHECK(mount(node, "/dev/net/tun", NULL, MS_BIND, NULL) == 0);
	CHECK(unlink(node) == 0);
}

static void user_all(void)
{
	struct err e = {0};

	network();
	drop();
	CHECK(!house_has_ids());
}

/* An ordinary user without /etc/subuid: one id, and all works but the identities. */
static void test_ordinary_user(void **unused)
{
	if (skip_unless_root() || access("/dev/net/tun", F_OK) < 0)
		return;
	prepare = open_tun_to_all;
	assert_int_equal(in_house(user_all, 12345), 0);
	prepare = NULL;
}

static void test_ordinary_user_without_tun(void **unused)
{
	struct stat st;

	if (skip_unless_root() || stat("/dev/net/tun", &st) < 0 || st.st_mode & S_IWOTH)
		return;
	wanted_error = "/dev/net/tun";
	assert_int_equal(in_house(user_all, 12345), 0);
	wanted_error = NULL;
}

static void test_pid_files(void **unused)
{
	char path[] = "/tmp/berth-test-pid-XXXXXX";
	int fd = mkstemp(path), pidfd;
	pid_t pid;

	assert_true(fd >= 0);
	assert_int_equal(process_write_file(path, getpid(), NULL), 0);
	assert_int_equal(process_read_file(path), getpid());
	pidfd = process_open_file(path, &pid);
	assert_true(pidfd >= 0 && pid == getpid());
	close(pidfd);
	/* Another start time: a number used again. */
	assert_int_equal(dprintf(fd, "x"), 1);
	unlink(path);
	FILE *f = fopen(path, "w");
	fprintf(f, "%d 1\n", (int)getpid());
	fclose(f);
	assert_int_equal(process_read_file(path), 0);
	f = fopen(path, "w");
	fprintf(f, "-1 1\n");
	fclose(f);
	assert_int_equal(process_read_file(path), 0);
	assert_int_equal(process_open_file(path, &pid), -ESRCH);
	assert_true(process_has_arg(getpid(), program_invocation_name));
	assert_false(process_has_arg(getpid(), "-nothing"));
	assert_true(process_memory(getpid()) > 0);
	unlink(path);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_network),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_drop),
		cmocka_unit_test(test_locked),
		cmocka_unit_test(test_ordinary_user),
		cmocka_unit_test(test_ordinary_user_without_tun),
		cmocka_unit_test(test_pid_files),
	};

	return cmocka_run_group_tests_name("house", tests, NULL, NULL);
}
