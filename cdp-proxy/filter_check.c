/* Addresses and paths that an agent's client may name to its browser. */
#include <string.h>
#include <strings.h>

#include "filter.h"
#include "util.h"

/*
 * The scheme as Chromium's URL reader would see it (WHATWG URL): leading and trailing C0 and spaces
 * and every tab and newline are ignored. Lower case, without its colon; false when there is none or
 * one of other characters. rest: up to 31 characters behind it.
 */
static bool read_scheme(const char *url, char scheme[24], char rest[32])
{
	size_t n = 0, k = 0;

	while (*url && (unsigned char)*url <= ' ')
		url++;
	for (; *url && *url != ':'; url++) {
		char c = *url;

		if (c == '\t' || c == '\n' || c == '\r')
			continue;
		if (c >= 'A' && c <= 'Z')
			c |= 0x20;
		if (!((c >= 'a' && c <= 'z') ||
			    (n && ((c >= '0' && c <= '9') || strchr("+-.", c)))))
			return false;
		if (n == 23)
			return false;
		scheme[n++] = c;
	}
	scheme[n] = '\0';
	if (*url != ':' || !n)
		return false;
	for (url++; *url && k < 31; url++)
		if (!strchr("\t\n\r", *url))
			rest[k++] = *url;
	while (k && (unsigned char)rest[k - 1] <= ' ' && !*url)
		k--;
	rest[k] = '\0';
	return true;
}

/* about:blank and about:srcdoc, with or without a query or fragment. */
static bool about_allowed(const char *rest)
{
	size_t n = strcspn(rest, "?#");

	return (n == 5 && strncasecmp(rest, "blank", 5) == 0) ||
	       (n == 6 && strncasecmp(rest, "srcdoc", 6) == 0);
}

bool filter_url_allowed(const char *url)
{
	static const char *const schemes[] = {"http", "https", "data", "javascript"};
	char scheme[24], rest[32];

	if (!read_scheme(url, scheme, rest))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
		if (streq(scheme, schemes[i]))
			return true;
	if (streq(scheme, "blob"))
		return strncasecmp(rest, "http:", 5) == 0 || strncasecmp(rest, "https:", 6) == 0 ||
		       strncasecmp(rest, "null", 4) == 0;
	if (streq(scheme, "about"))
		return about_allowed(rest);
	return streq(scheme, "chrome") && (streq(rest, "//newtab/") || streq(rest, "//newtab") ||
						  streq(rest, "//new-tab-page/"));
}

bool filter_url_opens(const char *url)
{
	return filter_url_allowed(url) &&
	       (strncasecmp(url, "http:", 5) == 0 || strncasecmp(url, "https:", 6) == 0 ||
		       strncasecmp(url, "data:", 5) == 0 || streq(url, "about:blank"));
}

bool filter_path_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	if (strncmp(path, dir, n) != 0 || path[n] != '/' || !path[n + 1])
		return false;
	for (const char *p = path; p; p = strchr(p + 1, '/')) {
		size_t len = strcspn(p + 1, "/");

		if (len == 0 || (len == 1 && p[1] == '.') ||
			(len == 2 && p[1] == '.' && p[2] == '.'))
			return false;
	}
	return true;
}
