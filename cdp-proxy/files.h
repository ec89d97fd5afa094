/* Files of an agent, through berth-init's file helper. */
#ifndef BERTH_FILES_H
#define BERTH_FILES_H

#include "bytes.h"
#include "gateway.h"

void files_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m);

/* `list`'s output as the API gives it: {"entries":[{name,type,mode,size,modified}]}. NULL when it
 * is malformed. */
cJSON *files_parse_list(const uint8_t *data, size_t n);

#endif
