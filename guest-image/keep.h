/* Has Chromium write its cookies to its disk soon after they changed. */
#ifndef BERTH_INIT_KEEP_H
#define BERTH_INIT_KEEP_H

#include <stddef.h>
#include <stdint.h>

#define KEEP_PERIOD_MS 2000 /* between two looks */
#define KEEP_WAIT_S 30      /* for an answer; then the connection is given up */

/* `berth-init keep PORT`: stays with the Chromium on that port of loopback; ends when it does. */
int keep_main(int argc, char **argv);

/* The path below /devtools/browser/ in an answer to /json/version, or -1 if there is none. */
int keep_find_path(const char *answer, size_t n, char *ret, size_t room);

#endif
