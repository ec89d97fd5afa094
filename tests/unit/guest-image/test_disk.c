/* What the first bytes of the agent's disk say about it. */
#include "disk.h"
#include "util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

static void blank(void **state)
{
	uint8_t head[DISK_HEAD] = {0};

	assert_int_equal(disk_state_of(head), DISK_BLANK);
	for (size_t i = 0; i < sizeof(head); i++) {
		head[i] = 1;
		assert_int_equal(disk_state_of(head), DISK_FOREIGN);
		head[i] = 0;
	}
}

static void ext4(void **state)
{
	uint8_t head[DISK_HEAD] = {0};

	head[1024 + 0x38] = 0x53;
	head[1024 + 0x39] = 0xEF;
	head[1024 + 0x3A] = 1;
	assert_int_equal(disk_state_of(head), DISK_CLEAN);
	head[1024 + 0x3A] = 0; /* mounted and not unmounted: its journal is replayed */
	assert_int_equal(disk_state_of(head), DISK_CLEAN);
	head[1024 + 0x3A] = 3;
	assert_int_equal(disk_state_of(head), DISK_DAMAGED);
	head[1024 + 0x38] = 0x54;
	assert_int_equal(disk_state_of(head), DISK_FOREIGN);
}

/* What mkfs.ext4 itself writes, where it is installed. */
static void real_file_system(void **state)
{
	char path[] = "/tmp/berth-disk-XXXXXX";
	AUTOFD int fd = mkstemp(path);
	AUTOFREE char *command =
		xasprintf("PATH=$PATH:/usr/sbin:/sbin; mkfs.ext4 -q -F %s 2>/dev/null", path);
	uint8_t head[DISK_HEAD];
	int status;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 16 << 20), 0);
	assert_int_equal(pread(fd, head, sizeof(head), 0), sizeof(head));
	assert_int_equal(disk_state_of(head), DISK_BLANK);
	status = system(command);
	assert_int_equal(pread(fd, head, sizeof(head), 0), sizeof(head));
	unlink(path);
	if (WEXITSTATUS(status) == 127)
		skip();
	assert_int_equal(status, 0);
	assert_int_equal(disk_state_of(head), DISK_CLEAN);
}

static void devices_that_are_not_there(void **state)
{
	struct err err;
	int fresh = 7;

	assert_true(disk_prepare("/no/such/device", "/", &fresh, &err) < 0);
	assert_non_null(strstr(err.msg, "/no/such/device"));
	assert_int_equal(fresh, 0);
	assert_true(disk_prepare("/dev/null", "/", &fresh, &err) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(blank), cmocka_unit_test(ext4),
		cmocka_unit_test(real_file_system), cmocka_unit_test(devices_that_are_not_there)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
