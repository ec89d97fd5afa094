/* Cleanup attributes, ownership and small things of libc that every program wants. */
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

static void *checked(void *p)
{
	if (!p) {
		fputs("out of memory\n", stderr);
		abort();
	}
	return p;
}

void *xmalloc(size_t n)
{
	return checked(malloc(n ? n : 1));
}

void *xcalloc(size_t n, size_t size)
{
	return checked(calloc(n ? n : 1, size ? size : 1));
}

void *xrealloc(void *p, size_t n)
{
	return checked(realloc(p, n ? n : 1));
}

char *xstrdup(const char *s)
{
	return checked(strdup(s));
}

char *xasprintf(const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	return checked(n < 0 ? NULL : s);
}

void die(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

bool starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;

	if (!s || !*s)
		return false;
	for (; *s; s++) {
		if (*s < '0' || *s > '9' || v > (UINT64_MAX - (uint64_t)(*s - '0')) / 10)
			return false;
		v = v * 10 + (uint64_t)(*s - '0');
	}
	if (v < min || v > max)
		return false;
	*ret = v;
	return true;
}

void hex_encode(const void *data, size_t n, char *out)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = "0123456789abcdef"[p[i] >> 4];
		out[2 * i + 1] = "0123456789abcdef"[p[i] & 15];
	}
	out[2 * n] = 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 32;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool hex_decode(const char *s, void *data, size_t n)
{
	unsigned char *p = data;

	if (strlen(s) != 2 * n)
		return false;
	for (size_t i = 0; i < n; i++) {
		int hi = hex_digit(s[2 * i]), lo = hex_digit(s[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return false;
		p[i] = (unsigned char)(hi << 4 | lo);
	}
	return true;
}

void base64_encode(const void *data, size_t n, char *out)
{
	static const char set[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *p = data;

	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)p[i] << 16;

		v |= i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0;
		v |= i + 2 < n ? p[i + 2] : 0;
		*out++ = set[v >> 18];
		*out++ = set[v >> 12 & 63];
		*out++ = i + 1 < n ? set[v >> 6 & 63] : '=';
		*out++ = i + 2 < n ? set[v & 63] : '=';
	}
	*out = '\0';
}

uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int64_t realtime_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void format_time(int64_t unix_ns, char out[32])
{
	time_t s = (time_t)(unix_ns / 1000000000);
	char whole[24];
	struct tm tm;

	gmtime_r(&s, &tm);
	strftime(whole, sizeof(whole), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out, 32, "%s.%03dZ", whole, (int)(unix_ns / 1000000 % 1000));
}

void random_bytes(void *data, size_t n)
{
	unsigned char *p = data;

	while (n > 0) {
		ssize_t got = getrandom(p, n, 0);

		if (got < 0 && errno != EINTR)
			abort();
		if (got > 0) {
			p += got;
			n -= (size_t)got;
		}
	}
}

int file_read(int dirfd, const char *path, size_t max, char **ret, size_t *ret_len, struct err *err)
{
	AUTOFD int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	AUTOFREE char *data = NULL;
	size_t len = 0, room = 4096;

	if (fd < 0)
		return err_sys(err, "cannot open %s", path);
	data = xmalloc(room + 1);
	for (;;) {
		ssize_t n;

		if (len == room)
			data = xrealloc(data, (room *= 2) + 1);
		n = read(fd, data + len, room - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "cannot read %s", path);
		if (n == 0)
			break;
		len += (size_t)n;
		if (len > max)
			return err_set(err, EFBIG, "%s is larger than %zu bytes", path, max);
	}
	data[len] = 0;
	*ret = steal(&data);
	if (ret_len)
		*ret_len = len;
	return 0;
}

int write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int sync_parent(const char *path)
{
	AUTOFREE char *dir = xstrdup(path);
	char *slash = strrchr(dir, '/');
	AUTOFD int fd = -1;

	if (slash)
		slash[slash == dir] = 0;
	fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fsync(fd) < 0 ? -errno : 0;
}

int file_write_atomic(const char *path, const void *data, size_t len, int mode, struct err *err)
{
	AUTOFREE char *tmp = xasprintf("%s.tmp%d", path, (int)getpid());
	AUTOFD int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	int r;

	if (fd < 0)
		return err_sys(err, "cannot create %s", tmp);
	r = write_all(fd, data, len);
	if (r == 0 && (fchmod(fd, (mode_t)mode) < 0 || fsync(fd) < 0 || rename(tmp, path) < 0))
		r = -errno;
	if (r == 0)
		r = sync_parent(path);
	if (r < 0) {
		unlink(tmp);
		return err_set(err, r, "cannot write %s: %s", path, strerror(-r));
	}
	return 0;
}

int make_dir(const char *path, int mode, struct err *err)
{
	if (mkdir(path, (mode_t)mode) < 0 && errno != EEXIST)
		return err_sys(err, "cannot create the folder %s", path);
	return 0;
}

int make_dir_synced(const char *path, int mode, struct err *err)
{
	int r;

	if (mkdir(path, (mode_t)mode) < 0)
		return errno == EEXIST ? 0 : err_sys(err, "cannot create the folder %s", path);
	r = sync_parent(path);
	if (r < 0)
		rmdir(path);
	return r < 0 ? err_set(err, r, "cannot create the folder %s: %s", path, strerror(-r)) : 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

int remove_tree(const char *path, struct err *err)
{
	if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) < 0 && errno != ENOENT)
		return err_sys(err, "cannot remove %s", path);
	return 0;
}

void make_id(const char *prefix, char out[64])
{
	unsigned char raw[16];
	char text[17];

	random_bytes(raw, sizeof(raw));
	for (size_t i = 0; i < 16; i++)
		text[i] = "abcdefghijklmnopqrstuvwxyz234567"[raw[i] & 31];
	text[16] = 0;
	snprintf(out, 64, "%s%s", prefix, text);
}

size_t utf8_cut(const char *s, size_t n)
{
	while (n > 0 && ((uint8_t)s[n] & 0xc0) == 0x80)
		n--;
	return n;
}

bool agent_name_valid(const char *s)
{
	size_t n = strlen(s);

	if (n < 1 || n > 63 || s[0] == '-')
		return false;
	return strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

int agent_name_check(const char *s, struct err *err)
{
	if (agent_name_valid(s))
		return 0;
	err_set(err, EINVAL, "'%.80s' is not a name for an agent", s);
	err_hint(err, "use 1 to 63 of a-z, 0-9 and '-', not starting with '-'");
	return err_type(err, 400, "invalid-name");
}
