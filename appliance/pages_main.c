/*
 * berth-pages: guest memory between a QEMU process and files, in a process of its own, so that
 * berthd waits for nothing.
 *
 *   berth-pages save PID BASE OUT   writes the pages of PID that differ from BASE into OUT
 *   berth-pages load PID BASE IN DEVICE   puts them into PID, which has just mapped BASE ("-" for
 *                                   IN: none); says the digest of the file DEVICE as well
 *   berth-pages merge BASE IN OUT   makes OUT, a sparse copy of BASE with them
 *   berth-pages digest FILE...      BLAKE2b-256 of each, holes and zeros left out, once it is
 *                                   on the disk: a line each. Of files named "pages" and
 *                                   "device" the digest is that of a manifest (snapshot.h)
 *
 * Prints lines of JSON: save says {"captured":N} when the process may go on; each ends with
 * {"digest":HEX,"pages":N,"zero":N,"bytes":N} after fsync, or {"error":…} and status 1.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sodium.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "guest_ram.h"
#include "json.h"
#include "pages.h"
#include "util.h"

#define LEVEL 1
#define CAPTURE_MAX (512u << 20) /* above this, pages are written while the guest waits */
#define PIECE (1u << 20)
#define DEVICE_MAX (64u << 20)

static void say(cJSON *o)
{
	AUTOFREE char *text = cJSON_PrintUnformatted(o);

	cJSON_Delete(o);
	printf("%s\n", text);
	fflush(stdout);
}

static void add_result(
	cJSON *o, const uint8_t digest[PAGES_DIGEST_LEN], const struct pages_stats *stats)
{
	char hex[2 * PAGES_DIGEST_LEN + 1];

	hex_encode(digest, PAGES_DIGEST_LEN, hex);
	cJSON_AddStringToObject(o, "digest", hex);
	cJSON_AddNumberToObject(o, "pages", (double)stats->pages);
	cJSON_AddNumberToObject(o, "zero", (double)stats->zero);
	cJSON_AddNumberToObject(o, "bytes", (double)stats->bytes);
}

static void say_result(const uint8_t digest[PAGES_DIGEST_LEN], const struct pages_stats *stats)
{
	cJSON *o = cJSON_CreateObject();

	add_result(o, digest, stats);
	say(o);
}

/* Private pages of a process, copied out so that it may go on, or read one after the other. */
struct capture {
	struct guest_ram ram;
	uint8_t *bitmap, *copy; /* copy NULL: there are too many */
	int64_t n;
};

static void capture_done(struct capture *c)
{
	if (c->copy)
		munmap(c->copy, (size_t)c->n * GUEST_PAGE);
	free(c->bitmap);
	guest_ram_close(&c->ram);
}

static bool is_set(const uint8_t *bitmap, uint64_t i)
{
	return bitmap[i / 8] >> i % 8 & 1;
}

/* Length in pages of the run that starts at page `at`. */
static uint64_t run_at(const struct capture *c, uint64_t at)
{
	uint64_t pages = c->ram.size / GUEST_PAGE, n = 0;

	while (at + n < pages && n < PIECE / GUEST_PAGE && is_set(c->bitmap, at + n))
		n++;
	return n;
}

static int copy_out(struct capture *c, struct err *err)
{
	uint64_t pages = c->ram.size / GUEST_PAGE, n;
	uint8_t *to;
	int r = 0;

	if (c->n == 0 || (uint64_t)c->n * GUEST_PAGE > CAPTURE_MAX)
		return 0;
	to = c->copy = mmap(NULL, (size_t)c->n * GUEST_PAGE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (to == MAP_FAILED) {
		c->copy = NULL;
		return 0;
	}
	for (uint64_t at = 0; at < pages && r == 0; at += MAX(n, UINT64_C(1))) {
		n = run_at(c, at);
		if (n > 0)
			r = guest_ram_read(&c->ram, at * GUEST_PAGE, to, n * GUEST_PAGE, err);
		to += n * GUEST_PAGE;
	}
	return r;
}

static void say_captured(int64_t n)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddNumberToObject(o, "captured", (double)n);
	say(o);
}

static int write_pages(struct capture *c, struct pages_writer *w, struct err *err)
{
	AUTOFREE uint8_t *piece = xmalloc(PIECE);
	const uint8_t *from = c->copy;
	uint64_t pages = c->ram.size / GUEST_PAGE, n;
	int r = 0;

	for (uint64_t at = 0; at < pages && r == 0; at += MAX(n, UINT64_C(1))) {
		n = run_at(c, at);
		if (n > 0 && !c->copy)
			r = guest_ram_read(&c->ram, at * GUEST_PAGE, piece, n * GUEST_PAGE, err);
		for (uint64_t i = 0; i < n && r == 0; i++)
			r = pages_write(w, (uint32_t)(at + i),
				(c->copy ? from : piece) + i * GUEST_PAGE, err);
		if (c->copy)
			from += n * GUEST_PAGE;
	}
	return r;
}

static int create(const char *path, struct err *err)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0444);

	return fd < 0 ? err_sys(err, "cannot make %s", path) : fd;
}

