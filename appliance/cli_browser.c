/* The agent's browser without a client: the CDP address, open, screenshot, port. */
#include "cli.h"
#include "bytes.h"
#include "http_client.h"
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define CDP_TTL_S (30 * 24 * 3600)
#define SCREENSHOT_MAX (64u << 20)

/*
 * A token for this one agent. A caller elsewhere whose own token may not make tokens gets that one:
 * it drives the agent or the address will be refused like any other.
 */
static int cdp_token(struct cli *c, const char *name, cJSON **ret, struct err *err)
{
	const char *label = cli_option(c, "label");
	cJSON *body = cJSON_CreateObject();
	long long ttl = CDP_TTL_S;
	int r = cli_number(c, "ttl", 1, CLI_TTL_MAX, &ttl, err);

	if (r < 0) {
		cJSON_Delete(body);
		return r;
	}
	cJSON_AddStringToObject(body, "role", "agent");
	cJSON_AddStringToObject(body, "agent", name);
	cJSON_AddNumberToObject(body, "ttl", (double)ttl);
	cJSON_AddStringToObject(body, "label", label ? label : "cdp");
	if (cli_flag(c, "replace"))
		cJSON_AddBoolToObject(body, "replace", true);
	r = cli_call(c, "POST", "/v1/tokens", body, NULL, ret, err);
	if (r < 0 && err->status == 403 && c->token) {
		*ret = cJSON_CreateObject();
		cJSON_AddStringToObject(*ret, "token", c->token);
		r = 0;
	}
	return r;
}

static int agent_urls(struct cli *c, const char *name, cJSON **ret, struct err *err)
{
	AUTOFREE char *path = cli_agent_path(name, "", err);
	AUTOJSON *agent = NULL;
	int r = path ? cli_call(c, "GET", path, NULL, NULL, &agent, err) : err->code;

	if (r < 0)
		return r;
	*ret = cJSON_DetachItemFromObjectCaseSensitive(agent, "urls");
	if (json_str(*ret, "cdp", NULL))
		return 0;
	return err_set(err, EPROTO, "the gateway does not tell the address of %s", name);
}

int cli_cdp(struct cli *c, struct err *err)
{
	AUTOJSON *urls = NULL, *token = NULL;
	AUTOFREE char *url = NULL;
	const char *cdp;
	int r = agent_urls(c, c->args[0], &urls, err);

	r = r < 0 ? r : cdp_token(c, c->args[0], &token, err);
	if (r < 0)
		return r;
	cdp = json_str(urls, "cdp", "");
	url = xasprintf(
		"%s%ctoken=%s", cdp, strchr(cdp, '?') ? '&' : '?', json_str(token, "token", ""));
	if (!c->json) {
		cli_print("%s", url);
		return 0;
	}
	cJSON_AddStringToObject(token, "cdp", url);
	if (json_str(urls, "cdp_http", NULL))
		cJSON_AddStringToObject(token, "cdp_http", json_str(urls, "cdp_http", ""));
	cli_print_json(token);
	return 0;
}

int cli_open(struct cli *c, struct err *err)
{
	AUTOFREE char *path = cli_agent_path(c->args[0], "/open", err);
	AUTOFREE char *doing = xasprintf("opening %.100s", c->args[1]);
	AUTOJSON *page = NULL;
	cJSON *body;
	long long timeout = 60;
	int r = path ? cli_number(c, "timeout", 1, 3600, &timeout, err) : err->code;

	if (r < 0)
		return r;
	body = cJSON_CreateObject();
	cJSON_AddStringToObject(body, "url", c->args[1]);
	cJSON_AddNumberToObject(body, "timeout", (double)timeout);
	if (cli_flag(c, "new-tab"))
		cJSON_AddBoolToObject(body, "new_tab", true);
	r = cli_call(c, "POST", path, body, doing, &page, err);
	if (r < 0)
		return r;
	if (c->json)
		cli_print_json(page);
	else
		cli_print("%lld %s %s", (long long)json_int(page, "status", 0),
			json_str(page, "url", "?"), json_str(page, "title", ""));
	return 0;
}

