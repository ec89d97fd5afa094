/* HTTP to the gateway: its unix socket or a URL. The owner of libcurl. */
#include "http_client.h"
#include "bytes.h"
#include "util.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

/*
 * Theory of operation. A stream is one easy handle driven by a multi handle of its own, so that the
 * caller may pull the answer (http_read) and push the body (http_write) as blocking calls, while a
 * tick keeps a person informed. Two bounded buffers stand between:
 *
 *   http_write -> out -> on_need -> curl -> socket        out empty: on_need pauses, http_write
 * wakes it http_read  <- in  <- on_data <- curl <- socket        in full: on_data pauses, http_read
 * wakes it
 *
 * A pause makes curl stop reading the socket, so a slow disk holds the server up, not our memory.
 */
struct http_client {
	char *origin; /* "http://host:port/base" without a slash at the end */
	char *host, *base, *token, *socket_path;
	char *short_path; /* socket_path, or a short way to it */
	int folder;       /* of a socket_path too long for sun_path, or -1 */
};

struct http_stream {
	struct http_client *client; /* not owned */
	CURL *easy;
	CURLM *multi;
	struct curl_slist *headers;
	struct buf in, out;
	char *body; /* JSON that is sent */
	char reason[CURL_ERROR_SIZE];
	http_tick_fn *tick;
	void *tick_data;
	CURLcode result;
	bool done, in_paused, out_paused, out_end, answering;
	char type[64];
};

struct http_raw {
	CURL *easy;
	char reason[CURL_ERROR_SIZE];
};

static int split_url(struct http_client *c, const char *url, struct err *err)
{
	CURLU *u = curl_url();
	char *scheme = NULL, *host = NULL, *port = NULL, *path = NULL;
	bool fine = curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
		    curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
		    curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
		    curl_url_get(u, CURLUPART_PATH, &path, 0) == CURLUE_OK &&
		    (streq(scheme, "http") || streq(scheme, "https"));

	if (fine) {
		size_t n = strlen(path);

		curl_url_get(u, CURLUPART_PORT, &port, 0);
		while (n > 0 && path[n - 1] == '/')
			path[--n] = 0;
		c->host = port ? xasprintf("%s:%s", host, port) : xstrdup(host);
		c->base = xstrdup(path);
		c->origin = xasprintf("%s://%s%s", scheme, c->host, path);
	} else {
		err_set(err, EINVAL, "'%.200s' is not the URL of a gateway", url);
		err_hint(err, "it looks like http://127.0.0.1:7900");
		err_type(err, 400, "usage");
	}
	curl_free(scheme), curl_free(host), curl_free(port), curl_free(path);
	curl_url_cleanup(u);
	return fine ? 0 : err ? err->code : -EINVAL;
}

/* sun_path holds 107 characters: a longer path is named through its folder's descriptor. */
static void shorten(struct http_client *c)
{
	AUTOFREE char *dir = xstrdup(c->socket_path);
	char *slash = strrchr(dir, '/');

	c->short_path = xstrdup(c->socket_path);
	if (strlen(dir) < sizeof(((struct sockaddr_un *)0)->sun_path) || !slash)
		return;
	*slash = 0;
	c->folder = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	free(c->short_path);
	c->short_path = xasprintf("/proc/self/fd/%d/%s", c->folder, slash + 1);
}

int http_client_new(struct http_client **ret, const char *url, const char *token,
	const char *socket_path, struct err *err)
{
	struct http_client *c = xcalloc(1, sizeof(*c));

	c->folder = -1;
	curl_global_init(CURL_GLOBAL_DEFAULT);
	if (url && split_url(c, url, err) < 0) {
		http_client_free(c);
		return -EINVAL;
	}
	if (!url) {
		c->origin = xstrdup("http://localhost");
		c->host = xstrdup("localhost");
		c->base = xstrdup("");
		c->socket_path = xstrdup(socket_path);
		shorten(c);
	}
	c->token = token ? xstrdup(token) : NULL;
	*ret = c;
	return 0;
}

void http_client_free(struct http_client *c)
{
	if (!c)
		return;
	free(c->origin);
	free(c->host);
	free(c->base);
	free(c->token);
	free(c->socket_path);
	free(c->short_path);
	if (c->folder >= 0)
		close(c->folder);
	free(c);
	curl_global_cleanup();
}

const char *http_client_base(const struct http_client *c)
{
	return c->base;
}

const char *http_client_host(const struct http_client *c)
{
	return c->host;
}

const char *http_client_token(const struct http_client *c)
{
	return c->token;
}

