/* The parser's end of the channel to the wall. */
#ifndef BERTH_POLICY_WALL_CLIENT_H
#define BERTH_POLICY_WALL_CLIENT_H

#include <stdint.h>
#include <uv.h>

#include "wall_msg.h"

#define WALL_QUEUE_MAX       \
	(2 * WALL_PINS_MAX + \
		WALL_NETS_MAX) /* requests that wait; one more is refused with -ENOBUFS */
#define WALL_PATIENCE_MS 5000  /* twice without any answer: it is as good as dead */

struct wall_client;

/* Never called from within wall_ask. */
typedef void wall_done_fn(void *data, const struct wall_answer *answer);

/* fd is taken. lost is called once, with why, when the wall has ended or does not answer: then
 * this process must end. */
struct wall_client *wall_client_new(
	uv_loop_t *loop, int fd, void (*lost)(void *data, const char *why), void *data);
/* Queues a request; -ENOBUFS when too many wait (then done is not called). Answers come in order.
 */
int wall_ask(struct wall_client *w, const struct wall_request *r, wall_done_fn *done, void *data);

#endif
