/* All snapshots: listed, found, removed. What one is, is in snapshot.h. */
#ifndef BERTH_SNAPSHOTS_H
#define BERTH_SNAPSHOTS_H

#include "agent.h"

#define SNAPSHOTS_MAX 10000

/* The manifest of one by its id, or by its tag if only one has that; the caller's to delete. NULL:
 * 404 snapshot-not-found, 409 snapshot-damaged. */
cJSON *snapshots_get(struct agents *all, const char *id_or_tag, struct err *err);
/* An array of them as the API shows them, the oldest first; of an agent (its id) or all (NULL). */
cJSON *snapshots_list(struct agents *all, const char *agent_id);
/* How many were made with an image. */
unsigned snapshots_of_image(struct agents *all, const char *image);
/* One as the API shows it. */
cJSON *snapshot_json(struct agents *all, const cJSON *manifest);
/* Removes it. What stands on it keeps its files; its children get its parent as theirs. */
int snapshots_remove(struct agents *all, const char *id, struct err *err);
/* After a start: removes what was half made or half removed. */
void snapshots_sweep(struct agents *all);

#endif
