/* The area filter: a pixel of the new picture is the mean of what it covers of the old one. */
#include "area.h"

#include <string.h>

#include "util.h"

/*
 * Theory of operation. Old and new pixels lie on one ruler with old * new units a side: an old
 * pixel is `new` units wide, a new one `old` units. What the two share is a whole number, so every
 * weight is exact, every old pixel counts for the same in all, and a factor that is whole is the
 * plain mean of its block.
 *
 *   row --weight--> sums of a row (32 bits) --when a new row is full--> across (64 bits) --> out
 *
 * The mean is of the encoded values, not of light. That is what browsers and the models' own image
 * libraries do, and what keeps dark text on white as dark as it was: the mean of light thins it.
 * With an alpha channel colours are weighed by it, so that what is transparent has no colour.
 */
struct area {
	unsigned int width, height;
	struct raster *out;
	uint32_t *sums;   /* of the new row under way */
	uint16_t *scaled; /* a row whose colours are multiplied by alpha */
	uint64_t at;      /* units down */
	unsigned int y;   /* the new row under way */
};

struct area *area_new(unsigned int width, unsigned int height, struct raster *out)
{
	struct area *a = xcalloc(1, sizeof(*a));
	size_t n = (size_t)width * out->channels;

	*a = (struct area){.width = width, .height = height, .out = out};
	a->sums = xcalloc(n, sizeof(*a->sums));
	a->scaled = xcalloc(n, sizeof(*a->scaled));
	return a;
}

void area_free(struct area *a)
{
	if (!a)
		return;
	free(a->sums);
	free(a->scaled);
	free(a);
}

/* sum / total, half up. total < 2^32, so that no quotient lies within 1e-10 below a half. */
static uint8_t mean(uint64_t sum, double inverse)
{
	return (uint8_t)((double)sum * inverse + (0.5 + 1e-10));
}

static void put3(uint8_t *p, const uint64_t s[4], double inverse)
{
	for (int c = 0; c < 3; c++)
		p[c] = mean(s[c], inverse);
}

static void put4(uint8_t *p, const uint64_t s[4], double inverse)
{
	for (int c = 0; c < 3; c++)
		p[c] = s[3] ? (uint8_t)((s[c] + s[3] / 2) / s[3]) : 0;
	p[3] = mean(s[3], inverse);
}

/* A new row is full: its pixels from the sums above them. */
static void across(struct area *a)
{
	unsigned int channels = a->out->channels, left = a->out->width;
	uint8_t *p = a->out->pixels + a->y * raster_stride(a->out);
	double inverse = 1.0 / ((double)a->width * a->height);
	const uint32_t *from = a->sums;

	for (unsigned int x = 0; x < a->out->width; x++, p += channels) {
		uint64_t s[4] = {0};

		for (unsigned int need = a->width, take; need; need -= take) {
			take = MIN(need, left);
			for (unsigned int c = 0; c < channels; c++)
				s[c] += (uint64_t)take * from[c];
			left -= take;
			if (left == 0) {
				left = a->out->width;
				from += channels;
			}
		}
		if (channels == 4)
			put4(p, s, inverse);
		else
			put3(p, s, inverse);
	}
}

static void multiply(struct area *a, const uint8_t *row)
{
	for (size_t i = 0; i < (size_t)a->width * 4; i += 4) {
		for (int c = 0; c < 3; c++)
			a->scaled[i + c] = (uint16_t)(row[i + c] * row[i + 3]);
		a->scaled[i + 3] = row[i + 3];
	}
}

static void add(struct area *a, const uint8_t *row, uint32_t weight)
{
	size_t n = (size_t)a->width * a->out->channels;

	if (a->out->channels == 4) {
		for (size_t i = 0; i < n; i++)
			a->sums[i] += a->scaled[i] * weight;
	} else {
		for (size_t i = 0; i < n; i++)
			a->sums[i] += row[i] * weight;
	}
}

void area_row(struct area *a, const uint8_t *row)
{
	uint64_t left = a->out->height;

	if (a->out->channels == 4)
		multiply(a, row);
	while (left > 0) {
		uint64_t full = (uint64_t)(a->y + 1) * a->height;
		uint64_t take = MIN(left, full - a->at);

		add(a, row, (uint32_t)take);
		a->at += take;
		left -= take;
		if (a->at < full)
			continue;
		across(a);
		a->y++;
		memset(a->sums, 0, (size_t)a->width * a->out->channels * sizeof(*a->sums));
	}
}
