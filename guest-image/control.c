/* The control connection: berthd's, one at a time. */
#include "control.h"

#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <time.h>

#include "browser.h"
#include "exec.h"
#include "identity.h"
#include "net.h"
#include "note.h"
#include "util.h"

#define INIT_VERSION 1
#define LOG_QUEUE_MAX CONN_QUEUE_LOW /* log lines are dropped when so much waits */

static struct conn *control;
static struct control_options opt;
static bool configured;   /* by any connection */
static bool ready_said;   /* on this one */
static bool browser_said; /* since READY */

static void send_log(void *data, enum note_source source, const char *text, size_t n)
{
	uint8_t line[GUEST_LOG_MAX];

	if (!control || conn_queued(control) > LOG_QUEUE_MAX)
		return;
	line[0] = (uint8_t)source;
	memcpy(line + 1, text, n);
	conn_send(control, GUEST_LOG, line, n + 1);
}

static void send_buf(enum guest_type type, struct buf *b)
{
	if (control)
		conn_send(control, type, b->data, b->len);
	buf_done(b);
}

static void send_ready(void)
{
	struct guest_ready ready = {.init_version = INIT_VERSION,
		.kernel_ms = opt.kernel_ms,
		.init_ms = opt.init_ms,
		.fresh = opt.fresh};
	struct utsname name;
	struct buf b;

	if (uname(&name) == 0)
		snprintf(ready.kernel, sizeof(ready.kernel), "%.63s", name.release);
	buf_init(&b, GUEST_READY_LEN);
	guest_put_ready(&b, &ready);
	send_buf(GUEST_READY, &b);
}

void control_browser(void)
{
	struct guest_browser state;
	struct buf b;

	if (!ready_said)
		return;
	browser_said = true;
	browser_get(&state);
	buf_init(&b, GUEST_BROWSER_LEN);
	guest_put_browser(&b, &state);
	send_buf(GUEST_BROWSER, &b);
}

bool control_configured(void)
{
	return configured;
}

static uint64_t memory_available_kib(void)
{
	AUTOFREE char *text = NULL;
	const char *line;
	size_t len;

	if (file_read(AT_FDCWD, "/proc/meminfo", 16384, &text, &len, NULL) < 0)
		return 0;
	line = strstr(text, "MemAvailable:");
	return line ? strtoull(line + strlen("MemAvailable:"), NULL, 10) : 0;
}

static bool take_config(const uint8_t *p, size_t n)
{
	struct guest_config config;
	struct err err;

	if (!guest_get_config(p, n, &config))
		return false;
	if (opt.identity)
		identity_apply(&config);
	if (opt.identity && config.flags & GUEST_CONFIG_WOKEN && net_changed(&err) < 0)
		note("%s", err.msg);
	configured = ready_said = true;
	send_ready();
	note_set_sink(send_log, NULL);
	browser_said = false;
	if (config.flags & GUEST_CONFIG_BROWSER)
		browser_start(config.view_width, config.view_height);
	explicit_bzero(&config, sizeof(config));
	if (!browser_said)
		control_browser();
	return true;
}

static bool take_ping(const uint8_t *p, size_t n)
{
	struct reader r = reader_of(p, n);
	struct guest_pong pong = {.cookie = read_u64(&r)};
	struct guest_browser state;
	struct timespec up;
	struct statvfs disk;
	struct buf b;

	if (r.bad || r.pos != n)
		return false;
	if (clock_gettime(CLOCK_BOOTTIME, &up) == 0)
		pong.uptime_ms = (uint64_t)up.tv_sec * 1000 + (uint64_t)up.tv_nsec / 1000000;
	if (statvfs("/home/agent", &disk) == 0 || statvfs("/", &disk) == 0) {
		pong.disk_free_kib = disk.f_bavail * disk.f_frsize / 1024;
		pong.disk_total_kib = disk.f_blocks * disk.f_frsize / 1024;
	}
	browser_get(&state);
	pong.memory_available_kib = memory_available_kib();
	pong.browser_state = state.state;
	pong.browser_restarts = state.restarts;
	pong.execs = exec_count();
	buf_init(&b, GUEST_PONG_LEN);
	guest_put_pong(&b, &pong);
	send_buf(GUEST_PONG, &b);
	return true;
}

static bool on_frame(void *data, uint8_t type, const uint8_t *p, size_t n)
{
	switch (type) {
	case GUEST_CONFIG:
		return take_config(p, n);
	case GUEST_PING:
		return take_ping(p, n);
	case GUEST_SHUTDOWN:
		if (n != 0)
			return false;
		opt.shutdown(opt.data);
		return true;
	case GUEST_BROWSER_RESTART:
		if (n != 0)
			return false;
		browser_restart();
		return true;
	default:
		return false;
	}
}

static void on_closed(void *data)
{
	control = NULL;
	ready_said = false;
	note_set_sink(NULL, NULL);
}

static const struct conn_handlers handlers = {.frame = on_frame, .closed = on_closed};

void control_init(const struct control_options *options)
{
	opt = *options;
	control = NULL;
	configured = false;
}

void control_new(struct conn *conn)
{
	if (control)
		conn_finish(control);
	note_set_sink(NULL, NULL);
	ready_said = false;
	control = conn;
	conn_own(conn, &handlers, NULL);
}
