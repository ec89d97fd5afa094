#include "control_ask.h"
#include "ctl.h"
#include "json.h"
#include "paths.h"
#include "sock.h"
#include "util.h"

static struct ctl *begin(const char *state, const char *op, struct err *err)
{
	AUTOFREE char *path = path_in(state, "run/control/control.sock");
	int fd = sock_connect_unix(path, err);
	struct ctl *ctl;
	cJSON *request;

	if (fd < 0)
		return NULL;
	ctl = ctl_new(fd);
	request = cJSON_CreateObject();
	cJSON_AddNumberToObject(request, "id", 1);
	cJSON_AddStringToObject(request, "op", op);
	cJSON_AddStringToObject(request, "by", "local");
	cJSON_AddObjectToObject(request, "args");
	ctl_send(ctl, request, -1);
	cJSON_Delete(request);
	return ctl;
}

cJSON *control_ask(const char *state, const char *op, int timeout_ms,
	void (*progress)(void *data, const char *step, const char *detail), void *data,
	struct err *err)
{
	struct ctl *ctl = begin(state, op, err);
	cJSON *answer = NULL, *ok = NULL;
	const cJSON *step;

	if (!ctl)
		return NULL;
	do {
		cJSON_Delete(answer);
		answer = ctl_receive(ctl, timeout_ms, NULL, err);
		step = json_get(answer, "progress");
		if (step && progress)
			progress(data, json_str(step, "step", ""), json_str(step, "detail", NULL));
	} while (step);
	if (json_get(answer, "ok"))
		ok = cJSON_DetachItemFromObject(answer, "ok");
	else if (answer)
		json_to_err(json_get(answer, "error"), err);
	cJSON_Delete(answer);
	ctl_free(ctl);
	return ok;
}
