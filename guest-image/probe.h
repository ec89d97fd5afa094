/* Asks once whether Chromium answers on its DevTools port. */
#ifndef BERTH_INIT_PROBE_H
#define BERTH_INIT_PROBE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define PROBE_MS 5000 /* no answer by then is none */

/* Called once, from the loop. */
typedef void probe_fn(void *data, bool answers);
void probe(uv_loop_t *loop, uint16_t port, probe_fn *fn, void *data);

#endif
