/* The parts of entering the house. Private to house*.c. */
#ifndef BERTH_HOUSE_PREPARE_H
#define BERTH_HOUSE_PREPARE_H

#include <sys/types.h>

#include "house.h"

/* The ids that the user namespace will have: inside 0…count-1 are base… outside. */
struct house_ids {
	unsigned base, count;
};

/*
 * With the caller's rights on the host. The state folder belongs to the appliance, which the host
 * does not trust: nothing here follows a link or walks a path inside it by name.
 */

/* For root: the range, or what of the caller's own namespace can be given away. */
int house_pick_ids(struct house_ids *ret, struct err *err);
/* Makes STATE; as root gives away what in it belongs to ids that will not exist inside. */
int house_prepare_state(const char *state, const struct house_ids *ids, struct err *err);
/* As root: private nodes STATE/run/tun and STATE/run/dev/kvm; those that cannot be made are not
 * there. */
void house_prepare_nodes(const char *state, const struct house_ids *ids);
/* Makes and gives away cgroups; moves process `pid` into its own (v2). The content of run/cgroups,
 * or NULL. */
char *house_prepare_cgroups(const char *state, const struct house_ids *ids, pid_t pid);
void house_remove_cgroups(const char *state);

/* Inside: empties STATE/run and makes the fixed folders. Nothing of the appliance may live. */
int house_furnish(const char *state, struct err *err);
/* Inside: lets go of every network namespace that is still pinned. */
void house_unpin(const char *state);
/* Inside, in a new mount namespace beside machines that outlived the old one: pins their networks
 * again. */
void house_repin(const char *state);

#endif
