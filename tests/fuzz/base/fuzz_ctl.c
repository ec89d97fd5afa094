/* Bytes of a lying peer on the control channel, cut where the first byte says. */
#include "ctl.h"
#include "util.h"

#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void on_message(void *data, cJSON *msg, int fd)
{
	if (!cJSON_IsObject(msg) || fd >= 0)
		abort();
	(*(size_t *)data)++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	size_t step, seen = 0;
	struct ctl *c;
	int sv[2];

	if (n < 2 || n > 65536 || socketpair(AF_UNIX, SOCK_STREAM, 0, sv) < 0)
		return 0;
	step = (size_t)data[0] * 4 + 1;
	c = ctl_new(sv[0]);
	for (size_t at = 1; at < n; at += step) {
		if (write_all(sv[1], data + at, MIN(step, n - at)) < 0 ||
			ctl_readable(c, on_message, &seen) < 0)
			break;
	}
	ctl_free(c);
	close(sv[1]);
	return 0;
}
