/* The guest channel's encoding; both ends and the fuzzer use it. */
#include "guest.h"

#include <string.h>

void guest_put_hello(uint8_t out[GUEST_HELLO_LEN], uint8_t kind_or_status)
{
	memcpy(out, GUEST_MAGIC, 4);
	out[4] = GUEST_VERSION;
	out[5] = kind_or_status;
	out[6] = out[7] = 0;
}

bool guest_get_hello(const uint8_t in[GUEST_HELLO_LEN], uint8_t *ret_version, uint8_t *ret_value)
{
	if (memcmp(in, GUEST_MAGIC, 4) != 0 || in[6] || in[7])
		return false;
	*ret_version = in[4];
	*ret_value = in[5];
	return true;
}

void guest_put_header(uint8_t out[GUEST_HEADER_LEN], enum guest_type type, uint32_t len)
{
	for (int i = 0; i < 4; i++)
		out[i] = (uint8_t)(len >> (8 * i));
	out[4] = (uint8_t)type;
	out[5] = out[6] = out[7] = 0;
}

bool guest_get_header(const uint8_t in[GUEST_HEADER_LEN], uint8_t *ret_type, uint32_t *ret_len)
{
	struct reader r = reader_of(in, GUEST_HEADER_LEN);

	*ret_len = read_u32(&r);
	*ret_type = read_u8(&r);
	return *ret_len <= GUEST_FRAME_MAX && !in[5] && !in[6] && !in[7];
}

static bool whole(const struct reader *r)
{
	return !r->bad && r->pos == r->len;
}

/* Copies a fixed field that must hold a terminated string. */
static bool get_text(struct reader *r, char *out, size_t n)
{
	const uint8_t *p = read_bytes(r, n);

	if (!p || !memchr(p, 0, n))
		return false;
	memcpy(out, p, n);
	return true;
}

static void get_raw(struct reader *r, void *out, size_t n)
{
	const uint8_t *p = read_bytes(r, n);

	if (p)
		memcpy(out, p, n);
}

bool guest_put_config(struct buf *b, const struct guest_config *v)
{
	buf_add_u64(b, (uint64_t)v->realtime_ns);
	buf_add(b, v->entropy, sizeof(v->entropy));
	buf_add(b, v->machine_id, sizeof(v->machine_id));
	buf_add(b, v->hostname, sizeof(v->hostname));
	buf_add_u32(b, v->flags);
	buf_add_u32(b, v->view_width);
	buf_add_u32(b, v->view_height);
	for (int i = 0; i < 3; i++)
		buf_add_u32(b, v->reserved[i]);
	return !b->full;
}

bool guest_get_config(const uint8_t *p, size_t n, struct guest_config *ret)
{
	struct reader r = reader_of(p, n);

	*ret = (struct guest_config){.realtime_ns = (int64_t)read_u64(&r)};
	get_raw(&r, ret->entropy, sizeof(ret->entropy));
	get_raw(&r, ret->machine_id, sizeof(ret->machine_id));
	if (!get_text(&r, ret->hostname, sizeof(ret->hostname)))
		return false;
	ret->flags = read_u32(&r);
	ret->view_width = read_u32(&r);
	ret->view_height = read_u32(&r);
	for (int i = 0; i < 3; i++)
		ret->reserved[i] = read_u32(&r);
	return whole(&r);
}

bool guest_put_ready(struct buf *b, const struct guest_ready *v)
{
	buf_add_u32(b, v->init_version);
	buf_add_u32(b, v->kernel_ms);
	buf_add_u32(b, v->init_ms);
	buf_add_u32(b, v->fresh);
	buf_add(b, v->kernel, sizeof(v->kernel));
	buf_add_u64(b, v->reserved);
	return !b->full;
}

