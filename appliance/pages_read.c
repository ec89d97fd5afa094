/*
 * Pages of guest memory read back from a file.
 *
 * The bytes may be anybody's: every count is checked against the named maxima, the file's memory
 * and what has been read, and the digest at the end against all of it.
 */
#include "pages.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>
#include <zstd.h>

#include "bytes.h"
#include "guest_ram.h"
#include "util.h"

#define ZERO_RUN 0x80000000u

struct source {
	int fd;
	uint64_t memory;
	crypto_generichash_state digest;
	ZSTD_DCtx *zstd;
	struct pages_stats stats;
	uint8_t runs[8 * PAGES_RUNS_MAX];
	uint8_t stored[PAGES_CHUNK_MAX * GUEST_PAGE], data[PAGES_CHUNK_MAX * GUEST_PAGE];
};

static int damaged(struct err *err, const char *what)
{
	return err_set(err, EBADMSG, "the saved memory is damaged: %s", what);
}

static int read_whole(int fd, void *data, size_t n, struct err *err)
{
	for (size_t done = 0; done < n;) {
		ssize_t got = read(fd, (char *)data + done, n - done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_sys(err, "cannot read the saved memory");
		if (got == 0)
			return damaged(err, "it ends too early");
		done += (size_t)got;
	}
	return 0;
}

static int take(struct source *s, void *data, size_t n, struct err *err)
{
	int r = read_whole(s->fd, data, n, err);

	if (r < 0)
		return r;
	crypto_generichash_update(&s->digest, data, n);
	s->stats.bytes += n;
	return 0;
}

static int take_header(struct source *s, struct err *err)
{
	uint8_t header[PAGES_HEADER_LEN];
	struct reader in = reader_of(header, sizeof(header));
	int r = take(s, header, sizeof(header), err);

	if (r < 0)
		return r;
	if (memcmp(read_bytes(&in, 8), "BRTHPAGE", 8) != 0 || read_u32(&in) != 1 ||
		read_u32(&in) != GUEST_PAGE)
		return damaged(err, "its header is not one that this berth can read");
	return read_u64(&in) == s->memory ? 0 : damaged(err, "it is of another size");
}

/* The chunk's pages with data, in s->data. */
static int take_data(
	struct source *s, uint32_t pages, uint32_t stored, uint32_t coding, struct err *err)
{
	size_t raw = (size_t)pages * GUEST_PAGE;
	int r;

	if (coding == 0)
		return stored == raw ? take(s, s->data, raw, err)
				     : damaged(err, "a chunk has the wrong length");
	if (coding != 1 || stored > raw)
		return damaged(err, "a chunk's coding");
	r = take(s, s->stored, stored, err);
	if (r == 0 && ZSTD_decompressDCtx(s->zstd, s->data, raw, s->stored, stored) != raw)
		r = damaged(err, "a chunk does not unpack");
	return r;
}

/* Gives the chunk's runs to the sink; *at: the first page that may come next. */
static int give_runs(struct source *s, uint32_t runs, uint32_t pages, uint64_t *at,
	pages_sink_fn *fn, void *data, struct err *err)
{
	struct reader in = reader_of(s->runs, 8 * runs);
	uint32_t used = 0;

	for (uint32_t i = 0; i < runs; i++) {
		uint32_t first = read_u32(&in), count = read_u32(&in);
		bool zero = count & ZERO_RUN;
		int r;

		count &= ~ZERO_RUN;
		if (count == 0 || first < *at || first + (uint64_t)count > s->memory / GUEST_PAGE ||
			(!zero && count > pages - used))
			return damaged(err, "a run of pages is out of place");
		r = fn(data, (uint64_t)first * GUEST_PAGE,
			zero ? NULL : s->data + (size_t)used * GUEST_PAGE,
			(size_t)count * GUEST_PAGE, err);
		if (r < 0)
			return r;
		*at = first + (uint64_t)count;
		used += zero ? 0 : count;
		s->stats.pages += count;
		s->stats.zero += zero ? count : 0;
	}
	return used == pages ? 0 : damaged(err, "a chunk has pages without a place");
}

/* 1 there was one, 0 it was the end. */
static int take_chunk(
	struct source *s, uint64_t *at, pages_sink_fn *fn, void *data, struct err *err)
{
	uint8_t header[PAGES_CHUNK_HEADER_LEN];
	struct reader in = reader_of(header, sizeof(header));
	uint32_t runs, pages, stored, coding;
	int r = take(s, header, sizeof(header), err);

	if (r < 0)
		return r;
	runs = read_u32(&in);
	pages = read_u32(&in);
	stored = read_u32(&in);
	coding = read_u32(&in);
	if (runs > PAGES_RUNS_MAX || pages > PAGES_CHUNK_MAX)
		return damaged(err, "a chunk is too large");
	if (runs == 0)
		return pages || stored || coding ? damaged(err, "a chunk without runs") : 0;
	r = take(s, s->runs, 8 * (size_t)runs, err);
	if (r == 0)
		r = take_data(s, pages, stored, coding, err);
	if (r == 0)
		r = give_runs(s, runs, pages, at, fn, data, err);
	return r < 0 ? r : 1;
}

static int take_end(struct source *s, uint8_t *ret_digest, struct err *err)
{
	uint8_t stored[PAGES_DIGEST_LEN], more;
	int r = read_whole(s->fd, stored, sizeof(stored), err);

	if (r < 0)
		return r;
	crypto_generichash_final(&s->digest, ret_digest, PAGES_DIGEST_LEN);
	s->stats.bytes += sizeof(stored);
	if (sodium_memcmp(stored, ret_digest, sizeof(stored)) != 0)
		return damaged(err, "its digest is another");
	return read(s->fd, &more, 1) == 0 ? 0 : damaged(err, "something follows its end");
}

int pages_read(int fd, uint64_t memory, pages_sink_fn *fn, void *data, uint8_t *ret_digest,
	struct pages_stats *ret, struct err *err)
{
	struct source *s = xcalloc(1, sizeof(*s));
	uint64_t at = 0;
	int r;

	s->fd = fd;
	s->memory = memory;
	s->zstd = ZSTD_createDCtx();
	crypto_generichash_init(&s->digest, NULL, 0, PAGES_DIGEST_LEN);
	r = take_header(s, err);
	if (r == 0)
		while ((r = take_chunk(s, &at, fn, data, err)) > 0)
			;
	if (r == 0)
		r = take_end(s, ret_digest, err);
	*ret = s->stats;
	ZSTD_freeDCtx(s->zstd);
	free(s);
	return r;
}
