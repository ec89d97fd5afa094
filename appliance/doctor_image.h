/* Are there images, and are they whole? */
#ifndef BERTH_DOCTOR_IMAGE_H
#define BERTH_DOCTOR_IMAGE_H

#include <stdbool.h>

#include "err.h"

/* Is anything that looks like an image there? */
bool doctor_image_any(const char *state);
/*
 * Compares every image's files with the digests of its manifest. The number of images (id: one of
 * them), or negative with err naming the first file that is wrong.
 */
int doctor_image_check(const char *state, char id[40], struct err *err);

#endif
