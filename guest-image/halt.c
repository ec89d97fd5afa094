/* The end: Chromium gently, then everybody, then the disk, then the power. */
#include "halt.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/wait.h>

#include "boot.h"
#include "browser.h"
#include "note.h"
#include "util.h"

#define LOOK_MS 20

static bool halting;
static uv_timer_t timer;
static uint64_t deadline;
static bool killed;

/* The agent's ext4 is left with nothing in its journal, so that the next boot has nothing to
 * repair. */
static void close_disk(void)
{
	AUTOFD int fd = -1;

	sync();
	if (mount(NULL, BOOT_DISK, NULL, MS_REMOUNT | MS_RDONLY | MS_NOATIME, NULL) == 0)
		return;
	note("the disk is still in use: %s", strerror(errno));
	fd = open(BOOT_DISK, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, FIFREEZE, 0) < 0)
		note("the disk cannot be frozen: %s", strerror(errno));
}

void halt_now(void)
{
	close_disk();
	reboot(RB_POWER_OFF);
	/* Without ACPI: QEMU runs with -no-reboot. */
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

static bool anyone_left(void)
{
	siginfo_t info;

	return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD;
}

static void on_look(uv_timer_t *handle)
{
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	if (!anyone_left())
		halt_now();
	if (uv_now(handle->loop) < deadline)
		return;
	if (killed)
		halt_now();
	killed = true;
	kill(-1, SIGKILL);
	deadline = uv_now(handle->loop) + HALT_TERM_MS;
}

static void on_browser_stopped(void *data)
{
	uv_loop_t *loop = data;

	kill(-1, SIGTERM);
	kill(-1, SIGCONT);
	deadline = uv_now(loop) + HALT_TERM_MS;
	uv_timer_init(loop, &timer);
	uv_timer_start(&timer, on_look, 0, LOOK_MS);
}

void halt_start(uv_loop_t *loop)
{
	if (halting)
		return;
	halting = true;
	browser_stop(on_browser_stopped, loop);
}
