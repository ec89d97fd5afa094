/* Bytes on their way out: a list of chunks, with room kept in front of each for whoever frames
 * them. */
#ifndef BERTH_OUTQ_H
#define BERTH_OUTQ_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define OUTQ_CHUNK 65536u

struct outq_chunk {
	struct outq_chunk *next;
	size_t len, sent;
	unsigned int flags; /* the owner's: two chunks are never merged unless both have none */
	uint8_t *data;      /* len bytes, `headroom` writable bytes before them */
	uint8_t room[];
};

struct outq {
	struct outq_chunk *first, **last, *tail;
	size_t queued; /* bytes not sent yet */
	size_t headroom;
	size_t tail_room; /* bytes that still fit into the last chunk */
};

void outq_init(struct outq *q, size_t headroom);
void outq_done(struct outq *q);
/* Copies n bytes behind what is queued. With flags the bytes stay one chunk of their own. */
void outq_add(struct outq *q, const void *data, size_t n, unsigned int flags);
/* Drops the first chunk. */
void outq_pop(struct outq *q);
/* Sends as much as the socket takes. 0, or a negative errno when the connection is dead. */
int outq_send(struct outq *q, int fd);

#endif
