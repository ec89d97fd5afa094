/* The life of an agent as a table: phase and input give the next phase and what is to be done. */
#ifndef BERTH_AGENT_FSM_H
#define BERTH_AGENT_FSM_H

#include <stdbool.h>

enum agent_phase {
	PHASE_STOPPED,
	PHASE_FAILED,
	PHASE_PREPARE, /* disk and namespace are being made */
	PHASE_POLICY,  /* berth-policy starts and takes the rules */
	PHASE_BOOT,    /* QEMU runs, the guest is not ready */
	PHASE_BROWSER, /* the guest is ready, its browser not up for the first time */
	PHASE_RUNNING,
	PHASE_STOPPING,   /* the guest powers off, to stay so */
	PHASE_RESTARTING, /* the guest powers off, to start again */
	PHASE_REMOVING,   /* QEMU ends, then the record */
	PHASE_BACKOFF,    /* after a crash, waiting to start again */
	PHASE_SUSPENDED,  /* its memory is in its folder */
	PHASE_SUSPENDING, /* its memory is being written, QEMU then ends */
	PHASE_SAVING,     /* it stands still for a snapshot, and will run on */
	PHASE_REWINDING,  /* QEMU ends; disk and memory become those of a snapshot */
	PHASE_REMOVED,    /* gone; the object is freed */
	N_PHASES,
};

enum agent_input {
	/* what people ask for */
	INPUT_START,
	INPUT_STOP,
	INPUT_KILL,
	INPUT_RESTART,
	INPUT_REMOVE,
	INPUT_SUSPEND,
	INPUT_REWIND, /* agent_restore has said to what */
	/* what steps report */
	INPUT_PREPARED,
	INPUT_POLICY_READY,
	INPUT_READY,
	INPUT_BROWSER_UP,
	INPUT_BROWSER_LATE,
	INPUT_ERROR,     /* a step could not be done */
	INPUT_ERROR_NEW, /* the same, in the making of a new agent */
	/* how QEMU ended */
	INPUT_ENDED_OFF,     /* the guest powered off */
	INPUT_ENDED_RETRY,   /* crash or hang; another try is due */
	INPUT_ENDED_STAY,    /* crash or hang; the record says to stop */
	INPUT_ENDED_GIVE_UP, /* crash or hang; it was one too many */
	INPUT_ENDED_SAVED,   /* its memory is in its folder */
	INPUT_TIMER,         /* the backoff is over */
	INPUT_UNWARM, /* what it was to wake from is of no use; there is no QEMU (any more) */
	INPUT_SAVE,   /* a snapshot begins */
	INPUT_SAVED,  /* and the guest runs on */
	N_INPUTS,
};
#define N_ASKS (INPUT_REWIND + 1)

enum agent_action {
	ACTION_REFUSE = 0, /* asks: 409 wrong-state; anything else: too late to matter */
	ACTION_DONE,       /* answer: it is so already */
	ACTION_JOIN,       /* under way: answer when it is done */
	ACTION_PREPARE,
	ACTION_POLICY,
	ACTION_VM,
	ACTION_READY,
	ACTION_UP,
	ACTION_UP_LATE,
	ACTION_SHUTDOWN,
	ACTION_KILL,
	ACTION_CLEAN,       /* end berth-policy, remove the namespace; stopped */
	ACTION_CLEAN_CRASH, /* the same after a crash */
	ACTION_FAIL,        /* the same; failed */
	ACTION_BACKOFF,     /* QEMU is gone, the namespace stays; wait */
	ACTION_AGAIN,       /* QEMU is gone; prepare at once */
	ACTION_DELETE,      /* clean, remove disk and record */
	ACTION_SUSPEND,
	ACTION_ASLEEP,  /* QEMU has ended; berth-policy ends, the namespace stays */
	ACTION_AWAKE,   /* the memory could not be written: it runs on */
	ACTION_FORGET,  /* clean, and forget the memory; stopped */
	ACTION_REWIND,  /* QEMU has ended; take the snapshot's disk and memory, then prepare */
	ACTION_NOTHING, /* the phase says it all */
};

struct agent_step {
	enum agent_phase next;
	enum agent_action action;
};

struct agent_step agent_fsm(enum agent_phase phase, enum agent_input input);
/* "booting" …: what an agent in that phase is doing, for people. */
const char *agent_phase_name(enum agent_phase phase);
/* The step of a start that the phase is, for progress messages; NULL if it is none. */
const char *agent_phase_step(enum agent_phase phase);
/* True while QEMU may run. */
bool agent_phase_has_vm(enum agent_phase phase);

/*
 * Crashes within CRASH_WINDOW_MS, to decide whether another try is due. Embedded; zeroed at a start
 * by somebody.
 */
#define CRASHES_MAX 5
#define CRASH_WINDOW_MS (10 * 60 * 1000)
#define BACKOFF_FIRST_MS 1000
#define BACKOFF_MAX_MS 60000
struct crash_count {
	unsigned long long at[CRASHES_MAX]; /* ms, the newest last */
	unsigned n;
};
/* Counts a crash. The time to wait before the next try in ms, or -1: give up. */
int crash_count_add(struct crash_count *c, unsigned long long now_ms);

#endif
