/* Pictures scaled, painted on and encoded anew, on threads of libuv's pool. */
#include "picture.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "area.h"
#include "base64.h"
#include "bytes.h"
#include "picture_lossy.h"
#include "picture_png.h"
#include "util.h"

/*
 * Theory of operation. All work on a picture, base64 first, is done by a thread of libuv's pool, as
 * it takes tens of milliseconds. At most PICTURE_JOBS_RUNNING are there at once, so that the loop
 * keeps a processor and memory stays bounded; the others wait in line. A thread touches nothing but
 * its job: no loop, no counters, no allocator of ours but malloc.
 *
 *   base64 -> file -> rows -> area filter -> raster -> covers, cursor -> file
 *               '------------ nothing to change: as it is -------------'
 *
 * The old picture is never in memory as pixels, only a row of it. Covers and cursor are painted on
 * the new one: no colour of what is covered gets into a mean, and the arrow stays sharp.
 */
enum job_state { JOB_WAITS, JOB_RUNS };

struct picture_job {
	uv_work_t work;
	uv_loop_t *loop;
	struct picture_job *next; /* of those that wait */
	enum job_state state;
	int stop; /* read by the thread */
	char *base64;
	size_t n;
	struct picture_want want;
	picture_done_fn *fn;
	void *data;
	struct buf out;
	struct picture picture;
	int code;
	struct err err;
};

static struct picture_job *waiting;
static unsigned int total, running;

/* ---- the picture ---- */

static void wanted_size(const struct picture_want *want, unsigned int width, unsigned int height,
	unsigned int *ret_width, unsigned int *ret_height)
{
	unsigned int edge = MAX(width, height), max = want->max_edge;

	*ret_width = width;
	*ret_height = height;
	if (want->width && want->height) {
		*ret_width = want->width;
		*ret_height = want->height;
	} else if (max && edge > max) {
		*ret_width = (unsigned int)(((uint64_t)width * max * 2 + edge) / (edge * 2ull));
		*ret_height = (unsigned int)(((uint64_t)height * max * 2 + edge) / (edge * 2ull));
		*ret_width = MAX(*ret_width, 1u);
		*ret_height = MAX(*ret_height, 1u);
	}
}

bool picture_unchanged(const struct picture_want *want, unsigned int width, unsigned int height)
{
	unsigned int w, h;

	wanted_size(want, width, height, &w, &h);
	return w == width && h == height && !want->has_cursor && want->n_masks == 0;
}

/* From a PNG's rows to the raster of the wanted size. */
struct making {
	const struct picture_want *want;
	const int *stop;
	struct raster raster;
	struct area *area; /* NULL: not scaled */
	unsigned int from_width, from_height, y;
};

static int on_size(
	void *data, unsigned int width, unsigned int height, unsigned int channels, struct err *err)
{
	struct making *m = data;
	unsigned int w, h;

	wanted_size(m->want, width, height, &w, &h);
	if (w > AREA_EDGE_MAX || h > AREA_EDGE_MAX || (uint64_t)w * h > PICTURE_PIXELS_MAX)
		return err_set(
			err, -EFBIG, "the picture would have over %u pixels", PICTURE_PIXELS_MAX);
	m->from_width = width;
	m->from_height = height;
	raster_init(&m->raster, w, h, channels);
	if (w != width || h != height)
		m->area = area_new(width, height, &m->raster);
	return 0;
}

static int on_row(void *data, const uint8_t *row, struct err *err)
{
	struct making *m = data;
	size_t stride = raster_stride(&m->raster);

	if (m->stop && __atomic_load_n(m->stop, __ATOMIC_RELAXED))
		return err_set(err, -ECANCELED, "not wanted any more");
	if (m->area)
		area_row(m->area, row);
	else
		memcpy(m->raster.pixels + m->y++ * stride, row, stride);
	return 0;
}

static void paint(struct making *m)
{
	const struct picture_want *want = m->want;
	double sx = (double)m->raster.width / m->from_width;
	double sy = (double)m->raster.height / m->from_height;

	for (size_t i = 0; i < MIN(want->n_masks, (size_t)PICTURE_MASKS_MAX); i++) {
		const struct raster_rect *k = &want->masks[i];

		raster_mask(&m->raster, &(struct raster_rect){.x0 = k->x0 * sx,
						.y0 = k->y0 * sy,
						.x1 = k->x1 * sx,
						.y1 = k->y1 * sy});
	}
	if (want->has_cursor && fabs(want->cursor_x) < 1e6 && fabs(want->cursor_y) < 1e6)
		raster_cursor(&m->raster, (long long)floor(want->cursor_x * sx),
			(long long)floor(want->cursor_y * sy));
}

