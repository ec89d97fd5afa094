/*
 * berthd's end of the guest's control channel.
 *
 * Goal: know that the guest is up, what its browser does, and that it still answers; believe
 * nothing beyond the fixed formats of base/guest.h.
 *
 *   WAIT --50 ms--> CONNECT --accepted--> HELLO --8 bytes--> OPEN --READY--> OPEN, up
 *     ^                |                    |                  |
 *     '----------------+---- refused, broken, a wrong frame ---'
 *
 * A guest that has not been up within START_MS has failed; one that was up and gives no PONG for
 * HANG_MS hangs. The ping timer notices when the host itself slept or stalled (it comes late) and
 * then starts the count anew.
 */
#include "guest_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "log.h"
#include "netns.h"
#include "util.h"
#include "watch.h"

#define RETRY_MS 50
#define CONNECT_MS 2000
#define PING_MS 5000
#define HANG_MS 30000
#define START_MS 120000
#define LATE_MS 3000
#define LINES_PER_PING 200 /* of the guest's log; more are dropped until the next ping */

enum state { LINK_WAIT, LINK_CONNECT, LINK_HELLO, LINK_OPEN };

struct guest_link {
	uv_loop_t *loop;
	char *state_dir, *id;
	struct guest_config config;
	struct guest_link_callbacks cb;
	void *data;

	enum state state;
	bool up; /* READY has been seen, on any connection */
	int fd;
	struct watch_fd *watch;
	struct watch_timer *retry, *ping;
	struct buf in, out;
	uint8_t pending[2]; /* frames asked for while there was no connection */
	size_t n_pending;
	uint64_t started, last_pong, next_ping;
	uint64_t cookie;
	unsigned lines;

	unsigned busy; /* frames of ours below a callback */
	bool dead;
};

static void attempt(void *data);

static void leave(struct guest_link *l)
{
	if (--l->busy > 0 || !l->dead)
		return;
	free(l->state_dir);
	free(l->id);
	free(l);
}

void guest_link_free(struct guest_link *l)
{
	if (!l || l->dead)
		return;
	watch_fd_free(l->watch);
	watch_timer_free(l->retry);
	watch_timer_free(l->ping);
	if (l->fd >= 0)
		close(l->fd);
	buf_done(&l->in);
	buf_done(&l->out);
	l->dead = true;
	l->busy++;
	leave(l);
}

static void disconnect(struct guest_link *l)
{
	watch_fd_free(l->watch);
	l->watch = NULL;
	if (l->fd >= 0)
		close(steal_fd(&l->fd));
	buf_done(&l->in);
	buf_done(&l->out);
	l->state = LINK_WAIT;
	watch_timer_start(l->retry, RETRY_MS);
}

/* Sends what is queued. A socket that takes no more is waited for; a broken one shows when it is
 * read. */
static void flush(struct guest_link *l)
{
	while (l->out.len > 0) {
		ssize_t n = send(l->fd, l->out.data, l->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0)
			break;
		buf_consume(&l->out, (size_t)n);
	}
	watch_fd_events(l->watch, UV_READABLE | (l->out.len > 0 ? UV_WRITABLE : 0));
}

static void queue_frame(struct guest_link *l, enum guest_type type, const void *payload, size_t n)
{
	uint8_t header[GUEST_HEADER_LEN];

	guest_put_header(header, type, (uint32_t)n);
	buf_add(&l->out, header, sizeof(header));
	buf_add(&l->out, payload, n);
}

static void send_config(struct guest_link *l)
{
	struct buf b;

	l->config.realtime_ns = realtime_ns();
	random_bytes(l->config.entropy, sizeof(l->config.entropy));
	buf_init(&b, GUEST_CONFIG_LEN);
	guest_put_config(&b, &l->config);
	queue_frame(l, GUEST_CONFIG, b.data, b.len);
	explicit_bzero(l->config.entropy, sizeof(l->config.entropy));
	buf_done(&b);
}

