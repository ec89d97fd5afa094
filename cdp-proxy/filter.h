/* What a CDP client may say to an agent's browser, by role. Pure functions over one message. */
#ifndef BERTH_FILTER_H
#define BERTH_FILTER_H

#include <stdbool.h>
#include <stddef.h>

#include "bytes.h"
#include "gateway.h"
#include "json_scan.h"

#define FILTER_HOLD_MAX (1u << 20) /* a message up to this size is looked at whole */
#define FILTER_DOWNLOADS "/home/agent/Downloads"
#define FILTER_UPLOADS "/home/agent/Uploads"

enum filter_verdict {
	FILTER_PASS,    /* send the message as it is */
	FILTER_REWRITE, /* send `out` in its place */
	FILTER_ANSWER,  /* send `out` to the client; the browser learns nothing */
	FILTER_REFUSE,  /* the same, and count it: the client asked for what it may not */
	FILTER_DETACH,  /* the same as FILTER_ANSWER, then close the connection with 1000 */
};

/* What is done with a command. */
enum filter_action {
	ACT_PASS,
	ACT_REFUSE,
	ACT_DETACH,   /* answered with {}; this client is closed, the browser stays */
	ACT_URL,      /* params.url must be a page an agent may open */
	ACT_DOWNLOAD, /* params.downloadPath becomes FILTER_DOWNLOADS */
	ACT_UPLOAD,   /* params.files must lie below FILTER_UPLOADS */
	ACT_DRAG,     /* params.data.files likewise */
	ACT_NESTED,   /* params.message is a message of its own */
};

/* One command, or a whole domain as "Domain.*". */
struct filter_row {
	const char *method;
	enum filter_action agent, admin;
	const char *why; /* ACT_REFUSE: the reason and the way out, for the client */
};

/* The row for a method; a domain that is in no row is refused to agents and passed for admins.
 * Never NULL. */
const struct filter_row *filter_row_for(const char *method);
/* filter_table.c */
extern const struct filter_row filter_rows[];
extern const size_t filter_rows_count;

/*
 * Looks at one whole message (any bytes). out is filled unless the verdict is FILTER_PASS; its max
 * must leave room for the message and 4 KiB.
 */
enum filter_verdict filter_message(enum role role, const char *text, size_t n, struct buf *out);

/* The members of a message that decide. */
struct filter_head {
	char id[16], method[128], session[128]; /* session: as text of JSON, quotes included */
	bool has_id, has_method, has_session, has_params, id_bad, method_bad;
	enum json_kind params_kind;
	size_t params_start, params_end;
};

/* A message too large to be held: scanned while it passes. Only commands that pass unseen are let
 * through. */
struct filter_stream {
	struct json_scan scan;
	struct filter_head head;
	enum role role;
};

void filter_stream_init(struct filter_stream *s, enum role role);
/* 0, or negative: never send the final frame. */
int filter_stream_feed(struct filter_stream *s, const void *data, size_t n);
/* 0 when the message may be completed; else negative with the reason for the client in why (124
 * bytes). */
int filter_stream_end(struct filter_stream *s, char why[124]);

/* True when an agent may open this address: http, https, about:blank, data, blob, javascript, a new
 * tab's page. */
bool filter_url_allowed(const char *url);
/* True when it is a page that berth opens itself: http, https, data, about:blank. */
bool filter_url_opens(const char *url);
/* True for an absolute path below dir, without "." and ".." in it. */
bool filter_path_below(const char *path, const char *dir);

#endif
