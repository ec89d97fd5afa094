/* Folders as tar streams, packed from and unpacked into this machine. The owner of libarchive. */
#include "cli_tar.h"
#include "util.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <string.h>
#include <sys/stat.h>

/*
 * Theory of operation. libarchive only reads and writes the tar format; every name is opened here,
 * component by component from the destination's descriptor with O_NOFOLLOW, so that neither ".."
 * nor a link (ours, the guest's, or one made meanwhile) leads anywhere else. A link of the guest is
 * made only if its target is some
 * ".."s, no more than the link is deep, and then names without any: as all other links obey the
 * same rule, what it leads to is below the destination. Files are always new ones: what had the
 * name before is unlinked first.
 */
#define PIECE 65536
#define DEPTH_MAX 128

struct unpack {
	int root;
	tar_source_fn *source;
	tar_note_fn *note;
	void *data;
	const struct tar_limits *limits;
	struct tar_stats *stats;
	struct err *err;
	bool source_failed;
	char piece[PIECE];
};

static la_ssize_t on_read(struct archive *a, void *arg, const void **ret)
{
	struct unpack *u = arg;
	ssize_t n = u->source(u->data, u->piece, sizeof(u->piece), u->err);

	*ret = u->piece;
	if (n >= 0)
		return n;
	u->source_failed = true;
	archive_set_error(a, EIO, "the stream broke off");
	return -1;
}

static void tell(struct unpack *u, const char *path, const char *why)
{
	if (why)
		u->stats->skipped++;
	if (u->note)
		u->note(u->data, path, why, u->stats);
}

static int refuse(struct unpack *u, const char *path, const char *why)
{
	err_set(u->err, EPERM, "the agent sent '%.200s', %s", path, why);
	return err_hint(u->err,
		"nothing outside the destination was touched; look at what runs in this agent");
}

/* Components without "." in buf, in place; their number, or negative for a name that may not be. */
static int split_path(struct unpack *u, const char *path, char *copy, char **parts)
{
	char *save = NULL;
	int n = 0;

	if (path[0] == '/')
		return refuse(u, path, "an absolute name");
	for (char *p = strtok_r(copy, "/", &save); p; p = strtok_r(NULL, "/", &save)) {
		if (streq(p, "."))
			continue;
		if (streq(p, ".."))
			return refuse(u, path, "a name that leaves its folder");
		if (n == DEPTH_MAX)
			return refuse(u, path, "a name too deep");
		parts[n++] = p;
	}
	return n;
}

/* One folder down, made if it is missing. Never through a link. */
static int open_child(struct unpack *u, int dir, const char *name, const char *path)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT && (mkdirat(dir, name, 0777) == 0 || errno == EEXIST))
		fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	if (errno == ELOOP || errno == ENOTDIR)
		return refuse(u, path, "below something that is a link or a file here");
	return err_sys(u->err, "cannot open the folder of %.200s", path);
}

/* The folder that holds the last of n components (n > 0). */
static int open_parent(struct unpack *u, char **parts, int n, const char *path)
{
	int dir = fcntl(u->root, F_DUPFD_CLOEXEC, 0);

	for (int i = 0; i + 1 < n && dir >= 0; i++) {
		int next = open_child(u, dir, parts[i], path);

		close(dir);
		dir = next;
	}
	return dir;
}

/* Makes room for a new file or link: what has the name is unlinked, unless it is a folder. */
static int clear_name(struct unpack *u, int dir, const char *name, const char *path)
{
	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno == EISDIR || errno == EPERM)
		return err_set(
			u->err, EISDIR, "%.200s is a folder here and not one in the agent", path);
	return err_sys(u->err, "cannot replace %.200s", path);
}

static int over_limit(struct unpack *u, const char *what, const char *option)
{
	err_set(u->err, EFBIG, "the copy is over its limit of %s", what);
	return err_hint(
		u->err, "raise it with %s if that is what you expect of this agent", option);
}