/* curl's failure in the words of somebody who wanted to reach the appliance. */
static int explain(const struct http_client *c, CURLcode code, const char *reason, struct err *err)
{
	const char *why = reason && reason[0] ? reason : curl_easy_strerror(code);

	if (code == CURLE_COULDNT_CONNECT && c->socket_path) {
		if (access(c->socket_path, F_OK) == 0 && access(c->socket_path, W_OK) < 0) {
			err_set(err, EACCES,
				"the appliance's socket %s may not be opened by this user",
				c->socket_path);
			err_hint(err,
				"run berth as the user who started it, or use --url and --token");
		} else if (access(c->socket_path, F_OK) < 0 && errno == EACCES) {
			err_set(err, EACCES, "the folder of %s may not be entered by this user",
				c->socket_path);
			err_hint(err,
				"run berth as the user who started it, or use --url and --token");
		} else {
			err_set(err, ECONNREFUSED,
				"the appliance does not run (nothing answers at %s)",
				c->socket_path);
			err_hint(err, "start it with `berth up`");
		}
		return err_type(err, 503, "daemon-unavailable");
	}
	err_set(err, EREMOTEIO, "the gateway at %s: %s",
		c->socket_path ? c->socket_path : c->origin, why);
	if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST)
		err_hint(err, "check --url and that the appliance is up there");
	else if (code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR ||
		 code == CURLE_PARTIAL_FILE)
		err_hint(err, "it broke off; `berth status` tells whether the gateway came back, "
			      "then try again");
	return err_type(err, 503, "daemon-unavailable");
}

static size_t on_data(char *data, size_t size, size_t n, void *arg)
{
	struct http_stream *s = arg;

	n *= size;
	if (s->in.len > 0 && s->in.len + n > HTTP_BUFFER_MAX) {
		s->in_paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	return buf_add(&s->in, data, n) ? n : 0;
}

static size_t on_need(char *data, size_t size, size_t n, void *arg)
{
	struct http_stream *s = arg;
	size_t take = MIN(size * n, s->out.len);

	if (take == 0 && !s->out_end) {
		s->out_paused = true;
		return CURL_READFUNC_PAUSE;
	}
	memcpy(data, s->out.data, take);
	buf_consume(&s->out, take);
	return take;
}

static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
	static const char name[] = "content-type:";
	struct http_stream *s = arg;
	size_t len = size * n, at = sizeof(name) - 1, end;

	if (len > at && strncasecmp(data, name, at) == 0) {
		while (at < len && data[at] == ' ')
			at++;
		for (end = at; end < len && !strchr("; \r\n", data[end]); end++)
			;
		snprintf(s->type, sizeof(s->type), "%.*s", (int)(end - at), data + at);
	}
	if (len == 2 && data[0] == '\r') {
		long status = 0;

		curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status);
		s->answering = status >= 200;
	}
	return len;
}

static void add_header(struct http_stream *s, const char *name, const char *value)
{
	AUTOFREE char *line = xasprintf("%s: %s", name, value);

	s->headers = curl_slist_append(s->headers, line);
}

static void set_common(CURL *easy, const struct http_client *c, char *reason)
{
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, reason);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, 20L);
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	if (c->socket_path) {
		curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, c->short_path);
		curl_easy_setopt(easy, CURLOPT_PROXY, "");
	}
}

static void set_body(struct http_stream *s, const struct http_request *rq)
{
	if (rq->json) {
		s->body = cJSON_PrintUnformatted(rq->json);
		add_header(s, "Content-Type", "application/json");
		curl_easy_setopt(s->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(s->body));
		curl_easy_setopt(s->easy, CURLOPT_POSTFIELDS, s->body);
	} else if (rq->upload) {
		add_header(s, "Content-Type", "application/octet-stream");
		curl_easy_setopt(s->easy, CURLOPT_UPLOAD, 1L);
		if (rq->upload_size >= 0)
			curl_easy_setopt(
				s->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)rq->upload_size);
	} else if (!streq(rq->method, "GET")) {
		curl_easy_setopt(s->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)0);
		curl_easy_setopt(s->easy, CURLOPT_POSTFIELDS, "");
	}
	curl_easy_setopt(s->easy, CURLOPT_CUSTOMREQUEST, rq->method);
}

int http_open(struct http_stream **ret, struct http_client *c, const struct http_request *rq,
	struct err *err)
{
	struct http_stream *s = xcalloc(1, sizeof(*s));
	AUTOFREE char *url = xasprintf("%s%s", c->origin, rq->path);

