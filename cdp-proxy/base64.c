/* Reading base64, strictly. */
#include "base64.h"

#define NO (-1)

/* ASCII to what the character stands for. */
static const int8_t digits[128] = {NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO,
	NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO,
	NO, NO, NO, NO, 62, NO, NO, NO, 63, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, NO, NO, NO, NO,
	NO, NO, NO, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
	22, 23, 24, 25, NO, NO, NO, NO, NO, NO, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38,
	39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, NO, NO, NO, NO, NO};

static int digit(char c)
{
	return (uint8_t)c < 128 ? digits[(uint8_t)c] : NO;
}

/* Four characters to three bytes; false when one of them is no digit. */
static bool whole(const char *text, uint8_t *out)
{
	int a = digit(text[0]), b = digit(text[1]), c = digit(text[2]), d = digit(text[3]);

	if ((a | b | c | d) < 0)
		return false;
	out[0] = (uint8_t)(a << 2 | b >> 4);
	out[1] = (uint8_t)(b << 4 | c >> 2);
	out[2] = (uint8_t)(c << 6 | d);
	return true;
}

/* The last four characters, one or two of which are padding: 1 or 2 bytes, or -1. */
static int padded(const char *text, uint8_t *out)
{
	int a = digit(text[0]), b = digit(text[1]), c = text[2] == '=' ? 0 : digit(text[2]);

	if ((a | b | c) < 0)
		return -1;
	out[0] = (uint8_t)(a << 2 | b >> 4);
	if (text[2] == '=')
		return 1;
	out[1] = (uint8_t)(b << 4 | c >> 2);
	return 2;
}

long long base64_decode(const char *text, size_t n, uint8_t *out)
{
	size_t len = 0, end = n && text[n - 1] == '=' ? n - 4 : n;
	int last = 0;

	if (n % 4)
		return -1;
	for (size_t i = 0; i < end; i += 4, len += 3) {
		if (!whole(text + i, out + len))
			return -1;
	}
	if (end < n)
		last = padded(text + end, out + len);
	return last < 0 ? -1 : (long long)len + last;
}

bool base64_valid(const char *text, size_t n)
{
	uint8_t out[3];

	for (size_t i = 0; n % 4 == 0 && i + 4 < n; i += 4)
		if (!whole(text + i, out))
			return false;
	return n % 4 == 0 && (n == 0 || base64_decode(text + n - 4, 4, out) >= 0);
}
