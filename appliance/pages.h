/* Pages of guest memory as a file: what differs from a base. Written, checked, put back. */
#ifndef BERTH_PAGES_H
#define BERTH_PAGES_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

/*
 * The file. All numbers little endian.
 *
 *   header   64 bytes: "BRTHPAGE", u32 version 1, u32 page size 4096, u64 bytes of memory, zeros
 *   chunks   u32 runs, u32 pages with data, u32 stored bytes, u32 coding (0 as is, 1 zstd);
 *            then the runs: u32 first page, u32 count, its top bit set for pages full of zeros;
 *            then the stored bytes: the pages of the other runs one after the other
 *   end      a chunk of four zeros, then the BLAKE2b-256 of all bytes before
 */
#define PAGES_HEADER_LEN 64
#define PAGES_CHUNK_HEADER_LEN 16
#define PAGES_DIGEST_LEN 32
#define PAGES_CHUNK_MAX 512 /* pages with data in a chunk */
#define PAGES_RUNS_MAX 512  /* runs in a chunk */

struct pages_stats {
	uint64_t pages; /* all that differ */
	uint64_t zero;  /* of them full of zeros */
	uint64_t bytes; /* of the file */
};

/* Writing: pages in ascending order, then the end. */
struct pages_writer;
int pages_write_begin(
	struct pages_writer **ret, int fd, uint64_t memory, int level, struct err *err);
/* page: its index; data: 4096 bytes, copied. */
int pages_write(struct pages_writer *w, uint32_t page, const void *data, struct err *err);
/* Writes the end; frees in any case. digest: of the file, PAGES_DIGEST_LEN bytes. Syncs nothing. */
int pages_write_end(
	struct pages_writer *w, uint8_t *ret_digest, struct pages_stats *ret, struct err *err);
void pages_write_cancel(struct pages_writer *w);

/* Gets n bytes for offset `at` of memory; data NULL: zeros. */
typedef int pages_sink_fn(void *data, uint64_t at, const void *bytes, size_t n, struct err *err);
/*
 * Reads a whole file and gives its pages to fn. Bytes are untrusted: -EBADMSG with what is wrong,
 * also when the digest at the end is not that of the bytes; fn has been called by then, so what it
 * filled must not be used. memory: what the file's must be.
 */
int pages_read(int fd, uint64_t memory, pages_sink_fn *fn, void *data, uint8_t *ret_digest,
	struct pages_stats *ret, struct err *err);

#endif
