/* What a waiting person sees on stderr: a spinner with the step and the time on a terminal, plain
 * lines elsewhere. */
#include "cli_progress.h"
#include "cli.h"
#include "util.h"

#include <string.h>
#include <sys/ioctl.h>

#define SHOW_AFTER_MS 400 /* what is quicker needs no spinner */
#define SAY_TOOK_MS 2000

static unsigned columns(void)
{
	struct winsize w;

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 20 ? w.ws_col : 80;
}

void progress_start(struct progress *p, const char *doing)
{
	*p = (struct progress){
		.doing = doing, .started_ms = now_ms(), .tty = isatty(STDERR_FILENO)};
	p->quiet = !doing;
}

void progress_tick(struct progress *p)
{
	static const char *const frames[] = {"|", "/", "-", "\\"};
	uint64_t ms = now_ms() - p->started_ms;
	char line[320];

	if (p->quiet || !p->tty || ms < SHOW_AFTER_MS)
		return;
	snprintf(line, sizeof(line), "%s %s%s%s  %llu s", frames[p->frame++ % ARRAY_SIZE(frames)],
		p->doing, p->step[0] ? ": " : "", p->step, (unsigned long long)ms / 1000);
	fprintf(stderr, "\r\033[K%.*s", (int)columns() - 1, line);
	fflush(stderr);
	p->shown = true;
}

void progress_step(struct progress *p, const char *step, const char *detail)
{
	char text[sizeof(p->step)];

	snprintf(text, sizeof(text), "%s%s%s", step, detail && detail[0] ? ", " : "",
		detail ? detail : "");
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < 32 || *c == 127)
			*c = '?';
	if (streq(text, p->step))
		return;
	memcpy(p->step, text, sizeof(text));
	if (!p->tty && !p->quiet)
		fprintf(stderr, "%s: %s\n", p->doing, p->step);
	progress_tick(p);
}

void progress_bytes(struct progress *p, uint64_t done, uint64_t total)
{
	char have[32], all[32];

	cli_format_size((double)done, have);
	cli_format_size((double)total, all);
	snprintf(p->step, sizeof(p->step), "%s%s%s", have, total ? " of " : "", total ? all : "");
}

void progress_end(struct progress *p, bool fine)
{
	uint64_t ms = now_ms() - p->started_ms;

	if (p->quiet || !p->tty)
		return;
	if (p->shown)
		fprintf(stderr, "\r\033[K");
	if (fine && ms >= SAY_TOOK_MS)
		fprintf(stderr, "%s: done in %.1f s\n", p->doing, (double)ms / 1000);
	fflush(stderr);
}
