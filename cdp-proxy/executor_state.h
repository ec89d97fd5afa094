/* The executor's one object: what its own modules share. */
#ifndef BERTH_EXECUTOR_STATE_H
#define BERTH_EXECUTOR_STATE_H

#include "bytes.h"
#include "cdp_dial.h"
#include "cdp_link.h"
#include "executor.h"
#include "gesture.h"

#define TABS_MAX 100
#define TAB_TITLE_MAX 200
#define TAB_URL_MAX 2048
#define MODAL_TEXT_MAX 4096
#define NOTES_MAX 16384
#define REFS_MAX 16384
#define REFS_HASH 4096

/* A page of the browser. */
struct tab {
	char id[CDP_SESSION_MAX], session[CDP_SESSION_MAX]; /* session "": not attached */
	char context[CDP_SESSION_MAX]; /* the browsing context that it belongs to */
	char url[TAB_URL_MAX], title[TAB_TITLE_MAX];
	bool crashed, loading;
	bool hung;       /* it left something unanswered */
	uint64_t number; /* in the order of opening */
	uint64_t moves;  /* how often it went to another page, or to another place of one */
	bool announced;  /* the model knows of it */
	int crashes;     /* in a row */
};

enum modal_kind { MODAL_NONE, MODAL_ALERT, MODAL_CONFIRM, MODAL_PROMPT, MODAL_LEAVE, MODAL_FILES };

/* A dialog, or a file chooser, that waits for the model. */
struct modal {
	enum modal_kind kind;
	char session[CDP_SESSION_MAX];
	char message[MODAL_TEXT_MAX], text[MODAL_TEXT_MAX]; /* text: typed so far, or the default */
	bool typed;
	uint64_t node; /* MODAL_FILES: DOM's backendNodeId */
	bool multiple;
};

/* What a number in a snapshot stands for. */
struct ref {
	unsigned int number; /* 0: free */
	unsigned int next;   /* an older one with the same hash; 0: none */
	bool gone;
	char tab[CDP_SESSION_MAX], frame[CDP_SESSION_MAX];
	uint64_t node; /* DOM's backendNodeId */
};

/* The newest numbers: the place of one in the list is its rest, and an older one makes room. */
struct refs {
	struct ref list[REFS_MAX];
	unsigned int heads[REFS_HASH]; /* the newest number, by node */
	unsigned int last;
};

/* An element on its way to be used. */
struct search {
	struct ref ref;
	bool second, third;     /* of a drag: its end, and its start once more */
	double x, y, left, top; /* in its frame: where to point at, and its corner */
	double width, height;
	uint64_t world;
};

/* What the current action waits for. */
enum wait {
	WAIT_NOTHING,
	WAIT_LINK,   /* the connection */
	WAIT_TAB,    /* a tab to be made, attached or revived */
	WAIT_VIEW,   /* its size */
	WAIT_SETTLE, /* time, and a page that loads */
	WAIT_STEPS,  /* answers to input */
	WAIT_PAUSE,  /* the script's own time */
	WAIT_PICTURE,
	WAIT_FRAME,  /* a picture by screencast */
	WAIT_ANSWER, /* to a navigation or a dialog */
	WAIT_LOAD,
	WAIT_NODE,   /* an element to be found */
	WAIT_SCRIPT, /* a page's own JavaScript */
	WAIT_CLOSED, /* a tab to go */
	WAIT_TEXT,
	WAIT_TREE,   /* parts of a snapshot */
	WAIT_WORLD,  /* what a function of ours says of the page */
	WAIT_REPORT, /* the tabs as the browser has them */
	WAIT_TIME,   /* the action `wait` */
};

struct tree; /* tree.c */