static int encode(
	const struct picture_want *want, const struct raster *r, struct buf *out, struct err *err)
{
	int quality = want->quality >= 0 ? want->quality : PICTURE_QUALITY;

	if (want->format == PICTURE_JPEG)
		return picture_lossy_jpeg(r, quality, out, err);
	if (want->format == PICTURE_WEBP)
		return picture_lossy_webp(r, quality, PICTURE_WEBP_METHOD, out, err);
	return picture_png_write(r, &picture_png_default, out, err);
}

static int remake(const uint8_t *data, size_t n, const struct picture_want *want, const int *stop,
	struct buf *out, struct picture *ret, struct err *err)
{
	static const struct picture_png_reader reader = {.on_size = on_size, .on_row = on_row};
	struct making m = {.want = want, .stop = stop};
	int code = picture_png_read(data, n, &reader, &m, err);

	if (code == 0) {
		paint(&m);
		raster_drop_alpha(&m.raster);
		code = encode(want, &m.raster, out, err);
	}
	ret->width = m.raster.width;
	ret->height = m.raster.height;
	area_free(m.area);
	raster_done(&m.raster);
	return code;
}

int picture_make(const uint8_t *data, size_t n, const struct picture_want *want, const int *stop,
	struct buf *out, struct picture *ret, struct err *err)
{
	struct picture_size size;

	if (!picture_size_of(data, n, &size))
		return err_set(err, -EPROTO, "the browser's answer is no picture");
	*ret = (struct picture){.format = want->format,
		.width = size.width,
		.height = size.height,
		.from_width = size.width,
		.from_height = size.height};
	if (size.format == want->format && picture_unchanged(want, size.width, size.height))
		return buf_add(out, data, n)
			       ? 0
			       : err_set(err, -EFBIG, "the picture is over %zu bytes", out->max);
	if (size.format != PICTURE_PNG)
		return err_set(err, -EMSGSIZE, "only a PNG can be changed");
	return remake(data, n, want, stop, out, ret, err);
}

/* ---- the thread ---- */

static void work(uv_work_t *req)
{
	struct picture_job *j = req->data;
	AUTOFREE uint8_t *file = xmalloc(j->n + 1);
	long long n = base64_decode(j->base64, j->n, file);

	if (n <= 0)
		j->code = err_set(&j->err, -EPROTO, "the browser's answer is no picture");
	else
		j->code = picture_make(
			file, (size_t)n, &j->want, &j->stop, &j->out, &j->picture, &j->err);
	j->picture.data = j->out.data;
	j->picture.n = j->out.len;
}

/* ---- the line ---- */

static void job_free(struct picture_job *j)
{
	total--;
	buf_done(&j->out);
	free(j->base64);
	free(j);
}

static void next(void);

static void give_type(struct err *err)
{
	if (err->code == -EFBIG)
		err_type(err, 413, "too-large");
	else if (err->code == -EPROTO)
		err_type(err, 502, "browser-unavailable");
}

static void after(uv_work_t *req, int status)
{
	struct picture_job *j = req->data;

	running--;
	if (status < 0 && !j->code)
		j->code = err_set(&j->err, status, "the picture was not made");
	give_type(&j->err);
	if (!j->stop)
		j->fn(j->data, j->code ? NULL : &j->picture, j->code ? &j->err : NULL);
	job_free(j);
	next();
}

static void next(void)
{
	while (waiting && running < PICTURE_JOBS_RUNNING) {
		struct picture_job *j = waiting;

		waiting = j->next;
		j->state = JOB_RUNS;
		running++;
		uv_queue_work(j->loop, &j->work, work, after);
	}
}

static void append(struct picture_job *j)
{
	struct picture_job **p = &waiting;

	while (*p)
		p = &(*p)->next;
	*p = j;
}

static void unlink_job(struct picture_job *j)
{
	struct picture_job **p = &waiting;

	while (*p && *p != j)
		p = &(*p)->next;
	if (*p)
		*p = j->next;
}

struct picture_job *picture_job_new(uv_loop_t *loop, const char *base64, size_t n,
	const struct picture_want *want, picture_done_fn *fn, void *data, struct err *err)
{
	struct picture_job *j;

	if (total >= PICTURE_JOBS_MAX) {
		err_set(err, -EBUSY, "%d pictures are being made", PICTURE_JOBS_MAX);
		err_hint(err, "ask again when one is done");
		err_type(err, 429, "too-many-requests");
		return NULL;
	}
	total++;
	j = xcalloc(1, sizeof(*j));
	*j = (struct picture_job){.loop = loop, .n = n, .want = *want, .fn = fn, .data = data};
	j->work.data = j;
	j->base64 = xmalloc(n + 1);
	memcpy(j->base64, base64, n);
	buf_init(&j->out, PICTURE_BYTES_MAX);
	append(j);
	next();
	return j;
}

void picture_job_cancel(struct picture_job *j)
{
	if (!j)
		return;
	__atomic_store_n(&j->stop, 1, __ATOMIC_RELAXED);
	if (j->state == JOB_RUNS)
		return;
	unlink_job(j);
	job_free(j);
}
