/* Are files what they were? Asked without waiting; verdicts are kept while a file does not change.
 */
#ifndef BERTH_VERIFY_H
#define BERTH_VERIFY_H

#include <stddef.h>
#include <uv.h>

#include "err.h"

#define VERIFY_FILES_MAX 80

struct verifier; /* owned by the daemon's agents */
struct verify;   /* one question; owned by who asked, until done */

/* A file and what its digest must be; with want "" the digest is filled in, never compared. */
struct verify_file {
	char *path;
	char digest[65];
};

struct verifier *verifier_new(uv_loop_t *loop);
/* Every question has been answered or cancelled. */
void verifier_free(struct verifier *v);
/*
 * Reads those of the n files (copied) that it does not know yet, in a process of its own. done: the
 * files with all digests, or err: 409 snapshot-damaged names the first file that is not what it
 * was. It comes from the loop, never from within. A verdict is believed as long as the file's
 * inode, size and time of change are the same.
 */
typedef void verify_done_fn(
	void *data, const struct verify_file *files, size_t n, const struct err *err);
struct verify *verify_files(struct verifier *v, const struct verify_file *files, size_t n,
	verify_done_fn *done, void *data);
/* NULL is fine. */
void verify_cancel(struct verify *q);

#endif
