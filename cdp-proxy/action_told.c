/* An action as the action log tells it: canonical names, and nothing secret. */
#include "action_told.h"

#include <string.h>
#include <strings.h>

#include "bytes.h"
#include "util.h"

/* What its text is, and with that how much of it is told. */
enum told_text {
	TOLD_NONE,
	TOLD_SECRET,   /* its length */
	TOLD_FUNCTION, /* the same, by another name */
	TOLD_ADDRESS,
	TOLD_PATHS,
	TOLD_WORD, /* one of berth's own */
};

#define WITH_CLICKS 1u
#define WITH_SCROLL 2u
#define WITH_MS 4u
#define WITH_REGION 8u
#define WITH_REPEAT 16u
#define WITH_SIZE 32u
#define WITH_FLAGS 64u /* how a picture is taken */
#define WITH_ACCEPT 128u
#define WITH_INDEX 256u
#define WITH_TYPING 512u
#define WITH_GONE 1024u

/* Kinds that are not in the table are told by their places and keys alone. */
static const struct {
	const char *name;
	enum told_text text;
	unsigned int with;
} kinds[] = {
	[ACTION_BAD] = {"invalid"},
	[ACTION_CLICK] = {"click", TOLD_NONE, WITH_CLICKS},
	[ACTION_PRESS] = {"press"},
	[ACTION_RELEASE] = {"release"},
	[ACTION_MOVE] = {"move"},
	[ACTION_DRAG] = {"drag"},
	[ACTION_SCROLL] = {"scroll", TOLD_NONE, WITH_SCROLL},
	[ACTION_KEY] = {"key", TOLD_NONE, WITH_REPEAT},
	[ACTION_KEY_DOWN] = {"key_down"},
	[ACTION_KEY_UP] = {"key_up"},
	[ACTION_HOLD_KEY] = {"hold_key", TOLD_NONE, WITH_MS},
	[ACTION_TYPE] = {"type", TOLD_SECRET, WITH_TYPING},
	[ACTION_WAIT] = {"wait", TOLD_NONE, WITH_MS},
	[ACTION_SCREENSHOT] = {"screenshot", TOLD_NONE, WITH_FLAGS},
	[ACTION_ZOOM] = {"zoom", TOLD_NONE, WITH_REGION},
	[ACTION_CURSOR] = {"cursor"},
	[ACTION_NAVIGATE] = {"navigate", TOLD_ADDRESS},
	[ACTION_BACK] = {"back"},
	[ACTION_FORWARD] = {"forward"},
	[ACTION_NOTHING] = {"look"},
	[ACTION_SNAPSHOT] = {"snapshot"},
	[ACTION_CHOOSE] = {"choose"},
	[ACTION_EVALUATE] = {"evaluate", TOLD_FUNCTION},
	[ACTION_AWAIT] = {"await", TOLD_SECRET, WITH_GONE},
	[ACTION_DIALOG] = {"dialog", TOLD_SECRET, WITH_ACCEPT},
	[ACTION_FILES] = {"files", TOLD_PATHS},
	[ACTION_RESIZE] = {"resize", TOLD_NONE, WITH_SIZE},
	[ACTION_TABS] = {"tabs", TOLD_WORD, WITH_INDEX},
	[ACTION_RELOAD] = {"reload"},
	[ACTION_FIND] = {"find", TOLD_SECRET},
	[ACTION_TEXT] = {"text"},
	[ACTION_SCROLL_TO] = {"scroll_to"},
	[ACTION_SET] = {"set", TOLD_SECRET},
	[ACTION_UPLOAD] = {"upload", TOLD_PATHS},
};

static bool known(const struct action *a)
{
	return (size_t)a->kind < ARRAY_SIZE(kinds) && kinds[a->kind].name;
}

const char *action_told_name(const struct action *a)
{
	return known(a) ? kinds[a->kind].name : "action";
}

/* Copies at most size - 1 bytes, no character in two. */
static void copy(char *out, size_t size, const char *text, size_t n)
{
	if (n >= size)
		n = utf8_cut(text, size - 1);
	memcpy(out, text, n);
	out[n] = '\0';
}

/* ---- Addresses ---- */

static size_t scheme_length(const char *url)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789+-.";
	size_t n = strspn(url, letters);

	return n && url[n] == ':' ? n : 0;
}

