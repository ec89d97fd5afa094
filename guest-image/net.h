/* The guest's one network interface and its loopback, set up with ioctls. */
#ifndef BERTH_INIT_NET_H
#define BERTH_INIT_NET_H

#include "err.h"

#define NET_DEVICE "eth0"

/* lo up; eth0 up with GUEST_ADDR, the host as its permanent neighbour and default route. */
int net_setup(struct err *err);

#endif
