/* What people read: text, tables, sizes; and JSON for programs. */
#include "cli.h"
#include "util.h"

#include <stdarg.h>
#include <string.h>

/* Names, titles and log lines come from guests: nothing in them may move the cursor or forge a
 * line. */
static void put_safe(FILE *f, const char *s)
{
	for (; *s; s++)
		putc((unsigned char)*s < 32 || *s == 127 ? '?' : *s, f);
}

void cli_print(const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		abort();
	put_safe(stdout, text);
	putchar('\n');
	free(text);
}

void cli_print_json(const cJSON *v)
{
	char *text = v ? cJSON_Print(v) : NULL;

	puts(text ? text : "{}");
	cJSON_free(text);
}

void cli_format_size(double bytes, char out[32])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	size_t i = 0;

	while (bytes >= 1024 && i + 1 < ARRAY_SIZE(units)) {
		bytes /= 1024;
		i++;
	}
	snprintf(out, 32, i && bytes < 10 ? "%.1f %s" : "%.0f %s", bytes, units[i]);
}

void cli_table_row(struct cli_table *t, const char *const *cells)
{
	t->cells = xrealloc(t->cells, (t->n + 1) * t->columns * sizeof(char *));
	for (size_t i = 0; i < t->columns; i++)
		t->cells[t->n * t->columns + i] = xstrdup(cells[i] && cells[i][0] ? cells[i] : "-");
	t->n++;
}

/* Columns as a terminal counts them: the bytes that start a UTF-8 sequence. */
static size_t width(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += (*s & 0xc0) != 0x80;
	return n;
}

void cli_table_print(struct cli_table *t)
{
	for (size_t row = 0; row < t->n; row++) {
		for (size_t col = 0; col < t->columns; col++) {
			const char *cell = t->cells[row * t->columns + col];
			size_t most = 0;

			for (size_t i = 0; i < t->n; i++)
				most = MAX(most, width(t->cells[i * t->columns + col]));
			put_safe(stdout, cell);
			if (col + 1 < t->columns)
				printf("%*s", (int)(most - width(cell) + 2), "");
		}
		putchar('\n');
	}
	for (size_t i = 0; i < t->n * t->columns; i++)
		free(t->cells[i]);
	free(t->cells);
	*t = (struct cli_table){.columns = t->columns};
}
