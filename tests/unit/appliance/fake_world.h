/*
 * Stand-ins for QEMU, namespaces and images, for tests of what is above them: a "QEMU" is a process
 * that waits to be killed, a namespace is a file. Linked in place of vm.c, netns.c and image.c.
 */
#ifndef BERTH_TEST_FAKE_WORLD_H
#define BERTH_TEST_FAKE_WORLD_H

#include <stdbool.h>
#include <sys/types.h>

struct fake_world {
	bool no_image, image_damaged, qemu_missing, disk_full;
	bool no_browser;     /* the browser never comes up */
	bool crash_at_boot;  /* QEMU dies before the guest is ready */
	unsigned verify_ms;  /* reading the image takes so long, each time; 0: it is known to be
				whole */
	bool no_helper;      /* files cannot be read for their digests */
	int wake_ends;       /* enum vm_end: what a wake comes to, 0: it wakes */
	bool save_ends;      /* QEMU dies while its memory is written */
	bool save_hangs;     /* its memory is written for ever */
	unsigned merge_from; /* layers are merged only in a chain of at least so many */
	unsigned die_at;     /* the process exits with 77 at the n-th step, 0: never */
	unsigned points;     /* steps so far */
};
extern struct fake_world fake;

#define FAKE_IMAGE "0123456789abcdef"
#define FAKE_DISK_HEAD 64
/* What a guest would read from the disk that is folder/file, whose chain is there: all writes to it
 * and to what it stands on, a line each; or NULL. The caller's to free. */
char *fake_disk(const char *folder, const char *file);
/* How many "QEMU" processes of the state folder live. */
unsigned fake_qemus(const char *state);

#endif
