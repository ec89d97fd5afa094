/* Who this guest is, and what time it is: the host says so at boot and again after every resume. */
#include "identity.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "note.h"
#include "util.h"

#define HOSTS_OURS "127.0.1.1"
#define HOSTS_MAX 65536

static void set_clock(int64_t ns)
{
	struct timespec ts = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};

	if (clock_settime(CLOCK_REALTIME, &ts) < 0)
		note("cannot set the clock: %s", strerror(errno));
}

static void add_entropy(const uint8_t *bytes, size_t n)
{
	AUTOFD int fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
	struct {
		struct rand_pool_info info;
		uint8_t bytes[64];
	} pool = {.info = {.entropy_count = (int)(8 * n), .buf_size = (int)n}};

	memcpy(pool.bytes, bytes, MIN(n, sizeof(pool.bytes)));
	if (fd < 0 || ioctl(fd, RNDADDENTROPY, &pool) < 0 || ioctl(fd, RNDRESEEDCRNG) < 0)
		note("cannot seed the random generator: %s", strerror(errno));
	explicit_bzero(&pool, sizeof(pool));
}

char *identity_hosts(const char *old, const char *hostname)
{
	struct buf b;
	char *text;

	buf_init(&b, HOSTS_MAX);
	while (*old) {
		size_t n = strcspn(old, "\n");

		if (!starts_with(old, HOSTS_OURS " ") && !starts_with(old, HOSTS_OURS "\t") &&
			n > 0) {
			buf_add(&b, old, n);
			buf_add_str(&b, "\n");
		}
		old += n + (old[n] == '\n');
	}
	if (*hostname)
		buf_addf(&b, HOSTS_OURS " %s\n", hostname);
	text = xstrdup(buf_str(&b));
	buf_done(&b);
	return text;
}

/*
 * Written only when it changes; whole or not at all. Not synced: who wakes a guest waits for this,
 * and after a crash the host says it again.
 */
static void keep(const char *path, const char *text)
{
	AUTOFREE char *now = NULL, *part = xasprintf("%s.berth", path);
	AUTOFD int fd = -1;
	size_t len;

	if (file_read(AT_FDCWD, path, HOSTS_MAX, &now, &len, NULL) == 0 && streq(now, text))
		return;
	fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0 || fchmod(fd, 0644) < 0 || write_all(fd, text, strlen(text)) < 0 ||
		rename(part, path) < 0) {
		note("cannot write %s: %s", path, strerror(errno));
		unlink(part);
	}
}

static void set_name(const char *hostname)
{
	AUTOFREE char *line = xasprintf("%s\n", hostname), *old = NULL, *hosts = NULL;
	size_t len;

	if (sethostname(hostname, strlen(hostname)) < 0)
		note("cannot set the host name: %s", strerror(errno));
	keep("/etc/hostname", line);
	if (file_read(AT_FDCWD, "/etc/hosts", HOSTS_MAX, &old, &len, NULL) < 0)
		old = xstrdup("127.0.0.1 localhost\n");
	hosts = identity_hosts(old, hostname);
	keep("/etc/hosts", hosts);
}

void identity_apply(const struct guest_config *config)
{
	char id[2 * sizeof(config->machine_id) + 2];

	if (config->realtime_ns > 0)
		set_clock(config->realtime_ns);
	add_entropy(config->entropy, sizeof(config->entropy));
	if (agent_name_valid(config->hostname))
		set_name(config->hostname);
	hex_encode(config->machine_id, sizeof(config->machine_id), id);
	strcat(id, "\n");
	keep("/etc/machine-id", id);
}