static const char *picture_format(const struct cli *c, const char *file, struct err *err)
{
	const char *asked = cli_option(c, "format"), *dot = strrchr(file, '.');

	if (asked)
		return asked;
	if (streq(file, "-"))
		return "png";
	if (dot && strcasecmp(dot, ".png") == 0)
		return "png";
	if (dot && (strcasecmp(dot, ".jpg") == 0 || strcasecmp(dot, ".jpeg") == 0))
		return "jpeg";
	if (dot && strcasecmp(dot, ".webp") == 0)
		return "webp";
	cli_usage_error(err, "'%.200s' does not say which kind of picture it is to be", file);
	err_hint(err, "end it with .png, .jpg or .webp, or give --format");
	return NULL;
}

/* The picture, held whole (it is bounded), so that no half-written file is left. */
static int fetch_picture(struct cli *c, const char *path, struct buf *picture, struct err *err)
{
	struct http_client *client = cli_client(c, err);
	struct http_request rq = {.method = "GET", .path = path, .accept = "image/*"};
	struct http_stream *s = NULL;
	char piece[32768];
	ssize_t n = 0;
	int r = client ? http_open(&s, client, &rq, err) : err->code;

	if (r == 0)
		r = http_answer(s, err);
	while (r == 0 && (n = http_read(s, piece, sizeof(piece), err)) > 0)
		if (!buf_add(picture, piece, (size_t)n))
			r = err_set(err, EFBIG, "the picture is over %u MiB", SCREENSHOT_MAX >> 20);
	http_close(s);
	return n < 0 ? (int)n : r;
}

static int write_picture(const char *file, const struct buf *picture, struct err *err)
{
	struct stat st;
	int r;

	if (streq(file, "-")) {
		r = write_all(STDOUT_FILENO, picture->data, picture->len);
		return r < 0 ? err_set(err, r, "cannot write the picture: %s", strerror(-r)) : 0;
	}
	if (stat(file, &st) == 0 && !S_ISREG(st.st_mode)) {
		int fd = open(file, O_WRONLY | O_CLOEXEC);

		r = fd < 0 ? -errno : write_all(fd, picture->data, picture->len);
		if (fd >= 0)
			close(fd);
		return r < 0 ? err_set(err, r, "cannot write %s: %s", file, strerror(-r)) : 0;
	}
	return file_write_atomic(file, picture->data, picture->len, 0644, err);
}

int cli_screenshot(struct cli *c, struct err *err)
{
	const char *file = c->args[1], *format = picture_format(c, file, err);
	AUTOFREE char *rest = NULL, *path = NULL;
	CLEANUP(buf_done) struct buf picture;
	long long quality = -1;
	int r = format ? cli_number(c, "quality", 0, 100, &quality, err) : err->code;

	buf_init(&picture, SCREENSHOT_MAX);
	if (r < 0)
		return r;
	rest = quality < 0 ? xasprintf("/screenshot?format=%s", format)
			   : xasprintf("/screenshot?format=%s&quality=%lld", format, quality);
	if (cli_flag(c, "full-page")) {
		AUTOFREE char *more = xasprintf("%s&full_page=true", rest);

		free(rest);
		rest = steal(&more);
	}
	path = cli_agent_path(c->args[0], rest, err);
	r = path ? fetch_picture(c, path, &picture, err) : err->code;
	r = r < 0 ? r : write_picture(file, &picture, err);
	if (r < 0 || streq(file, "-"))
		return r;
	if (c->json)
		printf("{\n\t\"bytes\":\t%zu,\n\t\"format\":\t\"%s\"\n}\n", picture.len, format);
	return 0;
}

int cli_port(struct cli *c, struct err *err)
{
	AUTOFREE char *path = cli_agent_path(c->args[0], "/port", err);
	bool close = cli_flag(c, "close");
	AUTOJSON *v = NULL;
	cJSON *body;
	uint64_t port = 0;
	int r;

	if (!path)
		return err->code;
	if (c->n_args > 1 && !parse_u64(c->args[1], 1, 65535, &port))
		return cli_usage_error(
			err, "PORT must be a number from 1 to 65535, not '%.40s'", c->args[1]);
	body = close ? NULL : cJSON_CreateObject();
	if (port)
		cJSON_AddNumberToObject(body, "port", (double)port);
	r = cli_call(c, close ? "DELETE" : "POST", path, body, NULL, &v, err);
	if (r < 0)
		return r;
	if (c->json)
		cli_print_json(v);
	else if (!close)
		cli_print("http://127.0.0.1:%lld", (long long)json_int(v, "port", 0));
	return 0;
}
