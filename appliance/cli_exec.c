/* berth exec: a command in the agent, over a WebSocket (docs/internals.md, "Exec over WebSocket").
 */
#include "cli.h"
#include "http_client.h"
#include "cli_ws.h"
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>

/*
 * Theory of operation. One loop polls the connection, the standard input and a pipe that signal
 * handlers write to. What the command prints is written with blocking calls: while the reader of
 * our output is slow the connection is not read, so the guest's command waits too. The standard
 * input is read only while little waits to be sent. The exit status arrives in the last message;
 * the connection ending without one is an error.
 */
#define STDIN_PIECE 32768
#define QUEUE_HIGH 262144
#define TEXT_MAX 65536
#define GIVE_UP_AFTER 3 /* interrupts without the command ending */

enum channel { CHANNEL_STDIN = 0, CHANNEL_STDOUT = 1, CHANNEL_STDERR = 2, CHANNEL_CONTROL = 3 };

struct exec {
	struct ws_client *ws;
	bool tty, stdin_open, raw, done, out_dead;
	unsigned interrupts;
	int status; /* exit status for our caller, once done */
	struct err *err;
	int failure; /* negative: err tells */
	struct termios saved;
	uint8_t channel; /* of the binary message being read */
	struct buf text; /* the text message being read */
};

static int signal_pipe[2] = {-1, -1};

static void on_signal(int number)
{
	int saved = errno;
	char byte = (char)number;

	if (write(signal_pipe[1], &byte, 1) < 0) {
		/* Full: enough signals wait already. */
	}
	errno = saved;
}

static void catch_signals(void)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGWINCH, SIGUSR1, SIGUSR2};
	struct sigaction action = {.sa_handler = on_signal};

	if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) < 0)
		die("cannot make a pipe: %m");
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		sigaction(numbers[i], &action, NULL);
}

static void raw_terminal(struct exec *e)
{
	struct termios t;

	if (!e->tty || !e->stdin_open || !isatty(STDIN_FILENO) ||
		tcgetattr(STDIN_FILENO, &e->saved) < 0)
		return;
	t = e->saved;
	cfmakeraw(&t);
	e->raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &t) == 0;
}

static void cooked_terminal(struct exec *e)
{
	if (e->raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &e->saved);
	e->raw = false;
}

static bool window_size(unsigned *rows, unsigned *columns)
{
	struct winsize w;

	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &w) < 0 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) < 0)
		return false;
	*rows = w.ws_row;
	*columns = w.ws_col;
	return true;
}

static void send_control(struct exec *e, const char *text)
{
	char message[128];
	int n = snprintf(message, sizeof(message), "%c%s", CHANNEL_CONTROL, text);

	ws_client_send(e->ws, WS_BINARY, message, (size_t)n);
}

static void send_window(struct exec *e)
{
	unsigned rows, columns;
	char text[80];

	if (!e->tty || !window_size(&rows, &columns))
		return;
	snprintf(text, sizeof(text), "{\"rows\":%u,\"columns\":%u}", rows, columns);
	send_control(e, text);
}

static void send_signal(struct exec *e, int number)
{
	char text[40];

	snprintf(text, sizeof(text), "{\"signal\":%d}", number);
	send_control(e, text);
}

static void take_signals(struct exec *e)
{
	char number;

	while (read(signal_pipe[0], &number, 1) == 1) {
		if (number == SIGWINCH) {
			send_window(e);
			continue;
		}
		if (++e->interrupts >= GIVE_UP_AFTER && number != SIGUSR1 && number != SIGUSR2) {
			e->done = true;
			e->status = 128 + number;
			return;
		}
		send_signal(e, number);
	}
}

/* What the command printed. A reader that has gone is passed on as SIGPIPE. */
static void put_output(struct exec *e, uint8_t channel, const uint8_t *p, size_t n)
{
	int fd = channel == CHANNEL_STDERR ? STDERR_FILENO : STDOUT_FILENO;

	if (e->out_dead || n == 0 || write_all(fd, p, n) == 0)
		return;
	e->out_dead = true;
	send_signal(e, SIGPIPE);
}

/* The one text message: how the command ended, or why it could not start. */
static void take_end(struct exec *e)
{
	cJSON *v = cJSON_ParseWithLength((const char *)e->text.data, e->text.len);
	const cJSON *error = json_get(v, "error");
	int64_t number = json_int(v, "signal", 0);

	e->done = true;
	if (!v)
		e->failure = err_set(e->err, EPROTO, "the gateway's last message is not JSON");
	else if (error)
		json_to_err(error, e->err), e->failure = e->err->code;
	else
		e->status = number > 0 && number < 128 ? 128 + (int)number
						       : (int)json_int(v, "exit_status", 1) & 255;
	cJSON_Delete(v);
}

