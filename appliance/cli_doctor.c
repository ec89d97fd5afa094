/* berth doctor and its output. */
#include "cli.h"
#include "cli_progress.h"
#include "doctor.h"
#include "util.h"

struct report {
	cJSON *list; /* NULL: lines for people */
	struct progress progress;
};

static void on_busy(void *data, const char *name)
{
	struct report *r = data;

	if (!r->list && r->progress.tty)
		fprintf(stderr, "\r\033[Klooking at %s ...", name);
}

static void on_finding(void *data, const char *name, const struct doctor_finding *f)
{
	static const char *const lines[] = {"ok", "warn", "FAIL"}, *const words[] = {
									   "ok", "warn", "fail"};
	struct report *r = data;
	cJSON *o;

	if (!r->list) {
		if (r->progress.tty)
			fprintf(stderr, "\r\033[K");
		cli_print("%-5s %s%s%s%s%s", lines[f->result], f->what, f->cause[0] ? " — " : "",
			f->cause, f->way_out[0] ? "; " : "", f->way_out);
		fflush(stdout);
		return;
	}
	o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "name", name);
	cJSON_AddStringToObject(o, "result", words[f->result]);
	cJSON_AddStringToObject(o, "what", f->what);
	cJSON_AddStringToObject(o, "detail", f->cause);
	cJSON_AddStringToObject(o, "hint", f->way_out);
	cJSON_AddItemToArray(r->list, o);
}

int cli_doctor(struct cli *c, struct err *err)
{
	struct report r = {.list = c->json ? cJSON_CreateArray() : NULL};
	AUTOJSON *all = NULL;
	bool fine;

	(void)err;
	progress_start(&r.progress, "looking");
	fine = doctor_run(c->state, on_finding, on_busy, &r);
	if (c->json) {
		all = cJSON_CreateObject();
		cJSON_AddBoolToObject(all, "ok", fine);
		cJSON_AddItemToObject(all, "checks", r.list);
		cli_print_json(all);
	} else {
		printf("%s\n", fine ? "Agents can run here."
				    : "Agents cannot run here until what FAILs is put right.");
	}
	return fine ? 0 : 1;
}
