/* Log lines on stderr: time, level, program, text. */
#include "log.h"
#include "util.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const level_names[] = {"error", "warning", "info", "debug"};
static const char *log_name = "berth";
static enum log_level log_max = LOG_INFO;

void log_init(const char *name, enum log_level max_level)
{
	const char *wish = getenv("BERTH_LOG");

	log_name = name;
	log_max = max_level;
	for (size_t i = 0; wish && i < ARRAY_SIZE(level_names); i++)
		if (streq(wish, level_names[i]))
			log_max = (enum log_level)i;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char text[2048], line[2200], when[32];
	va_list ap;
	int n;

	if (level > log_max)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < 32 || *p == 127)
			*p = '?';
	format_time(realtime_ns(), when);
	n = snprintf(
		line, sizeof(line), "%s %s %s: %s\n", when, level_names[level], log_name, text);
	if (n > 0)
		(void)!write(2, line, (size_t)MIN(n, (int)sizeof(line) - 1));
}
