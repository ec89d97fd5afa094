/*
 * The wall: the process that owns the agent's nftables rules, and does nothing else.
 *
 * Theory of operation. The whole ruleset is fixed text, put in force in one transaction before
 * anything listens; what changes afterwards is one set of (address, port, timeout). The parser,
 * which reads what guests send, can ask for an element to come or go (wall_msg.h) and for the
 * counters. A request is answered when netlink has acknowledged it, so an answered pin is one that
 * the next packet meets. Requests that have piled up go into one transaction; if that fails, each
 * goes alone, so that one bad request spoils no other.
 *
 *   parser --struct wall_request--> batch --nft text--> libnftables --netlink--> the agent's
 * namespace
 *          <--struct wall_answer--------------------------- acknowledged -------'
 */
#include "wall.h"
#include "guest.h"
#include "log.h"
#include "nft.h"
#include "nft_text.h"
#include "privs.h"
#include "sock.h"
#include "util.h"
#include "wall_msg.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

struct wall {
	struct nft *nft;
	int parser;
	int listeners[WALL_LISTENERS];
	struct wall_request batch[WALL_IN_FLIGHT_MAX];
	size_t n;
};

static const struct {
	int type;
	uint16_t port;
} listener_table[WALL_LISTENERS] = {
	[WALL_DNS_UDP] = {SOCK_DGRAM, 53},
	[WALL_DNS_TCP] = {SOCK_STREAM, 53},
	[WALL_RELAY] = {SOCK_STREAM, 1},
};

static int open_listener(enum wall_listener which, struct err *err)
{
	struct sockaddr_in sin = {
		.sin_family = AF_INET, .sin_port = htons(listener_table[which].port)};
	int type = listener_table[which].type, on = 1;
	AUTOFD int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	inet_pton(AF_INET, GUEST_HOST_ADDR, &sin.sin_addr);
	if (fd < 0)
		return err_sys(err, "cannot make a socket in the agent's namespace");
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
		setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "tap0", 5) < 0)
		return err_sys(err, "cannot bind a socket to tap0");
	if (bind(fd, (struct sockaddr *)&sin, sizeof(sin)) < 0)
		return err_sys(err, "cannot bind %s:%d in the agent's namespace", GUEST_HOST_ADDR,
			listener_table[which].port);
	if (type == SOCK_STREAM && listen(fd, 256) < 0)
		return err_sys(err, "cannot listen in the agent's namespace");
	return steal_fd(&fd);
}

/*
 * The kernel sends one guest only a few refusals by ICMP a second, and a browser that misses one
 * waits for QUIC to time out. Where it cannot be set, refusals are merely slow.
 */
static void refuse_without_limit(void)
{
	AUTOFD int fd = open("/proc/sys/net/ipv4/icmp_ratelimit", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write_all(fd, "0", 1) < 0)
		log_info("refusals by ICMP stay limited in the agent's namespace");
}

static int raise_wall(struct wall *w, struct err *err)
{
	struct buf text;
	int r;

	w->nft = nft_new(err);
	if (!w->nft)
		return -ENOMEM;
	buf_init(&text, NFT_TEXT_MAX);
	nft_text_base(&text);
	r = nft_run(w->nft, buf_str(&text), err);
	buf_done(&text);
	return r;
}

static int hand_over(struct wall *w, struct err *err)
{
	for (int i = 0; i < WALL_LISTENERS; i++) {
		uint8_t which = (uint8_t)i;
		ssize_t n = sock_send_fd(w->parser, &which, 1, w->listeners[i]);

		if (n < 0)
			return err_set(
				err, (int)n, "cannot hand a listener over: %s", strerror((int)-n));
		close(steal_fd(&w->listeners[i]));
	}
	return 0;
}

static int set_up(struct wall *w, int netns, struct err *err)
{
	int r;

	if (setns(netns, CLONE_NEWNET) < 0)
		return err_sys(err, "cannot enter the agent's network namespace");
	close(netns);
	refuse_without_limit();
	r = raise_wall(w, err);
	for (int i = 0; i < WALL_LISTENERS && r >= 0; i++)
		r = w->listeners[i] = open_listener((enum wall_listener)i, err);
	if (r >= 0)
		r = privs_drop(true, err);
	if (r >= 0)
		r = privs_filter_syscalls(err);
	return r < 0 ? r : hand_over(w, err);
}

/* Waits for one request, then takes what else is there. -EPIPE at the parser's end. */
static int fill_batch(struct wall *w)
{
	w->n = 0;
	while (w->n < WALL_IN_FLIGHT_MAX) {
		struct wall_request *r = &w->batch[w->n];
		ssize_t n = recv(w->parser, r, sizeof(*r), w->n ? MSG_DONTWAIT : 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EPIPE;
		if (n != sizeof(*r))
			return -EPROTO;
		w->n++;
		if (r->op == WALL_COUNTERS)
			return 0;
	}
	return 0;
}

static int answer(struct wall *w, const struct wall_request *r, int result, uint64_t packets)
{
	struct wall_answer a = {.seq = r->seq, .result = result, .packets = packets};
	ssize_t n;

	do
		n = send(w->parser, &a, sizeof(a), MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static int run_requests(struct wall *w, const struct wall_request *r, size_t n)
{
	struct err err;
	struct buf text;
	int result = 0;

	buf_init(&text, NFT_TEXT_MAX);
	for (size_t i = 0; i < n && result == 0; i++)
		result = nft_text_request(&text, &r[i]);
	if (result == 0)
		result = nft_run(w->nft, buf_str(&text), &err);
	if (result < 0 && n == 1)
		log_warning(
			"a change was refused: %s", result == -EINVAL ? "out of range" : err.msg);
	buf_done(&text);
	return result;
}

static int run_counters(struct wall *w, const struct wall_request *r)
{
	uint64_t packets = 0;
	int result = nft_count(w->nft, &packets, NULL);

	return answer(w, r, result, packets);
}

static int run_batch(struct wall *w)
{
	size_t n = w->n, counters = n && w->batch[n - 1].op == WALL_COUNTERS;
	int all, r = 0;

	n -= counters;
	all = n ? run_requests(w, w->batch, n) : 0;
	for (size_t i = 0; i < n && r == 0; i++)
		r = answer(w, &w->batch[i],
			all == 0 || n == 1 ? all : run_requests(w, &w->batch[i], 1), 0);
	if (r == 0 && counters)
		r = run_counters(w, &w->batch[n]);
	return r;
}

int wall_run(int netns, int parser, struct err *err)
{
	struct wall w = {.parser = parser, .listeners = {-1, -1, -1}};
	int r = set_up(&w, netns, err);

	if (r < 0) {
		nft_free(w.nft);
		return r;
	}
	do
		r = fill_batch(&w);
	while (r == 0 && (r = run_batch(&w)) == 0);
	nft_free(w.nft);
	return err_set(err, r, "%s", r == -EPIPE ? "the parser has ended" : strerror(-r));
}
