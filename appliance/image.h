/* Guest images: what is there, and is it whole? */
#ifndef BERTH_IMAGE_H
#define BERTH_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* From an image's manifest.json (docs/guest-image.md). */
struct image {
	char id[40];
	char flavor[32];
	char built_at[40]; /* RFC 3339: sorts as text */
	char kernel[80];
	uint64_t size; /* bytes on disk of its three files */
	size_t packages;
};

/* All images of STATE, the newest first; *ret is the caller's to free. What is not an image is
 * passed over. */
int image_list(const char *state, struct image **ret, size_t *ret_n, struct err *err);
/* One image, its manifest read and its files present with the right sizes. 404 image-not-found, 409
 * image-damaged. */
int image_get(const char *state, const char *id, struct image *ret, struct err *err);
/* The newest: 409 no-image with the way out if there is none. */
int image_newest(const char *state, struct image *ret, struct err *err);
/*
 * Compares the files with the manifest's digests: 409 image-damaged names the first that is wrong.
 * It reads every byte (seconds), so the verdict is kept in the image's `verified` file together
 * with each file's size, times and inode, and believed until one of them changes; `fully` reads all
 * the same.
 */
int image_verify(const char *state, const char *id, bool fully, struct err *err);
/* 1: a kept verdict says that it is whole; 0: it must be read (image_verify); else its error.
 * Reads no more than the manifest. */
int image_verified(const char *state, const char *id, struct err *err);
/* STATE/images/ID; the caller's to free. */
char *image_dir(const char *state, const char *id);
/* Removes it: first its manifest, so that half of it is never taken for one. */
int image_remove(const char *state, const char *id, struct err *err);

#endif