bool guest_get_ready(const uint8_t *p, size_t n, struct guest_ready *ret)
{
	struct reader r = reader_of(p, n);

	*ret = (struct guest_ready){.init_version = read_u32(&r)};
	ret->kernel_ms = read_u32(&r);
	ret->init_ms = read_u32(&r);
	ret->fresh = read_u32(&r);
	if (!get_text(&r, ret->kernel, sizeof(ret->kernel)))
		return false;
	ret->reserved = read_u64(&r);
	return whole(&r);
}

bool guest_put_pong(struct buf *b, const struct guest_pong *v)
{
	buf_add_u64(b, v->cookie);
	buf_add_u64(b, v->uptime_ms);
	buf_add_u64(b, v->memory_available_kib);
	buf_add_u64(b, v->disk_free_kib);
	buf_add_u64(b, v->disk_total_kib);
	buf_add_u32(b, v->browser_state);
	buf_add_u32(b, v->browser_restarts);
	buf_add_u32(b, v->execs);
	buf_add_u32(b, v->reserved);
	return !b->full;
}

bool guest_get_pong(const uint8_t *p, size_t n, struct guest_pong *ret)
{
	struct reader r = reader_of(p, n);

	*ret = (struct guest_pong){.cookie = read_u64(&r)};
	ret->uptime_ms = read_u64(&r);
	ret->memory_available_kib = read_u64(&r);
	ret->disk_free_kib = read_u64(&r);
	ret->disk_total_kib = read_u64(&r);
	ret->browser_state = read_u32(&r);
	ret->browser_restarts = read_u32(&r);
	ret->execs = read_u32(&r);
	ret->reserved = read_u32(&r);
	return whole(&r) && ret->browser_state <= GUEST_BROWSER_GAVE_UP;
}

bool guest_put_browser(struct buf *b, const struct guest_browser *v)
{
	buf_add_u32(b, v->state);
	buf_add_u32(b, v->restarts);
	buf_add_u32(b, v->exit_status);
	buf_add_u32(b, v->signal);
	return !b->full;
}

bool guest_get_browser(const uint8_t *p, size_t n, struct guest_browser *ret)
{
	struct reader r = reader_of(p, n);

	*ret = (struct guest_browser){.state = read_u32(&r)};
	ret->restarts = read_u32(&r);
	ret->exit_status = read_u32(&r);
	ret->signal = read_u32(&r);
	return whole(&r) && ret->state <= GUEST_BROWSER_GAVE_UP;
}

bool guest_put_exec(struct buf *b, const struct guest_exec *v)
{
	buf_add_u32(b, v->flags);
	buf_add_u16(b, v->rows);
	buf_add_u16(b, v->columns);
	buf_add_u16(b, v->argc);
	buf_add_u16(b, v->envc);
	buf_add(b, v->user, strlen(v->user) + 1);
	buf_add(b, v->cwd, strlen(v->cwd) + 1);
	for (size_t i = 0; i < v->argc; i++)
		buf_add(b, v->argv[i], strlen(v->argv[i]) + 1);
	for (size_t i = 0; i < v->envc; i++)
		buf_add(b, v->env[i], strlen(v->env[i]) + 1);
	return !b->full;
}

bool guest_get_exec(const uint8_t *p, size_t n, struct guest_exec *ret)
{
	struct reader r = reader_of(p, n);

	*ret = (struct guest_exec){.flags = read_u32(&r)};
	ret->rows = read_u16(&r);
	ret->columns = read_u16(&r);
	ret->argc = read_u16(&r);
	ret->envc = read_u16(&r);
	if (ret->argc < 1 || ret->argc > GUEST_ARGS_MAX || ret->envc > GUEST_ARGS_MAX)
		return false;
	ret->user = read_str(&r);
	ret->cwd = read_str(&r);
	for (size_t i = 0; i < ret->argc; i++)
		ret->argv[i] = read_str(&r);
	for (size_t i = 0; i < ret->envc; i++) {
		ret->env[i] = read_str(&r);
		if (ret->env[i] && !strchr(ret->env[i], '='))
			return false;
	}
	return whole(&r);
}
