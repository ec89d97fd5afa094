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

/* The caller's to delete. Protocols are numbers: their names are in a file
 * that the wall cannot open. */
static int list(struct nft *n, enum nft_list what, cJSON **ret, struct err *err)
{
	int r;

	nft_ctx_output_set_flags(n->ctx, NFT_CTX_OUTPUT_JSON | NFT_CTX_OUTPUT_NUMERIC_PROTO);
	r = nft_run(n, nft_text_lists[what], err);
	nft_ctx_output_set_flags(n->ctx, 0);
	if (r < 0)
		return r;
	*ret = cJSON_Parse(nft_ctx_get_output_buffer(n->ctx));
	return *ret ? 0 : err_set(err, EPROTO, "what nftables lists was not understood");
}

int nft_count(struct nft *n, uint64_t ret[WALL_COUNTS], struct err *err)
{
	cJSON *root;
	int r = list(n, NFT_COUNTERS, &root, err);

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
	static const enum nft_list sets[] = {NFT_REFUSED, NFT_REFUSED_OTHERS};

	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		cJSON *root;
		int r = list(n, sets[i], &root, err);

		if (r < 0)
			return r;
		read_refusals(root, ret);
		cJSON_Delete(root);
	}
	return ret->refusals.n ? nft_run(n, nft_text_forget_refused, err) : 0;
}
