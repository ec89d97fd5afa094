/* berth cp: files and folders to and from an agent. */
#include "cli.h"
#include "cli_progress.h"
#include "cli_tar.h"
#include "http_client.h"
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_SIZE (10ull << 30)
#define MAX_ENTRIES 1000000ull
#define WARNINGS_MAX 20
#define PIECE 65536

struct copy {
	struct cli *c;
	struct http_client *client;
	struct http_stream *stream;
	struct progress progress;
	struct tar_limits limits;
	struct tar_stats stats;
	uint64_t total;
	struct err *err;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
	interrupted = number;
}

static int on_tick(void *data)
{
	struct copy *k = data;

	progress_tick(&k->progress);
	return interrupted;
}

/* "NAME:PATH" split; false for a path of this machine ("./a:b" is one). *name is the caller's to
 * free. */
static bool split_remote(const char *text, char **name, const char **path)
{
	const char *colon = strchr(text, ':');

	if (!colon || memchr(text, '/', (size_t)(colon - text)))
		return false;
	*name = xasprintf("%.*s", (int)(colon - text), text);
	*path = colon[1] ? colon + 1 : ".";
	return true;
}

/* "10G", "500M", "1024" */
static int parse_size(const char *text, uint64_t *ret, struct err *err)
{
	static const char units[] = "KMGT";
	AUTOFREE char *number = xstrdup(text);
	size_t n = strlen(number);
	const char *unit = n > 0 ? strchr(units, number[n - 1]) : NULL;
	unsigned shift = 0;

	if (unit && *unit) {
		shift = 10 * (unsigned)(unit - units + 1);
		number[n - 1] = 0;
	}
	if (!parse_u64(number, 1, UINT64_MAX >> 1 >> shift, ret))
		return cli_usage_error(
			err, "--max-size must look like 500M or 20G, not '%.40s'", text);
	*ret <<= shift;
	return 0;
}

/* PATH without "." components, which a URL cannot carry; the home folder by its name if nothing is
 * left. */
static char *without_dots(const char *path)
{
	char *out = xmalloc(strlen(path) + sizeof("/home/agent")), *p = out;

	for (const char *s = path; *s;) {
		size_t n = strcspn(s, "/"), slash = s[n] == '/';

		if (!(n == 1 && s[0] == '.')) {
			memcpy(p, s, n + slash);
			p += n + slash;
		}
		s += n + slash;
	}
	*p = 0;
	if (!out[0])
		strcpy(out, "/home/agent");
	return out;
}

/* "/v1/agents/NAME/files/PATH?query"; an absolute PATH keeps its slash: "files//etc/hosts". */
static char *files_path(struct copy *k, const char *name, const char *path, const char *query)
{
	AUTOFREE char *plain = without_dots(path);
	AUTOFREE char *rest = cli_encode(plain, true);
	AUTOFREE char *whole = xasprintf("/files/%s%s", rest, query);

	return cli_agent_path(name, whole, k->err);
}

static int begin(struct copy *k, struct http_request *rq, const char *name, const char *path,
	const char *query)
{
	AUTOFREE char *where = files_path(k, name, path, query);

	if (!where)
		return k->err->code;
	rq->path = where;
	rq->tick = on_tick;
	rq->tick_data = k;
	http_close(k->stream);
	k->stream = NULL;
	return http_open(&k->stream, k->client, rq, k->err);
}

/* Is PATH a folder in the agent? */
static bool remote_is_folder(struct copy *k, const char *name, const char *path)
{
	struct http_request rq = {.method = "GET"};
	struct err keep = *k->err;
	bool folder =
		begin(k, &rq, name, path, "?list=1") == 0 && http_answer(k->stream, k->err) == 0;

	*k->err = keep;
	return folder;
}

static void on_note(void *data, const char *path, const char *why, const struct tar_stats *so_far)
{
	struct copy *k = data;
	AUTOFREE char *shown = NULL;

	if (!why) {
		progress_bytes(&k->progress, so_far->bytes, 0);
		progress_tick(&k->progress);
		return;
	}
	if (so_far->skipped > WARNINGS_MAX)
		return;
	shown = xasprintf("%.300s", path);
	for (char *p = shown; *p; p++)
		if ((unsigned char)*p < 32 || *p == 127)
			*p = '?';
	fprintf(stderr, "%sberth: left out %s: %s%s\n", k->progress.shown ? "\r\033[K" : "", shown,
		why, so_far->skipped == WARNINGS_MAX ? " (and perhaps more)" : "");
}

static ssize_t on_source(void *data, void *buf, size_t n, struct err *err)
{
	struct copy *k = data;

	return http_read(k->stream, buf, n, err);
}

