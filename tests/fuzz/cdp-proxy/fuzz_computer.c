/* Computer-use requests: any JSON becomes a plan within its bounds, and every plan is answered. */
#include "action_told.h"
#include "api.h"
#include "gesture.h"
#include "util.h"
#include "vendor.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define ENSURE(c)                \
	do {                     \
		if (!(c))        \
			abort(); \
	} while (0)

static const struct view views[] = {
	{1280, 800, 1, 1280, 800}, {1, 1, 2, 1, 1}, {1920, 1080, 2, 960, 540}};

/* Every step lies in the view, and what a command says is JSON. */
static void check_script(const struct script *s, const struct view *v)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct step *t = &s->steps[i];
		cJSON *params = NULL;

		if (t->kind == STEP_MOUSE)
			ENSURE(t->mouse.at.x >= 0 && t->mouse.at.x < v->width &&
				t->mouse.at.y >= 0 && t->mouse.at.y < v->height);
		if (t->kind == STEP_INSERT)
			ENSURE(t->text.start + t->text.n <= strlen(s->text));
		if (gesture_command(s, t, &params))
			ENSURE(cJSON_IsObject(params));
		cJSON_Delete(params);
	}
}

/* What the action log gets is bounded, and text. */
static void check_told(const struct action *a)
{
	cJSON *o = action_told_params(a);
	char *text = cJSON_PrintUnformatted(o);
	char url[TOLD_URL_MAX], error[TOLD_ERROR_MAX];

	ENSURE(cJSON_IsObject(o) && strlen(text) < 6 * TOLD_URL_MAX + 1000);
	action_told_url(a->text ? a->text : "", url);
	action_told_error(a, a->text ? a->text : "", error);
	ENSURE(!strpbrk(url, "?#") && !strpbrk(error, "\r\n"));
	ENSURE(action_told_name(a)[0]);
	cJSON_free(text);
	cJSON_Delete(o);
}

static bool is_input(enum action_kind k)
{
	return k >= ACTION_CLICK && k <= ACTION_TYPE;
}

static void check_actions(const struct plan *p, const struct view *v)
{
	struct hands h = {0};

	for (size_t i = 0; i < p->n_actions; i++) {
		const struct action *a = &p->actions[i];
		struct script s = {0};
		struct err err;
		double region[4];

		ENSURE(a->kind < ACTION_COUNT);
		ENSURE(a->kind != ACTION_BAD || a->text);
		check_told(a);
		ENSURE(a->kind != ACTION_SET || (a->text && a->choices && a->ref));
		ENSURE(a->kind != ACTION_UPLOAD || (a->text && a->ref));
		if (is_input(a->kind) && gesture_make(a, v, &h, &s, &err) == 0)
			check_script(&s, v);
		if (a->kind == ACTION_ZOOM)
			gesture_region(a, v, region, &err);
		script_done(&s);
	}
}

/* All that was skipped, all that failed, all that was done. */
static void check_answers(const struct plan *p)
{
	static char text[] = "why", image[] = "iVBO";
	struct action_result *r = xcalloc(p->n_actions + 1, sizeof(*r));

	for (int round = 0; round < 3; round++) {
		cJSON *o;

		for (size_t i = 0; i < p->n_actions; i++)
			r[i] = (struct action_result){.done = round > 0,
				.failed = round == 1,
				.text = round == 1 ? text : NULL,
				.notes = round ? text : NULL,
				.image = round == 2 ? image : NULL};
		o = plan_answer(p, r);
		ENSURE(cJSON_IsObject(o) || cJSON_IsArray(o));
		cJSON_Delete(o);
		free(plan_remarks(p, r));
	}
	free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char *const vendors[] = {NULL, "anthropic", "openai", "gemini"};
	struct plan p = {0};
	struct err err;
	cJSON *body = NULL;

	if (n < 1 || !api_parse_json_list(data + 1, n - 1, &body, &err))
		return 0;
	p.pictures = data[0] % 3;
	p.enabled = data[0] / 36 % 2 ? ~0u : 0;
	if (plan_read(&p, body, vendors[data[0] / 3 % 4], NULL, &err) == 0) {
		ENSURE(p.n_calls > 0);
		check_actions(&p, &views[data[0] / 12 % 3]);
		check_answers(&p);
	}
	plan_done(&p);
	cJSON_Delete(body);
	return 0;
}
