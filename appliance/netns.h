/* An agent's network namespace: a tap device, no way out, sockets opened inside it from outside. */
#ifndef BERTH_NETNS_H
#define BERTH_NETNS_H

#include "err.h"

/*
 * Makes the namespace and pins it at STATE/run/ns/ID: lo up, IPv6 off, forwarding off, a persistent
 * tap0 that belongs to uid `owner` with the addresses, MACs and permanent neighbours of
 * base/guest.h. One that is there already is checked and kept.
 */
int netns_create(const char *state, const char *id, unsigned owner, struct err *err);
/* Unpins it; with its last process and socket gone it vanishes, tap included. A missing one is
 * fine. */
int netns_remove(const char *state, const char *id, struct err *err);
/* A descriptor of the namespace, or <0. */
int netns_open(const char *state, const char *id, struct err *err);
/* socket(domain, type | SOCK_CLOEXEC, 0) made inside the namespace, without this process leaving
 * its own. */
int netns_socket(const char *state, const char *id, int domain, int type, struct err *err);
/* A descriptor of the namespace's tap0, for QEMU. */
int netns_tap(const char *state, const char *id, struct err *err);

#endif
