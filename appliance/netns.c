/* An agent's network namespace: a tap device, no way out, sockets opened inside it from outside. */
#include "netns.h"
#include "guest.h"
#include "house.h"
#include "log.h"
#include "paths.h"
#include "util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/magic.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>

/*
 * Theory of operation. berthd never leaves its own network namespace. What has to happen inside an
 * agent's is done by a clone that shares berthd's memory and descriptor table (CLONE_VM,
 * CLONE_FILES) and makes berthd wait (CLONE_VFORK): it enters the namespace, makes its one system
 * call or a few, leaves result and error in berthd's memory, and ends. It is not a fork: nothing is
 * copied, which takes well under a millisecond.
 *
 * The namespace itself is held by a bind mount of /proc/self/ns/net on STATE/run/ns/ID.
 */
#define CLONE_STACK 65536
#define TAP_NAME "tap0"

/* Handed to the clone and back. */
struct inside {
	int ns; /* the namespace to enter, or -1: make one */
	int (*fn)(struct inside *in);
	const char *path; /* where to pin a new one */
	const char *state;
	int domain, type;
	unsigned owner;
	struct err *err;
	int result;
};

static int inside_main(void *data)
{
	struct inside *in = data;

	if (in->ns >= 0 ? setns(in->ns, CLONE_NEWNET) < 0 : unshare(CLONE_NEWNET) < 0)
		in->result = err_sys(in->err, "cannot enter a network namespace");
	else
		in->result = in->fn(in);
	return 0;
}

/* Runs in->fn in the namespace; its result. */
static int run_inside(struct inside *in)
{
	char *stack = mmap(NULL, CLONE_STACK, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	pid_t pid;
	int status = 0;

	if (stack == MAP_FAILED)
		return err_sys(in->err, "no memory for a stack");
	in->result = -EIO;
	/* No exit signal: nobody's SIGCHLD handler hears of it. */
	pid = clone(inside_main, stack + CLONE_STACK, CLONE_VM | CLONE_FILES | CLONE_VFORK, in);
	if (pid < 0)
		in->result = err_sys(in->err, "cannot clone a process");
	else if (waitpid(pid, &status, __WALL) < 0 || !WIFEXITED(status))
		in->result = err_set(in->err, EIO, "the process inside the namespace died");
	munmap(stack, CLONE_STACK);
	return in->result;
}

static int set_flags(int sock, const char *name, short flags, struct err *err)
{
	struct ifreq req = {0};

	snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", name);
	req.ifr_flags = flags;
	return ioctl(sock, SIOCSIFFLAGS, &req) < 0 ? err_sys(err, "cannot bring up %s", name) : 0;
}

static void parse_mac(const char *text, char out[6])
{
	unsigned v[6] = {0};

	sscanf(text, "%x:%x:%x:%x:%x:%x", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5]);
	for (int i = 0; i < 6; i++)
		out[i] = (char)v[i];
}

static struct sockaddr ipv4(in_addr_t addr)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = addr};
	struct sockaddr sa;

	memcpy(&sa, &sin, sizeof(sa));
	return sa;
}

static int set_address(int sock, struct err *err)
{
	struct ifreq req = {.ifr_name = TAP_NAME};

	req.ifr_hwaddr.sa_family = ARPHRD_ETHER;
	parse_mac(GUEST_HOST_MAC, req.ifr_hwaddr.sa_data);
	if (ioctl(sock, SIOCSIFHWADDR, &req) < 0)
		return err_sys(err, "cannot set the MAC of " TAP_NAME);
	req.ifr_addr = ipv4(inet_addr(GUEST_HOST_ADDR));
	if (ioctl(sock, SIOCSIFADDR, &req) < 0)
		return err_sys(err, "cannot set the address of " TAP_NAME);
	req.ifr_netmask = ipv4(htonl(~0u << (32 - GUEST_PREFIX)));
	if (ioctl(sock, SIOCSIFNETMASK, &req) < 0)
		return err_sys(err, "cannot set the netmask of " TAP_NAME);
	return 0;
}

