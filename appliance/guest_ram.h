/* A guest's RAM inside its QEMU process, seen from outside: where it is, what of it is private. */
#ifndef BERTH_GUEST_RAM_H
#define BERTH_GUEST_RAM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"

#define GUEST_PAGE 4096u

/* RAM is one private mapping of a base file (memory-backend-file, share=off). Embedded in its user.
 */
struct guest_ram {
	int mem;        /* /proc/PID/mem */
	int pagemap;    /* /proc/PID/pagemap */
	uint64_t start; /* address in the process */
	uint64_t size;  /* bytes */
};

/*
 * Finds the mapping of the file at base (its size is the RAM's) in process pid. The process is not
 * trusted: an address or size that does not fit is refused. -ESRCH when it is gone or has no such
 * mapping.
 */
int guest_ram_open(struct guest_ram *ret, pid_t pid, const char *base, struct err *err);
void guest_ram_close(struct guest_ram *r);
/*
 * Lists the pages that the guest (or a restore) has written since the mapping was made, as a bitmap
 * of size / GUEST_PAGE bits, little end first; the caller's to free. What is still the base file's
 * is not in it. Returns their number or a negative errno.
 */
int64_t guest_ram_private(const struct guest_ram *r, uint8_t **ret_bitmap, struct err *err);
/* Reads n bytes at offset `at` of RAM. */
int guest_ram_read(const struct guest_ram *r, uint64_t at, void *data, size_t n, struct err *err);

#endif
