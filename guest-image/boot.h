/* From the initramfs to the agent's root: modules, the image, the disk, the overlay. */
#ifndef BERTH_INIT_BOOT_H
#define BERTH_INIT_BOOT_H

#include "err.h"

#define BOOT_DISK "/run/berth/disk" /* the agent's disk below the overlay; root's alone */

/*
 * Makes the agent's root and steps into it. Called by PID 1 in the initramfs, once. *ret_fresh: 1
 * if the agent's disk was made anew.
 */
int boot_root(int *ret_fresh, struct err *err);
/* The file systems and files that programs expect, inside the new root. What fails is noted and
 * left out. */
void boot_setup(void);

#endif
