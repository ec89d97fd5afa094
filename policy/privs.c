/* Giving up rights: the two processes of berth-policy keep what they need and nothing else, for
 * good. */
#include "privs.h"
#include "util.h"

#include <errno.h>
#include <grp.h>
#include <linux/securebits.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

/* The sanitizers' leak check clones and traces at the end. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* In a namespace with a single id there is no PRIVS_UID (EINVAL), and uid 0 without capabilities
 * stays. */
static int change_id(struct err *err)
{
	if (geteuid() != 0)
		return 0;
	if (setresgid(PRIVS_UID, PRIVS_UID, PRIVS_UID) < 0)
		return errno == EINVAL ? 0 : err_sys(err, "cannot change to group %d", PRIVS_UID);
	if (setgroups(0, NULL) < 0)
		return err_sys(err, "cannot drop the other groups");
	if (setresuid(PRIVS_UID, PRIVS_UID, PRIVS_UID) < 0)
		return err_sys(err, "cannot change to user %d", PRIVS_UID);
	return 0;
}

static int drop_bounding_set(bool keep_net_admin, struct err *err)
{
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if ((!keep_net_admin || cap != CAP_NET_ADMIN) &&
			prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return err_sys(err, "cannot drop capability %d", cap);
	return 0;
}

static int set_capabilities(bool keep_net_admin, struct err *err)
{
	const cap_value_t keep = CAP_NET_ADMIN;
	cap_t caps = cap_init();
	int r = 0;

	if (!caps)
		return err_sys(err, "cannot drop capabilities");
	if (keep_net_admin && (cap_set_flag(caps, CAP_PERMITTED, 1, &keep, CAP_SET) < 0 ||
				      cap_set_flag(caps, CAP_EFFECTIVE, 1, &keep, CAP_SET) < 0))
		r = -1;
	if (r < 0 || cap_set_proc(caps) < 0)
		r = err_sys(err, "cannot drop capabilities");
	cap_free(caps);
	return r;
}

int privs_drop(bool keep_net_admin, struct err *err)
{
	int r = drop_bounding_set(keep_net_admin, err);

	if (r < 0)
		return r;
	if (prctl(PR_SET_KEEPCAPS, keep_net_admin, 0, 0, 0) < 0)
		return err_sys(err, "cannot set keepcaps");
	r = change_id(err);
	if (r < 0)
		return r;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, "cannot set no_new_privs");
	r = set_capabilities(keep_net_admin, err);
	if (r < 0)
		return r;
	if (!SANITIZED && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_sys(err, "cannot forbid dumps");
	return 0;
}

/* Sanitized builds look for leaks when a process ends by itself, and must be able to trace it. */
static void leave(int number)
{
	exit(0);
}

static int allow_leak_check(struct err *err)
{
	if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0 || signal(SIGTERM, leave) == SIG_ERR)
		return err_sys(err, "cannot prepare the leak check");
	return 0;
}

static const char *const refused_calls[] = {"acct", "add_key", "bpf", "chroot", "clone", "clone3",
	"delete_module", "execve", "execveat", "fanotify_init", "finit_module", "fork", "fsconfig",
	"fsmount", "fsopen", "fspick", "init_module", "io_uring_enter", "io_uring_register",
	"io_uring_setup", "kexec_file_load", "kexec_load", "keyctl", "kill", "mknod", "mknodat",
	"mount", "mount_setattr", "move_mount", "name_to_handle_at", "open_by_handle_at",
	"open_tree", "perf_event_open", "pidfd_getfd", "pidfd_open", "pidfd_send_signal",
	"pivot_root", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace",
	"quotactl", "reboot", "request_key", "rt_sigqueueinfo", "rt_tgsigqueueinfo",
	"setdomainname", "setgid", "setgroups", "sethostname", "setns", "setregid", "setresgid",
	"setresuid", "setreuid", "setuid", "swapoff", "swapon", "tkill", "umount2", "unshare",
	"userfaultfd", "vfork"};

int privs_filter_syscalls(struct err *err)
{
	scmp_filter_ctx filter;
	int r = 0;

	if (SANITIZED)
		return allow_leak_check(err);
	filter = seccomp_init(SCMP_ACT_ALLOW);
	if (!filter)
		return err_set(err, ENOMEM, "cannot make the system call filter");
	for (size_t i = 0; i < ARRAY_SIZE(refused_calls) && r == 0; i++) {
		int call = seccomp_syscall_resolve_name(refused_calls[i]);

		if (call != __NR_SCMP_ERROR)
			r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), call, 0);
	}
	/* Signals to itself only: other agents' parsers have the same user. */
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(tgkill), 1,
			SCMP_A0(SCMP_CMP_NE, (scmp_datum_t)getpid()));
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r < 0 ? err_set(err, r, "cannot set the system call filter: %s", strerror(-r)) : 0;
}
