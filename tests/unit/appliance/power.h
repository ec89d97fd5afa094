/*
 * What a power cut can leave of a folder, from what faults.h has recorded.
 *
 * Only what was synced is sure: of a file what it held at its last fsync, of a folder the names it
 * had at its own last fsync. What came after may be there or not.
 */
#ifndef BERTH_TEST_POWER_H
#define BERTH_TEST_POWER_H

#include <stdbool.h>

enum power_variant {
	POWER_NOTHING,   /* nothing that was not synced */
	POWER_NAMES,     /* all names, and no data */
	POWER_ZEROS,     /* all names, and files as long as they were, full of zeros */
	POWER_LAST_NAME, /* of the names only the very last: it overtook the others */
	N_POWER_VARIANTS,
};

struct power;
/* The folder as it is now, all of it synced; copies go into log. */
struct power *power_new(const char *root, const char *log);
void power_free(struct power *p);
/* Takes the next line of LOG/log (several, if they are writes of one file); false: there is none.
 */
bool power_next(struct power *p);
/* How many calls had been made by then. */
unsigned power_calls(const struct power *p);
/* What was done last, for messages. */
const char *power_last(const struct power *p);
/* Makes `to`, as a cut now leaves it. False when that is as an earlier one was of which the same
 * was expected: nothing is made. */
bool power_cut(struct power *p, enum power_variant v, unsigned expected, const char *to);

#endif
