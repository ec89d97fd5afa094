#include "leftovers.h"
#include "agent_priv.h"
#include "cgroup.h"
#include "paths.h"
#include "util.h"

#include <dirent.h>
#include <string.h>

static const char of_nobody[] = "belongs to no agent";

struct look {
	struct agents *all;
	cJSON *list;
};

static void add(const struct look *l, const char *where, const char *name, const char *what)
{
	AUTOFREE char *path = xasprintf("%s%s", where, name);
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "path", path);
	cJSON_AddStringToObject(o, "what", what);
	cJSON_AddItemToArray(l->list, o);
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
	return (agent_rests(a) || a->phase == PHASE_RUNNING) && !a->save && !a->merge;
}

static bool all_still(const struct agents *all)
{
	for (const struct agent *a = all->first; a; a = a->next)
		if (!is_still(a))
			return false;
	return true;
}

static void look_in_agent(const struct look *l, struct agent *a)
{
	AUTOFREE char *where = xasprintf("agents/%s/", a->rec.id);
	DIR *dir = open_below(l->all->state, where);
	const char *name;

	while ((name = next_name(dir)))
		if (!agent_folder_names(a, name))
			add(l, where, name, "is in its agent's folder, and nothing of it");
	if (dir)
		closedir(dir);
}

static void look_at_agents(const struct look *l)
{
	DIR *dir = open_below(l->all->state, "agents/");
	const char *name;

	while ((name = next_name(dir))) {
		struct agent *a = agents_find(l->all, name, NULL);

		if (!a)
			add(l, "agents/", name, of_nobody);
		else if (is_still(a))
			look_in_agent(l, a);
	}
	if (dir)
		closedir(dir);
}

/* Something that is there while an agent runs, and while a sleeper's connections wait for it. */
static void look_at_run(const struct look *l, const char *where, const char *name)
{
	const struct agent *a = starts_with(name, "ag_") ? agents_find(l->all, name, NULL) : NULL;

	if (!a)
		add(l, where, name, of_nobody);
	else if (agent_rests(a) && a->phase != PHASE_SUSPENDED)
		add(l, where, name, "belongs to an agent that does not run");
}

static void look_at_runs(const struct look *l, const char *where)
{
	DIR *dir = open_below(l->all->state, where);
	const char *name;

	while ((name = next_name(dir)))
		look_at_run(l, where, name);
	if (dir)
		closedir(dir);
}

static void look_at_group(void *data, const char *name)
{
	if (starts_with(name, "ag_"))
		look_at_run(data, "cgroup ", name);
}

static void look_for_halves(const struct look *l, const char *where)
{
	DIR *dir = open_below(l->all->state, where);
	const char *name;

	while ((name = next_name(dir)))
		if (name[0] == '.')
			add(l, where, name, "is half made or half removed");
	if (dir)
		closedir(dir);
}

cJSON *leftovers_find(struct agents *all)
{
	struct look l = {all, cJSON_CreateArray()};

	look_at_agents(&l);
	look_at_runs(&l, "run/ns/");
	look_at_runs(&l, "run/agents/");
	cgroup_each(all->state, look_at_group, &l);
	if (all_still(all)) {
		look_for_halves(&l, "snapshots/");
		look_for_halves(&l, "templates/");
	}
	return l.list;
}