void guest_link_send(struct guest_link *l, enum guest_type type)
{
	if (l->state == LINK_OPEN) {
		queue_frame(l, type, NULL, 0);
		flush(l);
	} else if (l->n_pending < sizeof(l->pending)) {
		l->pending[l->n_pending++] = (uint8_t)type;
	}
}

static void opened(struct guest_link *l)
{
	l->state = LINK_OPEN;
	send_config(l);
	for (size_t i = 0; i < l->n_pending; i++)
		queue_frame(l, l->pending[i], NULL, 0);
	l->n_pending = 0;
	flush(l);
}

static bool on_ready(struct guest_link *l, const uint8_t *p, size_t n)
{
	struct guest_ready ready;

	if (!guest_get_ready(p, n, &ready))
		return false;
	l->up = true;
	l->last_pong = now_ms();
	l->cb.ready(l->data, &ready);
	return true;
}

static bool on_browser(struct guest_link *l, const uint8_t *p, size_t n)
{
	struct guest_browser browser;

	if (!guest_get_browser(p, n, &browser))
		return false;
	l->cb.browser(l->data, &browser);
	return true;
}

static bool on_pong(struct guest_link *l, const uint8_t *p, size_t n)
{
	struct guest_pong pong;

	if (!guest_get_pong(p, n, &pong) || pong.cookie > l->cookie)
		return false;
	l->last_pong = now_ms();
	l->cb.pong(l->data, &pong);
	return true;
}

static bool on_log(struct guest_link *l, const uint8_t *p, size_t n)
{
	char line[GUEST_LOG_MAX + 1];

	if (n < 1 || n > GUEST_LOG_MAX)
		return false;
	if (l->lines++ >= LINES_PER_PING)
		return true;
	for (size_t i = 1; i < n; i++)
		line[i - 1] = p[i] >= 32 && p[i] < 127 ? (char)p[i] : '?';
	line[n - 1] = 0;
	l->cb.log(l->data, p[0], line);
	return true;
}

static bool on_frame(struct guest_link *l, uint8_t type, const uint8_t *p, size_t n)
{
	switch (type) {
	case GUEST_READY:
		return on_ready(l, p, n);
	case GUEST_BROWSER:
		return on_browser(l, p, n);
	case GUEST_PONG:
		return on_pong(l, p, n);
	case GUEST_LOG:
		return on_log(l, p, n);
	default:
		return false;
	}
}

/* Takes one frame off the buffer. 1 taken, 0 not whole yet, -1 wrong. */
static int take_frame(struct guest_link *l)
{
	uint8_t type;
	uint32_t len;
	AUTOFREE uint8_t *payload = NULL;

	if (l->in.len < GUEST_HEADER_LEN)
		return 0;
	if (!guest_get_header(l->in.data, &type, &len))
		return -1;
	if (l->in.len < GUEST_HEADER_LEN + len)
		return 0;
	payload = xmalloc(len);
	memcpy(payload, l->in.data + GUEST_HEADER_LEN, len);
	buf_consume(&l->in, GUEST_HEADER_LEN + len);
	return on_frame(l, type, payload, len) ? 1 : -1;
}

/* 1, 0 or -1 as take_frame. */
static int take_hello(struct guest_link *l)
{
	uint8_t version, status;

	if (l->in.len < GUEST_HELLO_LEN)
		return 0;
	if (!guest_get_hello(l->in.data, &version, &status) || status != GUEST_OK)
		return -1;
	buf_consume(&l->in, GUEST_HELLO_LEN);
	opened(l);
	return 1;
}

static void take_all(struct guest_link *l)
{
	int r = 1;

	while (r > 0 && !l->dead)
		r = l->state == LINK_HELLO ? take_hello(l) : take_frame(l);
	if (r < 0 && !l->dead) {
		log_warning("agent %s: its guest broke the control channel's rules", l->id);
		disconnect(l);
	}
}

static void receive(struct guest_link *l)
{
	uint8_t piece[16384];

	while (!l->dead && l->fd >= 0) {
		ssize_t n = recv(l->fd, piece, sizeof(piece), MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0 || !buf_add(&l->in, piece, (size_t)n)) {
			disconnect(l);
			return;
		}
		take_all(l);
	}
}