static int sync_file(int fd, const char *path, struct err *err)
{
	return fsync(fd) < 0 ? err_sys(err, "cannot write %s", path) : 0;
}

static int save(pid_t pid, const char *base, const char *out, struct err *err)
{
	struct capture c = {.ram = {.mem = -1, .pagemap = -1}};
	struct pages_writer *w = NULL;
	struct pages_stats stats;
	uint8_t digest[PAGES_DIGEST_LEN];
	AUTOFD int fd = create(out, err);
	int r = fd < 0 ? fd : guest_ram_open(&c.ram, pid, base, err);

	if (r == 0) {
		c.n = guest_ram_private(&c.ram, &c.bitmap, err);
		r = c.n < 0 ? (int)c.n : copy_out(&c, err);
	}
	if (r == 0 && c.copy)
		say_captured(c.n);
	if (r == 0)
		r = pages_write_begin(&w, fd, c.ram.size, LEVEL, err);
	if (r == 0) {
		r = write_pages(&c, w, err);
		if (r == 0)
			r = pages_write_end(w, digest, &stats, err);
		else
			pages_write_cancel(w);
	}
	if (r == 0 && !c.copy)
		say_captured(c.n);
	if (r == 0)
		r = sync_file(fd, out, err);
	if (r == 0)
		say_result(digest, &stats);
	capture_done(&c);
	return r;
}

static int into_ram(void *data, uint64_t at, const void *bytes, size_t n, struct err *err)
{
	static const uint8_t zeros[PIECE];
	const struct guest_ram *ram = data;

	while (n > 0) {
		size_t part = bytes ? n : MIN(n, sizeof(zeros));
		ssize_t put =
			pwrite(ram->mem, bytes ? bytes : zeros, part, (off_t)(ram->start + at));

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return err_sys(err, "cannot write the guest's memory");
		at += (uint64_t)put;
		n -= (size_t)put;
		if (bytes)
			bytes = (const uint8_t *)bytes + put;
	}
	return 0;
}

static int open_input(const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? err_sys(err, "cannot open %s", path) : fd;
}

static int load_pages(pid_t pid, const char *base, const char *in, cJSON *say_here, struct err *err)
{
	struct guest_ram ram = {.mem = -1, .pagemap = -1};
	struct pages_stats stats;
	uint8_t digest[PAGES_DIGEST_LEN];
	AUTOFD int fd = open_input(in, err);
	int r = fd < 0 ? fd : guest_ram_open(&ram, pid, base, err);

	if (r == 0)
		r = pages_read(fd, ram.size, into_ram, &ram, digest, &stats, err);
	if (r == 0)
		add_result(say_here, digest, &stats);
	guest_ram_close(&ram);
	return r;
}

/* The digest that vm_save.c makes of a device state. */
static int digest_device(const char *path, uint8_t out[PAGES_DIGEST_LEN], struct err *err)
{
	AUTOFREE char *data = NULL;
	size_t n;
	int r = file_read(AT_FDCWD, path, DEVICE_MAX, &data, &n, err);

	if (r == 0)
		crypto_generichash(out, PAGES_DIGEST_LEN, (const uint8_t *)data, n, NULL, 0);
	return MIN(r, 0);
}

static int load(pid_t pid, const char *base, const char *in, const char *device, struct err *err)
{
	char hex[2 * PAGES_DIGEST_LEN + 1];
	uint8_t out[PAGES_DIGEST_LEN];
	cJSON *o = cJSON_CreateObject();
	int r = streq(in, "-") ? 0 : load_pages(pid, base, in, o, err);

	if (r == 0)
		r = digest_device(device, out, err);
	if (r < 0) {
		cJSON_Delete(o);
		return r;
	}
	hex_encode(out, sizeof(out), hex);
	cJSON_AddStringToObject(o, "device", hex);
	say(o);
	return 0;
}

/* Copies what the file holds, holes left out. */
static int copy_sparse(int from, int to, off_t size, struct err *err)
{
	AUTOFREE char *piece = xmalloc(PIECE);
	off_t at = 0;

	if (ftruncate(to, size) < 0)
		return err_sys(err, "cannot make room for the memory");
	while ((at = lseek(from, at, SEEK_DATA)) >= 0) {
		off_t end = lseek(from, at, SEEK_HOLE);

		while (at < end) {
			ssize_t n = pread(from, piece, (size_t)MIN(end - at, (off_t)PIECE), at);

			if (n <= 0 || pwrite(to, piece, (size_t)n, at) != n)
				return err_sys(err, "cannot copy the memory");
			at += n;
		}
	}
	return errno == ENXIO ? 0 : err_sys(err, "cannot copy the memory");
}

static int into_file(void *data, uint64_t at, const void *bytes, size_t n, struct err *err)
{
	int fd = *(int *)data;

	if (!bytes)
		return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at,
			       (off_t)n) < 0
			       ? err_sys(err, "cannot write the memory")
			       : 0;
	return pwrite(fd, bytes, n, (off_t)at) == (ssize_t)n
		       ? 0
		       : err_sys(err, "cannot write the memory");
}