static bool is_opaque(const char *url, size_t n)
{
	static const char *const schemes[] = {
		"data", "javascript", "blob", "filesystem", "view-source", "mailto"};

	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
		if (strlen(schemes[i]) == n && strncasecmp(schemes[i], url, n) == 0)
			return true;
	return false;
}

void action_told_url(const char *url, char out[TOLD_URL_MAX])
{
	size_t scheme, host, end;
	AUTOFREE char *whole = NULL;

	url += strspn(url, " \t\r\n");
	scheme = scheme_length(url);
	if (is_opaque(url, scheme)) {
		copy(out, TOLD_URL_MAX, url, scheme + 1);
		return;
	}
	scheme = scheme && url[scheme + 1] == '/' && url[scheme + 2] == '/' ? scheme + 3 : 0;
	end = scheme + strcspn(url + scheme, "?#");
	host = scheme;
	for (size_t i = scheme; i < end && url[i] != '/' && url[i] != '\\'; i++)
		if (url[i] == '@')
			host = i + 1;
	whole = xasprintf("%.*s%.*s", (int)scheme, url, (int)(end - host), url + host);
	copy(out, TOLD_URL_MAX, whole, strlen(whole));
}

/* ---- Errors ---- */

void action_told_error(const struct action *a, const char *text, char out[TOLD_ERROR_MAX])
{
	size_t n = strcspn(text, a->kind == ACTION_EVALUATE ? ":\r\n" : "\r\n");
	const char *end = text + n;
	struct buf b;

	buf_init(&b, 4 * TOLD_ERROR_MAX);
	while (text < end && b.len < 2 * TOLD_ERROR_MAX) {
		const char *close =
			*text == '"' ? memchr(text + 1, '"', (size_t)(end - text - 1)) : NULL;

		if (*text == '"') {
			buf_add_str(&b, "\"…\"");
			text = close ? close + 1 : end;
		} else {
			buf_add_u8(&b, *text >= ' ' && *text < 127 ? (uint8_t)*text : '?');
			text++;
		}
	}
	copy(out, TOLD_ERROR_MAX, buf_str(&b), b.len);
	buf_done(&b);
}

/* ---- Parameters ---- */

static void add_point(cJSON *o, const char *name, const struct point *p)
{
	const int xy[] = {p->x, p->y};

	cJSON_AddItemToObject(o, name, cJSON_CreateIntArray(xy, 2));
}

static void add_ref(cJSON *o, const char *name, unsigned int ref)
{
	char text[16];

	snprintf(text, sizeof(text), "e%u", ref);
	cJSON_AddStringToObject(o, name, text);
}

static void add_places(cJSON *o, const struct action *a)
{
	if (a->ref)
		add_ref(o, "ref", a->ref);
	if (a->ref_to)
		add_ref(o, "to_ref", a->ref_to);
	if (a->has_from)
		add_point(o, "from", &a->from);
	if (a->has_at)
		add_point(o, "at", &a->at);
	if (a->n_path) {
		add_point(o, "from", &a->path[0]);
		add_point(o, "to", &a->path[a->n_path - 1]);
		cJSON_AddNumberToObject(o, "points", (double)a->n_path);
	}
	if (a->thousandths && (a->has_from || a->has_at || a->n_path))
		cJSON_AddStringToObject(o, "unit", "thousandths");
}

/* A key that types: told it would spell what was typed key by key. */
static bool types_character(const struct chord *c)
{
	if (keys_modifiers(c) & (KEY_CTRL | KEY_ALT | KEY_META))
		return false;
	for (size_t i = 0; i < c->n; i++)
		if (c->keys[i].text[0] && (unsigned char)c->keys[i].text[0] >= ' ')
			return true;
	return false;
}

static void add_keys(cJSON *o, const char *name, const struct chord *c)
{
	struct buf b;

	if (!c->n)
		return;
	if (types_character(c)) {
		cJSON_AddStringToObject(o, name, "(a character)");
		return;
	}
	buf_init(&b, 1024);
	for (size_t i = 0; i < c->n; i++)
		buf_addf(&b, "%s%s", i ? "+" : "",
			streq(c->keys[i].key, " ") ? "Space" : c->keys[i].key);
	cJSON_AddStringToObject(o, name, buf_str(&b));
	buf_done(&b);
}

