/*
 * An agent that has never run begins from a warm template, or boots when there is none to be had.
 *
 * One that has never booted stands on nothing and has written nothing: its files can be made anew
 * as often as it takes.
 */
#include "agent_priv.h"
#include "agent_save.h"
#include "disk.h"
#include "json.h"
#include "log.h"
#include "paths.h"
#include "snapshot.h"
#include "template.h"
#include "util.h"

#include <errno.h>
#include <string.h>

bool agent_is_fresh(const struct agent *a)
{
	return a->rec.boots == 0 && !a->rec.head[0] &&
	       (!a->rec.layers || streq(a->rec.layers, "[]")) && !agent_is_hidden(a);
}

static struct template_shape shape_of(const struct agent *a)
{
	struct template_shape s = {
		.memory_mib = a->rec.memory_mib, .cpus = a->rec.cpus, .disk_gib = a->rec.disk_gib};

	memcpy(s.image, a->rec.image, sizeof(s.image));
	return s;
}

/* Disk and memory become the template's; 1 done, 0 there is none. */
static int take_template(struct agent *a, struct err *err)
{
	const struct template_shape shape = shape_of(a);
	AUTOFREE char *folder = NULL;
	struct agent_origin o = {0};
	cJSON *manifest;
	int r;

	if (!template_get(a->all, &shape, &folder, &manifest))
		return 0;
	o = (struct agent_origin){folder, manifest};
	r = agent_take_origin(a, &o, err);
	if (r == 0) {
		agent_origin_record(&a->rec, manifest);
		r = store_agent_save(a->all->o.store, &a->rec, err);
	}
	a->warm = r == 0;
	cJSON_Delete(manifest);
	return r < 0 ? r : 1;
}

int agent_blank(struct agent *a, struct err *err)
{
	free(a->rec.layers);
	a->rec.layers = xstrdup("[]");
	make_id("d_", a->rec.disk);
	snprintf(a->rec.base, sizeof(a->rec.base), "%s", SNAPSHOT_ZERO_BASE);
	a->rec.base_digest[0] = 0;
	a->warm = false;
	if (store_agent_save(a->all->o.store, &a->rec, err) < 0)
		return err->code;
	agent_folder_sweep(a);
	return 0;
}

int agent_unwarm(struct agent *a, struct err *err)
{
	struct template_shape shape = shape_of(a);

	log_warning(
		"%s: it boots, as its warm template is of no use: %s", a->rec.name, a->end_detail);
	template_discard(a->all, &shape);
	snprintf(a->cold_why, sizeof(a->cold_why), "its warm template was of no use: %.160s",
		a->end_detail);
	a->cold = true;
	return agent_blank(a, err);
}

static void on_template(void *data, const struct err *err)
{
	struct agent *a = data;

	a->template_wait = NULL;
	if (err) {
		a->cold = true;
		snprintf(a->cold_why, sizeof(a->cold_why), "no warm template could be made: %.160s",
			err->msg);
		agent_tell_askers(a, "cold", a->cold_why);
	}
	agent_begin_fresh(a);
}

void agent_begin_fresh(struct agent *a)
{
	struct template_shape shape = shape_of(a);
	struct err err = {0};
	int r = a->cold || !a->all->o.config->warm ? 0 : agent_blank(a, &a->err);

	if (r == 0 && !a->cold && a->all->o.config->warm)
		r = take_template(a, &a->err);
	if (r == 0 && !a->cold && a->all->o.config->warm) {
		agent_tell_askers(
			a, "template", "making the warm template: once for this image and size");
		a->template_wait = template_make(a->all->templates, &shape, on_template, a, &err);
		if (a->template_wait)
			return;
		log_warning("%s: %s", a->rec.name, err.msg);
		snprintf(a->cold_why, sizeof(a->cold_why), "no warm template could be made: %.160s",
			err.msg);
	}
	agent_files_ready(a, MIN(r, 0));
}

int agents_make_template(struct agents *all, const char *image,
	void (*done)(void *data, const struct err *err), void *data, struct err *err)
{
	const struct config *c = all->o.config;
	struct template_shape shape = {
		.memory_mib = c->memory_mib, .cpus = c->cpus, .disk_gib = c->disk_gib};
	AUTOFREE char *folder = NULL;
	struct image i;
	cJSON *manifest;
	int r = agents_image(all, image, &i, err);

	if (r < 0 || !c->warm)
		return r < 0 ? r : 1;
	snprintf(shape.image, sizeof(shape.image), "%s", i.id);
	if (template_get(all, &shape, &folder, &manifest)) {
		cJSON_Delete(manifest);
		return 1;
	}
	return template_make(all->templates, &shape, done, data, err) ? 0 : -EIO;
}
