/*
 * A machine's memory may be copied, and so may everything that a process in it took for random.
 *
 * BoringSSL, which Chromium speaks TLS with, keeps a generator of its own in each process. It
 * counts on a page that the kernel empties at fork() (MADV_WIPEONFORK) to notice that it was
 * copied, and believes in its own state as long as that page is filled: six forks of one machine
 * sent the same TLS client randoms. Where there are no such pages it asks the kernel anew each
 * time, and the kernel's generator is seeded by the host before a copy runs. So there are none: not
 * for Chromium, and not for anybody else in the guest.
 */
#include "clone.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "util.h"

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif
#define FIELD(member) \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, member))

int clone_no_wipe_on_fork(struct err *err)
{
	struct sock_filter code[] = {
		FIELD(arch),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 5),
		FIELD(nr),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 3),
		FIELD(args[2]), /* the lower half: an advice is an int */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MADV_WIPEONFORK, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {ARRAY_SIZE(code), code};

	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		return err_sys(err, "cannot filter madvise");
	return 0;
}
