/* Saved memory: what goes in comes out, whatever is damaged is seen, a process's own pages are
 * found. */
#include "scratch.h"

#include "guest_ram.h"
#include "pages.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define PAGES 2000u
#define SIZE ((uint64_t)PAGES * GUEST_PAGE)

static uint8_t memory[SIZE], back[SIZE];
static bool is_saved[PAGES];
static unsigned n_saved, n_zero;

/* Pages of noise, of text and of zeros, in runs and alone. */
static void fill(void)
{
	srand(11);
	memset(memory, 0, sizeof(memory));
	n_saved = n_zero = 0;
	for (unsigned i = 0; i < PAGES; i++) {
		uint8_t *page = memory + (size_t)i * GUEST_PAGE;
		unsigned kind = i / 7 % 4;

		is_saved[i] = kind != 0;
		n_saved += kind != 0;
		n_zero += kind == 3;
		for (unsigned b = 0; b < GUEST_PAGE && (kind == 1 || kind == 2); b++)
			page[b] = kind == 1 ? (uint8_t)rand() : (uint8_t)('a' + b % 7);
	}
}

static int save(int level, uint8_t digest[PAGES_DIGEST_LEN], struct pages_stats *stats)
{
	struct pages_writer *w;
	int fd = memfd_create("pages", MFD_CLOEXEC);

	assert_int_equal(pages_write_begin(&w, fd, SIZE, level, NULL), 0);
	for (unsigned i = 0; i < PAGES; i++)
		if (is_saved[i])
			assert_int_equal(
				pages_write(w, i, memory + (size_t)i * GUEST_PAGE, NULL), 0);
	assert_int_equal(pages_write_end(w, digest, stats, NULL), 0);
	return fd;
}

static int put(void *data, uint64_t at, const void *bytes, size_t n, struct err *err)
{
	assert_true(at + n <= SIZE);
	if (bytes)
		memcpy(back + at, bytes, n);
	else
		memset(back + at, 0, n);
	return 0;
}

static int load(int fd, struct err *err)
{
	uint8_t digest[PAGES_DIGEST_LEN];
	struct pages_stats stats;

	lseek(fd, 0, SEEK_SET);
	memset(back, 0, sizeof(back));
	return pages_read(fd, SIZE, put, NULL, digest, &stats, err);
}

static void test_there_and_back(void **state)
{
	uint64_t bytes[2];

	fill();
	for (int level = 0; level < 2; level++) {
		uint8_t written[PAGES_DIGEST_LEN];
		struct pages_stats stats;
		struct stat st;
		AUTOFD int fd = save(level, written, &stats);

		fstat(fd, &st);
		assert_int_equal(stats.bytes, st.st_size);
		assert_int_equal(stats.pages, n_saved);
		assert_int_equal(stats.zero, n_zero);
		assert_int_equal(load(fd, NULL), 0);
		assert_memory_equal(back, memory, SIZE);
		bytes[level] = stats.bytes;
	}
	/* text packs, noise does not, and zeros cost nothing */
	assert_true(bytes[0] < (n_saved - n_zero) * GUEST_PAGE + 16384);
	assert_true(bytes[1] < bytes[0] * 3 / 5);
}

static void test_nothing(void **state)
{
	struct pages_stats stats;
	uint8_t digest[PAGES_DIGEST_LEN];

	memset(is_saved, 0, sizeof(is_saved));
	{
		AUTOFD int fd = save(1, digest, &stats);

		assert_int_equal(stats.pages, 0);
		assert_int_equal(load(fd, NULL), 0);
	}
}

/* Any one byte changed, any byte missing, anything added. */
static void test_damage(void **state)
{
	struct pages_stats stats;
	uint8_t digest[PAGES_DIGEST_LEN];
	AUTOFD int fd = -1;
	struct err err;
	off_t size;

	fill();
	for (unsigned i = 40; i < PAGES; i++)
		is_saved[i] = false;
	fd = save(1, digest, &stats);
	size = (off_t)stats.bytes;
	for (off_t at = 0; at < size; at += 1 + rand() % 97) {
		uint8_t was, now;

		assert_int_equal(pread(fd, &was, 1, at), 1);
		now = was ^ (uint8_t)(1u << rand() % 8);
		assert_int_equal(pwrite(fd, &now, 1, at), 1);
		assert_int_equal(load(fd, &err), -EBADMSG);
		assert_int_equal(pwrite(fd, &was, 1, at), 1);
	}
	assert_int_equal(load(fd, NULL), 0);
	assert_int_equal(pwrite(fd, "x", 1, size), 1);
	assert_int_equal(load(fd, &err), -EBADMSG);
	for (off_t n = size - 1; n > 0; n -= 1 + rand() % 997) {
		assert_int_equal(ftruncate(fd, n), 0);
		assert_int_equal(load(fd, &err), -EBADMSG);
	}
}

static void test_full_disk(void **state)
{
	AUTOFD int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	struct pages_writer *w;
	struct err err = {0};

	assert_int_equal(pages_write_begin(&w, fd, SIZE, 1, &err), -ENOSPC);
}

/* A process that maps the file as QEMU does, and writes to some of it. */
static pid_t child(const char *path, int ready)
{
	pid_t pid = fork();

	if (pid == 0) {
		int fd = open(path, O_RDONLY);
		uint8_t *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);

		for (unsigned i = 0; i < PAGES; i += 3)
			p[(size_t)i * GUEST_PAGE + i % GUEST_PAGE] = (uint8_t)(i + 1);
		for (unsigned i = 1; i < PAGES; i += 3)
			(void)*(volatile uint8_t *)(p + (size_t)i * GUEST_PAGE);
		if (write(ready, "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	return pid;
}

static void test_of_a_process(void **state)
{
	AUTOFREE char *path = NULL;
	AUTOFREE uint8_t *bitmap = NULL;
	struct guest_ram ram;
	uint8_t page[GUEST_PAGE];
	struct err err = {0};
	int ends[2];
	char byte;
	pid_t pid;

	scratch_new();
	path = xasprintf("%s/base", scratch_path);
	close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	assert_int_equal(truncate(path, SIZE), 0);
	assert_int_equal(pipe(ends), 0);
	pid = child(path, ends[1]);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	assert_int_equal(guest_ram_open(&ram, pid, path, &err), 0);
	assert_int_equal(ram.size, SIZE);
	assert_int_equal(guest_ram_private(&ram, &bitmap, &err), (PAGES + 2) / 3);
	for (unsigned i = 0; i < PAGES; i++)
		assert_int_equal(bitmap[i / 8] >> i % 8 & 1, i % 3 == 0);
	assert_int_equal(guest_ram_read(&ram, 300 * GUEST_PAGE, page, sizeof(page), &err), 0);
	assert_int_equal(page[300], (uint8_t)301);
	guest_ram_close(&ram);
	/* a file of another size is not that memory, and a process that is gone has none */
	assert_int_equal(truncate(path, SIZE + GUEST_PAGE), 0);
	assert_int_equal(guest_ram_open(&ram, pid, path, &err), -EPROTO);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(guest_ram_open(&ram, pid, path, &err), -ESRCH);
	close(ends[0]);
	close(ends[1]);
	scratch_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_full_disk),
		cmocka_unit_test(test_of_a_process),
	};

	return cmocka_run_group_tests_name("pages", tests, NULL, NULL);
}