static void connected(struct guest_link *l)
{
	uint8_t hello[GUEST_HELLO_LEN];
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error) {
		disconnect(l);
		return;
	}
	watch_timer_stop(l->retry);
	l->state = LINK_HELLO;
	guest_put_hello(hello, GUEST_CONTROL);
	buf_add(&l->out, hello, sizeof(hello));
	flush(l);
}

static void on_events(void *data, int events)
{
	struct guest_link *l = data;

	l->busy++;
	if (l->state == LINK_CONNECT)
		connected(l);
	else if (events & UV_WRITABLE)
		flush(l);
	if (!l->dead && l->fd >= 0 && l->state != LINK_CONNECT && (events & UV_READABLE))
		receive(l);
	leave(l);
}

/* A guest that is not listening yet lets a SYN fall: each attempt is a new socket, given up after a
 * while. */
static void attempt(void *data)
{
	struct guest_link *l = data;
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(GUEST_PORT)};
	struct err err = {0};

	if (l->fd >= 0) {
		disconnect(l);
		watch_timer_stop(l->retry);
	}
	inet_pton(AF_INET, GUEST_ADDR, &to.sin_addr);
	l->fd = netns_socket(l->state_dir, l->id, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, &err);
	if (l->fd < 0) {
		log_warning("agent %s: %s", l->id, err.msg);
		watch_timer_start(l->retry, 1000);
		return;
	}
	buf_init(&l->in, GUEST_FRAME_MAX + GUEST_HEADER_LEN + 16384);
	buf_init(&l->out, 65536);
	if (connect(l->fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS) {
		close(steal_fd(&l->fd));
		watch_timer_start(l->retry, RETRY_MS);
		return;
	}
	l->state = LINK_CONNECT;
	l->watch = watch_fd_new(l->loop, l->fd, UV_WRITABLE, on_events, l);
	watch_timer_start(l->retry, l->up ? CONNECT_MS : 4 * RETRY_MS);
}

static void end(struct guest_link *l, enum guest_link_end how)
{
	watch_timer_stop(l->ping);
	l->busy++;
	l->cb.ended(l->data, how);
	leave(l);
}

static void on_ping(void *data)
{
	struct guest_link *l = data;
	uint64_t now = now_ms();

	l->lines = 0;
	if (now > l->next_ping + LATE_MS)
		l->last_pong = now; /* we were the ones who slept */
	l->next_ping = now + PING_MS;
	if (!l->up && now > l->started + START_MS) {
		end(l, GUEST_LINK_NO_START);
		return;
	}
	if (l->up && now > l->last_pong + HANG_MS) {
		end(l, GUEST_LINK_HANG);
		return;
	}
	if (l->state == LINK_OPEN) {
		struct buf b;

		buf_init(&b, 8);
		buf_add_u64(&b, ++l->cookie);
		queue_frame(l, GUEST_PING, b.data, b.len);
		buf_done(&b);
		flush(l);
	}
	watch_timer_start(l->ping, PING_MS);
}

void guest_link_excuse(struct guest_link *l)
{
	l->last_pong = now_ms();
}

struct guest_link *guest_link_new(uv_loop_t *loop, const char *state, const char *id,
	const struct guest_config *config, const struct guest_link_callbacks *cb, void *data)
{
	struct guest_link *l = xcalloc(1, sizeof(*l));

	*l = (struct guest_link){.loop = loop,
		.state_dir = xstrdup(state),
		.id = xstrdup(id),
		.config = *config,
		.cb = *cb,
		.data = data,
		.fd = -1,
		.started = now_ms(),
		.next_ping = now_ms() + PING_MS};
	l->retry = watch_timer_new(loop, attempt, l);
	l->ping = watch_timer_new(loop, on_ping, l);
	watch_timer_start(l->retry, 1);
	watch_timer_start(l->ping, PING_MS);
	return l;
}
