/* Chromium: started, watched, started again. */
/*
 * Theory of operation. States (those of guest.h; `off` before the first start and after
 * browser_stop):
 *
 *   off -> STARTING --answers--> UP --ends--> DOWN --backoff--> STARTING
 *                 \--ends, or no answer--/        \-- 8 ends within 60 s --> GAVE_UP (until
 * browser_restart)
 *
 * One timer serves what the state waits for: the next probe, the backoff, the end of a stop.
 * Chromium runs as the agent in a session of its own; when its first process has ended, the rest of
 * the group is killed. While it is UP a helper (keep.c) sees to it that its cookies reach the disk.
 */
#include "browser.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "child.h"
#include "note.h"
#include "probe.h"
#include "user.h"
#include "util.h"

#define PROFILE "/home/agent/.config/chromium-berth"
#define PROGRAMS "/usr/lib/chromium/"
#define CA_STAMP "/usr/share/berth/ca-stamp"
#define CA_SYNC "/usr/libexec/berth/ca-sync"
#define DEFAULT_WIDTH 1280
#define DEFAULT_HEIGHT 800
#define SIZE_MAX_PIXELS 8192
#define LINE_BYTES (GUEST_LOG_MAX - 1)
#define LINES_BURST 50     /* lines at once … */
#define LINES_PER_SECOND 5 /* … and in the long run; the rest is counted */

static const char *const flags[] = {
	"--user-data-dir=" PROFILE,
	"--remote-allow-origins=*",
	"--no-first-run",
	"--no-default-browser-check",
	"--hide-scrollbars",
	"--mute-audio",
	"--password-store=basic",
	/* localStorage is written within a second, not within a minute. */
	"--enable-aggressive-domstorage-flushing",
	"--use-mock-keychain",
	/* There is no GPU; the software compositor paints, and nothing looks for video decoders. */
	"--disable-gpu",
	"--disable-accelerated-video-decode",
	"--disable-accelerated-video-encode",
	/* Warnings and errors of its own; what pages write to their consoles is theirs. */
	"--log-level=1",
	/* Nothing that was not asked for goes out. */
	"--disable-background-networking",
	"--disable-component-update",
	"--disable-sync",
	"--disable-quic",
	"--disable-breakpad",
	"--disable-crash-reporter",
	"--disable-domain-reliability",
	"--disable-features=DnsOverHttps,EncryptedClientHello,OptimizationHints,MediaRouter,"
	"Translate",
	"--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
	"--disk-cache-size=67108864",
	"--media-cache-size=33554432",
};

static const char *const environment[] = {"HOME=/home/agent", "USER=agent", "LOGNAME=agent",
	"SHELL=/bin/bash", "LANG=C.UTF-8", "PATH=/usr/local/bin:/usr/bin:/bin",
	"XDG_CONFIG_HOME=/home/agent/.config",
	/* Present before ANGLE sets it from a second thread. */
	"VK_ICD_FILENAMES=" PROGRAMS "vk_swiftshader_icd.json",
	"DBUS_SESSION_BUS_ADDRESS=disabled:", "DBUS_SYSTEM_BUS_ADDRESS=disabled:", NULL};

enum phase { OFF, STARTING, UP, DOWN, GAVE_UP, STOPPING };

/* One per output descriptor of a run; freed when it has ended. */
struct lines {
	uv_pipe_t pipe;
	size_t n;
	char text[LINE_BYTES];
};

static struct {
	uv_loop_t *loop;
	struct browser_options options;
	enum phase phase;
	uv_timer_t timer;
	pid_t pid; /* 0: none; of Chromium, or of the certificates' helper while `syncing` */
	bool syncing, restart_now, probing;
	unsigned run; /* counts starts, so that a late probe is known as such */
	uint64_t started_at;
	uint64_t ends[BROWSER_ENDS_MAX];
	uint64_t backoff;
	uint32_t width, height;
	struct guest_browser said;
	void (*stopped)(void *data);
	void *stopped_data;
	unsigned line_budget, lines_dropped;
	uint64_t line_refill;
	uv_timer_t keeper_timer;
	pid_t keeper; /* 0: none */
} b;

static void launch(void);

static void set_phase(enum phase phase, uint32_t state)
{
	bool change = b.said.state != state || b.phase != phase;

	b.phase = phase;
	b.said.state = state;
	if (change && phase != STOPPING && phase != OFF)
		b.options.changed(b.options.data);
}

