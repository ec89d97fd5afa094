/* Payloads and headers of the guest channel: whatever is accepted encodes back into the very same
 * bytes. */
#include "guest.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void same(struct buf *b, const uint8_t *data, size_t n)
{
	if (b->full || b->len != n || memcmp(b->data, data, n) != 0)
		abort();
	buf_done(b);
}

#define TRY(name)                                    \
	do {                                         \
		struct guest_##name v;               \
		struct buf b;                        \
                                                     \
		buf_init(&b, 2 * GUEST_FRAME_MAX);   \
		if (guest_get_##name(data, n, &v)) { \
			guest_put_##name(&b, &v);    \
			same(&b, data, n);           \
		}                                    \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint8_t type, version, kind, head[GUEST_HEADER_LEN];
	uint32_t len;

	if (n > GUEST_FRAME_MAX)
		return 0;
	TRY(config);
	TRY(ready);
	TRY(pong);
	TRY(browser);
	TRY(exec);
	if (n >= GUEST_HEADER_LEN && guest_get_header(data, &type, &len)) {
		guest_put_header(head, type, len);
		if (len > GUEST_FRAME_MAX || memcmp(head, data, GUEST_HEADER_LEN) != 0)
			abort();
	}
	if (n >= GUEST_HELLO_LEN)
		guest_get_hello(data, &version, &kind);
	return 0;
}
