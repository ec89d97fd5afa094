/* DNS packets by ldns: what guests ask, what upstream servers answer, and the packets that we
 * write. */
#include "dns_packet.h"
#include "rules.h"
#include "util.h"

#include <errno.h>
#include <ldns/ldns.h>
#include <string.h>

#define HEADER_LEN 12
#define FLAG_QR 0x8000u
#define FLAG_OPCODE 0x7800u
#define FLAG_RD 0x0100u
#define TTL_MAX 86400u
#define NEGATIVE_TTL 10u
#define NEGATIVE_TTL_MAX 60u

static void free_pkt(ldns_pkt **p)
{
	ldns_pkt_free(*p);
}
#define AUTOPKT CLEANUP(free_pkt) ldns_pkt

/* The header's fixed fields, read before ldns sees the rest. */
struct header {
	uint16_t id, flags, counts[4];
};

static bool read_header(const uint8_t *data, size_t n, struct header *ret)
{
	struct reader r = reader_of(data, n);

	ret->id = read_u16be(&r);
	ret->flags = read_u16be(&r);
	for (size_t i = 0; i < 4; i++)
		ret->counts[i] = read_u16be(&r);
	return !r.bad;
}

/* The labels of an uncompressed name in wire form as text in normal form; false if it is not a host
 * name. */
static bool name_of_wire(const uint8_t *wire, size_t n, char out[256])
{
	struct reader r = reader_of(wire, n);
	char text[256];
	size_t len = 0;

	for (;;) {
		uint8_t label = read_u8(&r);
		const uint8_t *p = read_bytes(&r, label);

		if (r.bad || label > LDNS_MAX_LABELLEN || len + label + 1 >= sizeof(text))
			return false;
		if (label == 0)
			break;
		if (memchr(p, '.', label) || memchr(p, 0, label))
			return false;
		memcpy(text + len, p, label);
		len += label;
		text[len++] = '.';
	}
	return rule_normalise_name(text, len, out);
}

static bool name_of_rdf(const ldns_rdf *name, char out[256])
{
	return name && name_of_wire(ldns_rdf_data(name), ldns_rdf_size(name), out);
}

static bool take_question(const ldns_pkt *pkt, struct dns_question *q)
{
	const ldns_rr *rr = ldns_rr_list_rr(ldns_pkt_question(pkt), 0);
	const ldns_rdf *owner = rr ? ldns_rr_owner(rr) : NULL;

	if (!owner || ldns_rdf_size(owner) > sizeof(q->wire))
		return false;
	q->wire_len = ldns_rdf_size(owner);
	memcpy(q->wire, ldns_rdf_data(owner), q->wire_len);
	q->type = (uint16_t)ldns_rr_get_type(rr);
	q->edns = ldns_pkt_edns(pkt);
	q->udp_size = q->edns ? MAX(ldns_pkt_edns_udp_size(pkt), (uint16_t)512) : 512;
	if (!name_of_rdf(owner, q->name))
		q->name[0] = 0;
	return ldns_rr_get_class(rr) == LDNS_RR_CLASS_IN;
}

int dns_read_question(const uint8_t *data, size_t n, struct dns_question *ret)
{
	AUTOPKT *pkt = NULL;
	struct header h;

	*ret = (struct dns_question){.udp_size = 512};
	if (n > DNS_PACKET_MAX || !read_header(data, n, &h) || h.flags & FLAG_QR)
		return -EPROTO;
	ret->id = h.id;
	ret->recursion = h.flags & FLAG_RD;
	if (h.flags & FLAG_OPCODE)
		return DNS_NOTIMP;
	if (h.counts[0] != 1 || h.counts[1] || h.counts[2] || h.counts[3] > 1)
		return DNS_FORMERR;
	if (ldns_wire2pkt(&pkt, data, n) != LDNS_STATUS_OK)
		return DNS_FORMERR;
	return take_question(pkt, ret) ? 0 : DNS_REFUSED;
}

