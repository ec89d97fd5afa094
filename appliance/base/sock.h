/* Unix sockets with paths of any length, and descriptors sent over them. */
#ifndef BERTH_BASE_SOCK_H
#define BERTH_BASE_SOCK_H

#include <stddef.h>
#include <sys/types.h>

#include "err.h"

/* A listening stream socket at path (an old one is replaced), non-blocking, close-on-exec. The
 * descriptor or <0. */
int sock_listen_unix(const char *path, int mode, struct err *err);
/* A connected stream socket, blocking, close-on-exec. The descriptor or <0. */
int sock_connect_unix(const char *path, struct err *err);
int sock_set_nonblocking(int fd);
/* sendmsg with one descriptor (or -1 for none) attached to the first byte. Bytes sent or a negative
 * errno. */
ssize_t sock_send_fd(int sock, const void *data, size_t len, int fd);
/* recvmsg; *ret_fd is the first descriptor that came along (close-on-exec), or -1. Bytes, 0 at the
 * end, or <0. */
ssize_t sock_recv_fd(int sock, void *data, size_t len, int *ret_fd);

#endif
