/* Stands in for the CDP side until it is there. */
#include "gateway.h"
#include "problem.h"

static void missing(struct err *err)
{
	problem(err, 501, "not-found", "this part of the gateway is not built in");
}

__attribute__((weak)) void cdp_serve_ws(struct gateway *gw, struct ws_conn *ws, const struct route_match *m)
{
	struct err err;

	missing(&err);
	ws_refuse(ws, &err);
}

__attribute__((weak)) void discovery_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m)
{
	struct err err;

	missing(&err);
	http_reply_problem(c, &err);
}

__attribute__((weak)) void screenshot_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m)
{
	discovery_serve(gw, c, m);
}

__attribute__((weak)) void open_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m)
{
	discovery_serve(gw, c, m);
}
