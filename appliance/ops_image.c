/* Operations on guest images. */
#include "ops.h"
#include "snapshots.h"
#include "template.h"
#include "util.h"

#include <errno.h>

static unsigned users(struct daemon *d, const char *id)
{
	unsigned n = 0;

	for (struct agent *a = agents_next(d->agents, NULL); a; a = agents_next(d->agents, a))
		n += streq(agent_record(a)->image, id);
	return n;
}

static cJSON *image_json(struct daemon *d, const struct image *i, bool is_default)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "id", i->id);
	cJSON_AddStringToObject(o, "flavor", i->flavor);
	cJSON_AddStringToObject(o, "built_at", i->built_at);
	cJSON_AddStringToObject(o, "kernel", i->kernel);
	cJSON_AddNumberToObject(o, "size", (double)i->size);
	cJSON_AddNumberToObject(o, "packages", (double)i->packages);
	cJSON_AddBoolToObject(o, "default", is_default);
	cJSON_AddNumberToObject(o, "agents", users(d, i->id));
	return o;
}

void op_image_list(struct daemon *d, struct request *r)
{
	AUTOFREE struct image *images = NULL;
	struct image preferred;
	bool any = agents_image(d->agents, NULL, &preferred, NULL) == 0;
	struct err err;
	cJSON *o, *list;
	size_t n;

	if (image_list(d->state, &images, &n, &err) < 0) {
		request_fail(r, &err);
		return;
	}
	o = cJSON_CreateObject();
	list = cJSON_AddArrayToObject(o, "images");
	for (size_t i = 0; i < n; i++)
		cJSON_AddItemToArray(
			list, image_json(d, &images[i], any && streq(images[i].id, preferred.id)));
	request_ok(r, o, -1);
}

static void on_template(void *data, const struct err *err)
{
	if (err)
		request_fail(data, err);
	else
		request_ok(data, NULL, -1);
}

void op_image_template(struct daemon *d, struct request *r)
{
	struct err err;
	int code;

	request_progress(r, "template", "a machine boots, settles, and is kept for new agents");
	code = agents_make_template(
		d->agents, json_str(request_args(r), "image", NULL), on_template, r, &err);
	if (code < 0)
		request_fail(r, &err);
	else if (code > 0)
		request_ok(r, NULL, -1);
}

void op_image_remove(struct daemon *d, struct request *r)
{
	const char *id = json_str(request_args(r), "image", "");
	struct event_note note = {.type = "image.removed", .by = request_by(r), .detail = id};
	unsigned n = users(d, id), kept = snapshots_of_image(d->agents, id);
	struct err err;

	if (n > 0 || kept > 0) {
		err_set(&err, EBUSY, "%u agents and %u snapshots stand on image %s", n, kept, id);
		err_hint(&err, "remove them first with: berth rm NAME, berth snapshot-rm SNAPSHOT");
		err_type(&err, 409, "image-in-use");
		request_fail(r, &err);
	} else if (image_remove(d->state, id, &err) < 0) {
		request_fail(r, &err);
	} else {
		templates_forget_image(d->agents, id);
		events_emit(d->events, &note);
		request_ok(r, NULL, -1);
	}
}
