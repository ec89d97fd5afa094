/*
 * A guest's RAM inside its QEMU process.
 *
 * /proc/PID/maps names the mapping: private, of the base file's inode, as long as the file. Linux's
 * pagemap (Documentation/admin-guide/mm/pagemap.rst) then tells what was written: a page of a
 * private file mapping becomes anonymous by the first write, so it is present or swapped (bits 63,
 * 62) and no longer the file's (bit 61).
 */
#include "guest_ram.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "util.h"

#define PRESENT (UINT64_C(1) << 63)
#define SWAPPED (UINT64_C(1) << 62)
#define OF_FILE (UINT64_C(1) << 61)
#define ENTRIES 16384 /* of the pagemap, read at once */

/* One line of maps: true if it is a private, writable part of the file `ino`. */
static bool parse_line(const char *line, ino_t ino, uint64_t *from, uint64_t *to)
{
	char perms[8];
	uint64_t offset, inode;

	return sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %" SCNx64 " %*s %" SCNu64, from, to, perms,
		       &offset, &inode) == 5 &&
	       inode == ino && strncmp(perms, "rw-p", 4) == 0 && *to > *from;
}

/* The kernel may show the mapping in several parts that touch. */
static int find(struct guest_ram *r, FILE *maps, ino_t ino, struct err *err)
{
	char line[1024];
	uint64_t from, to, end = 0;

	while (fgets(line, sizeof(line), maps)) {
		if (!parse_line(line, ino, &from, &to))
			continue;
		if (end == 0)
			r->start = from;
		else if (from != end)
			break;
		end = to;
	}
	if (end == 0)
		return err_set(err, ESRCH, "the process does not map the guest's memory");
	if (end - r->start != r->size)
		return err_set(err, EPROTO,
			"the guest's memory has %" PRIu64 " bytes, not %" PRIu64, end - r->start,
			r->size);
	return 0;
}

static int open_proc(pid_t pid, const char *name, int flags, struct err *err)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? err_sys(err, "cannot open %s", path) : fd;
}

int guest_ram_open(struct guest_ram *ret, pid_t pid, const char *base, struct err *err)
{
	struct guest_ram r = {.mem = -1, .pagemap = -1};
	AUTOFILE FILE *maps = NULL;
	struct stat st;
	int fd, code;

	if (stat(base, &st) < 0)
		return err_sys(err, "cannot look at %s", base);
	r.size = (uint64_t)st.st_size;
	if (r.size == 0 || r.size % GUEST_PAGE)
		return err_set(
			err, EINVAL, "%s is no memory: it has %" PRIu64 " bytes", base, r.size);
	fd = open_proc(pid, "maps", O_RDONLY, err);
	if (fd < 0)
		return fd == -ENOENT ? -ESRCH : fd;
	maps = fdopen(fd, "r");
	code = find(&r, maps, st.st_ino, err);
	if (code == 0)
		code = r.mem = open_proc(pid, "mem", O_RDWR, err);
	if (code >= 0)
		code = r.pagemap = open_proc(pid, "pagemap", O_RDONLY, err);
	if (code < 0) {
		guest_ram_close(&r);
		return code;
	}
	*ret = r;
	return 0;
}

void guest_ram_close(struct guest_ram *r)
{
	if (r->mem >= 0)
		close(r->mem);
	if (r->pagemap >= 0)
		close(r->pagemap);
}

int64_t guest_ram_private(const struct guest_ram *r, uint8_t **ret_bitmap, struct err *err)
{
	uint64_t pages = r->size / GUEST_PAGE, first = r->start / GUEST_PAGE;
	AUTOFREE uint64_t *entries = xmalloc(ENTRIES * sizeof(*entries));
	AUTOFREE uint8_t *bitmap = xcalloc((pages + 7) / 8, 1);
	int64_t found = 0;

	for (uint64_t at = 0; at < pages;) {
		size_t want = MIN(pages - at, (uint64_t)ENTRIES);
		ssize_t n = pread(r->pagemap, entries, want * 8, (off_t)((first + at) * 8));

		if (n < 8)
			return err_set(err, n < 0 ? errno : ESRCH, "cannot read the page map");
		for (size_t i = 0; i < (size_t)n / 8; i++, at++) {
			if (!(entries[i] & (PRESENT | SWAPPED)) || (entries[i] & OF_FILE))
				continue;
			bitmap[at / 8] |= (uint8_t)(1u << at % 8);
			found++;
		}
	}
	*ret_bitmap = steal(&bitmap);
	return found;
}

int guest_ram_read(const struct guest_ram *r, uint64_t at, void *data, size_t n, struct err *err)
{
	for (size_t done = 0; done < n;) {
		ssize_t got =
			pread(r->mem, (char *)data + done, n - done, (off_t)(r->start + at + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return err_set(
				err, got < 0 ? errno : ESRCH, "cannot read the guest's memory");
		done += (size_t)got;
	}
	return 0;
}
