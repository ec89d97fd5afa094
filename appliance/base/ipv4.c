/* IPv4 networks as people write them. */
#include "ipv4.h"
#include "util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

int ipv4_network_parse(const char *text, size_t n, struct ipv4_network *ret, struct err *err)
{
	char copy[32], *slash;
	struct in_addr a;
	uint64_t bits = 32;

	snprintf(copy, sizeof(copy), "%.*s", (int)MIN(n, sizeof(copy) - 1), text);
	slash = strchr(copy, '/');
	if (slash)
		*slash = 0;
	if (n >= sizeof(copy) || inet_pton(AF_INET, copy, &a) != 1 ||
		(slash && !parse_u64(slash + 1, 0, 32, &bits)))
		return err_set(err, EINVAL, "'%.*s' is not an IPv4 network such as 10.1.0.0/16",
			(int)MIN(n, (size_t)60), text);
	ret->mask = bits ? ~0u << (32 - bits) : 0;
	ret->net = ntohl(a.s_addr) & ret->mask;
	return 0;
}
