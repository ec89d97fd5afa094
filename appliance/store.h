/* The records: agents, policies, tokens, events, egress decisions, actions, in one SQLite database.
 */
#ifndef BERTH_STORE_H
#define BERTH_STORE_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "rules.h"

#define STORE_AGENTS_MAX 500
#define STORE_TOKENS_MAX 10000
#define STORE_EVENTS_MAX 20000
#define STORE_EGRESS_MAX 2000 /* entries kept per agent */
#define STORE_ACTIONS_MAX 10000
#define STORE_ACTIONS_BYTES (8 << 20)   /* of their texts, per agent */
#define STORE_PICTURES_BYTES (16 << 20) /* of their pictures in base64, per agent */
#define STORE_HASH_LEN 32

struct store;

/*
 * Opens STATE/berth.db (made with mode 0600 if there is none), checks it and brings it to the
 * present version. A damaged database or one of a newer version is refused with a hint and left as
 * it is.
 */
int store_open(struct store **ret, const char *state, struct err *err);
/* Closes it; everything committed is on the disk already. */
void store_close(struct store *s);
/* Writes STATE/berth.db.bak, whole or not at all. */
int store_backup(struct store *s, struct err *err);

/* Several changes as one. Not nested. */
int store_begin(struct store *s, struct err *err);
int store_commit(struct store *s, struct err *err);
void store_rollback(struct store *s);

/* A word kept under a name; *ret is the caller's, NULL when there is none. */
int store_meta_get(struct store *s, const char *key, char **ret, struct err *err);
int store_meta_set(struct store *s, const char *key, const char *value, struct err *err);

/* What berth knows of an agent without its VM. Embedded in its owner; labels is owned by the
 * record. */
struct agent_record {
	char id[64], name[64], image[64], parent[64];
	unsigned slot, memory_mib, cpus, disk_gib, port; /* port 0: none */
	char on_crash[8];                                /* "restart", "stop" */
	char state[12];   /* "creating", "running", "suspended", "stopped", "failed" */
	char wanted[12];  /* "run", "stop", "remove" */
	char detail[600]; /* why it is in that state, "" if nothing to say */
	char *labels;     /* a JSON object of strings */
	uint8_t machine_id[16];
	int64_t created_at, started_at; /* Unix ns, 0 never */
	unsigned restarts;              /* after crashes, since its last start by somebody */
	unsigned boots;                 /* ever */
	char disk[64];                  /* what the guest writes: agents/ID/DISK.qcow2 */
	char *layers; /* what that stands on: a JSON array of {name, digest}, the lowest first */
	/* what the disk is being put on instead, "" or NULL nothing: its header says which is true
	 */
	char *next_layers;
	char base[64];         /* what its memory is a view of: agents/ID/BASE */
	char base_digest[68];  /* hex; "" for SNAPSHOT_ZERO_BASE */
	char head[64];         /* the snapshot that it last was the same as, "" none */
	unsigned idle_suspend; /* s without a request until it is suspended, 0 never */
};

void agent_record_done(struct agent_record *r);
/* Puts the record in, with the lowest free slot, which it fills in. 409 agent-exists,
 * limit-reached. */
int store_agent_add(struct store *s, struct agent_record *r, struct err *err);
/* Writes everything but id, slot, machine_id and created_at. */
int store_agent_save(struct store *s, const struct agent_record *r, struct err *err);
/* Takes it out, with its policy, tokens, egress entries and actions. A missing one is fine. */
int store_agent_remove(struct store *s, const char *id, struct err *err);
/* Calls back for each in the order of creation; r is the callee's to keep or to give to
 * agent_record_done. */
int store_agents(struct store *s, void (*fn)(void *data, struct agent_record *r), void *data,
	struct err *err);
/* The policy of an agent: an object (policy.h), as it is. */
int store_policy_set(struct store *s, const char *agent, const cJSON *policy, struct err *err);
int store_policy_get(struct store *s, const char *agent, cJSON **ret, struct err *err);

/* What an agent has used of the network. */
struct usage_record {
	char instance[64]; /* of the berth-policy that counts */
	uint64_t counted;  /* bytes of its count that are in here */
	unsigned life;     /* the agent's, in which run is used */
	int64_t date;      /* days since 1970 in UTC, on which day is used */
	uint64_t run, day; /* bytes both ways */
	char limited[24];  /* the limit that is used up, "" for none */
	bool put_to_sleep; /* because of it */
};

int store_usage_set(
	struct store *s, const char *agent, const struct usage_record *u, struct err *err);
/* Nothing kept yet is nothing used. */
int store_usage_get(struct store *s, const char *agent, struct usage_record *ret, struct err *err);

