/* Tells of the packets that the wall refused, as decisions. */
#ifndef BERTH_POLICY_REFUSALS_H
#define BERTH_POLICY_REFUSALS_H

#include <uv.h>

#include "events.h"
#include "wall_client.h"

#define REFUSALS_MS 2000 /* between two looks */

/* From now on, as long as the loop runs. All are kept. */
void refusals_watch(uv_loop_t *loop, struct wall_client *wall, struct events *events);
/* The decision that a refused packet stands for; its name is "" and its protocol is written into
 * room. */
struct egress refusals_decision(const struct wall_refusal *r, char room[16]);

#endif
