/* Where connections come in, and who may go on to which route. */
#ifndef BERTH_ENTRY_H
#define BERTH_ENTRY_H

#include "conn.h"

struct listener;

/* Listens on ADDR:PORT ("[v6]:port" too). Port 0: any; *ret_port (may be NULL) says which. The
 * descriptor or <0. */
int entry_listen_tcp(const char *address, uint16_t *ret_port, struct err *err);
/* Starts accepting on fd (taken over). agent: for LISTEN_PORT. */
struct listener *entry_open(struct gateway *gw, int fd, enum listener_kind kind, const char *agent);
void entry_close(struct listener *l);
void entry_close_all(struct gateway *gw);
/* Ends every connection of an agent's port. */
void entry_cut_port(struct gateway *gw, const char *agent);

#endif
