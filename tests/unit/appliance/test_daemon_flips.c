/* One byte of what an agent would wake from is another one: that is found before its guest runs,
 * nothing that is there is given up for it, and with the byte as it was all is as it was. */
#include "scratch.h"

#include "daemon_harness.h"
#include "disk_world.h"
#include "fake_world.h"
#include "faults.h"
#include "json.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#define PAGE 4096
#define AT_RANDOM 4
#define OFFSETS_MAX 40

struct use {
	const char *op, *args;
};

static void flip(const char *path, off_t at)
{
	AUTOFD int fd = open(path, O_RDWR | O_CLOEXEC);
	uint8_t byte;

	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= (uint8_t)(1u << at % 8);
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
}

/* The first byte, the last, around each page's end, some at random. */
static size_t offsets(off_t size, off_t out[OFFSETS_MAX])
{
	off_t step = MAX((off_t)PAGE, size / PAGE / 8 * PAGE);
	size_t n = 0;

	out[n++] = 0;
	for (off_t at = step; at < size && n + 3 < OFFSETS_MAX - AT_RANDOM; at += step) {
		out[n++] = at - 1;
		out[n++] = at;
	}
	for (int i = 0; i < AT_RANDOM; i++)
		out[n++] = rand() % size;
	out[n++] = size - 1;
	return n;
}

static void refused(const char *path, off_t at, const struct use *use)
{
	cJSON *msg = call(use->op, use->args);
	const char *type = json_str(json_get(msg, "error"), "type", "done");

	if (!streq(type, "snapshot-damaged"))
		fail_msg("%s with %s changed at %lld: %s (%s)", use->op, path, (long long)at, type,
			json_str(json_get(msg, "error"), "detail", ""));
	cJSON_Delete(msg);
}

/* A change that changes nothing: white space between the members of a manifest, which is anything
 * up to the space to cJSON. */
static bool is_white(const char *path, off_t at)
{
	AUTOFD int fd = open(path, O_RDONLY | O_CLOEXEC);
	char was[1], now;
	bool json = strstr(path, ".json");

	assert_int_equal(pread(fd, was, 1, at), 1);
	now = (char)(*was ^ (1 << at % 8));
	return json && *was <= ' ' && now >= 0 && now <= ' ';
}

static unsigned flip_file(const char *path, const struct use *uses, size_t n_uses)
{
	off_t all[OFFSETS_MAX];
	struct stat st;
	size_t n;

	assert_int_equal(stat(path, &st), 0);
	n = offsets(st.st_size, all);
	for (size_t i = 0; i < n; i++) {
		if (is_white(path, all[i]))
			continue;
		flip(path, all[i]);
		for (size_t u = 0; u < n_uses; u++)
			refused(path, all[i], &uses[u]);
		flip(path, all[i]);
	}
	return (unsigned)n;
}

/* In each file of a folder. */
static unsigned flip_all(const char *folder, const struct use *uses, size_t n_uses)
{
	DIR *dir = opendir(folder);
	struct dirent *e;
	unsigned n = 0, files = 0;

	assert_non_null(dir);
	while ((e = readdir(dir))) {
		AUTOFREE char *path = xasprintf("%s/%s", folder, e->d_name);

		if (e->d_name[0] == '.')
			continue;
		n += flip_file(path, uses, n_uses);
		files++;
	}
	closedir(dir);
	print_message("%u changes in %u files of %s\n", n, files, strrchr(folder, '/') + 1);
	return n;
}

/* The one entry of a folder that begins so. */
static char *entry(const char *folder, const char *prefix)
{
	DIR *dir = opendir(folder);
	struct dirent *e;
	char *found = NULL;

	while (dir && (e = readdir(dir)))
		if (starts_with(e->d_name, prefix) && !found)
			found = xasprintf("%s/%s", folder, e->d_name);
	closedir(dir);
	assert_non_null(found);
	return found;
}

static const struct deed *deed(const char *name)
{
	for (unsigned i = 0; i < n_deeds; i++)
		if (streq(deeds[i].name, name))
			return &deeds[i];
	fail_msg("there is no %s", name);
	return NULL;
}

static void test_snapshot(void **state)
{
	AUTOFREE char *folder = NULL, *all = NULL, *restore = NULL, *create = NULL;
	struct use uses[] = {{"agent.restore", NULL}, {"agent.create", NULL}};
	int64_t pid;

	world_new(deed("restore"));
	all = xasprintf("%s/snapshots", scratch_path);
	folder = entry(all, "sn_");
	/* by its id: one whose manifest is damaged has no tag */
	restore = xasprintf("{\"agent\":\"a\",\"snapshot\":\"%s\"}", strrchr(folder, '/') + 1);
	create = xasprintf("{\"name\":\"b\",\"from\":\"%s\"}", strrchr(folder, '/') + 1);
	uses[0].args = restore;
	uses[1].args = create;
	pid = shown_number("a", "pid");
	flip_all(folder, uses, ARRAY_SIZE(uses));
	assert_int_equal(shown_number("a", "pid"), pid);
	world_check(deed("restore"), DEED_FAILED, false, 0);
	want_ok("agent.restore", restore);
	world_check(deed("restore"), DEED_DONE, false, 0);
	world_check_leftovers();
	world_end();
}

static void test_sleeper(void **state)
{
	static const struct use starts[] = {{"agent.start", "{\"agent\":\"a\"}"}};
	AUTOFREE char *agents = NULL, *folder = NULL, *asleep = NULL;

	world_new(deed("wake"));
	agents = xasprintf("%s/agents", scratch_path);
	folder = entry(agents, "ag_");
	asleep = entry(folder, "sleep.d_");
	flip_all(asleep, starts, ARRAY_SIZE(starts));
	assert_int_equal(fake_qemus(scratch_path), 0);
	want_ok("agent.start", "{\"agent\":\"a\"}");
	world_check(deed("wake"), DEED_DONE, false, 0);
	world_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_snapshot),
		cmocka_unit_test(test_sleeper),
	};

	srand(5);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
