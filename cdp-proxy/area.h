/* Scaling a picture by area, row by row as it is decoded. Pure; for any thread. */
#ifndef BERTH_AREA_H
#define BERTH_AREA_H

#include "raster.h"

/* Of any side, before and after: what the sums have room for. */
#define AREA_EDGE_MAX 65535u

struct area;

/*
 * From width x height pixels of out->channels to the size that `out` has; it is written to, and
 * outlives this. All sides are 1 to AREA_EDGE_MAX.
 */
struct area *area_new(unsigned int width, unsigned int height, struct raster *out);
/* The next row, exactly `height` times; after the last one `out` is whole. */
void area_row(struct area *a, const uint8_t *row);
void area_free(struct area *a);

#endif
