/* Pages of guest memory written as a file, a chunk at a time. */
#include "pages.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <zstd.h>

#include "bytes.h"
#include "guest_ram.h"
#include "util.h"

#define ZERO_RUN 0x80000000u
#define WORTH 8 /* zstd is kept when it saves at least one part in so many */

struct run {
	uint32_t first, count; /* count with ZERO_RUN */
};

struct pages_writer {
	int fd, level;
	ZSTD_CCtx *zstd;
	crypto_generichash_state digest;
	struct pages_stats stats;
	struct run runs[PAGES_RUNS_MAX];
	size_t n_runs, n_pages; /* of the chunk being filled */
	uint8_t *data;          /* PAGES_CHUNK_MAX pages */
	uint8_t *packed;        /* room for them compressed */
	size_t packed_room;
};

static bool is_zero(const uint8_t *page)
{
	return page[0] == 0 && memcmp(page, page + 1, GUEST_PAGE - 1) == 0;
}

static int put(struct pages_writer *w, const void *data, size_t n, struct err *err)
{
	int r = write_all(w->fd, data, n);

	if (r < 0)
		return err_set(err, r, "cannot write the guest's memory: %s", strerror(-r));
	crypto_generichash_update(&w->digest, data, n);
	w->stats.bytes += n;
	return 0;
}

int pages_write_begin(
	struct pages_writer **ret, int fd, uint64_t memory, int level, struct err *err)
{
	struct pages_writer *w = xcalloc(1, sizeof(*w));
	struct buf b;
	int r;

	w->fd = fd;
	w->level = level;
	w->zstd = ZSTD_createCCtx();
	w->data = xmalloc(PAGES_CHUNK_MAX * GUEST_PAGE);
	w->packed_room = ZSTD_compressBound(PAGES_CHUNK_MAX * GUEST_PAGE);
	w->packed = xmalloc(w->packed_room);
	crypto_generichash_init(&w->digest, NULL, 0, PAGES_DIGEST_LEN);
	buf_init(&b, PAGES_HEADER_LEN);
	buf_add_str(&b, "BRTHPAGE");
	buf_add_u32(&b, 1);
	buf_add_u32(&b, GUEST_PAGE);
	buf_add_u64(&b, memory);
	memset(buf_reserve(&b, PAGES_HEADER_LEN - b.len), 0, PAGES_HEADER_LEN - b.len);
	r = put(w, b.data, PAGES_HEADER_LEN, err);
	buf_done(&b);
	if (r < 0) {
		pages_write_cancel(w);
		return r;
	}
	*ret = w;
	return 0;
}

void pages_write_cancel(struct pages_writer *w)
{
	if (!w)
		return;
	ZSTD_freeCCtx(w->zstd);
	free(w->data);
	free(w->packed);
	free(w);
}

/* Compresses the chunk's data if that pays. True: w->packed holds *ret_n bytes. */
static bool pack(struct pages_writer *w, size_t *ret_n)
{
	size_t raw = w->n_pages * GUEST_PAGE, n;

	if (w->level == 0 || raw == 0)
		return false;
	n = ZSTD_compressCCtx(w->zstd, w->packed, w->packed_room, w->data, raw, w->level);
	if (ZSTD_isError(n) || n > raw - raw / WORTH)
		return false;
	*ret_n = n;
	return true;
}

static int put_chunk(struct pages_writer *w, struct err *err)
{
	size_t n = w->n_pages * GUEST_PAGE;
	bool packed = pack(w, &n);
	struct buf b;
	int r;

	buf_init(&b, PAGES_CHUNK_HEADER_LEN + 8 * PAGES_RUNS_MAX);
	buf_add_u32(&b, (uint32_t)w->n_runs);
	buf_add_u32(&b, (uint32_t)w->n_pages);
	buf_add_u32(&b, (uint32_t)n);
	buf_add_u32(&b, packed);
	for (size_t i = 0; i < w->n_runs; i++) {
		buf_add_u32(&b, w->runs[i].first);
		buf_add_u32(&b, w->runs[i].count);
	}
	r = put(w, b.data, b.len, err);
	if (r == 0 && n > 0)
		r = put(w, packed ? w->packed : w->data, n, err);
	buf_done(&b);
	w->n_runs = w->n_pages = 0;
	return r;
}

/* Adds the page to the last run, or begins another. False: the chunk is full. */
static bool add_run(struct pages_writer *w, uint32_t page, uint32_t flag)
{
	struct run *last = w->n_runs ? &w->runs[w->n_runs - 1] : NULL;

	if (last && (last->count & ZERO_RUN) == flag &&
		last->first + (last->count & ~ZERO_RUN) == page) {
		last->count++;
		return true;
	}
	if (w->n_runs == PAGES_RUNS_MAX)
		return false;
	w->runs[w->n_runs++] = (struct run){page, 1 | flag};
	return true;
}

int pages_write(struct pages_writer *w, uint32_t page, const void *data, struct err *err)
{
	bool zero = is_zero(data);
	int r = 0;

	if (!zero && w->n_pages == PAGES_CHUNK_MAX)
		r = put_chunk(w, err);
	if (r == 0 && !add_run(w, page, zero ? ZERO_RUN : 0)) {
		r = put_chunk(w, err);
		add_run(w, page, zero ? ZERO_RUN : 0);
	}
	if (r < 0)
		return r;
	if (!zero)
		memcpy(w->data + GUEST_PAGE * w->n_pages++, data, GUEST_PAGE);
	w->stats.pages++;
	w->stats.zero += zero;
	return 0;
}

int pages_write_end(
	struct pages_writer *w, uint8_t *ret_digest, struct pages_stats *ret, struct err *err)
{
	int r = w->n_runs ? put_chunk(w, err) : 0;

	if (r == 0)
		r = put_chunk(w, err); /* the empty one: the end */
	if (r == 0) {
		crypto_generichash_final(&w->digest, ret_digest, PAGES_DIGEST_LEN);
		r = write_all(w->fd, ret_digest, PAGES_DIGEST_LEN);
		if (r < 0)
			err_set(err, r, "cannot write the guest's memory: %s", strerror(-r));
		w->stats.bytes += PAGES_DIGEST_LEN;
		*ret = w->stats;
	}
	pages_write_cancel(w);
	return r;
}
