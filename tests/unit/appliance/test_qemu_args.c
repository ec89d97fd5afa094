/* QEMU's command line: the golden one, and that no value leaves its place. */
#include "qemu_args.h"

#include <cjson/cJSON.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "util.h"

static const struct qemu_args plain = {.name = "ag_abcdefgh23456789",
	.kernel = "/image/vmlinuz",
	.initrd = "/image/initrd.img",
	.rootfs = "/image/rootfs.erofs",
	.disk = "/agent/d_2345.qcow2",
	.disk_node = "d_2345",
	.memory = "/memory",
	.memory_mib = 1024,
	.cpus = 2,
	.kvm_fd = -1,
	.tap_fd = 3,
	.qmp_fd = 4};

static const char *const golden[] = {"/usr/bin/qemu-system-x86_64", "-name",
	"guest=ag_abcdefgh23456789", "-M", "microvm,acpi=on,rtc=on,memory-backend=mem", "-accel",
	"tcg,thread=multi,tb-size=512", "-cpu", "max,vendor=GenuineIntel", "-object",
	"{\"qom-type\":\"memory-backend-file\",\"id\":\"mem\",\"size\":1073741824,\"mem-path\":"
	"\"/memory\",\"share\":false,\"readonly\":true,\"rom\":\"off\"}",
	"-m", "1024", "-smp", "2", "-nodefaults", "-no-user-config", "-nographic", "-action",
	"reboot=shutdown,shutdown=pause", "-sandbox",
	"on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny", "-kernel",
	"/image/vmlinuz", "-initrd", "/image/initrd.img", "-append",
	"quiet panic=-1 mitigations=off console=ttyS0", "-chardev", "ringbuf,id=console,size=65536",
	"-serial", "chardev:console", "-chardev", "socket,id=qmp,fd=4,server=on,wait=off", "-mon",
	"chardev=qmp,mode=control", "-blockdev",
	"{\"driver\":\"qcow2\",\"node-name\":\"d_2345\",\"discard\":\"unmap\",\"detect-zeroes\":"
	"\"unmap\",\"file\":"
	"{\"driver\":\"file\",\"filename\":\"/agent/"
	"d_2345.qcow2\",\"read-only\":false,\"auto-read-only\":true,\"discard\":\"unmap\"}}",
	"-blockdev",
	"{\"driver\":\"raw\",\"node-name\":\"rootfs\",\"read-only\":true,\"file\":{\"driver\":"
	"\"file\",\"filename\":"
	"\"/image/rootfs.erofs\",\"read-only\":true}}",
	"-device", "{\"driver\":\"virtio-blk-device\",\"drive\":\"d_2345\"}", "-device",
	"{\"driver\":\"virtio-blk-device\",\"drive\":\"rootfs\"}", "-netdev", "tap,id=net,fd=3",
	"-device",
	"{\"driver\":\"virtio-net-device\",\"netdev\":\"net\",\"mac\":\"52:54:00:be:00:15\"}",
	NULL};

static void test_golden(void **unused)
{
	char *argv[QEMU_ARGS_MAX];

	assert_int_equal(qemu_args_make(&plain, argv), 0);
	for (size_t i = 0; i < ARRAY_SIZE(golden); i++) {
		if (!golden[i]) {
			assert_null(argv[i]);
			continue;
		}
		assert_non_null(argv[i]);
		assert_string_equal(argv[i], golden[i]);
	}
	qemu_args_free(argv);
}

static const char *after(char *const *argv, const char *option)
{
	for (; *argv; argv++)
		if (streq(*argv, option))
			return argv[1];
	return "";
}

/* What wakes stands still until berthd lets it go: by then the memory on the disk is consumed. */
static void test_incoming(void **unused)
{
	struct qemu_args a = plain;
	char *argv[QEMU_ARGS_MAX];

	a.incoming = "/state/device";
	assert_int_equal(qemu_args_make(&a, argv), 0);
	assert_string_equal(after(argv, "-incoming"), "defer");
	assert_string_equal(after(argv, "defer"), "-S");
	qemu_args_free(argv);
}