struct token_record {
	char id[64], role[8], label[256];
	char agent[64], agent_name[64];               /* "" for all agents; the name is only read */
	uint8_t hash[STORE_HASH_LEN];                 /* not filled by store_tokens */
	int64_t created_at, expires_at, last_used_at; /* Unix ns, 0 never */
};

int store_token_add(struct store *s, const struct token_record *t, struct err *err);
/* 1 found, 0 not, or a negative errno. */
int store_token_find(struct store *s, const uint8_t hash[STORE_HASH_LEN], struct token_record *ret,
	struct err *err);
int store_token_used(struct store *s, const char *id, int64_t when, struct err *err);
/* 404 token-not-found. */
int store_token_remove(struct store *s, const char *id, struct err *err);
int store_tokens(struct store *s, void (*fn)(void *data, const struct token_record *t), void *data,
	struct err *err);

struct event_record {
	int64_t seq, time;
	const char *type, *agent, *agent_id, *by, *detail; /* "" where there is none */
	const char *data;                                  /* a JSON object */
};

/* Adds one under its own seq and forgets those over STORE_EVENTS_MAX. */
int store_event_add(struct store *s, const struct event_record *e, struct err *err);
/* The seq of the last one ever, 0 if none. */
int store_event_last(struct store *s, int64_t *ret, struct err *err);
/*
 * Those with seq > after, oldest first, of one agent (its id) or of all (NULL): the first `limit`
 * of them, or with `newest` the last `limit`. e is valid during the call.
 */
struct event_query {
	const char *agent_id;
	int64_t after;
	unsigned limit;
	bool newest;
};
int store_events(struct store *s, const struct event_query *q,
	void (*fn)(void *data, const struct event_record *e), void *data, struct err *err);

struct egress_record {
	int64_t seq; /* of the log, filled in by store_egress */
	int64_t time, bytes_up, bytes_down, duration_ms, count;
	unsigned port;
	const char *name, *address, *protocol, *rule, *verdict,
		*reason; /* "" where there is none */
};

/*
 * Adds an entry and forgets those over STORE_EGRESS_MAX of its agent. A denial equal to one less
 * than EGRESS_REPEAT_NS old is counted there instead (*ret_repeated).
 */
#define EGRESS_REPEAT_NS 60000000000
int store_egress_add(struct store *s, const char *agent, const struct egress_record *e,
	bool *ret_repeated, struct err *err);
/* Those with seq > after (0: all), the newest `limit` of them, newest last; verdict NULL: each.
 * What is counted once more gets a new seq. */
struct egress_query {
	const char *agent, *verdict;
	int64_t after;
	unsigned limit;
};
int store_egress(struct store *s, const struct egress_query *q,
	void (*fn)(void *data, const struct egress_record *e), void *data, struct err *err);

/* What a model did in an agent's browser (docs/action-log.md). */
struct action_record {
	int64_t seq; /* of the log, filled in by store_actions */
	int64_t time /* Unix ns, when it began */, duration_ms;
	const char *source, *by, *action, *error, *url; /* "" where there is none */
	const char *params;                             /* a JSON object */
	/* Pictures of the page, by their id; 0: none, from store_actions also when they are gone.
	 */
	int64_t before, after;
};

/* Adds one, unless the agent has one that began in the same moment: a report that comes twice. 1 it
 * was added, 0 not. */
int store_action_add(
	struct store *s, const char *agent, const struct action_record *a, struct err *err);
/* A picture (JPEG in base64) under an id that grows with time: the one after the action that began
 * at `of` (Unix ns; 0: of none). One that is there already stays. */
int store_action_picture(struct store *s, const char *agent, int64_t id, int64_t of,
	const char *jpeg, struct err *err);
/* The one before or after an action. *ret is the caller's; NULL when there is none. */
int store_action_picture_get(
	struct store *s, const char *agent, int64_t seq, bool before, char **ret, struct err *err);
/* Forgets the oldest of an agent's over STORE_ACTIONS_MAX or STORE_ACTIONS_BYTES, and pictures
 * over STORE_PICTURES_BYTES: the oldest twentieth, so that it is not done for each. */
int store_actions_trim(struct store *s, const char *agent, struct err *err);
/* Oldest first: the first `limit` of those with seq > after, or with after 0 the last `limit` of
 * all. */
struct action_query {
	const char *agent;
	int64_t after;
	unsigned limit;
};
int store_actions(struct store *s, const struct action_query *q,
	void (*fn)(void *data, const struct action_record *a), void *data, struct err *err);

#endif