static bool all_zero(const uint8_t *p, size_t n)
{
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* Of the pieces of 1 MiB that are not all zeros, each after its index: the same with holes or
 * without. */
static int digest_of(
	int fd, const char *path, struct pages_stats *ret, uint8_t *out, struct err *err)
{
	AUTOFREE uint8_t *piece = xmalloc(PIECE);
	crypto_generichash_state state;
	off_t at = 0;
	ssize_t n;

	crypto_generichash_init(&state, NULL, 0, PAGES_DIGEST_LEN);
	while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
		uint64_t index = (uint64_t)at / PIECE;

		n = pread(fd, piece, PIECE, (off_t)(index * PIECE));
		if (n <= 0)
			return err_sys(err, "cannot read %s", path);
		at = (off_t)((index + 1) * PIECE);
		if (all_zero(piece, (size_t)n))
			continue;
		crypto_generichash_update(&state, (const uint8_t *)&index, sizeof(index));
		crypto_generichash_update(&state, piece, (size_t)n);
		ret->bytes += (uint64_t)n;
	}
	if (errno != ENXIO)
		return err_sys(err, "cannot read %s", path);
	crypto_generichash_final(&state, out, PAGES_DIGEST_LEN);
	return 0;
}

static int merge(const char *base, const char *in, const char *out, struct err *err)
{
	struct pages_stats stats, whole = {0};
	uint8_t digest[PAGES_DIGEST_LEN];
	struct stat st;
	AUTOFD int from = open_input(base, err);
	AUTOFD int pages = from < 0 ? -1 : open_input(in, err);
	AUTOFD int to = pages < 0 ? -1 : create(out, err);
	int r = to < 0 ? -EIO : 0;

	if (r == 0 && fstat(from, &st) < 0)
		r = err_sys(err, "cannot look at %s", base);
	if (r == 0)
		r = copy_sparse(from, to, st.st_size, err);
	if (r == 0)
		r = pages_read(pages, (uint64_t)st.st_size, into_file, &to, digest, &stats, err);
	if (r == 0)
		r = digest_of(to, out, &whole, digest, err);
	if (r == 0)
		r = sync_file(to, out, err);
	if (r == 0)
		say_result(digest, &whole);
	return r;
}

static int nowhere(void *data, uint64_t at, const void *bytes, size_t n, struct err *err)
{
	return 0;
}

/* What pages_read finds; one that is damaged has the digest of nothing at all, which no file has.
 */
static int digest_pages(int fd, struct pages_stats *ret, uint8_t *out, struct err *err)
{
	uint8_t head[PAGES_HEADER_LEN] = {0};
	uint64_t memory = 0;
	int r;

	if (pread(fd, head, sizeof(head), 0) < 0)
		return err_sys(err, "cannot read the pages");
	for (int i = 7; i >= 0; i--)
		memory = memory << 8 | head[16 + i];
	r = pages_read(fd, memory, nowhere, NULL, out, ret, err);
	if (r == -EBADMSG)
		memset(out, 0, PAGES_DIGEST_LEN);
	return r == -EBADMSG ? 0 : r;
}

static int digest(const char *path, struct err *err)
{
	const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	struct pages_stats stats = {0};
	uint8_t out[PAGES_DIGEST_LEN];
	AUTOFD int fd = open_input(path, err);
	int r;

	if (fd < 0)
		r = fd;
	else if (streq(name, "pages"))
		r = digest_pages(fd, &stats, out, err);
	else if (streq(name, "device"))
		r = digest_device(path, out, err);
	else
		r = digest_of(fd, path, &stats, out, err);
	if (r == 0)
		r = sync_file(fd, path, err);
	if (r == 0)
		say_result(out, &stats);
	return r;
}

static pid_t pid_of(const char *text)
{
	uint64_t pid;

	if (!parse_u64(text, 2, 1u << 30, &pid))
		die("'%s' is not a process", text);
	return (pid_t)pid;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	struct err err = {0};
	int r = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (sodium_init() < 0)
		die("libsodium does not start");
	if (streq(verb, "save") && argc == 5)
		r = save(pid_of(argv[2]), argv[3], argv[4], &err);
	else if (streq(verb, "load") && argc == 6)
		r = load(pid_of(argv[2]), argv[3], argv[4], argv[5], &err);
	else if (streq(verb, "merge") && argc == 5)
		r = merge(argv[2], argv[3], argv[4], &err);
	else if (streq(verb, "digest") && argc >= 3)
		for (int i = 2; i < argc && r == 0; i++)
			r = digest(argv[i], &err);
	else
		die("usage: berth-pages save PID BASE OUT, load PID BASE IN DEVICE, merge BASE "
		    "FILE OUT, digest FILE");
	if (r < 0) {
		cJSON *o = cJSON_CreateObject();

		cJSON_AddNumberToObject(o, "code", r);
		cJSON_AddStringToObject(o, "error", err.msg);
		say(o);
	}
	return r < 0;
}
