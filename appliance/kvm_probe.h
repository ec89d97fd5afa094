/* Does KVM really run a stock kernel here? Believed only after a probe guest has booted under it.
 */
#ifndef BERTH_KVM_PROBE_H
#define BERTH_KVM_PROBE_H

#include <stdbool.h>

#include "err.h"

/*
 * The verdict that was kept in STATE/kvm.json for this boot of the host and this QEMU: 1 works, 0
 * does not, -ENODATA: none yet. BERTH_ACCEL=kvm or tcg overrides.
 */
int kvm_verdict(const char *state);
static inline bool kvm_proven(const char *state)
{
	return kvm_verdict(state) > 0;
}
/*
 * The kept verdict, or a new one: boots the kernel of any image of STATE under KVM, without a root
 * file system, at most 10 s; it must say so and reset by itself. 1 works, 0 does not (*err says
 * why), negative: could not be tried (no node: -ENODEV; no image yet: -ENOENT; no QEMU). Blocks:
 * for `berth up`, `berth doctor`, and the first start of a machine when there was no image before.
 */
int kvm_probe(const char *state, struct err *err);
/* A descriptor of a kvm node (close-on-exec), or a negative errno. */
int kvm_open(const char *state);

#endif
