/* Log lines on stderr: time, level, program, text. The one place that prints in a daemon. */
#ifndef BERTH_BASE_LOG_H
#define BERTH_BASE_LOG_H

#include "err.h"

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

/* name: the program's. Lines above max_level are dropped; BERTH_LOG=debug|info|warning|error
 * overrides. */
void log_init(const char *name, enum log_level max_level);
/* One line; control characters in it are shown as '?', so that no value can forge a line. */
__attribute__((format(printf, 2, 3))) void log_line(enum log_level level, const char *fmt, ...);

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_WARNING, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

#endif
