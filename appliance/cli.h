/* The command line: one table of commands, and what parsing a line against it gives. */
#ifndef BERTH_CLI_H
#define BERTH_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "json.h"

#define CLI_COMMANDS_MAX 64
#define CLI_OPTIONS_MAX 16
#define CLI_IDLE_MAX (30 * 86400LL) /* s */
#define CLI_TTL_MAX 315360000LL     /* of a token, in seconds: ten years */
#define CLI_VALUES_MAX 600 /* options given on one line: 256 rules and as many labels fit */

/* What an argument or an option's value is, for completion. */
enum cli_kind {
	CLI_NOTHING, /* free text */
	CLI_AGENT,
	CLI_SNAPSHOT,
	CLI_FILE,
	CLI_FOLDER,
	CLI_REMOTE, /* a file here, or NAME:PATH */
	CLI_VERB,
	CLI_WORDS, /* one of a list */
};

struct cli_option {
	const char *name;  /* without the dashes; NULL ends a list */
	char letter;       /* the short form, or 0 */
	const char *value; /* what its value is called; NULL: it has none */
	const char *help;
	bool repeat;
	enum cli_kind kind;
	const char *words; /* CLI_WORDS: separated by spaces */
};

struct cli_arg {
	const char *name; /* NULL ends a list */
	enum cli_kind kind;
	bool optional, repeat; /* repeat: only the last one */
	const char *words;
	const char *unless; /* with this first argument, words is not what it must be one of */
};

struct cli;
/* 0 or more: the exit status. Negative: err tells. */
typedef int cli_run_fn(struct cli *c, struct err *err);

/* One row gives dispatch, help, completion and the manual page. */
struct cli_command {
	const char *name;  /* "create", "token create" */
	const char *group; /* heading in the list of commands */
	const char *summary;
	const char *help; /* paragraphs separated by an empty line */
	struct cli_arg args[4];
	struct cli_option options[CLI_OPTIONS_MAX];
	const char *examples[4];
	bool verbatim; /* everything after the first argument belongs to somebody else */
	cli_run_fn *run;
};

struct cli_value {
	const struct cli_option *option;
	const char *value; /* NULL for an option without one */
};

struct http_client;

/* One parsed line. Strings belong to argv. */
struct cli {
	const struct cli_command *command;
	const char **args;
	size_t n_args;
	struct cli_value values[CLI_VALUES_MAX];
	size_t n_values;
	bool json;
	char *state;                /* owned */
	const char *url, *token;    /* a gateway elsewhere, or NULL */
	struct http_client *client; /* owned; made by cli_client() */
};

extern const struct cli_command cli_commands[];
extern const size_t cli_n_commands;
extern const struct cli_option cli_global_options[];

/* Fills c from the words behind the program's name; "usage" errors say what would have been right.
 */
int cli_parse(struct cli *c, int argc, char **argv, struct err *err);
void cli_done(struct cli *c);
/* The value of an option, NULL when it was not given (the last one wins). */
const char *cli_option(const struct cli *c, const char *name);
bool cli_flag(const struct cli *c, const char *name);
/* The i-th value of a repeated option, or NULL. */
const char *cli_nth(const struct cli *c, const char *name, size_t i);
/* A number within bounds, or `otherwise` when the option is absent; a usage error when it is not
 * one. */
int cli_number(const struct cli *c, const char *name, long long min, long long max, long long *ret,
	struct err *err);
/* An error that ends with exit status 2. */
__attribute__((format(printf, 2, 3))) int cli_usage_error(struct err *err, const char *fmt, ...);
bool cli_is_usage_error(const struct err *err);

const struct cli_command *cli_find(const char *name);
/* The word of a list (NULL-terminated) nearest to `given`, or NULL when none is near. */
const char *cli_nearest(const char *given, const char *const *words);

/* Help (cli_help.c), the manual page, completion (cli_completion.c). */
void cli_print_overview(void);
void cli_print_help(const struct cli_command *command);
void cli_print_group(const char *first_word);
void cli_print_man(void);

/* The connection to the appliance: a URL, or the local socket (cli_api.c). */
struct http_client *cli_client(struct cli *c, struct err *err);
/*
 * One request. body is taken (freed) and may be NULL. doing: what a person waits for ("creating
 * demo"); with it, progress is asked for and shown. *ret (may be NULL) is the caller's to free,
 * NULL when there is no content.
 */
int cli_call(struct cli *c, const char *method, const char *path, cJSON *body, const char *doing,
	cJSON **ret, struct err *err);
/* "/v1/agents/NAME" + rest, name checked; the caller's to free; NULL on error. */
char *cli_agent_path(const char *name, const char *rest, struct err *err);
/* s percent-encoded (slashes too, unless keep_slash); the caller's to free. */
char *cli_encode(const char *s, bool keep_slash);

static inline void cli_free_json_(cJSON **v)
{
	cJSON_Delete(*v);
}
#define AUTOJSON __attribute__((cleanup(cli_free_json_))) cJSON

/* A stream of events until it ends or fn says so (cli_history.c); fn's data is c. */
int cli_follow(struct cli *c, const char *path,
	int (*fn)(void *data, const char *event, const cJSON *json, struct err *err),
	struct err *err);

/* Output (cli_output.c). Text from elsewhere is shown with its control characters replaced. */
void cli_print_json(const cJSON *v);
__attribute__((format(printf, 1, 2))) void cli_print(const char *fmt, ...);
/* "1.5 GiB" */
void cli_format_size(double bytes, char out[32]);
/* Rows of cells; NULL cell: "-". Column widths follow the content. */
struct cli_table {
	size_t columns, n;
	char **cells; /* owned */
};
void cli_table_row(struct cli_table *t, const char *const *cells);
void cli_table_print(struct cli_table *t); /* and frees it */

/* One handler per row of the table. */
cli_run_fn cli_up, cli_down, cli_status, cli_doctor, cli_image_build, cli_image_ls, cli_image_rm;
cli_run_fn cli_create, cli_update, cli_ls, cli_show, cli_start, cli_stop, cli_restart, cli_rm;
cli_run_fn cli_suspend, cli_resume, cli_snapshot, cli_snapshots, cli_restore, cli_fork,
	cli_snapshot_rm;
cli_run_fn cli_cdp, cli_open, cli_screenshot, cli_port, cli_exec, cli_cp;
/* cli_limit.c: the limits of a policy, all of them as KEY=VALUE, or as comments those that are not
 * the default. */
void cli_print_limits(const cJSON *policy, bool all);
/* Those that are not the default, as a member of an agent is shown. */
void cli_show_limits(const cJSON *limits);
/* "KEY=VALUE" into body's member `limits`. */
int cli_add_limit(cJSON *body, const char *word, struct err *err);
int cli_policy_limit(struct cli *c, const char *path, struct err *err);
cli_run_fn cli_token_create, cli_token_ls, cli_token_revoke, cli_policy, cli_log, cli_events;
cli_run_fn cli_completion, cli_help, cli_version;

#endif
