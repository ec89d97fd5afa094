/* QEMU's command line, from values: pure, and no value leaves its place. */
#include "qemu_args.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"
#include "util.h"

/* Quiet: the serial console costs time at boot. A panic resets at once, which ends QEMU
 * (-no-reboot). */
#define KERNEL_ARGS "quiet panic=-1 mitigations=off console=ttyS0"

struct args {
	char **argv;
	size_t n;
};

static void add(struct args *a, const char *s)
{
	if (a->n < QEMU_ARGS_MAX - 1)
		a->argv[a->n] = xstrdup(s);
	a->n++;
}

static void add2(struct args *a, const char *option, const char *value)
{
	add(a, option);
	add(a, value);
}

__attribute__((format(printf, 3, 4))) static void addf(
	struct args *a, const char *option, const char *fmt, ...)
{
	AUTOFREE char *value = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&value, fmt, ap) < 0)
		abort();
	va_end(ap);
	add2(a, option, value);
}

/* Takes the object; its text becomes the option's value. */
static void add_json(struct args *a, const char *option, cJSON *o)
{
	AUTOFREE char *text = cJSON_PrintUnformatted(o);

	cJSON_Delete(o);
	if (!text)
		abort();
	add2(a, option, text);
}

static cJSON *object(const char *key, const char *value)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, key, value);
	return o;
}

static cJSON *file_node(const char *path, bool read_only)
{
	cJSON *o = object("driver", "file");

	cJSON_AddStringToObject(o, "filename", path);
	cJSON_AddBoolToObject(o, "read-only", read_only);
	return o;
}

/*
 * The agent's disk: what the guest flushes is on the host's disk; what it discards is given back.
 * auto-read-only: once it is a layer below another file it is ours and frozen, and QEMU, which
 * opens it anew at the next snapshot, must not ask for more than to read it.
 */
static void add_disk(struct args *a, const char *path, const char *node)
{
	cJSON *o = object("driver", "qcow2"), *file = file_node(path, false);

	cJSON_AddBoolToObject(file, "auto-read-only", true);
	cJSON_AddStringToObject(file, "discard", "unmap");
	cJSON_AddStringToObject(o, "node-name", node);
	cJSON_AddStringToObject(o, "discard", "unmap");
	cJSON_AddStringToObject(o, "detect-zeroes", "unmap");
	cJSON_AddItemToObject(o, "file", file);
	add_json(a, "-blockdev", o);
}

static void add_rootfs(struct args *a, const char *path)
{
	cJSON *o = object("driver", "raw");

	cJSON_AddStringToObject(o, "node-name", "rootfs");
	cJSON_AddBoolToObject(o, "read-only", true);
	cJSON_AddItemToObject(o, "file", file_node(path, true));
	add_json(a, "-blockdev", o);
}

static void add_device(struct args *a, const char *driver, const char *key, const char *value)
{
	cJSON *o = object("driver", driver);

	cJSON_AddStringToObject(o, key, value);
	add_json(a, "-device", o);
}

/* -name takes a list of options: a comma in the value is doubled. */
static void add_name(struct args *a, const char *name)
{
	AUTOFREE char *value = xmalloc(2 * strlen(name) + 7);
	char *p = stpcpy(value, "guest=");

	for (; *name; name++) {
		if (*name == ',')
			*p++ = ',';
		*p++ = *name;
	}
	*p = 0;
	add2(a, "-name", value);
}

static void add_devices(struct args *a, const struct qemu_args *q)
{
	cJSON *net = object("driver", "virtio-net-device");

	add_disk(a, q->disk, q->disk_node);
	add_rootfs(a, q->rootfs);
	/* The order gives vda and vdb. */
	add_device(a, "virtio-blk-device", "drive", q->disk_node);
	add_device(a, "virtio-blk-device", "drive", "rootfs");
	addf(a, "-netdev", "tap,id=net,fd=%d", q->tap_fd);
	cJSON_AddStringToObject(net, "netdev", "net");
	cJSON_AddStringToObject(net, "mac", GUEST_MAC);
	add_json(a, "-device", net);
}

