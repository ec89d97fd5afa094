/*
 * The wall: the process that owns the agent's nftables rules, and does nothing else.
 *
 * Theory of operation. The whole ruleset is fixed text, put in force in one transaction before
 * anything listens; what changes afterwards is the content of its sets. The parser,
 * which reads what guests send, can ask for an element to come or go (wall_msg.h), for another list
 * of open networks, and for the counters. A request is answered when netlink has acknowledged it,
 * so an answered pin is one that the next packet meets. Requests that have piled up go into one
 * transaction; if that fails, each goes alone, so that one bad request spoils no other. If one
 * fails alone and the counters cannot be read either, then the table or netlink itself is broken:
 * the wall ends, berthd starts both again.
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
#include <sys/wait.h>
#include <time.h>

struct wall {
	struct nft *nft;
	int parser;
	int listeners[WALL_LISTENERS];
	struct wall_request batch[WALL_IN_FLIGHT_MAX];
	size_t n;
	struct wall_request networks[WALL_NETS_MAX]; /* the list that grows */
	size_t n_networks;
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

/* One about elements, which may share a transaction with others. */
static bool is_element(const struct wall_request *r)
{
	return r->op == WALL_PIN || r->op == WALL_UNPIN || r->op == WALL_FLUSH;
}

/* Waits for one request, then takes what else is there, up to one that goes alone. -EPIPE at the
 * parser's end. */
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
		if (!is_element(r))
			return 0;
	}
	return 0;
}

static int send_answer(struct wall *w, const struct wall_answer *a)
{
	ssize_t n;

	do
		n = send(w->parser, a, sizeof(*a), MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static int answer(struct wall *w, const struct wall_request *r, int result)
{
	return send_answer(w, &(struct wall_answer){.seq = r->seq, .result = result});
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

/* Answers, and fails where nothing can work any more. */
static int run_list(struct wall *w, const struct wall_request *r)
{
	struct wall_answer a = {.seq = r->seq};
	int sent;

	a.result = r->op == WALL_COUNTERS ? nft_count(w->nft, a.counts, NULL)
					  : nft_refused(w->nft, &a, NULL);
	sent = send_answer(w, &a);
	return a.result < 0 ? a.result : sent;
}

static int add_network(struct wall *w, const struct wall_request *r)
{
	if (!nft_text_network_valid(r))
		return -EINVAL;
	if (w->n_networks == WALL_NETS_MAX)
		return -ENOSPC;
	w->networks[w->n_networks++] = *r;
	return 0;
}

static int commit_networks(struct wall *w)
{
	struct err err;
	struct buf text;
	int r;

	buf_init(&text, NFT_TEXT_MAX);
	nft_text_networks(&text, w->networks, w->n_networks);
	r = nft_run(w->nft, buf_str(&text), &err);
	if (r < 0)
		log_warning("%zu networks were refused: %s", w->n_networks, err.msg);
	buf_done(&text);
	return r;
}

/* Answers a change, and fails where nothing can work any more. */
static int answer_change(struct wall *w, const struct wall_request *r, int result)
{
	uint64_t counts[WALL_COUNTS];
	int sent = answer(w, r, result);

	return result == -EIO && nft_count(w->nft, counts, NULL) < 0 ? result : sent;
}

/* One that is not about elements. */
static int run_alone(struct wall *w, const struct wall_request *r)
{
	switch (r->op) {
	case WALL_COUNTERS:
	case WALL_REFUSALS:
		return run_list(w, r);
	case WALL_NETS_BEGIN:
		w->n_networks = 0;
		return answer(w, r, 0);
	case WALL_NET:
		return answer(w, r, add_network(w, r));
	case WALL_NETS_COMMIT:
		return answer_change(w, r, commit_networks(w));
	default:
		return answer(w, r, -EINVAL);
	}
}

static int run_batch(struct wall *w)
{
	size_t n = w->n, alone = n && !is_element(&w->batch[n - 1]);
	int all, r = 0;

	n -= alone;
	all = n > 1 ? run_requests(w, w->batch, n) : -EAGAIN;
	for (size_t i = 0; i < n && r == 0; i++)
		r = all == 0 ? answer(w, &w->batch[i], 0)
			     : answer_change(w, &w->batch[i], run_requests(w, &w->batch[i], 1));
	if (r == 0 && alone)
		r = run_alone(w, &w->batch[n]);
	return r;
}

/* The parser says that it has lost the wall, and ends; one that does not is killed by our end. */
static void let_parser_end(struct wall *w)
{
	const struct timespec while_ = {.tv_nsec = 20000000};

	close(w->parser);
	for (int i = 0; i < 100 && waitpid(-1, NULL, WNOHANG) == 0; i++)
		nanosleep(&while_, NULL);
}

int wall_run(int netns, int parser, struct err *err)
{
	AUTOFREE struct wall *w = xcalloc(1, sizeof(*w));
	int r;

	*w = (struct wall){.parser = parser, .listeners = {-1, -1, -1}};
	r = set_up(w, netns, err);
	if (r < 0) {
		nft_free(w->nft);
		return r;
	}
	do
		r = fill_batch(w);
	while (r == 0 && (r = run_batch(w)) == 0);
	nft_free(w->nft);
	let_parser_end(w);
	return err_set(err, r, "%s",
		r == -EPIPE ? "the parser has ended"
		: r == -EIO ? "nftables does not do what it should any more"
			    : strerror(-r));
}
