/* libnftables, and nothing else of the program sees it. Belongs to the wall process. */
#include "nft.h"
#include "json.h"
#include "nft_text.h"
#include "util.h"

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

int nft_count(struct nft *n, uint64_t ret[WALL_COUNTS], struct err *err)
{
	struct buf text;
	cJSON *root;
	int r;

	buf_init(&text, NFT_TEXT_MAX);
	nft_text_counters(&text);
	nft_ctx_output_set_flags(n->ctx, NFT_CTX_OUTPUT_JSON);
	r = nft_run(n, buf_str(&text), err);
	nft_ctx_output_set_flags(n->ctx, 0);
	buf_done(&text);
	if (r < 0)
		return r;
	root = cJSON_Parse(nft_ctx_get_output_buffer(n->ctx));
	if (!root)
		return err_set(err, EPROTO, "nftables' counters were not understood");
	read_counts(root, ret);
	cJSON_Delete(root);
	return 0;
}
