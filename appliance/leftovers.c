#include "leftovers.h"
#include "agent_priv.h"
#include "cgroup.h"
#include "paths.h"
#include "util.h"

#include <dirent.h>
#include <string.h>

static const char of_nobody[] = "belongs to no agent", half[] = "is half made or half removed",
		  of_one_off[] = "belongs to an agent that does not run";

struct look {
	struct agents *all;
	cJSON *list;
};

__attribute__((format(printf, 3, 4))) static void add(
	cJSON *list, const char *what, const char *path, ...)
{
	cJSON *o = cJSON_CreateObject();
	char text[300];
	va_list ap;

	va_start(ap, path);
	vsnprintf(text, sizeof(text), path, ap);
	va_end(ap);
	cJSON_AddStringToObject(o, "path", text);
	cJSON_AddStringToObject(o, "what", what);
	cJSON_AddItemToArray(list, o);
}

static DIR *open_below(const char *state, const char *folder)
{
	AUTOFREE char *path = path_in(state, "%s", folder);

	return opendir(path);
}

static const char *next_name(DIR *dir)
{
	struct dirent *e;

	do
		e = dir ? readdir(dir) : NULL;
	while (e && (streq(e->d_name, ".") || streq(e->d_name, "..")));
	return e ? e->d_name : NULL;
}

/* Nothing is being done with it that has files of its own. */
static bool is_still(const struct agent *a)
{
	return (a->phase == PHASE_STOPPED || a->phase == PHASE_FAILED ||
		       a->phase == PHASE_SUSPENDED || a->phase == PHASE_RUNNING) &&
	       !a->save && !a->merge;
}

static bool all_still(struct agents *all)
{
	for (struct agent *a = all->first; a; a = a->next)
		if (!is_still(a))
			return false;
	return true;
}

/* It has nothing that runs, and no connections that wait for it. */
static bool is_off(const struct agent *a)
{
	return a->phase == PHASE_STOPPED || a->phase == PHASE_FAILED;
}

static void look_in_agent(struct agent *a, cJSON *list)
{
	AUTOFREE char *folder = agent_folder(a);
	DIR *dir = opendir(folder);
	const char *name;

	while ((name = next_name(dir)))
		if (!agent_folder_names(a, name))
			add(list, "is in its agent's folder, and nothing of it", "agents/%s/%s",
				a->rec.id, name);
	if (dir)
		closedir(dir);
}

static void look_at_agents(struct agents *all, cJSON *list)
{
	DIR *dir = open_below(all->state, "agents");
	const char *name;

	while ((name = next_name(dir))) {
		struct agent *a = agents_find(all, name, NULL);

		if (!a)
			add(list, of_nobody, "agents/%s", name);
		else if (is_still(a))
			look_in_agent(a, list);
	}
	if (dir)
		closedir(dir);
}

static void look_at_runs(struct agents *all, const char *folder, cJSON *list)
{
	DIR *dir = open_below(all->state, folder);
	const char *name;

	while ((name = next_name(dir))) {
		struct agent *a = starts_with(name, "ag_") ? agents_find(all, name, NULL) : NULL;

		if (!a)
			add(list, of_nobody, "%s/%s", folder, name);
		else if (is_off(a))
			add(list, of_one_off, "%s/%s", folder, name);
	}
	if (dir)
		closedir(dir);
}

static void look_for_halves(const char *state, const char *folder, cJSON *list)
{
	DIR *dir = open_below(state, folder);
	const char *name;

	while ((name = next_name(dir)))
		if (name[0] == '.')
			add(list, half, "%s/%s", folder, name);
	if (dir)
		closedir(dir);
}

static void look_at_group(void *data, const char *name)
{
	struct look *l = data;
	struct agent *a = agents_find(l->all, name, NULL);

	if (!starts_with(name, "ag_"))
		return;
	if (!a)
		add(l->list, of_nobody, "cgroup %s", name);
	else if (is_off(a))
		add(l->list, of_one_off, "cgroup %s", name);
}

cJSON *leftovers_find(struct agents *all)
{
	cJSON *list = cJSON_CreateArray();

	look_at_agents(all, list);
	look_at_runs(all, "run/ns", list);
	look_at_runs(all, "run/agents", list);
	cgroup_each(all->state, look_at_group, &(struct look){all, list});
	if (all_still(all)) {
		look_for_halves(all->state, "snapshots", list);
		look_for_halves(all->state, "templates", list);
	}
	return list;
}
