/* An action as the action log tells it: canonical names, and nothing secret. Pure. */
#ifndef BERTH_ACTION_TOLD_H
#define BERTH_ACTION_TOLD_H

#include <cjson/cJSON.h>

#include "action.h"

#define TOLD_URL_MAX 1024   /* bytes, the NUL included */
#define TOLD_ERROR_MAX 300  /* the same */
#define TOLD_PATHS_MAX 1000 /* bytes of the paths of chosen files */

/* Static; "action" for one that the table does not name. */
const char *action_told_name(const struct action *a);
/*
 * Its parameters as an object, the caller's. What is typed, answered to a dialog, chosen, looked
 * for or run as a script is told by its length alone, and so is a single key that types a
 * character.
 */
cJSON *action_told_params(const struct action *a);
/*
 * Scheme, host, port and path of an address, without user, query and fragment; of data:,
 * javascript: and the like the scheme alone. Also for what a model typed as an address.
 */
void action_told_url(const char *url, char out[TOLD_URL_MAX]);
/* The first line of what a failed action said, without what is in quotes (the model's words, or a
 * page's), and of a script without what it threw. */
void action_told_error(const struct action *a, const char *text, char out[TOLD_ERROR_MAX]);

#endif