/* The guest's MAC for good: with ARP off nothing the guest sends can change it. */
static int set_neighbour(int sock, struct err *err)
{
	struct arpreq req = {.arp_flags = ATF_PERM | ATF_COM, .arp_dev = TAP_NAME};

	req.arp_pa = ipv4(inet_addr(GUEST_ADDR));
	req.arp_ha.sa_family = ARPHRD_ETHER;
	parse_mac(GUEST_MAC, req.arp_ha.sa_data);
	return ioctl(sock, SIOCSARP, &req) < 0
		       ? err_sys(err, "cannot set the guest's neighbour entry")
		       : 0;
}

static int write_sysctl(const char *name, const char *value, bool optional, struct err *err)
{
	AUTOFREE char *path = xasprintf("/proc/sys/net/%s", name);
	AUTOFD int fd = open(path, O_RDWR | O_CLOEXEC);
	char now[16] = "";

	if (fd < 0 && errno == ENOENT && optional)
		return 0;
	if (fd >= 0 && write(fd, value, 1) == 1)
		return 0;
	if (fd < 0) /* a read-only /proc/sys will do if the value is right already */
		fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && pread(fd, now, sizeof(now) - 1, 0) > 0 && now[0] == value[0] &&
		now[1] == '\n')
		return 0;
	err_set(err, EPERM, "cannot set net.%s to %s in the agent's namespace", name, value);
	return err_hint(err, "/proc/sys must be writable (in a container: run it privileged)");
}

