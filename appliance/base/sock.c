/* Unix sockets with paths of any length, and descriptors sent over them. */
#include "sock.h"
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/*
 * sun_path holds 107 characters: the folder is opened and named through /proc/self/fd, so that only
 * the last component counts.
 */
static int address(const char *path, struct sockaddr_un *sun, int *ret_dir, struct err *err)
{
	AUTOFREE char *dir = xstrdup(path);
	char *slash = strrchr(dir, '/');
	const char *name = slash ? slash + 1 : path;
	int n;

	*sun = (struct sockaddr_un){.sun_family = AF_UNIX};
	*ret_dir = -1;
	if (strlen(path) < sizeof(sun->sun_path)) {
		memcpy(sun->sun_path, path, strlen(path) + 1);
		return 0;
	}
	if (slash)
		slash[slash == dir] = 0;
	*ret_dir = open(slash ? dir : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*ret_dir < 0)
		return err_sys(err, "cannot open the folder of %s", path);
	n = snprintf(sun->sun_path, sizeof(sun->sun_path), "/proc/self/fd/%d/%s", *ret_dir, name);
	if (n < 0 || n >= (int)sizeof(sun->sun_path))
		return err_set(err, ENAMETOOLONG, "the name of the socket %s is too long", path);
	return 0;
}

int sock_listen_unix(const char *path, int mode, struct err *err)
{
	AUTOFD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	AUTOFD int dir = -1;
	struct sockaddr_un sun;
	int r = address(path, &sun, &dir, err);

	if (r < 0)
		return r;
	if (fd < 0)
		return err_sys(err, "cannot make a socket");
	if (unlink(path) < 0 && errno != ENOENT)
		return err_sys(err, "cannot replace the socket %s", path);
	if (bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0)
		return err_sys(err, "cannot listen on %s", path);
	if (chmod(path, (mode_t)mode) < 0 || listen(fd, 128) < 0)
		return err_sys(err, "cannot listen on %s", path);
	return steal_fd(&fd);
}

int sock_connect_unix(const char *path, struct err *err)
{
	AUTOFD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	AUTOFD int dir = -1;
	struct sockaddr_un sun;
	int r = address(path, &sun, &dir, err);

	if (r < 0)
		return r;
	if (fd < 0)
		return err_sys(err, "cannot make a socket");
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0)
		return err_sys(err, "cannot connect to %s", path);
	return steal_fd(&fd);
}

int sock_set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

union control {
	char room[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

ssize_t sock_send_fd(int sock, const void *data, size_t len, int fd)
{
	union control control = {0};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (fd >= 0) {
		struct cmsghdr *c;

		msg.msg_control = control.room;
		msg.msg_controllen = sizeof(control.room);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	do
		n = sendmsg(sock, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

ssize_t sock_recv_fd(int sock, void *data, size_t len, int *ret_fd)
{
	union control control = {0};
	struct iovec iov = {.iov_base = data, .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.room,
		.msg_controllen = sizeof(control.room)};
	ssize_t n;

	*ret_fd = -1;
	do
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
		break;
	}
	return n;
}
