/* Pages the appliance serves itself: the guests' start page, the index, health and the API's
 * description. */
#ifndef BERTH_START_PAGE_H
#define BERTH_START_PAGE_H

#include "gateway.h"

/* Reads start.html and openapi.json from the installation. */
int start_page_load(struct gateway *gw, struct err *err);
void start_page_serve(struct gateway *gw, struct http_conn *c);
void index_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m);
void health_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m);
void openapi_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m);

#endif