struct executor {
	struct executor *next;
	struct gateway *gw;
	char agent[64];
	uv_timer_t timer; /* of what is waited for, or until it ends */
	struct cdp_dial *listing;
	struct cdp_link *link;
	bool open;                   /* the link is, and its targets are known */
	char front[CDP_SESSION_MAX]; /* the page that was in front when it connected */
	struct tab *tabs[TABS_MAX];  /* the last one is in front */
	size_t n_tabs;
	char active[CDP_SESSION_MAX]; /* the tab that the browser was told to show */
	struct run *runs;             /* the first one is under way */
	enum wait wait;
	uint64_t epoch; /* calls of an earlier one are answered to nobody */
	uint64_t last_input, settle_from, load_until;
	bool settled;
	struct hands hands;
	struct view view;
	bool view_known;
	struct script script;
	size_t step, in_flight;
	bool drags; /* the browser is to tell of drags */
	char *drag; /* data of the one under way: the text of an object */
	bool drag_inside;
	struct modal modal;
	struct buf notes;
	struct refs *refs; /* NULL: none yet */
	struct search search;
	bool found;    /* spot and box are those of the action's element */
	bool by_mouse; /* of ACTION_SET: the element is clicked, not typed into */
	struct spot spot, spot_to;
	double box[4];
	struct tree *tree;
	uint64_t last_tree; /* hash of the snapshot that was given last */
	uint64_t tabs_made;
	int64_t picture; /* of the page, the last one that went to the action log; 0: none */
	char leaving[CDP_SESSION_MAX];                       /* the tab that is being closed */
	char lender[CDP_SESSION_MAX], lent[CDP_SESSION_MAX]; /* the tab in front that gave way to
								one for an action; "": none */
	uint64_t moves_from, begins_until; /* WAIT_LOAD: a navigation begins until then */
	cJSON *changes;   /* browser_state's, that are not reported yet; NULL: none */
	cJSON *downloads; /* address by id, of those under way; NULL: none */
	bool closing;
};

/* One request's actions. In its executor's list until it is done. */
struct run {
	struct run *next;
	struct executor *ex;
	const struct action *actions;
	struct action_result *results;
	size_t n, at, image_bytes;
	bool failed, broken; /* broken: there is no browser to take pictures of */
	struct err err;      /* of the failure */
	uint64_t started;
	struct action_source from;
	uint64_t action_started; /* the current action */
	int64_t action_began_us; /* the same as the action log has it; 0: not begun */
	int64_t told_us;         /* that of the last one that the log was told of */
	run_done_fn *fn;
	void *data;
};

/* ---- executor.c ---- */

/* Goes on with the current action: what it needs, then the action itself. */
void executor_advance(struct executor *ex);
/* The current action is over. text (may be NULL) is copied. */
void executor_done(struct executor *ex, const char *text);
void executor_failed(struct executor *ex, const struct err *err);
/* The same with a message of its own. */
__attribute__((format(printf, 2, 3))) void executor_fail(struct executor *ex, const char *fmt, ...);
/* Waits for `what`, ms at most; then perform_late() is asked. */
void executor_wait(struct executor *ex, enum wait what, uint64_t ms);
/* A command to the tab in front, or with session "" to the browser; its answer counts only while
 * the current action does not change. */
void executor_call(struct executor *ex, const char *session, const char *method, cJSON *params,
	cdp_link_answer_fn *fn);
/* True when an answer is to something that is no longer waited for. */
bool executor_stale(const struct executor *ex, uint64_t tag);
__attribute__((format(printf, 2, 3))) void executor_note(struct executor *ex, const char *fmt, ...);
const struct action *executor_action(const struct executor *ex);
struct action_result *executor_result(const struct executor *ex);

/* ---- tabs.c ---- */

struct tab *tabs_front(const struct executor *ex);
/* True when the tab in front is attached and alive; else something was begun. */
bool tabs_ready(struct executor *ex);
/* Events of the browser's own session. */
void tabs_event(struct executor *ex, const char *method, const cJSON *params);
struct tab *tabs_of_session(const struct executor *ex, const char *session);
void tabs_put_front(struct executor *ex, const char *id);
void tabs_forget(struct executor *ex);
/* The action ACTION_TABS. */
void tabs_act(struct executor *ex, const struct action *a);
/* Is it closed by now? */
void tabs_look_closed(struct executor *ex);
/* Puts the tab that the action names in front while it lasts. False: it failed, there is none. */
bool tabs_borrow(struct executor *ex, const struct action *a);
/* The one that was in front before is there again, unless the tab asks or opened something. */
void tabs_return(struct executor *ex);
struct tab *tabs_of_id(const struct executor *ex, const char *id);
/* The tab that stands at a place in the order of opening; -1: the one in front. */
struct tab *tabs_at(const struct executor *ex, int place);
/* Takes what the browser tells of a target. */
void tabs_read_info(struct tab *t, const cJSON *info);
/* Frames of other sites, attached through a tab. */
void tabs_frame(struct executor *ex, const cJSON *params);