static int on_sink(void *data, const void *buf, size_t n, struct err *err)
{
	struct copy *k = data;

	return http_write(k->stream, buf, n, err);
}

/* ---- from the agent ---- */

static const char *last_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Where it goes: DST, or in it if that is a folder. base is the caller's word, not the guest's. */
static char *local_target(const char *dst, const char *src)
{
	AUTOFREE char *copy = xstrdup(src);
	const char *base;
	struct stat st;

	while (strlen(copy) > 1 && copy[strlen(copy) - 1] == '/')
		copy[strlen(copy) - 1] = 0;
	base = last_name(copy);
	if (!base[0] || streq(base, ".") || streq(base, "..") || stat(dst, &st) < 0 ||
		!S_ISDIR(st.st_mode))
		return xstrdup(dst);
	return xasprintf("%s%s%s", dst, dst[strlen(dst) - 1] == '/' ? "" : "/", base);
}

static int receive_into(struct copy *k, int fd, const char *target)
{
	int64_t expected = http_length(k->stream);
	char piece[PIECE];
	ssize_t n;
	int r;

	while ((n = http_read(k->stream, piece, sizeof(piece), k->err)) > 0) {
		k->stats.bytes += (uint64_t)n;
		if (k->stats.bytes > k->limits.max_bytes) {
			err_set(k->err, EFBIG, "the file is over the limit of %llu bytes",
				(unsigned long long)k->limits.max_bytes);
			return err_hint(
				k->err, "raise it with --max-size if that is what you expect");
		}
		r = write_all(fd, piece, (size_t)n);
		if (r < 0)
			return err_set(k->err, r, "cannot write %s: %s", target, strerror(-r));
		progress_bytes(&k->progress, k->stats.bytes, expected > 0 ? (uint64_t)expected : 0);
	}
	k->stats.entries = 1;
	return n < 0 ? (int)n : 0;
}

