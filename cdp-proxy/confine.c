/* Giving up privileges, for good. */
#include "confine.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Is `id` mapped in this process's user namespace? */
static int mapped(const char *path, unsigned long id)
{
	FILE *f = fopen(path, "re");
	unsigned long inside, outside, count;
	int found = 0;

	if (!f)
		return 0;
	while (!found && fscanf(f, "%lu %lu %lu", &inside, &outside, &count) == 3)
		found = id >= inside && id - inside < count;
	fclose(f);
	return found;
}

int confine_has_own_uid(void)
{
	return geteuid() == 0 && mapped("/proc/self/uid_map", GATEWAY_UID) &&
	       mapped("/proc/self/gid_map", GATEWAY_UID);
}

static int drop_bounding_set(struct err *err)
{
	for (unsigned long cap = 0; cap <= CAP_LAST_CAP; cap++) {
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EINVAL && errno != EPERM)
			return err_sys(err, "cannot drop a capability");
	}
	return 0;
}

static int drop_capabilities(struct err *err)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2];

	memset(none, 0, sizeof(none));
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &header, none) < 0)
		return err_sys(err, "cannot drop the capabilities");
	return 0;
}

int confine(struct err *err)
{
	if (drop_bounding_set(err) < 0)
		return err->code;
	if (confine_has_own_uid()) {
		if (setgroups(0, NULL) < 0 && errno != EPERM)
			return err_sys(err, "cannot leave the supplementary groups");
		if (setresgid(GATEWAY_UID, GATEWAY_UID, GATEWAY_UID) < 0)
			return err_sys(err, "cannot become gid %d", GATEWAY_UID);
		if (setresuid(GATEWAY_UID, GATEWAY_UID, GATEWAY_UID) < 0)
			return err_sys(err, "cannot become uid %d", GATEWAY_UID);
	}
	if (drop_capabilities(err) < 0)
		return err->code;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, "cannot set no_new_privs");
	return 0;
}