void browser_get(struct guest_browser *ret)
{
	*ret = b.said;
}

/* True when another line may go up now. */
static bool line_allowed(void)
{
	uint64_t now = uv_now(b.loop), seconds = (now - b.line_refill) / 1000;

	if (seconds > 0) {
		b.line_budget = (unsigned)MIN(
			(uint64_t)LINES_BURST, b.line_budget + seconds * LINES_PER_SECOND);
		b.line_refill += seconds * 1000;
	}
	if (b.line_budget == 0) {
		b.lines_dropped++;
		return false;
	}
	b.line_budget--;
	return true;
}

/* There is no D-Bus in the guest, and each start would say so a dozen times; nor is it news where
 * DevTools listens, or that painting WebGL in software takes threads (docs/guest-image.md). */
static bool is_expected(const char *text, size_t n)
{
	static const char *const expected[] = {":dbus/", "/dbus/",
		"DevTools listening on ws:", "called with multiple threads in process gpu-process"};

	for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
		if (memmem(text, n, expected[i], strlen(expected[i])))
			return true;
	return false;
}

static void put_line(const char *text, size_t n)
{
	char more[64];
	int m;

	if (!text || n == 0 || is_expected(text, n) || !line_allowed())
		return;
	if (b.lines_dropped) {
		m = snprintf(more, sizeof(more), "(%u lines left out)", b.lines_dropped);
		b.lines_dropped = 0;
		note_browser(more, (size_t)m);
	}
	note_browser(text, n);
}

static void take_lines(struct lines *l, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] != '\n')
			l->text[l->n++] = p[i];
		if (p[i] == '\n' || l->n == sizeof(l->text)) {
			put_line(l->text, l->n);
			l->n = 0;
		}
	}
}

static void on_lines_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void on_lines_alloc(uv_handle_t *handle, size_t hint, uv_buf_t *buf)
{
	static char block[4096];

	*buf = uv_buf_init(block, sizeof(block));
}

static void on_lines(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct lines *l = stream->data;

	if (n > 0) {
		take_lines(l, buf->base, (size_t)n);
	} else if (n < 0) {
		put_line(l->text, l->n);
		uv_close((uv_handle_t *)stream, on_lines_closed);
	}
}

/* Takes fd over. */
static void watch_lines(int fd)
{
	struct lines *l = xcalloc(1, sizeof(*l));

	uv_pipe_init(b.loop, &l->pipe, 0);
	l->pipe.data = l;
	if (uv_pipe_open(&l->pipe, fd) < 0)
		close(fd);
	if (uv_read_start((uv_stream_t *)&l->pipe, on_lines_alloc, on_lines) < 0)
		uv_close((uv_handle_t *)&l->pipe, on_lines_closed);
}

/* In the child, with the agent's rights: its folder, and no lock of a browser that is no more. */
static void prepare(void)
{
	static const char *const stale[] = {
		PROFILE "/SingletonLock", PROFILE "/SingletonSocket", PROFILE "/SingletonCookie"};

	(void)mkdir("/home/agent/.config", 0700);
	(void)mkdir(PROFILE, 0700);
	for (size_t i = 0; i < ARRAY_SIZE(stale); i++)
		(void)unlink(stale[i]);
}

static pid_t spawn(const char *const *argv, void (*before)(void), struct err *err)
{
	AUTOFD int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int out[2], status;
	struct user u;
	pid_t pid;

	if (user_find(b.options.etc, "agent", &u, err) < 0)
		return err->code;
	if (pipe2(out, O_CLOEXEC) < 0)
		return err_sys(err, "cannot make a pipe");
	pid = child_start(&(struct child_spec){.user = &u,
				  .argv = argv,
				  .env = environment,
				  .in = null,
				  .out = out[1],
				  .err = out[1],
				  .self = -1,
				  .prepare = before},
		&status, err);
	close(out[1]);
	if (pid < 0) {
		close(out[0]);
		return pid;
	}
	close(status);
	watch_lines(out[0]);
	return pid;
}

static void ask(void);

static void start_keeper(void);

static void on_keeper_timer(uv_timer_t *timer)
{
	start_keeper();
}

static void on_keeper_ended(void *data, int status)
{
	b.keeper = 0;
	uv_timer_start(&b.keeper_timer, on_keeper_timer, BROWSER_KEEPER_MS, 0);
}

