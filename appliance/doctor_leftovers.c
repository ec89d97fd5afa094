#include "doctor_leftovers.h"
#include "control_ask.h"
#include "json.h"
#include "paths.h"
#include "process.h"
#include "util.h"

#include <dirent.h>

#define ANSWER_WAIT_MS 10000

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
	struct err err;
	cJSON *answer = control_ask(state, "leftovers", ANSWER_WAIT_MS, NULL, NULL, &err);
	const cJSON *list = json_get(answer, "leftovers"), *one = cJSON_GetArrayItem(list, 0);
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
