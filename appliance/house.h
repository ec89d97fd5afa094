/* The house: the user and mount namespace that all of an appliance's processes live in. */
#ifndef BERTH_HOUSE_H
#define BERTH_HOUSE_H

#include <stdbool.h>
#include <sys/types.h>

#include "err.h"

/* What the inside has on offer; filled by house_enter. */
struct house {
	unsigned n_ids; /* uids 0…n_ids-1 exist inside: 65536, or 1 */
	bool tun;       /* a tun node can be opened */
	bool kvm;       /* a kvm node can be opened; whether it works says kvm_probe.h */
	bool cgroups;   /* memory, cpu and pids limits will be in force */
	bool joined; /* an appliance lived already on this state folder: we are in its namespaces */
	char warning[300]; /* "" or one line for the person: what will be missing and how to get it
			    */
};

/*
 * What `berth up` does before anything else: makes STATE with its folders, prepares what only the
 * caller's rights on the host can (tun and kvm nodes, cgroups, ownership), and moves this process
 * into the appliance's user and mount namespace, where it is uid 0. Single-threaded callers only;
 * there is no way back. BERTH_STATE is set to the absolute path. `state` may be relative.
 */
int house_enter(const char *state, struct house *ret, struct err *err);
/*
 * After the last process has ended: empties STATE/run and lets the host's part (delegated cgroups)
 * be removed. Called by the supervisor; safe to call twice.
 */
void house_leave(const char *state);
/* A living process of the appliance other than the supervisor: berthd, the gateway, an agent's. 0:
 * none. */
pid_t house_living(const char *state);
/* Ends all of them at once, for when no berthd can be had that would do it gently. house_enter has
 * been called. */
void house_kill_living(const char *state);
/* Looks without touching: can agents run here, and what is missing (for `berth doctor`)? false:
 * `err` says what. */
bool house_check_namespaces(struct err *err);
bool house_check_tun(const char *state, struct err *err);

/* Who is who inside. With a single id all of them are 0 (house_drop takes care). */
#define HOUSE_UID_GATEWAY 2
#define HOUSE_UID_POLICY 3
#define HOUSE_UID_VIEW 4
#define HOUSE_UID_PROBE 5
#define HOUSE_UID_AGENT 1000 /* + slot */
#define HOUSE_IDS 65536u
#define HOUSE_HOST_BASE 1845493760u

/* True when uids other than 0 exist in this user namespace. */
bool house_has_ids(void);
/* chown for an identity of the table above; nothing to do in a single-id namespace. */
int house_chown(const char *path, uid_t uid, gid_t gid, struct err *err);
/*
 * For a child before exec: no groups, uid and gid (if such ids exist), no capability in any set,
 * no_new_privs. Allocates nothing. 0 or a negative errno.
 */
int house_drop(uid_t uid);

#endif