	(void)err;
	s->client = c;
	s->tick = rq->tick;
	s->tick_data = rq->tick_data;
	s->easy = curl_easy_init();
	s->multi = curl_multi_init();
	buf_init(&s->in, HTTP_BUFFER_MAX + CURL_MAX_WRITE_SIZE);
	buf_init(&s->out, HTTP_BUFFER_MAX);
	set_common(s->easy, c, s->reason);
	curl_easy_setopt(s->easy, CURLOPT_URL, url);
	curl_easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(s->easy, CURLOPT_WRITEDATA, s);
	curl_easy_setopt(s->easy, CURLOPT_READFUNCTION, on_need);
	curl_easy_setopt(s->easy, CURLOPT_READDATA, s);
	curl_easy_setopt(s->easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(s->easy, CURLOPT_HEADERDATA, s);
	set_body(s, rq);
	s->out_end = !rq->upload;
	add_header(s, "Accept", rq->accept ? rq->accept : "*/*");
	add_header(s, "Expect", ""); /* no 100-continue */
	if (c->token) {
		AUTOFREE char *bearer = xasprintf("Bearer %s", c->token);

		add_header(s, "Authorization", bearer);
	}
	curl_easy_setopt(s->easy, CURLOPT_HTTPHEADER, s->headers);
	curl_multi_add_handle(s->multi, s->easy);
	*ret = s;
	return 0;
}

void http_close(struct http_stream *s)
{
	if (!s)
		return;
	curl_multi_remove_handle(s->multi, s->easy);
	curl_easy_cleanup(s->easy);
	curl_multi_cleanup(s->multi);
	curl_slist_free_all(s->headers);
	cJSON_free(s->body);
	buf_done(&s->in);
	buf_done(&s->out);
	free(s);
}

/* Lets curl work once, waiting at most an eighth of a second for the socket. */
static int turn(struct http_stream *s, struct err *err)
{
	int running = 0, left;
	CURLMsg *m;

	if (s->done)
		return 0;
	curl_multi_perform(s->multi, &running);
	while ((m = curl_multi_info_read(s->multi, &left))) {
		if (m->msg == CURLMSG_DONE) {
			s->done = true;
			s->result = m->data.result;
		}
	}
	if (s->tick && s->tick(s->tick_data) != 0)
		return err_set(err, ECANCELED, "interrupted");
	return 0;
}

static int turn_and_wait(
	struct http_stream *s, bool (*ready)(const struct http_stream *), struct err *err)
{
	int r = turn(s, err);

	while (r == 0 && !s->done && !ready(s)) {
		curl_multi_poll(s->multi, NULL, 0, 125, NULL);
		r = turn(s, err);
	}
	return r;
}

static bool has_answer(const struct http_stream *s)
{
	return s->answering;
}

static bool has_data_or_all(const struct http_stream *s)
{
	return s->in.len > 0;
}

static bool has_room_or_answer(const struct http_stream *s)
{
	return s->out.len < HTTP_BUFFER_MAX / 2 || s->answering;
}

static void wake(struct http_stream *s)
{
	s->in_paused = s->out_paused = false;
	curl_easy_pause(s->easy, CURLPAUSE_CONT);
}

int http_write(struct http_stream *s, const void *data, size_t n, struct err *err)
{
	const uint8_t *p = data;

	while (n > 0) {
		size_t some = MIN(n, HTTP_BUFFER_MAX - s->out.len);
		int r;

		buf_add(&s->out, p, some);
		p += some;
		n -= some;
		if (s->out_paused)
			wake(s);
		r = turn_and_wait(s, has_room_or_answer, err);
		if (r < 0)
			return r;
		if (s->done && s->result != CURLE_OK && !s->answering)
			return explain(s->client, s->result, s->reason, err);
		if (s->answering)
			return err_set(err, EPIPE, "the gateway answered before it had everything");
	}
	return 0;
}

static bool never(const struct http_stream *s)
{
	return s->in.len >= HTTP_BUFFER_MAX / 2;
}

/* An answer that is not 2xx: what its problem+json says, or at least its status. */
static int problem(struct http_stream *s, long status, struct err *err)
{
	cJSON *o;

	if (turn_and_wait(s, never, err) < 0)
		return err->code;
	o = cJSON_ParseWithLength((const char *)s->in.data, s->in.len);
	if (cJSON_IsObject(o) && json_get(o, "detail")) {
		json_to_err(o, err);
	} else {
		err_set(err, EREMOTEIO, "the gateway answered %ld", status);
		err_hint(err, "is %s a berth gateway of this version?", s->client->origin);
	}
	if (err &&
		(!err->type[0] || streq(err->type, "internal") || streq(err->type, "about:blank")))
		err_type(err, (int)status, "internal");
	if (err)
		err->status = (int)status;
	if (status == 401 && err && !err->hint[0])
		err_hint(err, "give a token with --token or BERTH_TOKEN");
	cJSON_Delete(o);
	return err ? err->code : -EREMOTEIO;
}

int http_answer(struct http_stream *s, struct err *err)
{
	long status = 0;
	int r;

	s->out_end = true;
	if (s->out_paused)
		wake(s);
	r = turn_and_wait(s, has_answer, err);
	if (r < 0)
		return r;
	curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status < 200)
		return explain(s->client, s->done ? s->result : CURLE_RECV_ERROR, s->reason, err);
	return status < 300 ? 0 : problem(s, status, err);
}

