/* The host's upstream DNS servers: resolv.conf(5), looked at again at most once a second. */
#include "resolv_conf.h"
#include "util.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <uv.h>

#define FILE_MAX 65536
#define LOOK_AGAIN_MS 1000

static struct {
	struct sockaddr_storage list[RESOLV_SERVERS_MAX];
	size_t n;
	struct timespec changed;
	ino_t inode;
	uint64_t looked;
	int ready;
} cache;

static int parse_address(const char *s, size_t n, struct sockaddr_storage *ret)
{
	char text[80];

	if (n == 0 || n >= sizeof(text))
		return -1;
	memcpy(text, s, n);
	text[n] = 0;
	memset(ret, 0, sizeof(*ret));
	if (uv_ip4_addr(text, 53, (struct sockaddr_in *)ret) == 0)
		return 0;
	return uv_ip6_addr(text, 53, (struct sockaddr_in6 *)ret);
}

size_t resolv_conf_parse(const char *text, struct sockaddr_storage ret[RESOLV_SERVERS_MAX])
{
	size_t n = 0;

	while (*text && n < RESOLV_SERVERS_MAX) {
		size_t line = strcspn(text, "\n");

		if (line > 11 && strncmp(text, "nameserver", 10) == 0 &&
			(text[10] == ' ' || text[10] == '\t')) {
			const char *p = text + 10 + strspn(text + 10, " \t");

			if (p < text + line &&
				parse_address(p, strcspn(p, " \t\r\n"), &ret[n]) == 0)
				n++;
		}
		text += line + (text[line] == '\n');
	}
	return n;
}

static void look(void)
{
	AUTOFREE char *text = NULL;
	struct stat st;

	if (stat(RESOLV_CONF_PATH, &st) < 0)
		return;
	if (cache.ready && st.st_ino == cache.inode && st.st_mtim.tv_sec == cache.changed.tv_sec &&
		st.st_mtim.tv_nsec == cache.changed.tv_nsec)
		return;
	if (file_read(AT_FDCWD, RESOLV_CONF_PATH, FILE_MAX, &text, NULL, NULL) < 0)
		return;
	cache.n = resolv_conf_parse(text, cache.list);
	cache.changed = st.st_mtim;
	cache.inode = st.st_ino;
	cache.ready = 1;
}

size_t resolv_conf_servers(struct sockaddr_storage ret[RESOLV_SERVERS_MAX])
{
	uint64_t now = now_ms();

	if (!cache.ready || now - cache.looked >= LOOK_AGAIN_MS) {
		cache.looked = now;
		look();
	}
	memcpy(ret, cache.list, sizeof(cache.list));
	return cache.n;
}
