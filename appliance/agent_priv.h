/* What the agent_*.c files share. Nobody else includes this. */
#ifndef BERTH_AGENT_PRIV_H
#define BERTH_AGENT_PRIV_H

#include "agent.h"
#include "policy_link.h"
#include "verify.h"
#include "vm.h"
#include "watch.h"

#define START_STAGGER_MS 300 /* between the starts of agents after a start of the daemon */
#define POLICY_TIMEOUT_MS 20000
#define BOOT_TIMEOUT_MS 180000
#define ADMIT_LOOK_MS 500 /* between looks at whether the host has room */
#define ADMIT_MAX_MS 30000
#define LOG_BURST 100 /* lines of one guest's log at once, and a second */
#define LOG_RATE 20
#define INPUTS_MAX 8
#define CONNECTING_MAX 1024
#define EGRESS_QUEUE_MAX 256
#define EGRESS_FLUSH_MS 300

struct agent_asker {
	struct agent_asker *next;
	enum agent_input ask;
	struct asker asker;
};

struct agent {
	struct agents *all;
	struct agent *next;
	struct agent_record rec;
	cJSON *policy; /* as it should be in force */
	struct usage_record usage;
	bool usage_changed; /* since it was written down */
	cJSON *budget;      /* as berth-policy was told */
	enum agent_phase phase;
	struct vm *vm;
	unsigned vm_memory_mib, vm_cpus; /* of it: the record may say otherwise for the next boot */
	struct policy_link *link;
	struct watch_timer *timer;     /* of the phase */
	struct image_wait *image_wait; /* in PHASE_PREPARE; NULL: none */
	struct agent_asker *askers;
	struct crash_count crashes;
	struct err err;       /* why the last step failed */
	char end_detail[300]; /* how QEMU ended */
	char by[80];          /* who asked last, "" for nobody */
	int browser;          /* enum guest_browser_state */
	unsigned browser_restarts;
	uint64_t browser_begun;   /* now_ms() when the guest said that it starts it, 0: not heard */
	struct guest_ready ready; /* what the guest said of this boot */
	bool policy_down;         /* told so, and not yet that it is back */
	bool browser_known;       /* an earlier daemon has told that the browser is up */
	bool after_crash;         /* this start is another try, by nobody's wish */
	bool adopted;             /* until the guest is ready: this boot is not a new one */
	enum agent_input inputs[INPUTS_MAX];
	size_t n_inputs;
	bool feeding;
	double log_tokens; /* of the bucket that bounds guest.log */
	uint64_t log_at, log_dropped;
	struct template_wait *template_wait; /* for the template that it is to begin from */
	bool warm, cold;           /* begins from a template; boots, whatever templates there are */
	char cold_why[200];        /* why it boots though it could have begun from one */
	struct verify *verifying;  /* what it is about to wake from */
	struct agent_save *save;   /* the snapshot under way */
	struct agent_merge *merge; /* layers that become one; NULL: none do */
	uint64_t merge_after;      /* ms: not before that */
	char rewind[64];           /* the snapshot to go back to */
	char rewind_disk[64];      /* what its guest will write then */
	bool woke;                 /* this life came from memory; until the guest is ready */
	bool still_asleep;         /* a wake is being undone, and err says why */
	enum agent_input
		after_wake;    /* INPUT_STOP or INPUT_RESTART once it is awake, else INPUT_START */
	uint64_t waits_since;  /* ms: for memory of the host */
	unsigned promised_mib; /* what it was let start with */
	uint64_t active_at;    /* ms: the last request for it */
	uint64_t memory, memory_at; /* of QEMU, looked at not more often than every 5 s */
};

struct egress_waiting {
	char agent[64];
	int64_t time;
	cJSON *entry;
};

struct connecting;

