/* From the initramfs to the agent's root: modules, the image, the disk, the overlay. */
/*
 * Theory of operation. /dev/vdb is the image (erofs, read-only, shared by all agents), /dev/vda the
 * agent's own ext4. On it: `upper` and `work` (the overlay over the image, so installed packages
 * persist) and `home` (/home/agent, outside the overlay: Chromium's databases want a plain file
 * system under them).
 *
 *      initramfs                          the agent's root
 *      /lower  vdb, erofs   --+
 *      /disk   vda, ext4    --+-overlay-> /               --move--> /run/berth/disk
 *              vda:/home    ------bind--> /home/agent
 *
 * What is written is on the disk within a few seconds, for a machine may end at any moment: dirty
 * pages are written after one second (two sysctls; nothing wakes while nothing is dirty), and the
 * journal is committed after another (commit=1). Without that ext4's delayed allocation leaves
 * files of the last half minute empty.
 *
 * The process stays the same over the change of root: nothing the agent did to its disk can replace
 * its PID 1.
 */
#include "boot.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/module.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "disk.h"
#include "guest.h"
#include "note.h"
#include "util.h"

#define DEVICE_WAIT_MS 5000
#define AGENT_UID 1000

struct mount_row {
	const char *source, *target, *type;
	unsigned long flags;
	const char *options;
	int mode; /* the folder is made with it if need be */
};