/* Under TCG the guest's kernel is told what it could only guess (host_tsc.c). */
static void add_append(struct args *a, const struct qemu_args *q)
{
	if (q->tsc_khz > 0)
		addf(a, "-append", KERNEL_ARGS " tsc_early_khz=%lu tsc=reliable", q->tsc_khz);
	else
		add2(a, "-append", KERNEL_ARGS);
}

/*
 * RAM is a private view of a file that stays as it is: pages that the guest never wrote are shared
 * with everybody who stands on the same file, and the others can be told from outside
 * (guest_ram.h).
 */
static void add_memory(struct args *a, const struct qemu_args *q)
{
	cJSON *o = object("qom-type", "memory-backend-file");

	cJSON_AddStringToObject(o, "id", "mem");
	cJSON_AddNumberToObject(o, "size", (double)q->memory_mib * (1 << 20));
	cJSON_AddStringToObject(o, "mem-path", q->memory);
	cJSON_AddBoolToObject(o, "share", false);
	cJSON_AddBoolToObject(o, "readonly", true);
	cJSON_AddStringToObject(o, "rom", "off");
	add_json(a, "-object", o);
	addf(a, "-m", "%u", q->memory_mib);
	if (q->incoming) {
		add2(a, "-global", "migration.send-configuration=off");
		add2(a, "-incoming", "defer");
		add(a, "-S"); /* loaded is not running: its memory on the disk is consumed first */
	}
}

int qemu_args_make(const struct qemu_args *q, char *argv[QEMU_ARGS_MAX])
{
	struct args a = {.argv = argv};

	memset(argv, 0, QEMU_ARGS_MAX * sizeof(*argv));
	add(&a, QEMU_BINARY);
	add_name(&a, q->name);
	add2(&a, "-M", "microvm,acpi=on,rtc=on,memory-backend=mem");
	if (q->kvm_fd >= 0) { /* opened for it: inside its root there is no /dev/kvm */
		addf(&a, "-add-fd", "fd=%d,set=1", q->kvm_fd);
		add2(&a, "-accel", "kvm,device=/dev/fdset/1");
	} else {
		add2(&a, "-accel", "tcg,thread=multi,tb-size=512");
	}
	/* Chromium's BoringSSL mixes RDRAND into every random number only on a CPU of this vendor;
	 * without it, forks of one memory repeat each other's. */
	add2(&a, "-cpu", q->kvm_fd >= 0 ? "host" : "max,vendor=GenuineIntel");
	add_memory(&a, q);
	addf(&a, "-smp", "%u", q->cpus);
	add(&a, "-nodefaults");
	add(&a, "-no-user-config");
	add(&a, "-nographic");
	/* A machine that ended stays for a moment, so that its console can be read; then it is told
	 * to quit. */
	add2(&a, "-action", "reboot=shutdown,shutdown=pause");
	add2(&a, "-sandbox",
		"on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
	add2(&a, "-kernel", q->kernel);
	add2(&a, "-initrd", q->initrd);
	add_append(&a, q);
	add2(&a, "-chardev", "ringbuf,id=console,size=65536");
	add2(&a, "-serial", "chardev:console");
	addf(&a, "-chardev", "socket,id=qmp,fd=%d,server=on,wait=off", q->qmp_fd);
	add2(&a, "-mon", "chardev=qmp,mode=control");
	add_devices(&a, q);
	return a.n < QEMU_ARGS_MAX ? 0 : -E2BIG;
}

void qemu_args_free(char *argv[QEMU_ARGS_MAX])
{
	for (size_t i = 0; i < QEMU_ARGS_MAX; i++) {
		free(argv[i]);
		argv[i] = NULL;
	}
}
