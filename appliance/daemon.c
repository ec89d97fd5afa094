/*
 * berthd: opens the records, takes over what runs, serves the control channel, ends when asked.
 *
 * Theory of operation. There is one clean way to end: the operation `shutdown`, after the last
 * agent has stopped. Everything else (SIGTERM, SIGKILL, a bug) is the same crash: agents go on, and
 * the next berthd finds them by the records and the run folder. So nothing has to be done at an end
 * that is not done at a start, the copy of the database apart.
 */
#include "daemon.h"
#include "log.h"
#include "ops.h"
#include "paths.h"
#include "policy_link.h"
#include "tokens.h"
#include "upstream.h"
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

#define END_MS 2000 /* for the last answers to be read */

static int make_folders(const char *state, struct err *err)
{
	static const struct {
		const char *name;
		int mode;
	} folders[] = {
		{"run", 0711},
		{"run/ns", 0700},
		{"run/agents", 0711},
		{"agents", 0711},
		{"images", 0755},
	};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(folders) && r == 0; i++) {
		AUTOFREE char *path = path_in(state, "%s", folders[i].name);

		r = make_dir_synced(path, folders[i].mode, err);
	}
	return r;
}

/*
 * Two daemons on one state folder would take each other's agents. A POSIX lock: unlike flock's, no
 * child has a part in it, so one that has not reached exec when berthd is killed does not hold up
 * the next.
 */
static int take_lock(struct daemon *d, struct err *err)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	AUTOFREE char *path = path_in(d->state, "run/berthd.lock");

	d->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (d->lock < 0)
		return err_sys(err, "cannot open %s", path);
	if (fcntl(d->lock, F_SETLK, &whole) == 0)
		return 0;
	if (errno != EAGAIN && errno != EACCES)
		return err_sys(err, "cannot lock %s", path);
	err_set(err, EALREADY, "a berthd runs already on %s", d->state);
	return err_hint(err, "berth down ends it");
}

static void on_end_timer(uv_timer_t *timer)
{
	struct daemon *d = timer->data;

	if (control_flushed(d->control) || now_ms() >= d->end_deadline)
		uv_stop(d->loop);
}

void daemon_end(struct daemon *d)
{
	d->ending = true;
	d->end_deadline = now_ms() + END_MS;
	uv_timer_start(&d->end_timer, on_end_timer, 0, 10);
}

static void say_started(struct daemon *d)
{
	const struct event_note note = {
		.type = "daemon.started", .detail = "berthd " BERTH_VERSION};

	events_emit(d->events, &note);
}

static int open_all(struct daemon *d, struct err *err)
{
	const struct agents_options options = {
		.loop = d->loop,
		.config = &d->config,
		.state = d->state,
		.policy_program = d->policy_program,
	};
	struct agents_options o = options;
	bool first;
	int r = make_folders(d->state, err);

	if (r == 0)
		r = take_lock(d, err);
	if (r == 0)
		r = config_load(d->state, &d->config, err);
	o.upstream = d->upstream = r == 0 ? upstream_settings(&d->config, d->state, err) : NULL;
	if (r == 0 && !d->upstream)
		r = -EINVAL;
	if (r == 0)
		r = store_open(&d->store, d->state, err);
	if (r == 0)
		r = token_first(d->store, d->state, &first, err);
	if (r == 0)
		r = events_new(&d->events, d->loop, d->store, err);
	d->images = image_checks_new(d->loop, d->state);
	o.images = d->images;
	o.store = d->store;
	o.events = d->events;
	if (r == 0)
		r = agents_new(&d->agents, &o, err);
	if (r == 0)
		r = control_new(&d->control, d->loop, d->state, ops_ask, d, err);
	return r;
}

static void close_all(struct daemon *d)
{
	agents_free(d->agents); /* answers those who wait */
	policy_links_forget_killed();
	control_free(d->control);
	events_free(d->events);
	uv_close((uv_handle_t *)&d->end_timer, NULL);
	uv_run(d->loop, UV_RUN_NOWAIT); /* close callbacks */
	image_checks_free(d->images);
	store_close(d->store);
	cJSON_Delete(d->upstream);
	if (d->lock >= 0)
		close(d->lock);
}

int daemon_run(const char *state, const char *policy_program, struct err *err)
{
	struct daemon d = {.state = state,
		.lock = -1,
		.started_at = realtime_ns(),
		.policy_program = policy_program};
	uv_loop_t loop;
	struct err late;
	int r;

	signal(SIGPIPE, SIG_IGN);
	uv_loop_init(&loop);
	d.loop = &loop;
	uv_timer_init(&loop, &d.end_timer);
	d.end_timer.data = &d;
	r = open_all(&d, err);
	if (r == 0) {
		say_started(&d);
		agents_recover(d.agents);
		log_info("berthd " BERTH_VERSION " serves %s", state);
		uv_run(&loop, UV_RUN_DEFAULT);
		events_flush(d.events);
		if (store_backup(d.store, &late) < 0)
			log_warning("no copy of the database was made: %s", late.msg);
	}
	close_all(&d);
	uv_loop_close(&loop);
	return r;
}