/* Written beside its place and renamed, so that it is there whole or not at all. */
static int receive_file(struct copy *k, const char *target)
{
	AUTOFREE char *tmp = xasprintf("%s.berth-XXXXXX", target);
	mode_t mask = umask(0);
	AUTOFD int fd = -1;
	struct stat st;
	int r;

	umask(mask);
	if (streq(target, "-"))
		return receive_into(k, STDOUT_FILENO, "the standard output");
	if (stat(target, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
		fd = open(target, O_WRONLY | O_CLOEXEC);
		return fd < 0 ? err_sys(k->err, "cannot open %s", target)
			      : receive_into(k, fd, target);
	}
	fd = mkostemp(tmp, O_CLOEXEC);
	if (fd < 0)
		return err_sys(k->err, "cannot create a file beside %s", target);
	r = receive_into(k, fd, target);
	if (r == 0 && (fchmod(fd, 0666 & ~mask) < 0 || rename(tmp, target) < 0))
		r = err_sys(k->err, "cannot put the file in place as %s", target);
	if (r < 0)
		unlink(tmp);
	return r;
}

static int receive_folder(struct copy *k, const char *target)
{
	AUTOFD int dir = -1;

	if (streq(target, "-"))
		return err_set(k->err, EISDIR, "a folder cannot go to the standard output");
	if (mkdir(target, 0777) < 0 && errno != EEXIST)
		return err_sys(k->err, "cannot create the folder %s", target);
	dir = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(k->err, "cannot open the folder %s", target);
	return tar_unpack(dir, on_source, on_note, k, &k->limits, &k->stats, k->err);
}

static int download(struct copy *k, const char *name, const char *path, const char *dst)
{
	AUTOFREE char *target = streq(dst, "-") ? xstrdup("-") : local_target(dst, path);
	struct http_request rq = {.method = "GET"};
	struct err first;
	int r = begin(k, &rq, name, path, "");

	r = r < 0 ? r : http_answer(k->stream, k->err);
	if (r == 0)
		return receive_file(k, target);
	if (k->err->status != 400 && k->err->status != 409)
		return r;
	/* Perhaps a folder. */
	first = *k->err;
	r = begin(k, &rq, name, path, "?format=tar");
	r = r < 0 ? r : http_answer(k->stream, k->err);
	if (r == 0)
		return receive_folder(k, target);
	*k->err = first;
	return first.code;
}

/* ---- to the agent ---- */

/* PATH, or in it if it is a folder there. */
static char *remote_target(struct copy *k, const char *name, const char *path, const char *src)
{
	AUTOFREE char *copy = xstrdup(src);
	const char *base = basename(copy);
	size_t n = strlen(path);
	bool inside = n == 0 || path[n - 1] == '/' || remote_is_folder(k, name, path);

	if (!inside || streq(src, "-") || streq(base, ".") || streq(base, "..") || streq(base, "/"))
		return xstrdup(path);
	return xasprintf("%s%s%s", path, n > 0 && path[n - 1] == '/' ? "" : "/", base);
}

static int send_bytes(struct copy *k, int fd, const char *src)
{
	char piece[PIECE];
	ssize_t n;

	while ((n = read(fd, piece, sizeof(piece))) != 0) {
		if (n < 0 && errno == EINTR && !interrupted)
			continue;
		if (n < 0)
			return err_sys(k->err, "cannot read %s", src);
		if (http_write(k->stream, piece, (size_t)n, k->err) < 0)
			return k->err->code;
		k->stats.bytes += (uint64_t)n;
		progress_bytes(&k->progress, k->stats.bytes, k->total);
	}
	k->stats.entries = 1;
	return 0;
}

/* The gateway's answer, also when it refused before it had everything: that says more than "broken
 * off". */
static int conclude(struct copy *k, int r)
{
	if (r < 0 && r != -EPIPE)
		return r;
	return http_answer(k->stream, k->err) < 0 ? k->err->code : r;
}

static int upload(struct copy *k, const char *src, const char *name, const char *path)
{
	AUTOFD int fd = streq(src, "-") ? dup(STDIN_FILENO) : open(src, O_RDONLY | O_CLOEXEC);
	struct http_request rq = {.method = "PUT", .upload = true, .upload_size = -1};
	AUTOFREE char *target = NULL;
	char query[40] = "";
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(k->err, "cannot open %s", src);
	target = remote_target(k, name, path, src);
	if (S_ISDIR(st.st_mode)) {
		r = begin(k, &rq, name, target, "?format=tar");
		r = r < 0 ? r : tar_pack(fd, on_sink, on_note, k, &k->stats, k->err);
		return conclude(k, r);
	}
	if (S_ISREG(st.st_mode) && !streq(src, "-")) {
		rq.upload_size = st.st_size;
		k->total = (uint64_t)st.st_size;
		snprintf(query, sizeof(query), "?mode=%04o", (unsigned)st.st_mode & 0777);
	}
	r = begin(k, &rq, name, target, query);
	r = r < 0 ? r : send_bytes(k, fd, src);
	return conclude(k, r);
}

static int settle_limits(struct copy *k)
{
	const char *size = cli_option(k->c, "max-size");
	long long entries = (long long)MAX_ENTRIES;
	int r = size ? parse_size(size, &k->limits.max_bytes, k->err) : 0;

	if (!size)
		k->limits.max_bytes = MAX_SIZE;
	if (r == 0)
		r = cli_number(k->c, "max-entries", 1, 1LL << 40, &entries, k->err);
	k->limits.max_entries = (uint64_t)entries;
	return r;
}

static int copy_between(struct copy *k, const char *src, const char *dst)
{
	AUTOFREE char *from = NULL, *to = NULL;
	const char *from_path = NULL, *to_path = NULL;
	bool down = split_remote(src, &from, &from_path), up = split_remote(dst, &to, &to_path);

	if (down == up) {
		cli_usage_error(
			k->err, "one side of a copy must be NAME:PATH and the other a path here");
		return err_hint(k->err, "a file here with a colon in its name is ./its:name");
	}
	k->client = cli_client(k->c, k->err);
	if (!k->client)
		return k->err->code;
	return down ? download(k, from, from_path, dst) : upload(k, src, to, to_path);
}

static void report(const struct copy *k)
{
	char size[32];

	if (k->c->json) {
		printf("{\n\t\"entries\":\t%llu,\n\t\"bytes\":\t%llu,\n\t\"skipped\":\t%llu\n}\n",
			(unsigned long long)k->stats.entries, (unsigned long long)k->stats.bytes,
			(unsigned long long)k->stats.skipped);
		return;
	}
	cli_format_size((double)k->stats.bytes, size);
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "%llu %s, %s\n", (unsigned long long)k->stats.entries,
			k->stats.entries == 1 ? "entry" : "entries", size);
}

int cli_cp(struct cli *c, struct err *err)
{
	AUTOFREE char *doing = xasprintf("copying %.80s", c->args[0]);
	struct copy k = {.c = c, .err = err};
	struct sigaction action = {.sa_handler = on_interrupt};
	bool quiet = streq(c->args[1], "-");
	int r = settle_limits(&k);

	if (r < 0)
		return r;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	progress_start(&k.progress, doing);
	r = copy_between(&k, c->args[0], c->args[1]);
	progress_end(&k.progress, false);
	http_close(k.stream);
	if (interrupted) {
		err_set(err, ECANCELED, "the copy was interrupted");
		return 128 + interrupted;
	}
	if (r == 0 && !quiet)
		report(&k);
	return r;
}
