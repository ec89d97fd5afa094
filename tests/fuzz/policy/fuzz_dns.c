/* DNS packets: a guest's question is answered in form; an upstream answer holds no more than it
 * may. */
#include <stdlib.h>
#include <string.h>

#include "dns_packet.h"
#include "rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void question(const uint8_t *data, size_t size)
{
	uint32_t addrs[DNS_ADDRS_MAX] = {0x01020304};
	struct dns_question q, echo;
	char name[256];
	struct buf b;
	int r = dns_read_question(data, size, &q);

	if (r < 0)
		return;
	check(!q.name[0] ||
		(rule_normalise_name(q.name, strlen(q.name), name) && strcmp(q.name, name) == 0));
	buf_init(&b, 65535);
	check(dns_write_answer(
		&b, &q, DNS_NOERROR, DNS_EDE_BLOCKED, addrs, DNS_ADDRS_MAX, 60, DNS_UDP_SIZE));
	check(b.len <= DNS_UDP_SIZE && b.len >= 12 && (b.data[2] & 0x80) && b.data[0] == data[0] &&
		b.data[1] == data[1]);
	check(dns_read_question(b.data, b.len, &echo) < 0);
	buf_done(&b);
}

static void answer(const uint8_t *data, size_t size)
{
	uint16_t id = size >= 2 ? (uint16_t)(data[0] << 8 | data[1]) : 0;
	struct dns_answer a;

	if (dns_read_answer(data, size, id, "www.example.com", &a) < 0)
		return;
	check(a.n <= DNS_ADDRS_MAX && a.ttl <= 86400 && (a.n == 0 || a.rcode == DNS_NOERROR));
	for (size_t i = 0; i < a.n; i++) /* nothing that the packet does not say */
		check(memmem(data, size, &a.addrs[i], sizeof(a.addrs[i])));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	question(data, size);
	answer(data, size);
	return 0;
}
