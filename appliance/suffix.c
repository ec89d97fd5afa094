/* The public suffix list: the newest of the system's and of what libpsl was built with. */
#include "suffix.h"

#include <libpsl.h>
#include <stddef.h>
#include <stdlib.h>

/* Loaded at the first use; lives as long as the process. */
static psl_ctx_t *list;

static void unload(void)
{
	psl_free(list);
}

static const psl_ctx_t *get_list(void)
{
	if (!list) {
		list = psl_latest(NULL);
		if (!list)
			abort(); /* it is built into libpsl */
		atexit(unload);
	}
	return list;
}

bool suffix_is_public(const char *name)
{
	return psl_is_public_suffix(get_list(), name);
}

const char *suffix_registered(const char *name)
{
	return psl_registrable_domain(get_list(), name);
}