static int write_at(struct unpack *u, int fd, const char *p, size_t n, off_t at, const char *path)
{
	while (n > 0) {
		ssize_t done = pwrite(fd, p, n, at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return err_sys(u->err, "cannot write %.200s", path);
		p += done;
		at += done;
		n -= (size_t)done;
	}
	return 0;
}

static int unpack_failed(struct unpack *u, struct archive *a)
{
	if (u->source_failed)
		return u->err ? u->err->code : -EIO;
	err_set(u->err, EPROTO, "the agent's folder did not arrive as a proper tar: %s",
		archive_error_string(a) ? archive_error_string(a) : "unknown");
	return err_hint(
		u->err, "try again; `berth log` tells if the agent was restarted meanwhile");
}

/* An entry's bytes, holes counted as if they were bytes. */
static int copy_data(struct unpack *u, struct archive *a, int fd, const char *path)
{
	uint64_t before = u->stats->bytes, end = 0;
	const void *p;
	la_int64_t at;
	size_t n;
	int r;

	while ((r = archive_read_data_block(a, &p, &n, &at)) == ARCHIVE_OK || r == ARCHIVE_WARN) {
		if (at < 0 || (uint64_t)at > u->limits->max_bytes || n > u->limits->max_bytes ||
			before + (uint64_t)at + n > u->limits->max_bytes)
			return over_limit(u, "bytes", "--max-size");
		if (write_at(u, fd, p, n, at, path) < 0)
			return u->err->code;
		end = MAX(end, (uint64_t)at + n);
		u->stats->bytes = before + end;
		tell(u, path, NULL);
	}
	if (r != ARCHIVE_EOF)
		return unpack_failed(u, a);
	return 0;
}

/* A sparse file may end in a hole. */
static int settle_size(
	struct unpack *u, struct archive_entry *e, int fd, uint64_t before, const char *path)
{
	la_int64_t size = archive_entry_size_is_set(e) ? archive_entry_size(e) : 0;

	if (size < 0 || (uint64_t)size > u->limits->max_bytes ||
		before + (uint64_t)size > u->limits->max_bytes)
		return over_limit(u, "bytes", "--max-size");
	if (before + (uint64_t)size <= u->stats->bytes)
		return 0;
	u->stats->bytes = before + (uint64_t)size;
	return ftruncate(fd, size) < 0 ? err_sys(u->err, "cannot write %.200s", path) : 0;
}

static int unpack_file(struct unpack *u, struct archive *a, struct archive_entry *e, int dir,
	const char *name, const char *path)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
		{.tv_sec = archive_entry_mtime(e), .tv_nsec = archive_entry_mtime_nsec(e)}};
	uint64_t before = u->stats->bytes;
	AUTOFD int fd = -1;
	int r = clear_name(u, dir, name, path);

	if (r < 0)
		return r;
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		archive_entry_perm(e) & 0777);
	if (fd < 0)
		return err_sys(u->err, "cannot create %.200s", path);
	r = copy_data(u, a, fd, path);
	if (r == 0)
		r = settle_size(u, e, fd, before, path);
	if (r == 0 && archive_entry_mtime_is_set(e))
		futimens(fd, times);
	return r;
}

/* See the theory above. depth: folders between the destination and the link. */
static bool link_stays_inside(const char *target, int depth)
{
	bool named = false;

	if (target[0] == '/' || !target[0])
		return false;
	while (*target) {
		size_t n = strcspn(target, "/");
		bool up = n == 2 && target[0] == '.' && target[1] == '.';

		if (up && (named || depth-- == 0))
			return false;
		named = named || (!up && n > 0 && !(n == 1 && target[0] == '.'));
		target += n;
		target += strspn(target, "/");
	}
	return true;
}

static int unpack_symlink(struct unpack *u, struct archive_entry *e, int dir, const char *name,
	int depth, const char *path)
{
	const char *target = archive_entry_symlink(e);

	if (!target || !link_stays_inside(target, depth)) {
		tell(u, path, "a link that leads outside");
		return 0;
	}
	if (clear_name(u, dir, name, path) < 0)
		return u->err->code;
	if (symlinkat(target, dir, name) < 0)
		return err_sys(u->err, "cannot create the link %.200s", path);
	return 0;
}

static int unpack_hardlink(
	struct unpack *u, const char *target, int dir, const char *name, const char *path)
{
	AUTOFREE char *copy = xstrdup(target);
	char *parts[DEPTH_MAX];
	int n = split_path(u, target, copy, parts);
	AUTOFD int from = n > 0 ? open_parent(u, parts, n, target) : -1;
	struct stat st;

	if (n < 0 || (n > 0 && from < 0))
		return u->err->code;
	if (n == 0 || fstatat(from, parts[n - 1], &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		!S_ISREG(st.st_mode)) {
		tell(u, path, "a second name of a file that is not in the copy");
		return 0;
	}
	if (clear_name(u, dir, name, path) < 0)
		return u->err->code;
	if (linkat(from, parts[n - 1], dir, name, 0) < 0)
		return err_sys(u->err, "cannot create %.200s", path);
	return 0;
}

static int unpack_folder(
	struct unpack *u, struct archive_entry *e, int dir, const char *name, const char *path)
{
	AUTOFD int fd = -1;

