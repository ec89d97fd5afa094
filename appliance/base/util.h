/* Cleanup attributes, ownership and small things of libc that every program wants. */
#ifndef BERTH_BASE_UTIL_H
#define BERTH_BASE_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/param.h> /* MIN, MAX: libuv includes it too */
#include <unistd.h>

#include "err.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))

static inline void cleanup_free_(void *p)
{
	free(*(void **)p);
}
static inline void cleanup_fd_(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
static inline void cleanup_file_(FILE **f)
{
	if (*f)
		fclose(*f);
}
#define CLEANUP(f) __attribute__((cleanup(f)))
#define AUTOFREE CLEANUP(cleanup_free_)
#define AUTOFD CLEANUP(cleanup_fd_)
#define AUTOFILE CLEANUP(cleanup_file_)

/* Hands an owned pointer or descriptor on, leaving nothing to clean up. */
#define steal(p)                            \
	({                                  \
		__typeof__(*(p)) *p_ = (p); \
		__typeof__(*p_) v_ = *p_;   \
		*p_ = NULL;                 \
		v_;                         \
	})
static inline int steal_fd(int *fd)
{
	int v = *fd;

	*fd = -1;
	return v;
}

/* Memory for things of our own, of bounded size: running out of it ends the process. */
void *xmalloc(size_t n);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t n);
char *xstrdup(const char *s);
__attribute__((format(printf, 1, 2))) char *xasprintf(const char *fmt, ...);

/* Says why on stderr and exits with 1. Only before a program's loop starts. */
__attribute__((noreturn, format(printf, 1, 2))) void die(const char *fmt, ...);

static inline bool streq(const char *a, const char *b)
{
	return __builtin_strcmp(a, b) == 0;
}
bool starts_with(const char *s, const char *prefix);

/* Parses a whole decimal number within [min, max]; false on anything else, sign and spaces
 * included. */
bool parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret);
/* Lower-case hex of n bytes into out (2n + 1 bytes). */
void hex_encode(const void *data, size_t n, char *out);
/* The other way; false unless s is exactly 2n hex digits. */
bool hex_decode(const char *s, void *data, size_t n);
/* n bytes in base64 (RFC 4648) into out: BASE64_SIZE(n) bytes. */
#define BASE64_SIZE(n) (((n) + 2) / 3 * 4 + 1)
void base64_encode(const void *data, size_t n, char *out);
/* CLOCK_MONOTONIC in milliseconds, CLOCK_REALTIME in nanoseconds. */
uint64_t now_ms(void);
int64_t realtime_ns(void);
/* RFC 3339 in UTC with milliseconds, "2026-10-01T12:00:00.123Z". */
void format_time(int64_t unix_ns, char out[32]);
/* n bytes of the kernel's randomness; never fails. */
void random_bytes(void *data, size_t n);

/* Reads a whole file of at most max bytes; NUL-terminated; *ret is the caller's to free. -EFBIG
 * over max. */
int file_read(
	int dirfd, const char *path, size_t max, char **ret, size_t *ret_len, struct err *err);
/* Writes a file whole or not at all: temporary name, fsync, rename, fsync of the folder. */
int file_write_atomic(const char *path, const void *data, size_t len, int mode, struct err *err);
/* write(2) until all is out; 0 or a negative errno. For blocking descriptors. */
int write_all(int fd, const void *data, size_t len);
/* mkdir -p for the last component only; an existing folder is fine. */
int make_dir(const char *path, int mode, struct err *err);
/* The same; a new one is still there after a power cut. */
int make_dir_synced(const char *path, int mode, struct err *err);
/* fsync of the folder that a file is in: its name, or that it has none, outlives a power cut. 0 or
 * a negative errno. */
int sync_parent(const char *path);
/* Removes a file or a whole folder, without following links. A missing one is fine. */
int remove_tree(const char *path, struct err *err);

/* A random identifier: prefix and 16 lower-case base32 characters (80 bits). out has room for 64
 * bytes. */
void make_id(const char *prefix, char out[64]);
/* `[a-z0-9][a-z0-9-]{0,62}` */
bool agent_name_valid(const char *s);
/* How many of the first n bytes of a longer UTF-8 text can be kept without half a character. */
size_t utf8_cut(const char *s, size_t n);
/* err filled with 400 invalid-name unless the name is valid. */
int agent_name_check(const char *s, struct err *err);

#endif
