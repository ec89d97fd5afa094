/* What this machine has and lacks for running agents. */
#ifndef BERTH_DOCTOR_H
#define BERTH_DOCTOR_H

#include <stdbool.h>

enum doctor_result { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL };

/* One thing looked at. Strings are inside. */
struct doctor_finding {
	enum doctor_result result;
	char what[80], cause[300], way_out[300];
};

/* Gives each finding as soon as it is known. True when agents can run. */
typedef void doctor_fn(void *data, const char *name, const struct doctor_finding *finding);
/* A name of what is being looked at, before each; for what takes long. */
typedef void doctor_busy_fn(void *data, const char *name);
bool doctor_run(const char *state, doctor_fn *fn, doctor_busy_fn *busy, void *data);

#endif
