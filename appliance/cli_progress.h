/* What a waiting person sees on stderr: a spinner with the step and the time on a terminal, plain
 * lines elsewhere. */
#ifndef BERTH_CLI_PROGRESS_H
#define BERTH_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	const char *doing; /* "creating demo"; the caller's */
	char step[200];
	uint64_t started_ms;
	unsigned frame;
	bool tty, shown, quiet;
};

void progress_start(struct progress *p, const char *doing);
/* step (and detail, may be NULL) from elsewhere: control characters are replaced. */
void progress_step(struct progress *p, const char *step, const char *detail);
/* Counts bytes instead of steps; total 0 if it is not known. */
void progress_bytes(struct progress *p, uint64_t done, uint64_t total);
/* To be called several times a second. */
void progress_tick(struct progress *p);
/* Clears the line; on a terminal says how long it took if that was long. */
void progress_end(struct progress *p, bool fine);

#endif
