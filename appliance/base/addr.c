/* Addresses with ports as people write them. */
#include "addr.h"
#include "util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

static int wrong(const char *text, struct err *err)
{
	return err_set(err, EINVAL, "'%.80s' is not an address with or without :PORT", text);
}

int addr_split(const char *text, char host[256], uint16_t *port, struct err *err)
{
	const char *colon = strrchr(text, ':'), *from = text, *end;
	uint64_t number;

	if (text[0] == '[') {
		end = strchr(text, ']');
		from++;
		if (!end || (end[1] && end[1] != ':'))
			return wrong(text, err);
		colon = end[1] ? end + 1 : NULL;
	} else if (colon && strchr(text, ':') != colon) {
		colon = NULL; /* IPv6 without brackets */
		end = text + strlen(text);
	} else {
		end = colon ? colon : text + strlen(text);
	}
	if (end == from || end - from > 255)
		return wrong(text, err);
	if (colon) {
		if (!parse_u64(colon + 1, 1, 65535, &number))
			return wrong(text, err);
		*port = (uint16_t)number;
	}
	memcpy(host, from, (size_t)(end - from));
	host[end - from] = 0;
	return 0;
}

int addr_parse(const char *text, uint16_t port, struct sockaddr_storage *ret, struct err *err)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
	char host[256];
	int r = addr_split(text, host, &port, err);

	if (r < 0)
		return r;
	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
	} else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
	} else {
		return wrong(text, err);
	}
	return 0;
}
