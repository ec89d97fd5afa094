/* Agents: the durable thing that people name, with its record, its rules and, while it runs, its
 * VM. */
#ifndef BERTH_AGENT_H
#define BERTH_AGENT_H

#include <cjson/cJSON.h>
#include <uv.h>

#include "agent_fsm.h"
#include "config.h"
#include "events.h"
#include "image.h"
#include "image_check.h"
#include "store.h"

struct agents; /* all of them; owned by the daemon */
struct agent;  /* owned by its agents */

struct agents_options {
	uv_loop_t *loop;
	struct store *store;
	struct events *events;
	const struct config *config;
	const char *state;
	struct image_checks *images;
	const char *policy_program; /* NULL: the installed berth-policy */
	const cJSON *upstream;      /* the way out of all agents (upstream.h) */
};

/*
 * Somebody who waits for what they asked. done is called exactly once, perhaps before the asking
 * function returns: a is the agent, or NULL once it has been removed; err is NULL when it was done.
 * progress may be NULL.
 */
struct asker {
	void (*progress)(void *data, const char *step, const char *detail);
	void (*done)(void *data, struct agent *a, const struct err *err);
	void *data;
};

/* Reads the records. Nothing is started or touched. */
int agents_new(struct agents **ret, const struct agents_options *o, struct err *err);
/*
 * After a start of the daemon: adopts what runs, finishes or rolls back what was half done, removes
 * what belongs to nobody, and starts what should run.
 */
void agents_recover(struct agents *all);
/* Lets go of everything; VMs and policy processes go on. Askers are told. */
void agents_free(struct agents *all);
/* Stops every agent; they will be started again at the next start of the daemon if they ran. From
 * now on none starts. */
void agents_shutdown(struct agents *all,
	void (*progress)(void *data, const char *agent, unsigned left), void (*done)(void *data),
	void *data);

/* By name or id; NULL and 404 agent-not-found. */
struct agent *agents_find(struct agents *all, const char *name_or_id, struct err *err);
/* The next of all; NULL after the last. prev NULL: the first. */
struct agent *agents_next(struct agents *all, struct agent *prev);
const struct agent_record *agent_record(const struct agent *a);
enum agent_phase agent_phase(const struct agent *a);
/* One of the API's states: `creating` while a machine is made for it, be it the first, a start, or
 * after a crash. */
const char *agent_state(const struct agent *a);
/* The agent as the API shows it. */
cJSON *agent_json(struct agent *a);

/*
 * args: of the operation agent.create, checked for shape. Fails at once, or the asker is told when
 * the agent runs (or is there, with start false). An agent that could not be made leaves nothing
 * behind.
 */
int agent_create(struct agents *all, const cJSON *args, const char *by, const struct asker *asker,
	struct err *err);
/* args: of agent.update. */
int agent_update(struct agent *a, const cJSON *args, struct err *err);
/* ask: INPUT_START to INPUT_REMOVE. 409 wrong-state at once, or the asker is told. asker may be
 * NULL. */
int agent_ask(struct agent *a, enum agent_input ask, const char *by, const struct asker *asker,
	struct err *err);

/* The present policy (policy.h). */
const cJSON *agent_policy(const struct agent *a);
/* Keeps the policy (copied, in its normal form) and puts it in force; done is told. */
int agent_policy_set(struct agent *a, const cJSON *policy, const char *by,
	void (*done)(void *data, const struct err *err), void *data, struct err *err);
/* What it has used: `{bytes_per_run, bytes_per_day, limited}`; the caller's. */
cJSON *agent_usage(struct agent *a);
/* Writes the decisions that wait to be written together. */
void agents_egress_flush(struct agents *all);

/* The image that is meant: by id, or with NULL the configured or the newest. 404 image-not-found,
 * 409 no-image. */
int agents_image(struct agents *all, const char *wish, struct image *ret, struct err *err);

/*
 * Has the warm template of an image made, for new agents of the usual size; NULL: of the image that
 * is meant. 1: nothing to be done; 0: done is told, not from within.
 */
int agents_make_template(struct agents *all, const char *image,
	void (*done)(void *data, const struct err *err), void *data, struct err *err);

/* Somebody uses it: it is woken if it sleeps, and not thought idle. */
void agent_touch(struct agent *a);
/* The same, but if it sleeps it sleeps on. */
void agent_seen(struct agent *a);

/* agent_connect: a connection into a guest. */
struct agent_connection {
	int fd; /* connected, non-blocking; the callee's */
	unsigned long long generation;
	const char *state;
};
/*
 * Waits at most AGENT_CONNECT_MS until the agent runs (browser: and its browser is up), then
 * connects to the guest's port. done is called exactly once, with c or err.
 */
#define AGENT_CONNECT_MS 30000
void agent_connect(struct agents *all, struct agent *a, bool browser,
	void (*done)(void *data, const struct agent_connection *c, const struct err *err),
	void *data);

#endif
