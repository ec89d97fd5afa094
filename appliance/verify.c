/*
 * Are files what they were?
 *
 * The kept verdicts are a small table of inode, size and mtime with a digest, the oldest forgotten
 * first. What a file says of itself can be believed: nobody but root of the appliance's namespace
 * may set its times, and whoever writes it moves them.
 */
#include "verify.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "job.h"
#include "json.h"
#include "paths.h"
#include "util.h"
#include "watch.h"

#define KNOWN_MAX 4096

struct known {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime;
	char digest[65];
};

struct verifier {
	uv_loop_t *loop;
	struct known known[KNOWN_MAX];
	size_t n, next; /* next: where the next one goes */
};

struct verify {
	struct verifier *v;
	struct verify_file files[VERIFY_FILES_MAX];
	struct known seen[VERIFY_FILES_MAX]; /* digest "": to be read */
	size_t n, at;                        /* at: the file whose digest comes next */
	struct job *job;
	struct watch_timer *timer;
	verify_done_fn *done;
	void *data;
};

struct verifier *verifier_new(uv_loop_t *loop)
{
	struct verifier *v = xcalloc(1, sizeof(*v));

	v->loop = loop;
	return v;
}

void verifier_free(struct verifier *v)
{
	free(v);
}

static void look_up(struct verifier *v, struct known *k)
{
	for (size_t i = 0; i < v->n; i++) {
		const struct known *one = &v->known[i];

		if (one->ino == k->ino && one->dev == k->dev && one->size == k->size &&
			one->mtime.tv_sec == k->mtime.tv_sec &&
			one->mtime.tv_nsec == k->mtime.tv_nsec)
			memcpy(k->digest, one->digest, sizeof(k->digest));
	}
}

static void keep(struct verifier *v, const struct known *k)
{
	v->known[v->next] = *k;
	v->next = (v->next + 1) % KNOWN_MAX;
	v->n = MAX(v->n, v->next);
}

static void verify_free(struct verify *q)
{
	job_cancel(q->job);
	watch_timer_free(q->timer);
	for (size_t i = 0; i < q->n; i++)
		free(q->files[i].path);
	free(q);
}

void verify_cancel(struct verify *q)
{
	if (q)
		verify_free(q);
}

static void finish(struct verify *q, const struct err *err)
{
	q->done(q->data, q->files, q->n, err);
	verify_free(q);
}

/* All digests are known: compares. */
static void judge(struct verify *q)
{
	struct err err = {0};

	for (size_t i = 0; i < q->n && !err.code; i++) {
		if (q->files[i].digest[0] && !streq(q->files[i].digest, q->seen[i].digest)) {
			err_set(&err, EBADMSG, "%s is damaged: it is not what was written",
				q->files[i].path);
			err_type(&err, 409, "snapshot-damaged");
		}
		memcpy(q->files[i].digest, q->seen[i].digest, sizeof(q->files[i].digest));
	}
	finish(q, err.code ? &err : NULL);
}

static void on_line(void *data, const cJSON *line)
{
	struct verify *q = data;

	while (q->at < q->n && q->seen[q->at].digest[0])
		q->at++;
	if (q->at == q->n)
		return;
	snprintf(q->seen[q->at].digest, sizeof(q->seen[q->at].digest), "%s",
		json_str(line, "digest", ""));
	keep(q->v, &q->seen[q->at++]);
}

static void on_done(void *data, const cJSON *last, const struct err *err)
{
	struct verify *q = data;

	q->job = NULL;
	if (err)
		finish(q, err);
	else
		judge(q);
}

static void begin(void *data)
{
	struct verify *q = data;
	AUTOFREE char *program = path_libexec("berth-pages");
	const char *argv[VERIFY_FILES_MAX + 3] = {program, "digest"};
	const struct job_callbacks cb = {on_line, on_done, q};
	size_t argc = 2;
	struct err err = {0};

	for (size_t i = 0; i < q->n; i++) {
		struct stat st;

		if (stat(q->files[i].path, &st) < 0) {
			err_sys(&err, "cannot look at %s", q->files[i].path);
			err_type(&err, 409, "snapshot-damaged");
			finish(q, &err);
			return;
		}
		q->seen[i] = (struct known){st.st_dev, st.st_ino, st.st_size, st.st_mtim, ""};
		look_up(q->v, &q->seen[i]);
		if (!q->seen[i].digest[0])
			argv[argc++] = q->files[i].path;
	}
	if (argc == 2)
		judge(q);
	else if (job_start(&q->job, q->v->loop, argv, &cb, &err) < 0)
		finish(q, &err);
}

struct verify *verify_files(struct verifier *v, const struct verify_file *files, size_t n,
	verify_done_fn *done, void *data)
{
	struct verify *q = xcalloc(1, sizeof(*q));

	if (n > VERIFY_FILES_MAX)
		abort();
	q->v = v;
	q->n = n;
	q->done = done;
	q->data = data;
	for (size_t i = 0; i < n; i++) {
		q->files[i] = files[i];
		q->files[i].path = xstrdup(files[i].path);
	}
	q->timer = watch_timer_new(v->loop, begin, q);
	watch_timer_start(q->timer, 0);
	return q;
}
