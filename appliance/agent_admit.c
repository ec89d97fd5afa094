/*
 * Room for another machine: may one more start now?
 *
 * What the host has available must hold what the machine is expected to take beside what is
 * promised to those that are starting and have not taken it yet, and leave the operator's reserve.
 * One that wakes is expected to take the pages it slept with; one that boots, half of its memory,
 * which is what a browser with a few tabs was seen to touch; both, QEMU's own.
 */
#include "agent_priv.h"
#include "json.h"
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#define MIB (UINT64_C(1) << 20)
#define QEMU_MIB                                                                        \
	96 /* beside the guest's memory: the program, and the first of TCG's code cache \
	    */

static uint64_t available_mib(void)
{
	AUTOFREE char *text = NULL;
	const char *line;
	uint64_t kib;

	if (file_read(AT_FDCWD, "/proc/meminfo", 65536, &text, NULL, NULL) < 0)
		return UINT64_MAX;
	line = strstr(text, "MemAvailable:");
	return line && sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1 ? kib / 1024 : UINT64_MAX;
}

static unsigned expected_mib(const struct agent *a)
{
	cJSON *m = agent_sleep(a, NULL);
	unsigned mib = a->rec.memory_mib / 2;

	if (m)
		mib = (unsigned)((uint64_t)json_int(json_get(m, "memory"), "page_count", 0) * 4096 /
				 MIB);
	cJSON_Delete(m);
	return mib + QEMU_MIB;
}

static bool is_starting(const struct agent *a)
{
	return a->phase == PHASE_PREPARE || a->phase == PHASE_POLICY || a->phase == PHASE_BOOT ||
	       a->phase == PHASE_BROWSER;
}

int agent_admit(struct agent *a, struct err *err)
{
	unsigned reserve = a->all->o.config->memory_reserve_mib, need = expected_mib(a);
	uint64_t promised = 0, there = available_mib();

	for (const struct agent *one = a->all->first; one; one = one->next)
		if (one != a && is_starting(one))
			promised += one->promised_mib;
	if (there >= promised + need + reserve) {
		a->promised_mib = need;
		return 0;
	}
	err_set(err, EAGAIN,
		"the host has no memory for agent '%s': it needs about %u MiB, %" PRIu64
		" are available, %" PRIu64 " promised and %u kept free",
		a->rec.name, need, there, promised, reserve);
	err_hint(err, "suspend or stop another agent, or lower memory_reserve in berth.conf");
	return err_type(err, 503, "host-busy");
}
