/* berth-init: PID 1 of the guest, and the guest's file helper. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <uv.h>

#include "boot.h"
#include "browser.h"
#include "child.h"
#include "clone.h"
#include "control.h"
#include "exec.h"
#include "file.h"
#include "guest.h"
#include "halt.h"
#include "keep.h"
#include "log.h"
#include "net.h"
#include "note.h"
#include "server.h"
#include "util.h"

#define FILES_MAX 4096

static uint32_t since_boot_ms(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_BOOTTIME, &ts) < 0)
		return 0;
	return (uint32_t)(ts.tv_sec * 1000 + ts.tv_nsec / 1000000);
}

/* The kernel's console becomes stdin, stdout and stderr, as nobody else gave us any. */
static void open_console(void)
{
	int fd = open("/dev/console", O_RDWR | O_NOCTTY);

	for (int i = 0; fd >= 0 && i < 3; i++)
		if (fd != i)
			dup2(fd, i);
	if (fd > 2)
		close(fd);
}

static void settle_process(void)
{
	struct rlimit files = {FILES_MAX, 65536}, core = {0, 0};

	umask(022);
	signal(SIGPIPE, SIG_IGN);
	setrlimit(RLIMIT_NOFILE, &files);
	setrlimit(RLIMIT_CORE, &core);
	reboot(RB_DISABLE_CAD);
}

static void on_browser(void *data)
{
	control_browser();
}

static void on_shutdown(void *data)
{
	halt_start(data);
}

static int serve(uv_loop_t *loop, const struct server_options *options,
	struct control_options *control, int self, struct err *err)
{
	const struct browser_options browser = {
		.etc = "/etc", .port = BROWSER_PORT, .self = self, .changed = on_browser};

	if (child_reaper_init(loop, err) < 0)
		return err->code;
	browser_init(loop, &browser);
	control->init_ms = since_boot_ms() - control->kernel_ms;
	control->shutdown = on_shutdown;
	control->data = loop;
	control_init(control);
	return server_start(loop, options, err);
}

__attribute__((noreturn)) static void give_up(const struct err *err)
{
	note("%s; powering off", err->msg);
	halt_now();
}

__attribute__((noreturn)) static void run_init(void)
{
	static const struct server_options options = {.address = GUEST_ADDR,
		.device = NET_DEVICE,
		.peer = GUEST_HOST_ADDR,
		.port = GUEST_PORT,
		.cdp_port = GUEST_CDP_PORT,
		.browser_port = BROWSER_PORT};
	struct control_options control = {.kernel_ms = since_boot_ms(), .identity = true};
	int fresh = 0, self;
	struct err err;
	uv_loop_t loop;

	settle_process();
	log_init("berth-init", LOG_WARNING);
	self = open("/init", O_PATH | O_CLOEXEC);
	if (clone_no_wipe_on_fork(&err) < 0 || boot_root(&fresh, &err) < 0)
		give_up(&err);
	open_console();
	log_debug("root after %u ms", since_boot_ms() - control.kernel_ms);
	boot_setup();
	control.fresh = (uint32_t)fresh;
	exec_init("/etc", self);
	if (net_setup(&err) < 0)
		give_up(&err);
	uv_loop_init(&loop);
	if (serve(&loop, &options, &control, self, &err) < 0)
		give_up(&err);
	log_debug("listening after %u ms", since_boot_ms() - control.kernel_ms);
	for (;;)
		uv_run(&loop, UV_RUN_DEFAULT);
}

int main(int argc, char **argv)
{
	if (getpid() == 1)
		run_init();
	if (argc == 2 && streq(argv[1], "--version")) {
		puts(BERTH_VERSION);
		return 0;
	}
	if (argc >= 2 && streq(argv[1], "file"))
		return file_main(argc - 2, argv + 2);
	if (argc >= 2 && streq(argv[1], "keep"))
		return keep_main(argc - 2, argv + 2);
	fputs("usage: berth-init file VERB PATH [ARG] | --version\n", stderr);
	return 2;
}
