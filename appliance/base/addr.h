/* Addresses with ports as people write them. */
#ifndef BERTH_BASE_ADDR_H
#define BERTH_BASE_ADDR_H

#include <stdint.h>
#include <sys/socket.h>

#include "err.h"

/*
 * "HOST", "HOST:PORT", "[IPV6]:PORT" or an IPv6 address without port. host gets the text without
 * brackets, *port is only written where there is one. -EINVAL on anything else; whether HOST means
 * something is not looked at.
 */
int addr_split(const char *text, char host[256], uint16_t *port, struct err *err);
/* The same of an address; port is taken where the text has none. */
int addr_parse(const char *text, uint16_t port, struct sockaddr_storage *ret, struct err *err);

#endif
