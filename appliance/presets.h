/* Lists of rules kept as files: PREFIX/share/berth/presets/NAME.rules. */
#ifndef BERTH_PRESETS_H
#define BERTH_PRESETS_H

#include <cjson/cJSON.h>

#include "err.h"

/*
 * `{name, description, rules:[text]}`: the rules of one in their normal form, its first line of
 * comment. NULL and err: 404 preset-not-found, or what is wrong with the file. The caller's.
 */
cJSON *preset_read(const char *name, struct err *err);
/* All that can be read, by name: an array of the same. The caller's. */
cJSON *presets_list(void);
/* Another folder instead of the installed one (tests); NULL: the installed one again. */
void presets_folder(const char *path);

#endif
