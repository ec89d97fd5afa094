/* Answers of an upstream proxy in pieces: the first byte says which proxy, the second how long they
 * are; the verdict does not depend on the pieces. */
#include <stdlib.h>
#include <string.h>

#include "proxy.h"
#include "util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends where berth-policy would: with the first verdict. -1000 when bytes are left then. */
static int feed(const struct proxy *p, const uint8_t *data, size_t size, size_t step)
{
	struct proxy_talk t;
	struct err err;
	struct buf out;
	int r = 0;
	size_t i = 0;

	buf_init(&out, 4096);
	proxy_begin(&t, p, p->names ? "name.test" : "203.0.113.1", 443, &out);
	for (; i < size && r == 0; i += step)
		r = proxy_feed(&t, data + i, MIN(step, size - i), &out, &err);
	if (out.full || (r < 0 && !strstr(err.msg, p->host)))
		abort();
	proxy_done(&t);
	buf_done(&out);
	return r == 1 && i < size ? -1000 : r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proxy p = {.host = "proxy.test", .port = 8080};
	int whole, cut;

	if (size < 3)
		return 0;
	p.kind = data[0] & 1 ? PROXY_HTTP : PROXY_SOCKS5;
	p.names = data[0] & 2;
	if (data[0] & 4) {
		memset(p.user, 'u', PROXY_WORD_MAX - 1);
		memset(p.password, 'p', PROXY_WORD_MAX - 1);
	}
	whole = feed(&p, data + 2, size - 2, size);
	cut = feed(&p, data + 2, size - 2, 1u + data[1]);
	/* What comes at once may be too much where pieces would have been right, never the other
	 * way. */
	if (whole == 1 && cut != 1)
		abort();
	return 0;
}