static const struct mount_row early[] = {
	{"dev", "/dev", "devtmpfs", MS_NOSUID, "mode=755", 0755},
	{"proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, 0555},
	{"sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, 0555},
};

static const struct mount_row late[] = {
	{"devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=620,ptmxmode=666",
		0755},
	{"tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777", 01777},
	{"tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777", 01777},
	{"cgroup2", "/sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, 0555},
};

static int mount_row(const struct mount_row *m, struct err *err)
{
	(void)mkdir(m->target, (mode_t)m->mode);
	if (mount(m->source, m->target, m->type, m->flags, m->options) < 0)
		return err_sys(err, "cannot mount %s on %s", m->type, m->target);
	return 0;
}

static void load_module(const char *name)
{
	AUTOFREE char *path = xasprintf("/mods/%s", name);
	AUTOFD int fd = open(path, O_RDONLY | O_CLOEXEC);

	/* A CPU without an instruction makes its accelerated module say ENODEV. */
	if (fd < 0 ||
		(syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST && errno != ENODEV))
		note("cannot load the module %s: %s", name, strerror(errno));
	(void)unlink(path);
}

static int load_modules(struct err *err)
{
	AUTOFREE char *order = NULL;
	char *save = NULL;
	size_t len;

	if (file_read(AT_FDCWD, "/mods/order", 4096, &order, &len, err) < 0)
		return err->code;
	for (char *s = strtok_r(order, "\n", &save); s; s = strtok_r(NULL, "\n", &save))
		load_module(s);
	return 0;
}

static int wait_for(const char *device, struct err *err)
{
	uint64_t end = now_ms() + DEVICE_WAIT_MS;

	while (access(device, F_OK) < 0) {
		if (now_ms() > end)
			return err_set(err, ENODEV, "%s did not appear", device);
		usleep(2000);
	}
	return 0;
}

static int mount_disk(int *ret_fresh, struct err *err)
{
	const struct mount_row disk = {"/dev/vda", "/disk", "ext4", MS_NOATIME, "commit=1", 0700};

	if (mount("/dev", "/lower/dev", NULL, MS_BIND, NULL) < 0)
		return err_sys(err, "cannot bind /dev");
	if (disk_prepare("/dev/vda", "/lower", ret_fresh, err) < 0 || mount_row(&disk, err) < 0)
		return err->code;
	(void)umount2("/lower/dev", MNT_DETACH);
	if (make_dir("/disk/upper", 0755, err) < 0 || make_dir("/disk/work", 0700, err) < 0 ||
		make_dir("/disk/home", 0700, err) < 0)
		return err->code;
	if (chown("/disk/home", AGENT_UID, AGENT_UID) < 0)
		return err_sys(err, "cannot give /home/agent to the agent");
	return 0;
}

static int move(const char *from, const char *to, struct err *err)
{
	if (mount(from, to, NULL, MS_MOVE, NULL) < 0)
		return err_sys(err, "cannot move %s to %s", from, to);
	return 0;
}

static int assemble(struct err *err)
{
	const struct mount_row overlay = {"overlay", "/new", "overlay", 0,
		"lowerdir=/lower,upperdir=/disk/upper,workdir=/disk/work", 0755};
	const struct mount_row run = {
		"tmpfs", "/new/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755", 0755};

	if (mount_row(&overlay, err) < 0 || mount_row(&run, err) < 0)
		return err->code;
	/* The agent may have removed any of these. */
	(void)mkdir("/new/dev", 0755);
	(void)mkdir("/new/proc", 0555);
	(void)mkdir("/new/sys", 0555);
	(void)mkdir("/new/home", 0755);
	(void)mkdir("/new/home/agent", 0700);
	if (mount("/disk/home", "/new/home/agent", NULL, MS_BIND, NULL) < 0)
		return err_sys(err, "cannot bind /home/agent");
	if (make_dir("/new/run/berth", 0700, err) < 0 || make_dir("/new" BOOT_DISK, 0700, err) < 0)
		return err->code;
	if (move("/disk", "/new" BOOT_DISK, err) < 0 || move("/dev", "/new/dev", err) < 0 ||
		move("/proc", "/new/proc", err) < 0 || move("/sys", "/new/sys", err) < 0)
		return err->code;
	return 0;
}

static int switch_root(struct err *err)
{
	/* The initramfs lives in memory; its modules have gone already. */
	(void)unlink("/mods/order");
	(void)unlink("/init");
	if (chdir("/new") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
		chdir("/") < 0)
		return err_sys(err, "cannot step into the new root");
	return 0;
}

int boot_root(int *ret_fresh, struct err *err)
{
	const struct mount_row image = {
		"/dev/vdb", "/lower", "erofs", MS_RDONLY | MS_NOATIME, NULL, 0755};

	for (size_t i = 0; i < ARRAY_SIZE(early); i++)
		if (mount_row(&early[i], err) < 0)
			return err->code;
	if (load_modules(err) < 0 || wait_for("/dev/vda", err) < 0 || wait_for("/dev/vdb", err) < 0)
		return err->code;
	if (mount_row(&image, err) < 0 || mount_disk(ret_fresh, err) < 0 || assemble(err) < 0)
		return err->code;
	return switch_root(err);
}

static void write_file(const char *path, const char *text)
{
	AUTOFD int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || write_all(fd, text, strlen(text)) < 0)
		note("cannot write %s: %s", path, strerror(errno));
}

/* Where it is the same already nothing is written: the overlay stays small. */
static void keep_file(const char *path, const char *text)
{
	AUTOFREE char *now = NULL;
	size_t len;

	if (file_read(AT_FDCWD, path, 4096, &now, &len, NULL) < 0 || !streq(now, text))
		write_file(path, text);
}

static const char *const links[][2] = {{"/proc/self/fd", "/dev/fd"},
	{"/proc/self/fd/0", "/dev/stdin"}, {"/proc/self/fd/1", "/dev/stdout"},
	{"/proc/self/fd/2", "/dev/stderr"}};

static void make_home(void)
{
	static const char *const folders[] = {
		"/home/agent/Downloads", "/home/agent/Uploads", "/home/agent/.config"};

	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		if (mkdir(folders[i], i == 2 ? 0700 : 0755) == 0 &&
			lchown(folders[i], AGENT_UID, AGENT_UID) < 0)
			note("cannot give %s to the agent: %s", folders[i], strerror(errno));
}

void boot_setup(void)
{
	struct err err;

	for (size_t i = 0; i < ARRAY_SIZE(late); i++)
		if (mount_row(&late[i], &err) < 0)
			note("%s", err.msg);
	(void)mkdir("/run/lock", 01777);
	for (size_t i = 0; i < ARRAY_SIZE(links); i++)
		if (symlink(links[i][0], links[i][1]) < 0 && errno != EEXIST)
			note("cannot make %s: %s", links[i][1], strerror(errno));
	write_file("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
	write_file("/proc/sys/vm/dirty_expire_centisecs", "100");
	write_file("/proc/sys/vm/dirty_writeback_centisecs", "100");
	/* IPv6 is off, and nobody is served by asking for addresses of it. */
	keep_file("/etc/resolv.conf",
		"nameserver " GUEST_HOST_ADDR "\noptions timeout:3 attempts:2 no-aaaa\n");
	make_home();
}