static void test_kvm(void **unused)
{
	struct qemu_args a = plain;
	char *argv[QEMU_ARGS_MAX];

	a.kvm_fd = 5;
	assert_int_equal(qemu_args_make(&a, argv), 0);
	assert_string_equal(after(argv, "-add-fd"), "fd=5,set=1");
	assert_string_equal(after(argv, "-accel"), "kvm,device=/dev/fdset/1");
	assert_string_equal(after(argv, "-cpu"), "host");
	qemu_args_free(argv);
}

static void test_tsc(void **unused)
{
	struct qemu_args a = plain;
	char *argv[QEMU_ARGS_MAX];

	a.tsc_khz = 2400000;
	assert_int_equal(qemu_args_make(&a, argv), 0);
	assert_non_null(strstr(after(argv, "-append"), " tsc_early_khz=2400000 "));
	qemu_args_free(argv);
}

/* The JSON at argv[i], its strings found to be exactly what went in. */
static void check_json(char *const *argv, size_t i, const char *inner, const char *want)
{
	cJSON *o = cJSON_Parse(argv[i]);
	const cJSON *file;

	assert_non_null(o);
	file = cJSON_GetObjectItemCaseSensitive(o, "file");
	assert_int_equal(cJSON_GetArraySize(o), streq(inner, "disk") ? 5 : 4);
	assert_string_equal(cJSON_GetObjectItemCaseSensitive(file, "filename")->valuestring, want);
	cJSON_Delete(o);
}

static void random_text(unsigned *seed, char *out, size_t n)
{
	static const char alphabet[] = ",,==\"\"''{}[]:\\/ -\n\tag.%$`;";
	size_t len = 1 + (size_t)rand_r(seed) % (n - 1);

	for (size_t i = 0; i < len; i++)
		out[i] = alphabet[(size_t)rand_r(seed) % (sizeof(alphabet) - 1)];
	out[len] = 0;
}

/* Whatever the text values are: the same options at the same places, each value whole inside its
 * own. */
static void test_no_escape(void **unused)
{
	unsigned seed = 1;

	for (int round = 0; round < 2000; round++) {
		char name[40], disk[60], rootfs[60], *argv[QEMU_ARGS_MAX];
		struct qemu_args a = plain;
		size_t i;

		random_text(&seed, name, sizeof(name));
		random_text(&seed, disk, sizeof(disk));
		random_text(&seed, rootfs, sizeof(rootfs));
		a.name = name;
		a.disk = disk;
		a.rootfs = rootfs;
		a.kernel = name;
		a.initrd = disk;
		assert_int_equal(qemu_args_make(&a, argv), 0);
		for (i = 0; golden[i]; i++) {
			const char *before = i ? golden[i - 1] : "";

			assert_non_null(argv[i]);
			if (streq(before, "-name")) {
				const char *p = argv[i] + strlen("guest=");

				for (const char *q = name; *q; q++, p++) {
					assert_int_equal(*p, *q);
					if (*q == ',')
						assert_int_equal(*++p, ',');
				}
				assert_int_equal(*p, 0);
			} else if (streq(before, "-kernel")) {
				assert_string_equal(argv[i], name);
			} else if (streq(before, "-initrd")) {
				assert_string_equal(argv[i], disk);
			} else if (streq(before, "-blockdev")) {
				bool first = strstr(golden[i], "qcow2") != NULL;

				check_json(
					argv, i, first ? "disk" : "rootfs", first ? disk : rootfs);
			} else {
				assert_string_equal(argv[i], golden[i]);
			}
		}
		assert_null(argv[i]);
		qemu_args_free(argv);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_incoming),
		cmocka_unit_test(test_kvm),
		cmocka_unit_test(test_tsc),
		cmocka_unit_test(test_no_escape),
	};

	return cmocka_run_group_tests_name("qemu_args", tests, NULL, NULL);
}