	if (mkdirat(dir, name, (archive_entry_perm(e) & 0777) | 0700) == 0)
		return 0;
	if (errno != EEXIST)
		return err_sys(u->err, "cannot create the folder %.200s", path);
	fd = open_child(u, dir, name, path);
	return fd < 0 ? u->err->code : 0;
}

static int unpack_entry(struct unpack *u, struct archive *a, struct archive_entry *e)
{
	const char *path = archive_entry_pathname(e), *target = archive_entry_hardlink(e);
	AUTOFREE char *copy = NULL;
	char *parts[DEPTH_MAX];
	AUTOFD int dir = -1;
	int n;

	if (!path)
		return refuse(u, "?", "a name that cannot be read");
	if (++u->stats->entries > u->limits->max_entries)
		return over_limit(u, "files and folders", "--max-entries");
	copy = xstrdup(path);
	n = split_path(u, path, copy, parts);
	if (n <= 0)
		return n; /* "./" is the destination itself */
	dir = open_parent(u, parts, n, path);
	if (dir < 0)
		return u->err->code;
	if (target)
		return unpack_hardlink(u, target, dir, parts[n - 1], path);
	if (archive_entry_filetype(e) == AE_IFDIR)
		return unpack_folder(u, e, dir, parts[n - 1], path);
	if (archive_entry_filetype(e) == AE_IFREG)
		return unpack_file(u, a, e, dir, parts[n - 1], path);
	if (archive_entry_filetype(e) == AE_IFLNK)
		return unpack_symlink(u, e, dir, parts[n - 1], n - 1, path);
	tell(u, path, "neither a file nor a folder");
	return 0;
}

static void use_utf8(void)
{
	/* pax names are UTF-8; libarchive converts them to the locale's characters. */
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		setlocale(LC_CTYPE, "");
}

int tar_unpack(int dirfd, tar_source_fn *source, tar_note_fn *note, void *data,
	const struct tar_limits *limits, struct tar_stats *ret, struct err *err)
{
	AUTOFREE struct unpack *u = xcalloc(1, sizeof(*u));
	struct archive *a = archive_read_new();
	struct archive_entry *e;
	struct err spare = {0};
	int r;

	*ret = (struct tar_stats){0};
	u->root = dirfd;
	u->source = source;
	u->note = note;
	u->data = data;
	u->limits = limits;
	u->stats = ret;
	u->err = err ? err : &spare;
	use_utf8();
	archive_read_support_filter_none(a);
	archive_read_support_format_tar(a);
	r = archive_read_open(a, u, NULL, on_read, NULL) == ARCHIVE_OK ? 0 : unpack_failed(u, a);
	while (r == 0) {
		int next = archive_read_next_header(a, &e);

		if (next == ARCHIVE_EOF)
			break;
		if (next == ARCHIVE_RETRY)
			continue;
		r = next == ARCHIVE_OK || next == ARCHIVE_WARN ? unpack_entry(u, a, e)
							       : unpack_failed(u, a);
	}
	archive_read_free(a);
	return r;
}

struct pack {
	struct archive *a;
	tar_sink_fn *sink;
	tar_note_fn *note;
	void *data;
	struct tar_stats *stats;
	struct err *err;
	bool sink_failed;
	char piece[PIECE];
};

static la_ssize_t on_write(struct archive *a, void *arg, const void *data, size_t n)
{
	struct pack *p = arg;

	if (p->sink(p->data, data, n, p->err) == 0)
		return (la_ssize_t)n;
	p->sink_failed = true;
	archive_set_error(a, EIO, "the stream broke off");
	return -1;
}

static int pack_failed(struct pack *p)
{
	if (p->sink_failed)
		return p->err->code;
	return err_set(p->err, EIO, "cannot make a tar: %s", archive_error_string(p->a));
}

static void leave_out(struct pack *p, const char *path, const char *why)
{
	p->stats->skipped++;
	if (p->note)
		p->note(p->data, path, why, p->stats);
}

/* Exactly as many bytes as the header said; zeroes if the file became shorter meanwhile. */
static int pack_data(struct pack *p, int fd, uint64_t left, const char *path)
{
	while (left > 0) {
		size_t want = (size_t)MIN(left, (uint64_t)sizeof(p->piece));
		ssize_t n = read(fd, p->piece, want);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(p->err, "cannot read %.200s", path);
		if (n == 0) {
			memset(p->piece, 0, want);
			n = (ssize_t)want;
		}
		if (archive_write_data(p->a, p->piece, (size_t)n) < 0)
			return pack_failed(p);
		left -= (uint64_t)n;
		p->stats->bytes += (uint64_t)n;
		if (p->note)
			p->note(p->data, path, NULL, p->stats);
	}
	return 0;
}

static int put_header(struct pack *p, const char *path, const struct stat *st, const char *target)
{
	struct archive_entry *e = archive_entry_new();
	int r;

	archive_entry_set_pathname(e, path);
	archive_entry_set_filetype(e, st->st_mode & S_IFMT);
	archive_entry_set_perm(e, st->st_mode & 0777);
	archive_entry_set_mtime(e, st->st_mtim.tv_sec, 0);
	archive_entry_set_size(e, S_ISREG(st->st_mode) ? st->st_size : 0);
	if (target)
		archive_entry_set_symlink(e, target);
	p->stats->entries++;
	r = archive_write_header(p->a, e);
	archive_entry_free(e);
	return r == ARCHIVE_OK || r == ARCHIVE_WARN ? 0 : pack_failed(p);
}

static int pack_folder(struct pack *p, int fd, const char *path, int depth);

static int pack_symlink(
	struct pack *p, int dir, const char *name, const char *path, const struct stat *st)
{
	char target[4096];
	ssize_t n = readlinkat(dir, name, target, sizeof(target) - 1);