ssize_t http_read(struct http_stream *s, void *data, size_t n, struct err *err)
{
	int r;

	if (s->in_paused && s->in.len < HTTP_BUFFER_MAX / 2)
		wake(s);
	r = turn_and_wait(s, has_data_or_all, err);
	if (r < 0)
		return r;
	if (s->in.len == 0)
		return s->result == CURLE_OK ? 0 : explain(s->client, s->result, s->reason, err);
	n = MIN(n, s->in.len);
	memcpy(data, s->in.data, n);
	buf_consume(&s->in, n);
	return (ssize_t)n;
}

int http_ready(struct http_stream *s, struct err *err)
{
	int r = turn(s, err);

	return r < 0 ? r : s->in.len > 0 || s->done;
}

int64_t http_length(const struct http_stream *s)
{
	curl_off_t n = -1;

	curl_easy_getinfo(s->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &n);
	return n;
}

const char *http_type(const struct http_stream *s)
{
	return s->type;
}

static int read_json(struct http_stream *s, cJSON **ret, struct err *err)
{
	CLEANUP(buf_done) struct buf all;
	uint8_t piece[16384];
	ssize_t n;

	buf_init(&all, HTTP_JSON_MAX);
	while ((n = http_read(s, piece, sizeof(piece), err)) > 0)
		if (!buf_add(&all, piece, (size_t)n))
			return err_set(err, EFBIG, "the gateway's answer is over %u MiB",
				HTTP_JSON_MAX >> 20);
	if (n < 0)
		return (int)n;
	*ret = all.len ? cJSON_ParseWithLength((const char *)all.data, all.len) : NULL;
	if (all.len && !*ret)
		return err_set(err, EPROTO, "the gateway's answer is not JSON");
	return 0;
}

int http_call(struct http_client *c, const struct http_request *rq, cJSON **ret, struct err *err)
{
	struct http_stream *s;
	cJSON *v = NULL;
	int r = http_open(&s, c, rq, err);

	if (r < 0)
		return r;
	r = http_answer(s, err);
	if (r == 0)
		r = read_json(s, &v, err);
	http_close(s);
	if (r == 0 && ret)
		*ret = v;
	else
		cJSON_Delete(v);
	return r;
}

int http_raw_open(struct http_raw **ret, struct http_client *c, struct err *err)
{
	struct http_raw *r = xcalloc(1, sizeof(*r));
	CURLcode code;

	r->easy = curl_easy_init();
	set_common(r->easy, c, r->reason);
	curl_easy_setopt(r->easy, CURLOPT_URL, c->origin);
	curl_easy_setopt(r->easy, CURLOPT_CONNECT_ONLY, 1L);
	code = curl_easy_perform(r->easy);
	if (code != CURLE_OK) {
		explain(c, code, r->reason, err);
		http_raw_close(r);
		return err->code;
	}
	*ret = r;
	return 0;
}

int http_raw_fd(const struct http_raw *r)
{
	curl_socket_t fd = CURL_SOCKET_BAD;

	curl_easy_getinfo(r->easy, CURLINFO_ACTIVESOCKET, &fd);
	return (int)fd;
}

static ssize_t raw_result(CURLcode code, size_t n)
{
	return code == CURLE_OK ? (ssize_t)n : code == CURLE_AGAIN ? -EAGAIN : -EPIPE;
}

ssize_t http_raw_recv(struct http_raw *r, void *data, size_t n)
{
	size_t got = 0;
	CURLcode code = curl_easy_recv(r->easy, data, n, &got);

	return raw_result(code, got);
}

ssize_t http_raw_send(struct http_raw *r, const void *data, size_t n)
{
	size_t sent = 0;
	CURLcode code = curl_easy_send(r->easy, data, n, &sent);

	return raw_result(code, sent);
}

void http_raw_close(struct http_raw *r)
{
	if (!r)
		return;
	curl_easy_cleanup(r->easy);
	free(r);
}
