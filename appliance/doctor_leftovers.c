#include "doctor_leftovers.h"
#include "ctl.h"
#include "json.h"
#include "paths.h"
#include "process.h"
#include "sock.h"
#include "util.h"

#include <dirent.h>

#define ANSWER_WAIT_MS 10000

/* Berthd's answer, or NULL when none serves the state folder. */
static cJSON *ask(const char *state)
{
	AUTOFREE char *path = path_in(state, "run/control/control.sock");
	struct err err;
	int fd = sock_connect_unix(path, &err);
	cJSON *rq, *answer;
	struct ctl *ctl;

	if (fd < 0)
		return NULL;
	ctl = ctl_new(fd);
	rq = cJSON_CreateObject();
	cJSON_AddNumberToObject(rq, "id", 1);
	cJSON_AddStringToObject(rq, "op", "leftovers");
	cJSON_AddObjectToObject(rq, "args");
	ctl_send(ctl, rq, -1);
	answer = ctl_receive(ctl, ANSWER_WAIT_MS, NULL, &err);
	ctl_free(ctl);
	cJSON_Delete(rq);
	return answer;
}

/* An entry of a folder that counts, or NULL at the end. */
static const char *next_name(DIR *dir, bool hidden)
{
	struct dirent *e;

	do
		e = dir ? readdir(dir) : NULL;
	while (e && (streq(e->d_name, ".") || streq(e->d_name, "..") ||
			    (e->d_name[0] == '.') != hidden));
	return e ? e->d_name : NULL;
}

static int look(const char *state, const char *folder, bool hidden, char *first, size_t size)
{
	AUTOFREE char *path = path_in(state, "%s", folder);
	DIR *dir = opendir(path);
	const char *name;
	int n = 0;

	while ((name = next_name(dir, hidden))) {
		AUTOFREE char *pid = path_in(state, "%s/%s/qemu.pid", folder, name);

		if (!first[0])
			snprintf(first, size, "%s/%s %s", folder, name,
				hidden                       ? "is half made or half removed"
				: process_read_file(pid) > 0 ? "is of a machine that runs on"
							     : "is of a machine that ran");
		n++;
	}
	if (dir)
		closedir(dir);
	return n;
}

int doctor_leftovers(const char *state, bool *ret_up, char *first, size_t size)
{
	cJSON *answer = ask(state);
	const cJSON *list = json_get(json_get(answer, "ok"), "leftovers"),
		    *one = cJSON_GetArrayItem(list, 0);
	int n = cJSON_GetArraySize(list);

	*ret_up = list;
	first[0] = 0;
	if (one)
		snprintf(
			first, size, "%s %s", json_str(one, "path", ""), json_str(one, "what", ""));
	if (!list)
		n = look(state, "run/agents", false, first, size) +
		    look(state, "snapshots", true, first, size) +
		    look(state, "templates", true, first, size);
	cJSON_Delete(answer);
	return n;
}
