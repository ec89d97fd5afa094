/* The host's upstream DNS servers, as resolv.conf(5) names them. */
#ifndef BERTH_POLICY_RESOLV_CONF_H
#define BERTH_POLICY_RESOLV_CONF_H

#include <stddef.h>
#include <sys/socket.h>

#define RESOLV_CONF_PATH "/etc/resolv.conf"
#define RESOLV_SERVERS_MAX 3 /* as glibc has it */

/* The servers of a file's text, port 53; their number. Options and search lists are not ours. */
size_t resolv_conf_parse(const char *text, struct sockaddr_storage ret[RESOLV_SERVERS_MAX]);
/* Reads the file again if it has changed; the number of servers. */
size_t resolv_conf_servers(struct sockaddr_storage ret[RESOLV_SERVERS_MAX]);

#endif
