/* The whole gateway, for main(). */
#ifndef BERTH_GATEWAY_RUN_H
#define BERTH_GATEWAY_RUN_H

#include "err.h"

/* Runs until SIGTERM or SIGINT. listen may be NULL (the configuration's, or 127.0.0.1:7900). */
int gateway_run(const char *state, const char *listen, struct err *err);

#endif
