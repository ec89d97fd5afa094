/* Does KVM really run a stock kernel here? Believed only after a probe guest has booted under it.
 */
#ifndef BERTH_KVM_PROBE_H
#define BERTH_KVM_PROBE_H

#include <stdbool.h>

#include "err.h"

/*
 * The verdict that was kept in STATE/kvm.json for this boot of the host and this QEMU: true if KVM
 * works. No verdict, no node, or another boot: false. BERTH_ACCEL=kvm or tcg overrides.
 */
bool kvm_proven(const char *state);
/*
 * Boots the kernel of any image of STATE under KVM, without a root file system, at most 10 s: it
 * must say so and reset by itself. Keeps the verdict. 1 works, 0 does not (*err says why),
 * negative: could not be tried (no node: -ENODEV; no image yet: -ENOENT; no QEMU). Blocks; for
 * `berth up` and `berth doctor`.
 */
int kvm_probe(const char *state, struct err *err);

#endif
