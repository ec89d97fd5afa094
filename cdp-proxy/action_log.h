/* What models did, told to berthd for the action log. */
#ifndef BERTH_ACTION_LOG_H
#define BERTH_ACTION_LOG_H

#include "action.h"
#include "gateway.h"

#define ACTION_LOG_WAITING_MAX 1000  /* entries that berthd has not confirmed */
#define ACTION_LOG_BATCH 100         /* of one message */
#define ACTION_LOG_FLUSH_MS 200      /* how long entries are gathered */
#define ACTION_LOG_EDGE 320          /* pixels of a picture's longer side */
#define ACTION_LOG_PICTURE_MAX 49152 /* bytes of one; a larger one is left out */
#define ACTION_LOG_PICTURES_MAX 50   /* that wait to be sent */
#define ACTION_LOG_PICTURES_BATCH 20
#define ACTION_LOG_MAKING_MAX 4 /* pictures made small at once; others are left out meanwhile */

struct action_log;

/* Where actions come from. */
struct action_source {
	char name[64]; /* "computer/anthropic", "mcp/browser_click" */
	char by[64];   /* the token's id, "local" for the unix socket */
};

/* One action that is over. */
struct action_told {
	const char *agent;
	const struct action_source *from;
	const struct action *action;
	int64_t began_us; /* action_log_now() */
	uint64_t duration_ms;
	const char *failure; /* NULL: it was done */
	const char *url;     /* of the page in front; NULL: none */
	int64_t before;      /* the picture that was taken last before it; 0: none */
};

struct action_log *action_log_new(struct gateway *gw);
/* Sends what waits. Before the link to berthd is closed. */
void action_log_close(struct gateway *gw);
/* Unix us, never the same twice: with its agent it names an action. */
int64_t action_log_now(void);
/* Never waits and never fails: what there is no room for is counted (METRIC_ACTIONS_LOST). */
void action_log_add(struct gateway *gw, const struct action_told *t);
/*
 * A picture of the page (PNG in base64) after the action that began at `of` (0: none) is made small
 * and sent later. Its id, for `before` of the next one; 0 when it is left out.
 */
int64_t action_log_picture(
	struct gateway *gw, const char *agent, int64_t of, const char *base64, size_t n);
/* Sends what waits, so that a question that follows is answered with it. */
void action_log_flush(struct gateway *gw);

#endif
