/* Memory and disk of agents kept and used again: snapshots, and what is made from them. */
#ifndef BERTH_AGENT_SAVE_H
#define BERTH_AGENT_SAVE_H

#include "agent.h"
#include "verify.h"

/* manifest: the snapshot's (snapshot.h), or NULL with err. The agent lives. */
typedef void agent_saved_fn(
	void *data, struct agent *a, const cJSON *manifest, const struct err *err);
/*
 * Takes a snapshot of a running (with its memory, if wanted), suspended or stopped agent. tag NULL:
 * one that is only needed until others stand on it; it is not shown, and goes with the daemon.
 * Fails at once, or done is called, once.
 */
int agent_snapshot(struct agent *a, const char *tag, bool memory, agent_saved_fn *done, void *data,
	struct err *err);
/* A manifest with what the agent's record says; layers, memory, id and tag are still to be added.
 */
cJSON *agent_manifest(const struct agent *a, const char *kind);

/* Are all files of a snapshot what they were? As verify_files. */
struct verify *snapshot_verify(
	struct agents *all, const cJSON *manifest, verify_done_fn *done, void *data);

/* The agent becomes what it was: its present disk and memory are gone. Then it runs. */
int agent_restore(struct agent *a, const char *snapshot, const char *by, const struct asker *asker,
	struct err *err);

/* What a new agent stands on. */
struct agent_origin {
	const char *folder;    /* of a snapshot or template */
	const cJSON *manifest; /* its manifest */
};
/*
 * Makes the new agent's files those of its origin, before its first start: rec has been filled from
 * the manifest (agent_origin_record) and is in the store.
 */
int agent_take_origin(struct agent *a, const struct agent_origin *o, struct err *err);
/* Fills what of a record comes from an origin. */
void agent_origin_record(struct agent_record *rec, const cJSON *manifest);
/*
 * A new agent from an origin. args: of agent.create, without what the origin says; without "allow"
 * it has the origin's rules. It wakes in the origin's memory, if there is one.
 */
int agent_fork(struct agents *all, const struct agent_origin *o, const cJSON *args, const char *by,
	const struct asker *asker, struct err *err);

#endif
