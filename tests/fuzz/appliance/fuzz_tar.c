/* Fuzzes the unpacking of a guest's tar: nothing beside the destination may ever change. */
#include "cli_tar.h"
#include "util.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct input {
	const uint8_t *data;
	size_t left;
};

static ssize_t source(void *arg, void *buf, size_t n, struct err *err)
{
	struct input *in = arg;

	(void)err;
	n = MIN(n, in->left);
	memcpy(buf, in->data, n);
	in->data += n;
	in->left -= n;
	return (ssize_t)n;
}

/* Anything but the destination and the canary, or a changed canary, is a hole. */
static void look(int top)
{
	AUTOFREE char *text = NULL;
	DIR *d = fdopendir(openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	struct dirent *e;
	int n = 0;

	while (d && (e = readdir(d)))
		n++;
	if (!d || n != 4 || file_read(top, "canary", 100, &text, NULL, NULL) < 0 ||
		!streq(text, "alive"))
		abort();
	closedir(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static char top_path[] = "/dev/shm/berth-fuzz-XXXXXX";
	static int top = -1;
	struct tar_limits limits = {1 << 20, 200};
	struct input in = {data, n};
	struct tar_stats stats;
	struct err err = {0};
	AUTOFREE char *to = NULL;
	AUTOFD int dir = -1;

	if (top < 0) {
		if (!mkdtemp(top_path))
			abort();
		top = open(top_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(openat(top, "canary", O_WRONLY | O_CREAT, 0600));
		to = xasprintf("%s/canary", top_path);
		file_write_atomic(to, "alive", 5, 0600, NULL);
		free(to);
	}
	to = xasprintf("%s/to", top_path);
	if (mkdir(to, 0700) < 0)
		abort();
	dir = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	tar_unpack(dir, source, NULL, &in, &limits, &stats, &err);
	look(top);
	if (stats.bytes > limits.max_bytes)
		abort();
	if (remove_tree(to, NULL) < 0)
		abort();
	return 0;
}
