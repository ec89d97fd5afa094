/* Lists of rules kept as files: read afresh each time, so that an update of one is seen. */
#include "presets.h"
#include "log.h"
#include "paths.h"
#include "rules.h"
#include "util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX (256 << 10)
#define SUFFIX ".rules"

static const char *folder;

void presets_folder(const char *path)
{
	folder = path;
}

static char *folder_path(void)
{
	return folder ? xstrdup(folder) : path_share("presets");
}

/* One line, changed in place; 0 as well for one that says nothing. */
static int take_line(cJSON *preset, char *line, struct err *err)
{
	char text[RULE_TEXT_MAX];
	struct rule r;

	if (line[0] == '#') {
		line += 1 + strspn(line + 1, " ");
		if (!cJSON_GetObjectItem(preset, "description"))
			cJSON_AddStringToObject(preset, "description", line);
		return 0;
	}
	if (!line[strspn(line, " \t\r")])
		return 0;
	if (rule_parse(line, &r, err) < 0)
		return err->code;
	if (r.deny || r.kind == RULE_PRESET)
		return err_set(err, EINVAL, "'%.100s': a preset has only rules that allow", line);
	rule_format(&r, text);
	cJSON_AddItemToArray(cJSON_GetObjectItem(preset, "rules"), cJSON_CreateString(text));
	return 0;
}

static int take_lines(cJSON *preset, char *text, struct err *err)
{
	char *save = NULL;
	int r = 0;

	for (char *line = strtok_r(text, "\n", &save); line && r == 0;
		line = strtok_r(NULL, "\n", &save))
		r = take_line(preset, line, err);
	if (!cJSON_GetObjectItem(preset, "description"))
		cJSON_AddStringToObject(preset, "description", "");
	return r;
}

static bool name_good(const char *name)
{
	struct rule r;
	AUTOFREE char *text = xasprintf("preset:%s", name);

	return rule_parse(text, &r, NULL) == 0;
}

cJSON *preset_read(const char *name, struct err *err)
{
	AUTOFREE char *dir = folder_path(), *path = xasprintf("%s/%s" SUFFIX, dir, name),
		      *text = NULL;
	cJSON *preset;

	if (!name_good(name) || file_read(AT_FDCWD, path, FILE_MAX, &text, NULL, err) < 0) {
		err_set(err, ENOENT, "there is no preset '%.64s'", name);
		err_hint(err, "list them with: berth policy presets");
		err_type(err, 404, "preset-not-found");
		return NULL;
	}
	preset = cJSON_CreateObject();
	cJSON_AddStringToObject(preset, "name", name);
	cJSON_AddArrayToObject(preset, "rules");
	if (take_lines(preset, text, err) == 0)
		return preset;
	err_context(err, "%s", path);
	cJSON_Delete(preset);
	return NULL;
}

static int is_preset(const struct dirent *e)
{
	size_t n = strlen(e->d_name), tail = strlen(SUFFIX);

	return n > tail && streq(e->d_name + n - tail, SUFFIX);
}

cJSON *presets_list(void)
{
	AUTOFREE char *dir = folder_path();
	cJSON *list = cJSON_CreateArray();
	struct dirent **entries = NULL;
	int n = scandir(dir, &entries, is_preset, alphasort);

	for (int i = 0; i < n; i++) {
		struct err err;
		cJSON *one;

		entries[i]->d_name[strlen(entries[i]->d_name) - strlen(SUFFIX)] = 0;
		one = preset_read(entries[i]->d_name, &err);
		if (one)
			cJSON_AddItemToArray(list, one);
		else
			log_warning("%s", err.msg);
		free(entries[i]);
	}
	free(entries);
	return list;
}
