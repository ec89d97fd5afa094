/* The guest's one network interface and its loopback, set up with ioctls. */
#ifndef BERTH_INIT_NET_H
#define BERTH_INIT_NET_H

#include "err.h"

#define NET_DEVICE "eth0"

/* lo up; eth0 up with GUEST_ADDR, the host as its permanent neighbour and default route. */
int net_setup(struct err *err);
/*
 * Tells whoever listens for it that the network is another one: a second address comes and goes.
 * Chromium forgets the names it had resolved, whose addresses nobody has pinned since.
 */
int net_changed(struct err *err);

#endif
