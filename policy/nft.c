/* libnftables, and nothing else of the program sees it. Belongs to the wall process. */
#include "nft.h"
#include "json.h"
#include "nft_text.h"
#include "util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <nftables/libnftables.h>
#include <string.h>

/* Owned by the wall. */
struct nft {
	struct nft_ctx *ctx;
};

struct nft *nft_new(struct err *err)
{
	struct nft *n = xcalloc(1, sizeof(*n));

	n->ctx = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!n->ctx || nft_ctx_buffer_output(n->ctx) != 0 || nft_ctx_buffer_error(n->ctx) != 0) {
		err_set(err, ENOMEM, "libnftables does not start");
		nft_free(n);
		return NULL;
	}
	return n;
}

void nft_free(struct nft *n)
{
	if (!n)
		return;
	if (n->ctx)
		nft_ctx_free(n->ctx);
	free(n);
}

int nft_run(struct nft *n, const char *text, struct err *err)
{
	const char *why;

	if (nft_run_cmd_from_buffer(n->ctx, text) == 0)
		return 0;
	why = nft_ctx_get_error_buffer(n->ctx);
	return err_set(err, EIO, "nftables refused a change: %.300s",
		why && *why ? why : "no reason given");
}

static void read_counts(const cJSON *root, uint64_t ret[WALL_COUNTS])
{
	const cJSON *item;

	cJSON_ArrayForEach (item, json_get(root, "nftables")) {
		const cJSON *counter = json_get(item, "counter");
		int i = nft_text_count(json_str(counter, "name", ""));

		if (i >= 0)
			ret[i] = (uint64_t)json_int(counter, "packets", 0);
	}
}

/* What a command lists; the caller's to delete. Protocols are numbers: their names are in a file
 * that the wall cannot open. */
static int list(struct nft *n, const char *text, cJSON **ret, struct err *err)
{
	int r;

	nft_ctx_output_set_flags(n->ctx, NFT_CTX_OUTPUT_JSON | NFT_CTX_OUTPUT_NUMERIC_PROTO);
	r = nft_run(n, text, err);
	nft_ctx_output_set_flags(n->ctx, 0);
	if (r < 0)
		return r;
	*ret = cJSON_Parse(nft_ctx_get_output_buffer(n->ctx));
	return *ret ? 0 : err_set(err, EPROTO, "what nftables lists was not understood");
}

int nft_count(struct nft *n, uint64_t ret[WALL_COUNTS], struct err *err)
{
	struct buf text;
	cJSON *root;
	int r;

	buf_init(&text, NFT_TEXT_MAX);
	nft_text_counters(&text);
	r = list(n, buf_str(&text), &root, err);
	buf_done(&text);
	if (r < 0)
		return r;
	read_counts(root, ret);
	cJSON_Delete(root);
	return 0;
}

/* An element of one of the sets: {"elem": {"val": {"concat": [address, protocol, port]},
 * "counter": {"packets": N}}}. */
static bool read_refusal(const cJSON *element, struct wall_refusal *ret)
{
	const cJSON *e = json_get(element, "elem"), *key = json_get(json_get(e, "val"), "concat"),
		    *addr = cJSON_GetArrayItem(key, 0), *protocol = cJSON_GetArrayItem(key, 1),
		    *port = cJSON_GetArrayItem(key, 2);
	struct in_addr in;

	if (!cJSON_IsString(addr) || inet_pton(AF_INET, addr->valuestring, &in) != 1)
		return false;
	*ret = (struct wall_refusal){
		.addr = in.s_addr,
		.protocol = cJSON_IsNumber(protocol) ? (uint16_t)protocol->valueint : 0,
		.port = cJSON_IsNumber(port) ? (uint16_t)port->valueint : 0,
		.packets = (uint32_t)json_int(json_get(e, "counter"), "packets", 1),
	};
	return true;
}

static void read_refusals(const cJSON *root, struct wall_answer *ret)
{
	const cJSON *item, *element;

	cJSON_ArrayForEach (item, json_get(root, "nftables")) {
		cJSON_ArrayForEach (element, json_get(json_get(item, "set"), "elem")) {
			if (ret->refusals.n == WALL_REFUSED_TOLD)
				ret->refusals.more++;
			else
				ret->refusals.n +=
					read_refusal(element, &ret->refusals.list[ret->refusals.n]);
		}
	}
}

int nft_refused(struct nft *n, struct wall_answer *ret, struct err *err)
{
	int r = 0;

	for (int i = 0; i < NFT_REFUSED_SETS && r == 0; i++) {
		struct buf text;
		cJSON *root = NULL;

		buf_init(&text, NFT_TEXT_MAX);
		nft_text_refused(&text, (enum nft_refused_set)i);
		r = list(n, buf_str(&text), &root, err);
		buf_done(&text);
		read_refusals(root, ret);
		cJSON_Delete(root);
	}
	if (r == 0 && ret->refusals.n) {
		struct buf text;

		buf_init(&text, NFT_TEXT_MAX);
		nft_text_refused_read(&text);
		r = nft_run(n, buf_str(&text), err);
		buf_done(&text);
	}
	return r;
}
