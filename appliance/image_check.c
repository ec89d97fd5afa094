/*
 * Is an image whole? Asked without waiting.
 *
 * Theory of operation. One struct check for each image that is being read, made by the first who
 * asks; whoever asks until it is done is added to its waits. The reading is done in libuv's thread
 * pool and sees the check's state and id only, which do not change; everything else belongs to the
 * loop's thread. KVM is tried there as well if nobody knows yet whether it works, as the first
 * image is the first kernel that it can be tried with, and a machine starts next.
 */
#include "image_check.h"
#include "image.h"
#include "kvm_probe.h"
#include "util.h"

#include <string.h>

struct image_wait {
	struct image_wait *next;
	struct check *check;
	image_done_fn *done;
	void *data;
};

/* Owned by its image_checks until the reading is done. */
struct check {
	uv_work_t work;
	struct check *next;
	struct image_checks *all;
	const char *state;
	char id[40];
	int result;
	struct err err;
	struct image_wait *waits;
};

struct image_checks {
	uv_loop_t *loop;
	char *state;
	struct check *first;
};

struct image_checks *image_checks_new(uv_loop_t *loop, const char *state)
{
	struct image_checks *all = xcalloc(1, sizeof(*all));

	all->loop = loop;
	all->state = xstrdup(state);
	return all;
}

/* In another thread. */
static void read_it(uv_work_t *work)
{
	struct check *c = CONTAINER_OF(work, struct check, work);

	c->result = image_verify(c->state, c->id, false, &c->err);
	if (c->result == 0 && kvm_verdict(c->state) < 0)
		kvm_probe(c->state, NULL);
}

static void unlink_check(struct check *c)
{
	struct check **link = &c->all->first;

	while (*link != c)
		link = &(*link)->next;
	*link = c->next;
}

/* One is told at a time, as that may cancel others. */
static void on_read(uv_work_t *work, int status)
{
	struct check *c = CONTAINER_OF(work, struct check, work);

	unlink_check(c);
	while (c->waits) {
		struct image_wait *w = c->waits;
		image_done_fn *done = w->done;
		void *data = w->data;

		c->waits = w->next;
		free(w);
		done(data, c->result < 0 ? &c->err : NULL);
	}
	free(c);
}

static struct check *check_of(struct image_checks *all, const char *id)
{
	struct check *c = all->first;

	while (c && !streq(c->id, id))
		c = c->next;
	if (c)
		return c;
	c = xcalloc(1, sizeof(*c));
	c->all = all;
	c->state = all->state;
	snprintf(c->id, sizeof(c->id), "%s", id);
	if (uv_queue_work(all->loop, &c->work, read_it, on_read) != 0)
		abort(); /* only without a callback */
	c->next = all->first;
	all->first = c;
	return c;
}

int image_check(struct image_checks *all, const char *id, image_done_fn *done, void *data,
	struct image_wait **ret, struct err *err)
{
	struct image_wait **end, *w;
	int r = image_verified(all->state, id, err);

	if (r != 0)
		return r;
	w = xcalloc(1, sizeof(*w));
	w->check = check_of(all, id);
	w->done = done;
	w->data = data;
	for (end = &w->check->waits; *end; end = &(*end)->next)
		;
	*end = w;
	*ret = w;
	return 0;
}

void image_wait_cancel(struct image_wait *wait)
{
	struct image_wait **link;

	if (!wait)
		return;
	link = &wait->check->waits;
	while (*link != wait)
		link = &(*link)->next;
	*link = wait->next;
	free(wait);
}

void image_checks_free(struct image_checks *all)
{
	if (!all)
		return;
	while (all->first)
		uv_run(all->loop, UV_RUN_ONCE);
	free(all->state);
	free(all);
}