static void start_keeper(void)
{
	AUTOFREE char *port = xasprintf("%u", b.options.port);
	AUTOFD int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	const char *const argv[] = {"berth-init", "keep", port, NULL};
	struct user u;
	struct child_spec spec = {.user = &u,
		.argv = argv,
		.env = environment,
		.in = null,
		.out = null,
		.err = null,
		.self = b.options.self};
	int status;

	if (b.options.command || b.phase != UP || b.keeper ||
		user_find(b.options.etc, "agent", &u, NULL) < 0)
		return;
	b.keeper = child_start(&spec, &status, NULL);
	if (b.keeper < 0) {
		b.keeper = 0;
		return;
	}
	close(status);
	if (child_watch(b.keeper, on_keeper_ended, NULL) < 0)
		b.keeper = 0;
}

static void on_probed(void *data, bool answers)
{
	b.probing = false;
	if (b.phase != STARTING || (unsigned)(uintptr_t)data != b.run)
		return;
	if (answers) {
		uv_timer_stop(&b.timer);
		set_phase(UP, GUEST_BROWSER_UP);
		start_keeper();
	}
}

static void on_starting(uv_timer_t *timer)
{
	if (uv_now(b.loop) - b.started_at > BROWSER_START_MS) {
		note("Chromium does not answer after %u s; ended", BROWSER_START_MS / 1000);
		uv_timer_stop(&b.timer);
		kill(-b.pid, SIGKILL);
	} else if (!b.probing) {
		ask();
	}
}

static void ask(void)
{
	b.probing = true;
	probe(b.loop, b.options.port, on_probed, (void *)(uintptr_t)b.run);
}

static void on_backoff(uv_timer_t *timer)
{
	launch();
}

static void on_stop_late(uv_timer_t *timer)
{
	note("Chromium does not end; killed");
	kill(-b.pid, SIGKILL);
}

/* True when the newest of the last BROWSER_ENDS_MAX ends lies within BROWSER_ENDS_MS of the oldest.
 */
static bool ends_too_often(void)
{
	uint64_t now = uv_now(b.loop) + 1; /* 0 is none */

	memmove(b.ends, b.ends + 1, sizeof(b.ends) - sizeof(b.ends[0]));
	b.ends[BROWSER_ENDS_MAX - 1] = now;
	return b.ends[0] && now - b.ends[0] < BROWSER_ENDS_MS;
}

static void come_back(bool was_up)
{
	if (b.restart_now) {
		b.restart_now = false;
		set_phase(DOWN, GUEST_BROWSER_DOWN);
		launch();
		return;
	}
	if (ends_too_often()) {
		note("Chromium ended %d times within %d s; given up", BROWSER_ENDS_MAX,
			BROWSER_ENDS_MS / 1000);
		set_phase(GAVE_UP, GUEST_BROWSER_GAVE_UP);
		return;
	}
	if (was_up && uv_now(b.loop) - b.started_at > BROWSER_ENDS_MS)
		b.backoff = BROWSER_BACKOFF_MS;
	set_phase(DOWN, GUEST_BROWSER_DOWN);
	uv_timer_start(&b.timer, on_backoff, b.backoff, 0);
	b.backoff = MIN(b.backoff * 2, BROWSER_BACKOFF_MAX_MS);
}

static void on_ended(void *data, int status)
{
	bool was_up = b.phase == UP;

	kill(-b.pid, SIGKILL); /* what is left of its group */
	if (b.keeper)
		kill(b.keeper, SIGKILL);
	b.pid = 0;
	uv_timer_stop(&b.timer);
	b.said.exit_status = WIFEXITED(status) ? (uint32_t)WEXITSTATUS(status) : 0;
	b.said.signal = WIFSIGNALED(status) ? (uint32_t)WTERMSIG(status) : 0;
	if (b.phase == STOPPING) {
		b.phase = OFF;
		b.stopped(b.stopped_data);
		return;
	}
	come_back(was_up);
}

static size_t fill_flags(const char **argv, char *size, char *port)
{
	size_t n = 0;

	argv[n++] = access(PROGRAMS "chromium-headless-shell", X_OK) == 0 ? PROGRAMS
			    "chromium-headless-shell"
									  : PROGRAMS "chromium";
	argv[n++] = streq(argv[0], PROGRAMS "chromium") ? "--headless=new" : "--headless";
	argv[n++] = size;
	argv[n++] = port;
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		argv[n++] = flags[i];
	argv[n++] = "about:blank";
	argv[n] = NULL;
	return n;
}

