/* What kind of picture some bytes are, and how large, from their first bytes alone. Pure. */
#ifndef BERTH_PICTURE_SIZE_H
#define BERTH_PICTURE_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum picture_format { PICTURE_PNG, PICTURE_JPEG, PICTURE_WEBP, PICTURE_FORMATS };

/* "png", "jpeg", "webp". */
extern const char *const picture_format_names[PICTURE_FORMATS];

struct picture_size {
	enum picture_format format;
	unsigned int width, height; /* never 0 */
};

/* False when it is none of them. What comes behind the size is not looked at. */
bool picture_size_of(const uint8_t *data, size_t n, struct picture_size *ret);

#endif