static size_t count_lines(const char *text)
{
	size_t n = 1;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

static void add_text(cJSON *o, const struct action *a, enum told_text what)
{
	char room[TOLD_URL_MAX];

	switch (what) {
	case TOLD_SECRET:
		cJSON_AddNumberToObject(o, "text_length", (double)strlen(a->text));
		break;
	case TOLD_FUNCTION:
		cJSON_AddNumberToObject(o, "function_length", (double)strlen(a->text));
		break;
	case TOLD_ADDRESS:
		action_told_url(a->text, room);
		cJSON_AddStringToObject(o, "url", room);
		break;
	case TOLD_PATHS:
		copy(room, TOLD_PATHS_MAX, a->text, strlen(a->text));
		cJSON_AddNumberToObject(o, "files", (double)count_lines(a->text));
		cJSON_AddStringToObject(o, "paths", room);
		break;
	case TOLD_WORD:
		cJSON_AddStringToObject(o, "what", a->text);
		break;
	case TOLD_NONE:
		break;
	}
}

static void add_pointer(cJSON *o, const struct action *a)
{
	static const char *const buttons[] = {"left", "right", "middle", "back", "forward"};

	cJSON_AddStringToObject(o, "button", buttons[a->button]);
	if (a->clicks != 1)
		cJSON_AddNumberToObject(o, "clicks", a->clicks);
	if (a->state != STATE_ANY)
		cJSON_AddBoolToObject(o, "checked", a->state == STATE_ON);
}

static void add_scroll(cJSON *o, const struct action *a)
{
	static const char *const directions[] = {"", "up", "down", "left", "right"};

	if (a->direction != SCROLL_NONE) {
		cJSON_AddStringToObject(o, "direction", directions[a->direction]);
		cJSON_AddNumberToObject(o, "amount", a->amount);
	} else {
		cJSON_AddNumberToObject(o, "dx", a->dx);
		cJSON_AddNumberToObject(o, "dy", a->dy);
	}
}

/* "name": true, where it is. */
static void add_flag(cJSON *o, const char *name, bool is)
{
	if (is)
		cJSON_AddTrueToObject(o, name);
}

static void add_more(cJSON *o, const struct action *a, unsigned int with)
{
	if (with & WITH_CLICKS)
		add_pointer(o, a);
	if (with & WITH_SCROLL)
		add_scroll(o, a);
	if (with & WITH_MS)
		cJSON_AddNumberToObject(o, "ms", (double)a->ms);
	if (with & WITH_REGION)
		cJSON_AddItemToObject(o, "region", cJSON_CreateIntArray(a->region, 4));
	if (with & WITH_REPEAT && a->repeat > 1)
		cJSON_AddNumberToObject(o, "repeat", a->repeat);
	if (with & WITH_SIZE) {
		cJSON_AddNumberToObject(o, "width", a->dx);
		cJSON_AddNumberToObject(o, "height", a->dy);
	}
	add_flag(o, "full_page", with & WITH_FLAGS && a->full_page);
	if (with & WITH_ACCEPT)
		cJSON_AddBoolToObject(o, "accept", a->accept);
	if (with & WITH_INDEX && a->index >= 0)
		cJSON_AddNumberToObject(o, "index", a->index);
	add_flag(o, "clear_first", with & WITH_TYPING && a->clear_first);
	add_flag(o, "press_enter", with & WITH_TYPING && a->press_enter);
	add_flag(o, "gone", with & WITH_GONE && a->gone);
}

static int count_choices(const char *choices)
{
	cJSON *list = cJSON_Parse(choices);
	int n = cJSON_GetArraySize(list);

	cJSON_Delete(list);
	return n;
}

cJSON *action_told_params(const struct action *a)
{
	cJSON *o = cJSON_CreateObject();

	if (a->kind == ACTION_BAD)
		return o;
	add_places(o, a);
	add_keys(o, "keys", &a->keys);
	add_keys(o, "modifiers", &a->modifiers);
	if (!known(a))
		return o;
	if (a->text)
		add_text(o, a, kinds[a->kind].text);
	if (a->choices)
		cJSON_AddNumberToObject(o, "choices", count_choices(a->choices));
	add_more(o, a, kinds[a->kind].with);
	return o;
}
