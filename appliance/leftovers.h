/* What lies in the state folder, or runs, and belongs to nobody. */
#ifndef BERTH_LEFTOVERS_H
#define BERTH_LEFTOVERS_H

#include <cjson/cJSON.h>

#include "agent.h"

/*
 * An array of {path, what}: path is below the state folder, or "cgroup ID". A healthy appliance has
 * none: berthd itself sweeps what was cut short, when it starts and after each step. The files of
 * an agent that is on its way somewhere are not looked at.
 */
cJSON *leftovers_find(struct agents *all);

#endif
