/* A folder under /tmp for one test program, removed at its end. */
#ifndef BERTH_TEST_SCRATCH_H
#define BERTH_TEST_SCRATCH_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "util.h"

__attribute__((weak)) char scratch_path[64]; /* one for all files of a program */

/* A fresh state folder with run/ in it. */
static inline const char *scratch_new(void)
{
	AUTOFREE char *run = NULL;

	snprintf(scratch_path, sizeof(scratch_path), "/tmp/berth-test-XXXXXX");
	assert_non_null(mkdtemp(scratch_path));
	run = xasprintf("%s/run", scratch_path);
	assert_int_equal(make_dir(run, 0711, NULL), 0);
	return scratch_path;
}

static inline void scratch_end(void)
{
	assert_int_equal(remove_tree(scratch_path, NULL), 0);
}

#endif
