/* What PID 1 has to say: on the console, and to the host over the control channel. */
#ifndef BERTH_INIT_NOTE_H
#define BERTH_INIT_NOTE_H

#include <stddef.h>
#include <stdint.h>

enum note_source { NOTE_INIT = 0, NOTE_BROWSER = 1 };

/* Called for every line while set; text is not terminated and has at most GUEST_LOG_MAX - 1 bytes.
 */
typedef void note_sink_fn(void *data, enum note_source source, const char *text, size_t n);
void note_set_sink(note_sink_fn *fn, void *data);

/* One line of berth-init's own: console and sink. Lines before there is a sink are kept (the last
 * few) for it. */
__attribute__((format(printf, 1, 2))) void note(const char *fmt, ...);
/* A line of Chromium's: sink only. */
void note_browser(const char *text, size_t n);

#endif