	if (n < 0)
		return err_sys(p->err, "cannot read the link %.200s", path);
	target[n] = 0;
	return put_header(p, path, st, target);
}

static int pack_entry(struct pack *p, int dir, const char *name, const char *path, int depth)
{
	AUTOFD int fd = -1;
	struct stat st;
	int r;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(p->err, "cannot look at %.200s", path);
	if (S_ISLNK(st.st_mode))
		return pack_symlink(p, dir, name, path, &st);
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
		leave_out(p, path, "neither a file nor a folder");
		return 0;
	}
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(p->err, "cannot open %.200s", path);
	r = put_header(p, path, &st, NULL);
	if (r < 0)
		return r;
	return S_ISDIR(st.st_mode) ? pack_folder(p, steal_fd(&fd), path, depth + 1)
				   : pack_data(p, fd, (uint64_t)st.st_size, path);
}

/* Takes fd over. */
static int pack_folder(struct pack *p, int fd, const char *path, int depth)
{
	DIR *d = fdopendir(fd);
	struct dirent *entry;
	int r = 0;

	if (!d || depth > DEPTH_MAX) {
		if (d)
			closedir(d);
		else
			close(fd);
		return err_set(p->err, ELOOP, "%.200s is too deep or cannot be read", path);
	}
	while (r == 0 && (errno = 0, entry = readdir(d))) {
		AUTOFREE char *child = NULL;

		if (streq(entry->d_name, ".") || streq(entry->d_name, ".."))
			continue;
		child = path[0] ? xasprintf("%s/%s", path, entry->d_name) : xstrdup(entry->d_name);
		r = pack_entry(p, dirfd(d), entry->d_name, child, depth);
	}
	closedir(d);
	return r;
}

int tar_pack(int dirfd_, tar_sink_fn *sink, tar_note_fn *note, void *data, struct tar_stats *ret,
	struct err *err)
{
	AUTOFREE struct pack *p = xcalloc(1, sizeof(*p));
	struct err spare = {0};
	int fd = openat(dirfd_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;

	*ret = (struct tar_stats){0};
	if (fd < 0)
		return err_sys(err, "cannot read the folder");
	p->a = archive_write_new();
	p->sink = sink;
	p->note = note;
	p->data = data;
	p->stats = ret;
	p->err = err ? err : &spare;
	use_utf8();
	archive_write_set_format_pax_restricted(p->a);
	archive_write_set_options(p->a, "hdrcharset=BINARY");
	archive_write_add_filter_none(p->a);
	archive_write_set_bytes_in_last_block(p->a, 512);
	r = archive_write_open(p->a, p, NULL, on_write, NULL) == ARCHIVE_OK ? 0 : pack_failed(p);
	if (r == 0)
		r = pack_folder(p, fd, "", 0);
	else
		close(fd);
	if (r == 0 && archive_write_close(p->a) != ARCHIVE_OK)
		r = pack_failed(p);
	archive_write_free(p->a);
	return r;
}