static void add_rr(ldns_pkt *pkt, const struct dns_question *q, uint32_t addr, uint32_t ttl)
{
	ldns_rr *rr = ldns_rr_new();

	ldns_rr_set_owner(rr, ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, q->wire_len, q->wire));
	ldns_rr_set_type(rr, LDNS_RR_TYPE_A);
	ldns_rr_set_class(rr, LDNS_RR_CLASS_IN);
	ldns_rr_set_ttl(rr, ttl);
	ldns_rr_push_rdf(rr, ldns_rdf_new_frm_data(LDNS_RDF_TYPE_A, 4, &addr));
	ldns_pkt_push_rr(pkt, LDNS_SECTION_ANSWER, rr);
}

static void add_question(ldns_pkt *pkt, ldns_rdf *name, uint16_t type)
{
	ldns_rr *rr = ldns_rr_new();

	ldns_rr_set_question(rr, true);
	ldns_rr_set_owner(rr, name);
	ldns_rr_set_type(rr, (ldns_rr_type)type);
	ldns_rr_set_class(rr, LDNS_RR_CLASS_IN);
	ldns_pkt_push_rr(pkt, LDNS_SECTION_QUESTION, rr);
}

static void add_edns(ldns_pkt *pkt, enum dns_ede ede)
{
	uint8_t option[6] = {0, 15, 0, 2, 0, (uint8_t)ede};

	ldns_pkt_set_edns_udp_size(pkt, DNS_UDP_SIZE);
	if (ede != DNS_EDE_NONE)
		ldns_pkt_set_edns_data(
			pkt, ldns_rdf_new_frm_data(LDNS_RDF_TYPE_UNKNOWN, sizeof(option), option));
}

static bool put_packet(struct buf *out, const ldns_pkt *pkt)
{
	AUTOFREE uint8_t *wire = NULL;
	size_t n = 0;

	if (ldns_pkt2wire(&wire, pkt, &n) != LDNS_STATUS_OK)
		return false;
	return buf_add(out, wire, n);
}

bool dns_write_answer(struct buf *out, const struct dns_question *q, enum dns_rcode rcode,
	enum dns_ede ede, const uint32_t *addrs, size_t n, uint32_t ttl, size_t max)
{
	AUTOPKT *pkt = ldns_pkt_new();

	if (!pkt)
		return false;
	ldns_pkt_set_id(pkt, q->id);
	ldns_pkt_set_qr(pkt, true);
	ldns_pkt_set_rd(pkt, q->recursion);
	ldns_pkt_set_ra(pkt, true);
	ldns_pkt_set_rcode(pkt, (uint8_t)rcode);
	if (q->wire_len)
		add_question(pkt, ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, q->wire_len, q->wire),
			q->type);
	/* 16 for each address with its name compressed, 11 and 6 for EDNS. */
	if (max && HEADER_LEN + q->wire_len + 4 + n * (q->wire_len + 14) + 17 >
			   MIN(max, (size_t)q->udp_size)) {
		size_t fits = (MIN(max, (size_t)q->udp_size) - HEADER_LEN - q->wire_len - 21) /
			      (q->wire_len + 14);

		ldns_pkt_set_tc(pkt, fits == 0);
		n = MIN(n, fits);
	}
	for (size_t i = 0; i < n; i++)
		add_rr(pkt, q, addrs[i], ttl);
	if (q->edns)
		add_edns(pkt, ede);
	return put_packet(out, pkt);
}

bool dns_write_question(struct buf *out, uint16_t id, const char *name)
{
	AUTOPKT *pkt = ldns_pkt_new();
	ldns_rdf *owner = ldns_dname_new_frm_str(name);

	if (!pkt || !owner) {
		ldns_rdf_deep_free(owner);
		return false;
	}
	ldns_pkt_set_id(pkt, id);
	ldns_pkt_set_rd(pkt, true);
	add_question(pkt, owner, DNS_TYPE_A);
	add_edns(pkt, DNS_EDE_NONE);
	return put_packet(out, pkt);
}