/* ---- capture.c ---- */

/* True when the view's size is known; else it was asked for. */
bool capture_view(struct executor *ex);
/* The picture that the current action wants. */
void capture_begin(struct executor *ex);
/* By screencast, which works while a dialog blocks the page. */
void capture_frame(struct executor *ex);
/* The picture does not come: one of what was drawn last may. */
void capture_late(struct executor *ex);
void capture_took_frame(struct executor *ex, const char *params, size_t n);

/* ---- modal.c ---- */

void modal_dialog_opened(struct executor *ex, const char *session, const cJSON *params);
void modal_dialog_closed(struct executor *ex);
void modal_files_wanted(struct executor *ex, const char *session, const cJSON *params);
/* True when the action was the dialog's business: answered, or refused. */
bool modal_takes(struct executor *ex, const struct action *a);
bool modal_blocks(const struct executor *ex);
/* Tells again what is open. */
void modal_remind(struct executor *ex);

/* Dialog and chooser as the model is told of them; NULL: none is open. The caller's to free. */
char *modal_text(const struct executor *ex);

/* ACTION_UPLOAD, to the element that was found. */
void modal_upload(struct executor *ex, const struct action *a);
/* How many paths stand in the lines of a text. */
int modal_count_paths(const char *text);

/* ---- report.c ---- */

void report_opened(struct executor *ex, const char *tab);
/* Browser.downloadWillBegin and Browser.downloadProgress. */
void report_download(struct executor *ex, const char *method, const cJSON *params);
/* ACTION_REPORT. */
void report_begin(struct executor *ex);
/* The browser does not say what tabs it has: those that are known are told. */
void report_late(struct executor *ex);
/* Tabs that an action opened which failed are no news. */
void report_failed(struct executor *ex);
void report_forget(struct executor *ex);
/* Adds text as one line: control characters and those that turn the direction are spaces. NULL
 * counts as "". */
void report_line(struct buf *b, const char *text);

/* ---- node.c ---- */

/* True when the current action names no element, or it was found; else that was begun. */
bool node_ready(struct executor *ex);
/* The number that stands for a node of the tab in front. */
unsigned int node_ref(struct executor *ex, const char *frame, uint64_t node);
/* The node that a number stands for on the tab in front; 0: none any more. */
uint64_t node_of(struct executor *ex, unsigned int number);
/* What a number stands for, on any tab; NULL: nothing any more. */
const struct ref *node_find(struct executor *ex, unsigned int number);
/* Fails the current action: the number is an old one, or of a tab that is not in front. */
void node_gone(struct executor *ex, unsigned int number);
void node_elsewhere(struct executor *ex, unsigned int number);
/* A page of the tab is gone, and what was on it. */
void node_forget(struct executor *ex, const char *tab);

/* ---- script.c ---- */

void script_evaluate(struct executor *ex, const struct action *a);
void script_await(struct executor *ex, const struct action *a);
/* Looks for the text again. */
void script_look(struct executor *ex);
/* ACTION_TEXT: the text of the page, as a person reads it; else where a navigation led: the
 * address, the title and HTTP's status. */
void script_ask_page(struct executor *ex);
/* WAIT_WORLD: it does not answer. */
void script_world_late(struct executor *ex);

/* ---- tree.c ---- */

void tree_begin(struct executor *ex);
void tree_free(struct tree *t);

/* ---- perform.c ---- */

/* The current action, now that all it needs is there. */
void perform(struct executor *ex);
/* What was waited for did not come, or the time is over. */
void perform_late(struct executor *ex);
/* An action that does not need a browser at all; true if it was one. */
bool perform_alone(struct executor *ex);
/* Input.dragIntercepted. */
void perform_drag_began(struct executor *ex, const char *params, size_t n);
/* The page is blocked by a dialog from now on. */
void perform_interrupted(struct executor *ex);
/* The tab in front crashed. */
void perform_crashed(struct executor *ex);
/* Lets go of what is held. */
void perform_release(struct executor *ex);
/* The action is done once the page is loaded. */
void perform_wait_load(struct executor *ex);

#endif