static void on_message(
	void *data, enum ws_op op, const uint8_t *p, size_t n, bool first, bool final)
{
	struct exec *e = data;

	if (op == WS_TEXT) {
		buf_add(&e->text, p, n);
		if (final && !e->done)
			take_end(e);
		return;
	}
	if (first && n > 0) {
		e->channel = *p++;
		n--;
	}
	put_output(e, e->channel, p, n);
}

static void take_stdin(struct exec *e)
{
	uint8_t piece[STDIN_PIECE + 1] = {CHANNEL_STDIN};
	ssize_t n = read(STDIN_FILENO, piece + 1, STDIN_PIECE);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0)
		e->stdin_open = false;
	ws_client_send(e->ws, WS_BINARY, piece, n > 0 ? (size_t)n + 1 : 1);
}

static int turn(struct exec *e)
{
	struct pollfd p[3] = {{ws_client_fd(e->ws), POLLIN, 0}, {signal_pipe[0], POLLIN, 0},
		{STDIN_FILENO, POLLIN, 0}};
	struct err lost = {0};
	int r;

	if (ws_client_queued(e->ws))
		p[0].events |= POLLOUT;
	if (!e->stdin_open || ws_client_queued(e->ws) > QUEUE_HIGH)
		p[2].fd = -1;
	/* TLS may hold bytes that poll does not see: look at least once a second. */
	if (poll(p, 3, 1000) < 0 && errno != EINTR)
		return err_sys(e->err, "cannot wait for the connection");
	take_signals(e);
	if (p[2].revents)
		take_stdin(e);
	r = ws_client_work(e->ws, on_message, e, &lost);
	if (e->done) /* what ended the command says more than how the connection went */
		return 0;
	if (r < 0)
		*e->err = lost;
	return r;
}

static cJSON *first_message(const struct cli *c, struct exec *e)
{
	cJSON *v = cJSON_CreateObject(), *cmd = cJSON_AddArrayToObject(v, "cmd"), *env;
	unsigned rows = 24, columns = 80;
	const char *text;

	for (size_t i = 1; i < c->n_args; i++)
		cJSON_AddItemToArray(cmd, cJSON_CreateString(c->args[i]));
	env = cJSON_AddObjectToObject(v, "env");
	for (size_t i = 0; (text = cli_nth(c, "env", i)); i++) {
		AUTOFREE char *key = xstrdup(text);

		key[strcspn(key, "=")] = 0;
		cJSON_DeleteItemFromObjectCaseSensitive(env, key);
		cJSON_AddStringToObject(env, key, strchr(text, '=') + 1);
	}
	if ((text = cli_option(c, "cwd")))
		cJSON_AddStringToObject(v, "cwd", text);
	if ((text = cli_option(c, "user")))
		cJSON_AddStringToObject(v, "user", text);
	if (!e->tty)
		return v;
	window_size(&rows, &columns);
	cJSON_AddBoolToObject(v, "tty", true);
	cJSON_AddNumberToObject(v, "rows", rows);
	cJSON_AddNumberToObject(v, "columns", columns);
	return v;
}

static int check_env(const struct cli *c, struct err *err)
{
	const char *text;

	for (size_t i = 0; (text = cli_nth(c, "env", i)); i++)
		if (!strchr(text, '=') || text[0] == '=')
			return cli_usage_error(
				err, "--env must look like NAME=VALUE, not '%.60s'", text);
	return 0;
}

static int converse(struct cli *c, struct exec *e)
{
	cJSON *hello = first_message(c, e);
	char *text = cJSON_PrintUnformatted(hello);
	int r = 0;

	ws_client_send(e->ws, WS_TEXT, text, strlen(text));
	cJSON_free(text);
	cJSON_Delete(hello);
	if (!e->stdin_open)
		ws_client_send(
			e->ws, WS_BINARY, "", 1); /* channel 0, no bytes: the end of the input */
	while (r == 0 && !e->done)
		r = turn(e);
	return r < 0 ? r : e->failure;
}

int cli_exec(struct cli *c, struct err *err)
{
	AUTOFREE char *path = cli_agent_path(c->args[0], "/exec", err);
	struct http_client *client = cli_client(c, err);
	struct exec e = {.tty = cli_flag(c, "tty"), .stdin_open = cli_flag(c, "stdin"), .err = err};
	int r = check_env(c, err);

	if (r < 0 || !path || !client)
		return err->code;
	r = ws_client_open(&e.ws, client, path, "berth.exec.v1", err);
	if (r < 0)
		return r;
	buf_init(&e.text, TEXT_MAX);
	catch_signals();
	raw_terminal(&e);
	r = converse(c, &e);
	cooked_terminal(&e);
	ws_client_free(e.ws);
	buf_done(&e.text);
	return r < 0 ? r : e.status;
}
