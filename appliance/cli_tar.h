/* Folders as tar streams, packed from and unpacked into this machine. The owner of libarchive. */
#ifndef BERTH_CLI_TAR_H
#define BERTH_CLI_TAR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"

struct tar_stats {
	uint64_t entries, bytes, skipped;
};

struct tar_limits {
	uint64_t max_bytes, max_entries;
};

/* Up to n bytes into buf; 0 at the end; negative with err filled. */
typedef ssize_t tar_source_fn(void *data, void *buf, size_t n, struct err *err);
/* All n bytes; 0 or negative with err filled. */
typedef int tar_sink_fn(void *data, const void *buf, size_t n, struct err *err);
/* An entry that is left out, and why; and (why NULL) the progress after each piece of data. May be
 * NULL. */
typedef void tar_note_fn(
	void *data, const char *path, const char *why, const struct tar_stats *so_far);

/*
 * Unpacks a tar that an enemy wrote below the folder dirfd. Nothing outside of it is ever touched
 * and no link is followed: a name that is absolute or has a ".." ends it with -EPERM, and so does
 * an entry below a link. Devices, pipes, sockets and links that lead outside are left out. Owners,
 * set-id bits, extended attributes and access lists are ignored. More than the limits allow:
 * -EFBIG.
 */
int tar_unpack(int dirfd, tar_source_fn *source, tar_note_fn *note, void *data,
	const struct tar_limits *limits, struct tar_stats *ret, struct err *err);
/* Packs what is below dirfd, names relative to it. Links stay links; what is no file, folder or
 * link is left out. */
int tar_pack(int dirfd, tar_sink_fn *sink, tar_note_fn *note, void *data, struct tar_stats *ret,
	struct err *err);

#endif