static int set_sysctls(struct err *err)
{
	static const struct {
		const char *name, *value;
		bool optional;
	} table[] = {
		{"ipv4/ip_forward", "0", false},
		{"ipv4/conf/all/forwarding", "0", false},
		{"ipv4/conf/all/accept_source_route", "0", false},
		{"ipv4/conf/all/accept_redirects", "0", false},
		{"ipv4/conf/all/send_redirects", "0", false},
		{"ipv4/conf/all/route_localnet", "0", false},
		{"ipv4/conf/default/route_localnet", "0", false},
		{"ipv4/conf/all/rp_filter", "1", false},
		{"ipv6/conf/all/disable_ipv6", "1", true},
		{"ipv6/conf/default/disable_ipv6", "1", true},
		{"ipv6/conf/all/forwarding", "0", true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		int r = write_sysctl(table[i].name, table[i].value, table[i].optional, err);

		if (r < 0)
			return r;
	}
	return 0;
}

/* The tun node: the appliance's own, or the host's. The namespace of the opener counts, so only
 * from inside. */
static int open_tun(const char *state, struct err *err)
{
	AUTOFREE char *own = path_in(state, "run/tun");
	int fd = open(own, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		err_sys(err, "cannot open a tun node");
		return err_hint(err, "run `berth doctor`; it says what /dev/net/tun needs");
	}
	return fd;
}

static int attach_tap(int fd, struct err *err)
{
	struct ifreq req = {.ifr_name = TAP_NAME};

	req.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	return ioctl(fd, TUNSETIFF, &req) < 0 ? err_sys(err, "cannot attach to " TAP_NAME) : 0;
}

static int make_tap(struct inside *in)
{
	AUTOFD int fd = open_tun(in->state, in->err);
	int r = fd < 0 ? fd : attach_tap(fd, in->err);

	if (r < 0)
		return r;
	if (ioctl(fd, TUNSETOWNER, house_has_ids() ? (unsigned long)in->owner : 0ul) < 0 ||
		ioctl(fd, TUNSETPERSIST, 1UL) < 0)
		return err_sys(in->err, "cannot make " TAP_NAME " persistent");
	return 0;
}

static int configure(struct inside *in)
{
	AUTOFD int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int r;

	if (sock < 0)
		return err_sys(in->err, "cannot make a socket");
	if ((r = set_sysctls(in->err)) < 0 || (r = set_flags(sock, "lo", IFF_UP, in->err)) < 0 ||
		(r = make_tap(in)) < 0 || (r = set_address(sock, in->err)) < 0)
		return r;
	r = set_flags(sock, TAP_NAME, IFF_UP | IFF_NOARP, in->err);
	return r < 0 ? r : set_neighbour(sock, in->err);
}

static int create_inside(struct inside *in)
{
	int r = configure(in);

	if (r < 0)
		return r;
	/* This clone is a process: /proc/self is its own. */
	if (mount("/proc/self/ns/net", in->path, NULL, MS_BIND, NULL) < 0)
		return err_sys(in->err, "cannot pin a network namespace at %s", in->path);
	return 0;
}

/* Is what makes the namespace safe and usable still so? */
static int check_inside(struct inside *in)
{
	AUTOFD int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq req = {.ifr_name = TAP_NAME};
	int r;

	if (sock < 0 || ioctl(sock, SIOCGIFFLAGS, &req) < 0)
		return err_sys(in->err, "the namespace has no " TAP_NAME);
	if (!(req.ifr_flags & IFF_UP) || !(req.ifr_flags & IFF_NOARP))
		return err_set(in->err, EINVAL, TAP_NAME " has been changed");
	r = set_sysctls(in->err);
	return r < 0 ? r : set_neighbour(sock, in->err);
}

static bool is_pinned(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == NSFS_MAGIC;
}

int netns_create(const char *state, const char *id, unsigned owner, struct err *err)
{
	AUTOFREE char *dir = path_in(state, "run/ns"), *path = path_in(state, "run/ns/%s", id);
	struct inside in = {.ns = -1, .path = path, .state = state, .owner = owner, .err = err};
	AUTOFD int file = -1;
	int r;

	if (is_pinned(path)) {
		AUTOFD int ns = open(path, O_RDONLY | O_CLOEXEC);

		in.ns = ns;
		in.fn = check_inside;
		if (ns >= 0 && run_inside(&in) == 0)
			return 0;
		log_warning(
			"%s: its network namespace was not as it should be and is made anew", id);
		netns_remove(state, id, NULL);
		in.ns = -1;
	}
	r = make_dir(dir, 0700, err);
	if (r < 0)
		return r;
	file = open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (file < 0)
		return err_sys(err, "cannot create %s", path);
	in.fn = create_inside;
	r = run_inside(&in);
	if (r < 0)
		unlink(path);
	return r;
}

int netns_remove(const char *state, const char *id, struct err *err)
{
	AUTOFREE char *path = path_in(state, "run/ns/%s", id);

	while (is_pinned(path))
		if (umount2(path, MNT_DETACH) < 0)
			return err_sys(err, "cannot unpin the network namespace %s", path);
	return unlink(path) < 0 && errno != ENOENT ? err_sys(err, "cannot remove %s", path) : 0;
}

int netns_open(const char *state, const char *id, struct err *err)
{
	AUTOFREE char *path = path_in(state, "run/ns/%s", id);
	AUTOFD int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct statfs fs;

	if (fd < 0)
		return err_sys(err, "cannot open the network namespace %s", path);
	if (fstatfs(fd, &fs) < 0 || fs.f_type != NSFS_MAGIC)
		return err_set(err, ENOENT, "%s is not a network namespace", path);
	return steal_fd(&fd);
}

static int socket_inside(struct inside *in)
{
	int fd = socket(in->domain, in->type | SOCK_CLOEXEC, 0);

	return fd < 0 ? err_sys(in->err, "cannot make a socket in the agent's namespace") : fd;
}

static int tap_inside(struct inside *in)
{
	AUTOFD int fd = open_tun(in->state, in->err);
	int r = fd < 0 ? fd : attach_tap(fd, in->err);

	return r < 0 ? r : steal_fd(&fd);
}

static int open_inside(const char *id, struct inside *in)
{
	AUTOFD int ns = netns_open(in->state, id, in->err);

	if (ns < 0)
		return ns;
	in->ns = ns;
	return run_inside(in);
}

int netns_socket(const char *state, const char *id, int domain, int type, struct err *err)
{
	struct inside in = {
		.fn = socket_inside, .state = state, .domain = domain, .type = type, .err = err};

	return open_inside(id, &in);
}

int netns_tap(const char *state, const char *id, struct err *err)
{
	struct inside in = {.fn = tap_inside, .state = state, .err = err};

	return open_inside(id, &in);
}
