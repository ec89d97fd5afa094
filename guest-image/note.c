/* What PID 1 has to say: on the console, and to the host over the control channel. */
#include "note.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "guest.h"
#include "log.h"
#include "util.h"

#define KEPT_MAX 16

static note_sink_fn *sink;
static void *sink_data;
static char *kept[KEPT_MAX]; /* oldest first; ours until the sink has them */
static size_t n_kept;

static void keep(const char *text)
{
	if (n_kept == KEPT_MAX) {
		free(kept[0]);
		memmove(kept, kept + 1, (KEPT_MAX - 1) * sizeof(kept[0]));
		n_kept--;
	}
	kept[n_kept++] = xstrdup(text);
}

void note_set_sink(note_sink_fn *fn, void *data)
{
	sink = fn;
	sink_data = data;
	if (!fn)
		return;
	for (size_t i = 0; i < n_kept; i++) {
		sink(sink_data, NOTE_INIT, kept[i], strlen(kept[i]));
		free(kept[i]);
	}
	n_kept = 0;
}

void note(const char *fmt, ...)
{
	char text[GUEST_LOG_MAX - 1];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_warning("%s", text);
	if (sink)
		sink(sink_data, NOTE_INIT, text, strlen(text));
	else
		keep(text);
}

void note_browser(const char *text, size_t n)
{
	if (sink)
		sink(sink_data, NOTE_BROWSER, text, MIN(n, GUEST_LOG_MAX - 1));
}
