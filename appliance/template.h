/* Warm templates: a machine with its browser up and idle, for new agents to begin from. */
#ifndef BERTH_TEMPLATE_H
#define BERTH_TEMPLATE_H

#include "agent.h"

/* One per image, memory, CPUs and disk: a folder STATE/templates/KEY as of snapshot.h. */
struct template_shape {
	char image[64];
	unsigned memory_mib, cpus, disk_gib;
};

struct templates;     /* all of them; owned by the agents */
struct template_wait; /* somebody who waits; owned by its template in the making */

struct templates *templates_new(struct agents *all);
/* Nobody may wait any more. */
void templates_free(struct templates *t);
/* After a start: removes what was half made. */
void templates_sweep(struct agents *all);

/* The folder (the caller's to free) and manifest (to delete) of one that is there, or false. */
bool template_get(struct agents *all, const struct template_shape *shape, char **ret_folder,
	cJSON **ret_manifest);
/*
 * Makes one: a hidden agent boots, settles and is suspended; its memory becomes a file that others
 * can stand on. Those who ask meanwhile share it. done: it is there, or why not; never from within.
 * NULL and err when it cannot be begun.
 */
typedef void template_done_fn(void *data, const struct err *err);
struct template_wait *template_make(struct templates *t, const struct template_shape *shape,
	template_done_fn *done, void *data, struct err *err);
/* NULL is fine. The making goes on. */
void template_wait_cancel(struct template_wait *w);
/* Removes one that is of no use. */
void template_discard(struct agents *all, const struct template_shape *shape);
/* Removes those of an image. */
void templates_forget_image(struct agents *all, const char *image);

#endif