struct agents {
	struct agents_options o;
	char *state;
	struct agent *first;
	bool shutting;
	void (*shutdown_progress)(void *data, const char *agent, unsigned left);
	void (*shutdown_done)(void *data);
	void *shutdown_data;
	struct watch_timer *shutdown_timer;
	struct egress_waiting egress[EGRESS_QUEUE_MAX];
	size_t n_egress;
	uint64_t egress_dropped;
	struct watch_timer *egress_timer;
	struct connecting *connecting;
	unsigned n_connecting;
	struct verifier *verifier;
	struct templates *templates;
	struct watch_timer *idle_timer;
};

/* agent.c */
struct agent *agent_new(struct agents *all, struct agent_record *rec);
void agent_free(struct agent *a);
/* Writes the record; a failure is logged, what runs goes on. */
void agent_save(struct agent *a);
__attribute__((format(printf, 4, 5))) void agent_event(
	struct agent *a, const char *type, cJSON *data, const char *fmt, ...);

int agent_check_labels(const cJSON *labels, struct err *err);
int agent_check_on_crash(const char *text, struct err *err);
int agent_check_idle(const cJSON *args, struct err *err);

/* agent_limits.c */
/* What the berth-policy of that instance may let through: the arguments of its budget.set, the
 * caller's. */
cJSON *agent_budget(struct agent *a, const char *instance);
/* A usage event of berth-policy: not checked. */
void agent_usage_told(struct agent *a, const cJSON *event);
/* Does what the limits ask for now: tells, suspends, wakes, sends another budget. */
void agent_limits_look(struct agent *a);
/* 409 limit-reached where it sleeps because of a limit. */
int agent_limits_let_wake(const struct agent *a, struct err *err);
void agents_usage_save(struct agents *all);

/* agent_run.c */
void agent_add_asker(struct agent *a, enum agent_input ask, const struct asker *asker);
void agent_feed(struct agent *a, enum agent_input input);
/* Ends berth-policy, removes namespace, cgroup and run folder; idempotent. QEMU has ended. */
void agent_clean(struct agent *a);
void agent_start_policy(struct agent *a);
int agent_adopt_vm(struct agent *a, struct err *err);

/* What it sleeps with cannot be used: a->end_detail says why. Its memory stays as it is. */
void agent_unwakeable(struct agent *a);
/* It could not be woken, for a reason that is not in its memory: a->end_detail. It sleeps on. */
void agent_not_woken(struct agent *a, int code);
/* agent_vm.c: boots it, or wakes it from m (a manifest with memory). */
int agent_start_vm(struct agent *a, const cJSON *m, struct err *err);
/* A step failed, and a->err says why. */
void agent_failed(struct agent *a);
/* Told to those who asked for one of the mask (1 << input). */
void agent_answer(struct agent *a, unsigned mask, struct agent *shown, const struct err *err);
void agent_set_state(struct agent *a, const char *state, const char *detail);

/* Progress for those who asked. */
void agent_tell_askers(struct agent *a, const char *step, const char *detail);
/* Its disk is there or can be made, its memory, if it sleeps, has been linked: goes on with
 * PREPARE. */
void agent_files_ready(struct agent *a, int result);

/* agent_fresh.c: it has never run, and stands on nothing. */
bool agent_is_fresh(const struct agent *a);
/* Gives it a template's files, perhaps after that has been made; agent_files_ready follows. */
void agent_begin_fresh(struct agent *a);
/* It stands on nothing again. */
int agent_blank(struct agent *a, struct err *err);
/* Its template was of no use: that goes, and the next try boots. */
int agent_unwarm(struct agent *a, struct err *err);

/* agent_create.c: an agent of our own, which nobody sees. Not started yet. */
struct template_shape;
struct agent *agent_create_hidden(
	struct agents *all, const struct template_shape *shape, struct err *err);
static inline bool agent_is_hidden(const struct agent *a)
{
	return a->rec.name[0] == '.';
}

