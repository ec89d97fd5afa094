/* POST …/open: brings a page up and says what became of it; open_serve() is in gateway.h. */
#ifndef BERTH_OPEN_H
#define BERTH_OPEN_H

#define OPEN_TIMEOUT_S 30
#define OPEN_TIMEOUT_MAX_S 300

#endif
