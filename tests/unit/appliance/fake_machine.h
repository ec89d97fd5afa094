/*
 * A stand-in for QEMU that has memory and a disk: a process with a private view of its base file,
 * and a disk of text lines (fake_img.c). What saves, checks and wakes it is the real thing:
 * vm_save.c, vm_wake.c, verify.c, disk.c, berth-pages. Linked in place of vm.c and qmp.c, with
 * -DFAKE_HOST_ONLY for fake_world.c.
 */
#ifndef BERTH_TEST_FAKE_MACHINE_H
#define BERTH_TEST_FAKE_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The guest's doing, by its process: it remembers a number, and what it remembers (0: it has just
 * booted). */
void machine_remember(pid_t pid, unsigned number);
unsigned machine_remembers(pid_t pid);
/* The guest writes a line to the file that QEMU has open for it, and syncs. id: its agent's. */
void machine_write(const char *state, const char *id, unsigned number);
/* All numbers on the disk whose chain of files ends in FOLDER/NAME, "1,2,"; "?" in it: a file of
 * the chain is not whole. */
void machine_disk(const char *folder, const char *name, char *out, size_t n);
/* The file that no other one in the folder stands on: "" if there is not exactly one. */
void machine_top(const char *folder, char *out, size_t n);
/* Files of disks in the folder. */
unsigned machine_files(const char *folder);

#endif
