/* Fuzzes the reading of saved memory: nothing is ever put outside the memory, nor out of order. */
#include "guest_ram.h"
#include "pages.h"
#include "util.h"

#include <sys/mman.h>

#define MEMORY (64 * GUEST_PAGE)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int sink(void *data, uint64_t at, const void *bytes, size_t n, struct err *err)
{
	uint64_t *next = data;

	(void)err;
	if (at < *next || at + n > MEMORY || n == 0 || at % GUEST_PAGE || n % GUEST_PAGE)
		abort();
	for (size_t i = 0; bytes && i < n; i += GUEST_PAGE)
		__asm__ volatile("" ::"r"(((const volatile char *)bytes)[i]));
	*next = at + n;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	AUTOFD int fd = memfd_create("pages", MFD_CLOEXEC);
	uint8_t digest[PAGES_DIGEST_LEN];
	struct pages_stats stats;
	struct err err = {0};
	uint64_t next = 0;

	if (write_all(fd, data, n) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		abort();
	pages_read(fd, MEMORY, sink, &next, digest, &stats, &err);
	return 0;
}