static void start_chromium(void)
{
	AUTOFREE char *size = xasprintf("--window-size=%u,%u", b.width, b.height);
	AUTOFREE char *port = xasprintf("--remote-debugging-port=%u", b.options.port);
	const char *argv[ARRAY_SIZE(flags) + 8];
	const char *const *command = b.options.command;
	struct err err;

	if (!command) {
		fill_flags(argv, size, port);
		command = argv;
	}
	b.run++;
	b.started_at = uv_now(b.loop);
	b.pid = spawn(command, b.options.command ? NULL : prepare, &err);
	if (b.pid < 0 || child_watch(b.pid, on_ended, NULL) < 0) {
		note("Chromium cannot be started: %s", b.pid < 0 ? err.msg : "too many processes");
		b.pid = 0;
		come_back(false);
		return;
	}
	if (b.run > 1)
		b.said.restarts++;
	set_phase(STARTING, GUEST_BROWSER_STARTING);
	uv_timer_start(&b.timer, on_starting, BROWSER_PROBE_MS, BROWSER_PROBE_MS);
}

static void on_synced(void *data, int status)
{
	b.pid = 0;
	b.syncing = false;
	if (status != 0)
		note("the certificates of the image could not be given to Chromium");
	if (b.phase == STOPPING) {
		b.phase = OFF;
		b.stopped(b.stopped_data);
	} else {
		start_chromium();
	}
}

/* The image brings certificates of its own: Chromium's store has them before it starts. */
static bool sync_certificates(void)
{
	const char *const argv[] = {CA_SYNC, "--boot", NULL};
	struct err err;

	if (b.options.command || b.run > 0 || access(CA_STAMP, F_OK) < 0)
		return false;
	b.pid = spawn(argv, NULL, &err);
	b.syncing = b.pid > 0 && child_watch(b.pid, on_synced, NULL) == 0;
	if (!b.syncing)
		b.pid = 0;
	return b.syncing;
}

static void launch(void)
{
	uv_update_time(b.loop);
	if (!sync_certificates())
		start_chromium();
}

void browser_init(uv_loop_t *loop, const struct browser_options *options)
{
	b.loop = loop;
	b.options = *options;
	b.backoff = BROWSER_BACKOFF_MS;
	b.line_budget = LINES_BURST;
	b.line_refill = uv_now(loop);
	b.said.state = GUEST_BROWSER_DOWN;
	uv_timer_init(loop, &b.timer);
	uv_timer_init(loop, &b.keeper_timer);
}

static uint32_t size_or(uint32_t wish, uint32_t otherwise)
{
	return wish >= 1 && wish <= SIZE_MAX_PIXELS ? wish : otherwise;
}

void browser_start(uint32_t width, uint32_t height)
{
	if (b.phase != OFF || b.stopped)
		return;
	b.width = size_or(width, DEFAULT_WIDTH);
	b.height = size_or(height, DEFAULT_HEIGHT);
	b.phase = DOWN;
	launch();
}

void browser_restart(void)
{
	if (b.phase == OFF || b.phase == STOPPING || b.syncing)
		return;
	memset(b.ends, 0, sizeof(b.ends));
	b.backoff = BROWSER_BACKOFF_MS;
	if (!b.pid) {
		uv_timer_stop(&b.timer);
		launch();
		return;
	}
	b.restart_now = true;
	kill(b.pid, SIGTERM);
	uv_timer_start(&b.timer, on_stop_late, BROWSER_STOP_MS, 0);
}

static void on_stopped_at_once(uv_timer_t *timer)
{
	b.phase = OFF;
	b.stopped(b.stopped_data);
}

void browser_stop(void (*stopped)(void *data), void *data)
{
	if (b.stopped)
		return;
	b.stopped = stopped;
	b.stopped_data = data;
	b.phase = STOPPING;
	if (!b.pid) {
		uv_timer_start(&b.timer, on_stopped_at_once, 0, 0);
		return;
	}
	kill(b.pid, SIGTERM);
	uv_timer_start(&b.timer, on_stop_late, BROWSER_STOP_MS, 0);
}