/* Nothing of it runs, and it is not on its way anywhere. */
static inline bool agent_rests(const struct agent *a)
{
	return a->phase == PHASE_STOPPED || a->phase == PHASE_FAILED || a->phase == PHASE_SUSPENDED;
}

/* agent_folder.c */
char *agent_folder(const struct agent *a);
char *agent_sleep_folder(const struct agent *a);
/* What the disk stands on: an array of {name, digest}, the lowest first; the caller's to delete. */
cJSON *agent_layers(const struct agent *a);
/* "NAME.qcow2" of the layer right below the disk, or NULL; the caller's to free. */
char *agent_lower_disk(const struct agent *a);
/* Folder, disk and what memory stands on; idempotent. */
int agent_folder_make(struct agent *a, struct err *err);
/* The record names that file of its folder. */
bool agent_folder_names(const struct agent *a, const char *file);
/* Removes what the record does not name. */
void agent_folder_sweep(struct agent *a);
uint64_t agent_folder_bytes(const struct agent *a);
/* Memory and processors of the machine that runs or sleeps; of the next boot if there is none. */
void agent_size(const struct agent *a, unsigned *ret_memory_mib, unsigned *ret_cpus);
/* The manifest of the memory that it can wake from, or NULL and err: -ENOENT when it does not
 * sleep. */
cJSON *agent_sleep(const struct agent *a, struct err *err);
bool agent_sleeps(const struct agent *a);
/* The memory becomes old: from here on the disk goes on without it. */
int agent_sleep_consume(struct agent *a, struct err *err);
/* The same, and its files go; nothing to do when it does not sleep. */
void agent_sleep_forget(struct agent *a);
/* Its memory is used up, and the guest has not yet said that it knows who it is: sleep.old is there
 * until then. */
bool agent_half_awake(const struct agent *a);

/*
 * The record: its disk is a layer from now on, and `disk` on top of it what the guest writes.
 * written: QEMU does so already, so it is true whether it can be written down now or not.
 */
int agent_push_disk(struct agent *a, const char *disk, bool written, struct err *err);

/* agent_merge.c: begins to merge layers if there are too many and nobody is in the way. */
void agent_merge_look(struct agent *a);
int agent_merge_begin(struct agent *a, struct err *err);
/* Before a snapshot: true if that must wait for agent_save_merged. */
bool agent_merge_first(struct agent *a);
/* Ends it, unless the disk is just being moved; what was made of it goes. */
void agent_merge_stop(struct agent *a);
/* There is no QEMU any more. */
void agent_merge_drop(struct agent *a);
/* The record names the one chain that the disk stands on. QEMU does nothing to it meanwhile. */
void agent_layers_settle(struct agent *a);

/* agent_save.c */
void agent_suspend(struct agent *a);
/* A snapshot that waited for the layers goes on. */
void agent_save_merged(struct agent *a);
/* The guest has ended or the agent goes: a snapshot under way will not be. */
void agent_save_abort(struct agent *a, const struct err *why);
/* agent_wake.c: checks the layers that it stands on, and the memory file of the manifest that it
 * sleeps with (or NULL); done's data is the agent. NULL: there is nothing to check. */
struct verify *agent_verify(struct agent *a, const cJSON *manifest, verify_done_fn *done);
/* Makes disk and memory those of a->rewind. */
int agent_rewind(struct agent *a, struct err *err);

/* agent_admit.c: may it start now? 503 host-busy if the host has no memory for it. */
int agent_admit(struct agent *a, struct err *err);

/* agent_idle.c: of the timer; data is the agents. Starts it again. */
void agents_look_for_idle(void *data);

/* agent_egress.c */
void agent_egress_add(struct agent *a, const cJSON *entry);
/* Any other event of its berth-policy: believe nothing of it either. */
void agent_policy_told(struct agent *a, const char *type, const cJSON *event);

/* agent_connect.c */
void agents_connect_cancel(struct agents *all);

#endif
