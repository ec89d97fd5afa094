/* QEMU's monitor (QMP): commands and events over its unix socket, without waiting. */
#ifndef BERTH_QMP_H
#define BERTH_QMP_H

#include <cjson/cJSON.h>
#include <uv.h>

#include "err.h"

struct qmp; /* owned by the vm */

struct qmp_callbacks {
	/* An event: "SHUTDOWN", "RESET", "GUEST_PANICKED", "STOP"…; event data may be NULL. */
	void (*event)(void *data, const char *name, const cJSON *event_data);
	/* The connection is gone; the last call. The qmp may be freed from within. */
	void (*closed)(void *data, const char *why);
};

/* ret: the command's return value during the call, or NULL with err. */
typedef void qmp_answer_fn(void *data, const cJSON *ret, const struct err *err);

/*
 * Connects to the socket at path (QEMU has been given it listening, so this does not wait), and
 * negotiates. Commands may be queued at once. Format: QEMU's docs/interop/qmp-spec.rst.
 */
int qmp_connect(struct qmp **ret, uv_loop_t *loop, const char *path, const struct qmp_callbacks *cb,
	void *data, struct err *err);
/* args is consumed (may be NULL); fn may be NULL. Without an answer within timeout_ms fn gets
 * -ETIMEDOUT. */
void qmp_command(struct qmp *q, const char *command, cJSON *args, unsigned timeout_ms,
	qmp_answer_fn *fn, void *data);
/* No callback comes after this. NULL is fine. */
void qmp_free(struct qmp *q);

#endif
