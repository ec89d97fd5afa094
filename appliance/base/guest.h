/* The guest channel: what berthd and the gateway say to berth-init, and what it answers. Version 1.
 */
#ifndef BERTH_BASE_GUEST_H
#define BERTH_BASE_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

/*
 * TCP inside the agent's namespace. The guest accepts on eth0 only and from GUEST_HOST_ADDR only,
 * so that nothing inside the guest can speak to its own init.
 *
 *   GUEST_PORT      this channel
 *   GUEST_CDP_PORT  a plain relay to Chromium's DevTools port; no framing at all
 *
 * A connection opens with 8 bytes from the host (magic, version, kind, 2 bytes zero), answered by 8
 * bytes (magic, version, status, 2 bytes zero). Then both sides send frames: length of the payload
 * (32 bits, at most GUEST_FRAME_MAX), type (8 bits), 3 bytes zero, payload. All numbers little
 * endian. A frame that breaks a rule ends the connection.
 */
#define GUEST_MAGIC "BRTH"
#define GUEST_VERSION 1
#define GUEST_ADDR "10.0.2.15"
#define GUEST_HOST_ADDR "10.0.2.2"
#define GUEST_PREFIX 24
#define GUEST_MAC "52:54:00:be:00:15"
#define GUEST_HOST_MAC "52:54:00:be:00:02"
#define GUEST_PORT 700
#define GUEST_CDP_PORT 701
#define GUEST_HELLO_LEN 8
#define GUEST_HEADER_LEN 8
#define GUEST_FRAME_MAX 65536u
#define GUEST_LOG_MAX 1024u

/* What a connection is for. */
enum guest_kind {
	GUEST_CONTROL = 1, /* berthd's, one at a time: a new one replaces the old */
	GUEST_EXEC = 2,    /* one command */
};

enum guest_status { GUEST_OK = 0, GUEST_BAD_VERSION = 1, GUEST_BAD_KIND = 2, GUEST_BUSY = 3 };

enum guest_type {
	/* control, host to guest */
	GUEST_CONFIG =
		0x01, /* struct guest_config: who you are, what time it is; answered by READY */
	GUEST_PING = 0x02,            /* u64 cookie; answered by PONG */
	GUEST_SHUTDOWN = 0x03,        /* empty: end Chromium gently, sync, power off */
	GUEST_BROWSER_RESTART = 0x04, /* empty: also after it gave up */
	/* control, guest to host */
	GUEST_READY = 0x81,   /* struct guest_ready */
	GUEST_PONG = 0x82,    /* struct guest_pong */
	GUEST_BROWSER = 0x83, /* struct guest_browser: on every change, and once after READY */
	GUEST_LOG = 0x84,     /* up to GUEST_LOG_MAX bytes of one line: 1 byte source (0 init, 1
				 browser), text */
	/* exec, host to guest */
	GUEST_EXEC_START = 0x10, /* struct guest_exec */
	GUEST_STDIN = 0x11,      /* bytes; an empty frame is the end of the input */
	GUEST_SIGNAL = 0x12,     /* u32 signal number, to the command's process group */
	GUEST_WINSIZE = 0x13,    /* u16 rows, u16 columns */
	/* exec, guest to host */
	GUEST_STARTED = 0x90, /* u32 pid */
	GUEST_FAILED = 0x91,  /* u32 errno, text: the command could not be started; the end */
	GUEST_STDOUT = 0x92,  /* bytes */
	GUEST_STDERR = 0x93,  /* bytes */
	GUEST_EXIT =
		0x94, /* u32 exit status, u32 signal (0 if it exited); after all output; the end */
};

enum guest_browser_state {
	GUEST_BROWSER_STARTING = 0,
	GUEST_BROWSER_UP = 1,      /* answers on the DevTools port */
	GUEST_BROWSER_DOWN = 2,    /* ended; a restart is due */
	GUEST_BROWSER_GAVE_UP = 3, /* ended too often; waits for GUEST_BROWSER_RESTART */
};

#define GUEST_CONFIG_LEN 176
struct guest_config {
	int64_t realtime_ns;    /* CLOCK_REALTIME to set */
	uint8_t entropy[64];    /* for the kernel's random generator */
	uint8_t machine_id[16]; /* /etc/machine-id */
	char hostname[64];      /* the agent's name, NUL-terminated */
	uint32_t flags;         /* GUEST_CONFIG_… */
	uint32_t view_width, view_height, reserved[3];
};
#define GUEST_CONFIG_BROWSER 1u /* run Chromium */
#define GUEST_CONFIG_WOKEN 2u   /* its memory is of another moment, or another agent's */

#define GUEST_READY_LEN 88
struct guest_ready {
	uint32_t init_version;
	uint32_t kernel_ms; /* kernel start to PID 1 */
	uint32_t init_ms;   /* PID 1 to this channel */
	uint32_t fresh;     /* 1 if the agent's disk was made anew at this boot */
	char kernel[64];    /* uname -r */
	uint64_t reserved;
};

#define GUEST_PONG_LEN 56
struct guest_pong {
	uint64_t cookie, uptime_ms, memory_available_kib, disk_free_kib, disk_total_kib;
	uint32_t browser_state, browser_restarts, execs, reserved;
};

#define GUEST_BROWSER_LEN 16
struct guest_browser {
	uint32_t state; /* enum guest_browser_state */
	uint32_t restarts;
	uint32_t exit_status, signal; /* of the last end, zeroes if none */
};

#define GUEST_ARGS_MAX 256
#define GUEST_EXEC_TTY 1u
/* Payload: u32 flags, u16 rows, u16 columns, u16 argc, u16 envc, then NUL-terminated user, cwd,
 * argv…, env…
 * ("K=V"). user "" is "agent"; cwd "" is the user's home. The strings point into the frame. */
struct guest_exec {
	uint32_t flags;
	uint16_t rows, columns, argc, envc;
	const char *user, *cwd;
	const char *argv[GUEST_ARGS_MAX + 1], *env[GUEST_ARGS_MAX + 1]; /* NULL-terminated */
};

void guest_put_hello(uint8_t out[GUEST_HELLO_LEN], uint8_t kind_or_status);
/* False unless magic and zeroes are right; *ret_version and *ret_value (kind or status) are filled
 * then. */
bool guest_get_hello(const uint8_t in[GUEST_HELLO_LEN], uint8_t *ret_version, uint8_t *ret_value);
void guest_put_header(uint8_t out[GUEST_HEADER_LEN], enum guest_type type, uint32_t len);
/* False when the length is over GUEST_FRAME_MAX or the zeroes are not zero. */
bool guest_get_header(const uint8_t in[GUEST_HEADER_LEN], uint8_t *ret_type, uint32_t *ret_len);

/* Payloads. put: appends to b. get: false unless the payload is exactly right (strings terminated,
 * no excess). */
bool guest_put_config(struct buf *b, const struct guest_config *v);
bool guest_get_config(const uint8_t *p, size_t n, struct guest_config *ret);
bool guest_put_ready(struct buf *b, const struct guest_ready *v);
bool guest_get_ready(const uint8_t *p, size_t n, struct guest_ready *ret);
bool guest_put_pong(struct buf *b, const struct guest_pong *v);
bool guest_get_pong(const uint8_t *p, size_t n, struct guest_pong *ret);
bool guest_put_browser(struct buf *b, const struct guest_browser *v);
bool guest_get_browser(const uint8_t *p, size_t n, struct guest_browser *ret);
bool guest_put_exec(struct buf *b, const struct guest_exec *v);
bool guest_get_exec(const uint8_t *p, size_t n, struct guest_exec *ret);

#endif