static bool echoes(const ldns_pkt *pkt, const char *name)
{
	const ldns_rr *rr = ldns_rr_list_rr(ldns_pkt_question(pkt), 0);
	char asked[256];

	return rr && ldns_rr_get_type(rr) == LDNS_RR_TYPE_A &&
	       ldns_rr_get_class(rr) == LDNS_RR_CLASS_IN && name_of_rdf(ldns_rr_owner(rr), asked) &&
	       streq(asked, name);
}

/* The target of the alias that `name` is in this answer, or NULL. */
static const ldns_rdf *alias_of(const ldns_rr_list *list, const ldns_rdf *name, uint32_t *ttl)
{
	for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(list, i);

		if (ldns_rr_get_type(rr) != LDNS_RR_TYPE_CNAME ||
			ldns_dname_compare(ldns_rr_owner(rr), name) != 0)
			continue;
		*ttl = MIN(*ttl, ldns_rr_ttl(rr));
		return ldns_rr_rdf(rr, 0);
	}
	return NULL;
}

static void take_addrs(const ldns_rr_list *list, const ldns_rdf *name, struct dns_answer *ret)
{
	for (size_t i = 0; i < ldns_rr_list_rr_count(list) && ret->n < DNS_ADDRS_MAX; i++) {
		const ldns_rr *rr = ldns_rr_list_rr(list, i);
		const ldns_rdf *a = ldns_rr_rdf(rr, 0);

		if (ldns_rr_get_type(rr) != LDNS_RR_TYPE_A ||
			ldns_rr_get_class(rr) != LDNS_RR_CLASS_IN || !a || ldns_rdf_size(a) != 4 ||
			ldns_dname_compare(ldns_rr_owner(rr), name) != 0)
			continue;
		memcpy(&ret->addrs[ret->n++], ldns_rdf_data(a), 4);
		ret->ttl = MIN(ret->ttl, ldns_rr_ttl(rr));
	}
}

/* RFC 2308: the lesser of the SOA's own TTL and its last field. */
static uint32_t negative_ttl(const ldns_pkt *pkt)
{
	const ldns_rr_list *list = ldns_pkt_authority(pkt);

	for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(list, i);
		const ldns_rdf *minimum = ldns_rr_rdf(rr, 6);

		if (ldns_rr_get_type(rr) == LDNS_RR_TYPE_SOA && minimum &&
			ldns_rdf_size(minimum) == 4)
			return MIN(MIN(ldns_rr_ttl(rr), ldns_rdf2native_int32(minimum)),
				NEGATIVE_TTL_MAX);
	}
	return NEGATIVE_TTL;
}

static void take_answer(const ldns_pkt *pkt, struct dns_answer *ret)
{
	const ldns_rr_list *list = ldns_pkt_answer(pkt);
	const ldns_rdf *name = ldns_rr_owner(ldns_rr_list_rr(ldns_pkt_question(pkt), 0)),
		       *next = name;

	ret->ttl = TTL_MAX;
	for (int i = 0; i < DNS_CHAIN_MAX && next; i++) {
		name = next;
		next = alias_of(list, name, &ret->ttl);
	}
	if (!next)
		take_addrs(list, name, ret);
	if (ret->n == 0)
		ret->ttl = negative_ttl(pkt);
}

int dns_read_answer(
	const uint8_t *data, size_t n, uint16_t id, const char *name, struct dns_answer *ret)
{
	AUTOPKT *pkt = NULL;
	struct header h;

	*ret = (struct dns_answer){0};
	if (!read_header(data, n, &h) || !(h.flags & FLAG_QR) || h.flags & FLAG_OPCODE ||
		h.id != id || h.counts[0] != 1)
		return -EPROTO;
	if (ldns_wire2pkt(&pkt, data, n) != LDNS_STATUS_OK || !echoes(pkt, name))
		return -EPROTO;
	ret->rcode = (enum dns_rcode)ldns_pkt_get_rcode(pkt);
	ret->truncated = ldns_pkt_tc(pkt);
	if (ret->rcode == DNS_NOERROR || ret->rcode == DNS_NXDOMAIN)
		take_answer(pkt, ret);
	if (ret->rcode != DNS_NOERROR)
		ret->n = 0;
	return 0;
}
