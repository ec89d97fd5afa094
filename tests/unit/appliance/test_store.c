/* The database: versions, bounds, damage, and a process that dies in the middle. */
#include "scratch.h"

#include "store_sql.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

static struct store *opened(void)
{
	struct store *s;
	struct err err;

	if (store_open(&s, scratch_path, &err) < 0)
		fail_msg("%s", err.msg);
	return s;
}

static int each(void **state)
{
	scratch_new();
	return 0;
}

static int after(void **state)
{
	scratch_end();
	return 0;
}

static struct agent_record record(const char *name)
{
	struct agent_record r = {.memory_mib = 1024,
		.cpus = 2,
		.disk_gib = 8,
		.on_crash = "restart",
		.state = "creating",
		.wanted = "run",
		.image = "0123456789abcdef"};

	snprintf(r.id, sizeof(r.id), "ag_%s", name);
	snprintf(r.name, sizeof(r.name), "%s", name);
	random_bytes(r.machine_id, 16);
	r.created_at = realtime_ns();
	return r;
}

static int64_t number(struct store *s, const char *sql)
{
	AUTOSTMT sqlite3_stmt *st = sql_prepare(s, NULL, sql, "");

	assert_int_equal(sql_step(s, st, NULL), 1);
	return sqlite3_column_int64(st, 0);
}

static void test_new_and_again(void **state)
{
	AUTOFREE char *path = xasprintf("%s/berth.db", scratch_path);
	struct store *s = opened();
	struct stat st;

	assert_int_equal(number(s, "PRAGMA user_version"), 7);
	assert_int_equal(number(s, "PRAGMA foreign_keys"), 1);
	assert_int_equal(number(s, "PRAGMA synchronous"), 2);
	assert_int_equal(
		number(s, "SELECT COUNT(*) FROM pragma_journal_mode WHERE journal_mode = 'wal'"),
		1);
	assert_int_equal(store_meta_set(s, "k", "v", NULL), 0);
	store_close(s);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	s = opened();
	{
		AUTOFREE char *value = NULL;

		assert_int_equal(store_meta_get(s, "k", &value, NULL), 0);
		assert_string_equal(value, "v");
	}
	store_close(s);
}

static void test_newer_version_is_refused(void **state)
{
	struct store *s = opened();
	struct err err;

	sql_run(s, NULL, "PRAGMA user_version = 99", "");
	store_close(s);
	assert_true(store_open(&s, scratch_path, &err) < 0);
	assert_non_null(strstr(err.msg, "newer berth"));
}

static void overwrite(const char *path, off_t at, const char *text)
{
	AUTOFD int fd = open(path, O_WRONLY);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, text, strlen(text), at), strlen(text));
}

/* Damage is told with the way out, and the file is as it was. */
static void check_refused(const char *path)
{
	AUTOFREE char *before = NULL, *later = NULL;
	struct store *s;
	struct err err;
	size_t n, m;

	assert_int_equal(file_read(AT_FDCWD, path, 1 << 24, &before, &n, NULL), 0);
	assert_true(store_open(&s, scratch_path, &err) < 0);
	assert_non_null(strstr(err.msg, "damaged"));
	assert_non_null(strstr(err.hint, "berth.db.bak"));
	assert_int_equal(file_read(AT_FDCWD, path, 1 << 24, &later, &m, NULL), 0);
	assert_int_equal(n, m);
	assert_memory_equal(before, later, n);
}

static void test_damage_is_refused(void **state)
{
	AUTOFREE char *path = xasprintf("%s/berth.db", scratch_path);
	struct store *s = opened();
	struct agent_record r = record("one");

	assert_int_equal(store_agent_add(s, &r, NULL), 0);
	store_close(s);
	/* the b-tree header of the second page */
	overwrite(path, 4096, "this is not a page of a database");
	check_refused(path);
	overwrite(path, 0, "nor is this a database");
	check_refused(path);
}

static void test_backup(void **state)
{
	AUTOFREE char *bak = xasprintf("%s/berth.db.bak", scratch_path),
		      *db = xasprintf("%s/berth.db", scratch_path);
	struct store *s = opened();
	struct agent_record r = record("kept");
	struct stat st;

	assert_int_equal(store_agent_add(s, &r, NULL), 0);
	assert_int_equal(store_backup(s, NULL), 0);
	assert_int_equal(store_backup(s, NULL), 0); /* over the last one */
	store_close(s);
	assert_int_equal(stat(bak, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(rename(bak, db), 0);
	s = opened();
	assert_int_equal(number(s, "SELECT COUNT(*) FROM agents WHERE name = 'kept'"), 1);
	store_close(s);
}

static void test_agents(void **state)
{
	struct store *s = opened();
	struct agent_record a = record("a"), b = record("b"), c = record("c"), again = record("a");
	struct err err;

	assert_int_equal(store_agent_add(s, &a, NULL), 0);
	assert_int_equal(store_agent_add(s, &b, NULL), 0);
	assert_int_equal(a.slot, 0);
	assert_int_equal(b.slot, 1);
	snprintf(again.id, sizeof(again.id), "ag_other");
	assert_true(store_agent_add(s, &again, &err) < 0);
	assert_string_equal(err.type, "agent-exists");
	assert_int_equal(err.status, 409);
	/* a slot is used again once it is free */
	assert_int_equal(store_agent_remove(s, a.id, NULL), 0);
	assert_int_equal(store_agent_remove(s, a.id, NULL), 0);
	assert_int_equal(store_agent_add(s, &c, NULL), 0);
	assert_int_equal(c.slot, 0);
	assert_true(store_agent_save(s, &a, &err) < 0);
	store_close(s);
}

static void test_agents_are_bounded(void **state)
{
	struct store *s = opened();
	struct err err;

	assert_int_equal(store_begin(s, NULL), 0);
	for (int i = 0; i < STORE_AGENTS_MAX; i++) {
		char name[16];
		struct agent_record r;

		snprintf(name, sizeof(name), "a%d", i);
		r = record(name);
		assert_int_equal(store_agent_add(s, &r, NULL), 0);
		assert_int_equal(r.slot, i);
	}
	assert_int_equal(store_commit(s, NULL), 0);
	{
		struct agent_record r = record("more");

		assert_true(store_agent_add(s, &r, &err) < 0);
		assert_string_equal(err.type, "limit-reached");
	}
	store_close(s);
}

struct compare {
	const struct agent_record *want;
	int n;
};

static void compare(void *data, struct agent_record *r)
{
	struct compare *c = data;
	const struct agent_record *w = c->want;

	assert_string_equal(r->id, w->id);
	assert_string_equal(r->name, w->name);
	assert_string_equal(r->image, w->image);
	assert_string_equal(r->parent, w->parent);
	assert_string_equal(r->on_crash, w->on_crash);
	assert_string_equal(r->state, w->state);
	assert_string_equal(r->wanted, w->wanted);
	assert_string_equal(r->detail, w->detail);
	assert_string_equal(r->labels, w->labels);
	assert_int_equal(r->slot, w->slot);
	assert_int_equal(r->memory_mib, w->memory_mib);
	assert_int_equal(r->cpus, w->cpus);
	assert_int_equal(r->disk_gib, w->disk_gib);
	assert_int_equal(r->port, w->port);
	assert_int_equal(r->restarts, w->restarts);
	assert_int_equal(r->boots, w->boots);
	assert_int_equal(r->created_at, w->created_at);
	assert_int_equal(r->started_at, w->started_at);
	assert_memory_equal(r->machine_id, w->machine_id, 16);
	agent_record_done(r);
	c->n++;
}

/* Every member comes back as it was written, after a change of each. */
static void test_every_member(void **state)
{
	struct store *s = opened();
	struct agent_record r = record("full");
	struct compare c = {&r, 0};
	char labels[] = "{\"k\":\"v; DROP TABLE agents; --\"}";

	r.labels = labels;
	assert_int_equal(store_agent_add(s, &r, NULL), 0);
	r.memory_mib = 2;
	r.cpus = 3;
	r.disk_gib = 4;
	r.port = 5;
	r.restarts = 6;
	r.boots = 7;
	r.started_at = 8;
	strcpy(r.on_crash, "stop");
	strcpy(r.state, "failed");
	strcpy(r.wanted, "remove");
	strcpy(r.detail, "it's \"so\"");
	strcpy(r.parent, "ag_parent");
	strcpy(r.image, "fedcba9876543210");
	assert_int_equal(store_agent_save(s, &r, NULL), 0);
	store_close(s);
	s = opened();
	assert_int_equal(store_agents(s, compare, &c, NULL), 0);
	assert_int_equal(c.n, 1);
	store_close(s);
}

/* Takes got. */
static void assert_json(cJSON *got, const char *want)
{
	char *text = cJSON_PrintUnformatted(got);

	assert_string_equal(text, want);
	free(text);
	cJSON_Delete(got);
}

static void test_policies(void **state)
{
	struct store *s = opened();
	struct agent_record r = record("r");
	cJSON *policy = cJSON_Parse("{\"mode\":\"enforce\",\"policy\":[\"b.example\"]}"), *got;

	assert_int_equal(store_agent_add(s, &r, NULL), 0);
	assert_int_equal(store_policy_set(s, r.id, policy, NULL), 0);
	assert_int_equal(store_policy_set(s, r.id, policy, NULL), 0);
	assert_int_equal(store_policy_get(s, r.id, &got, NULL), 0);
	assert_true(cJSON_Compare(policy, got, true));
	cJSON_Delete(got);
	/* a set that cannot be kept (no such agent) changes nothing */
	assert_true(store_policy_set(s, "ag_nobody", policy, NULL) < 0);
	assert_int_equal(number(s, "SELECT COUNT(*) FROM policies"), 1);
	store_close(s);
	s = opened(); /* rows of every table pass the check at the next start */
	assert_int_equal(store_agent_remove(s, r.id, NULL), 0);
	assert_int_equal(number(s, "SELECT COUNT(*) FROM policies"), 0);
	cJSON_Delete(policy);
	store_close(s);
}

/* A database of the version before policies were objects. */
static void test_rules_become_policies(void **state)
{
	static const char old[] =
		"ALTER TABLE agents ADD COLUMN mode TEXT NOT NULL DEFAULT 'enforce';"
		"CREATE TABLE rules (agent TEXT NOT NULL REFERENCES agents(id) ON DELETE CASCADE,"
		" position INTEGER NOT NULL, rule TEXT NOT NULL, PRIMARY KEY (agent, rule)) STRICT;"
		"INSERT INTO rules VALUES ('ag_r', 1, 'a.example'), ('ag_r', 0, 'b.example:443');"
		"ALTER TABLE agents DROP COLUMN next_layers;"
		"DROP TABLE policies; DROP TABLE usage; DROP TABLE actions; "
		"DROP TABLE pictures; "
		"PRAGMA user_version = 2";
	struct store *s = opened();
	struct agent_record r = record("r"), none = record("none");
	cJSON *got;

	assert_int_equal(store_agent_add(s, &r, NULL), 0);
	assert_int_equal(store_agent_add(s, &none, NULL), 0);
	assert_int_equal(sqlite3_exec(s->db, old, NULL, NULL, NULL), SQLITE_OK);
	store_close(s);
	s = opened();
	assert_int_equal(store_policy_get(s, r.id, &got, NULL), 0);
	assert_json(got, "{\"mode\":\"enforce\",\"rules\":[\"b.example:443\",\"a.example\"],"
			 "\"limits\":{}}");
	assert_int_equal(store_policy_get(s, none.id, &got, NULL), 0);
	assert_json(got, "{\"mode\":\"enforce\",\"rules\":[],\"limits\":{}}");
	store_close(s);
}

static void test_usage(void **state)
{
	struct store *s = opened();
	struct agent_record r = record("r");
	struct usage_record u = {.instance = "x",
				    .counted = UINT64_C(1) << 51,
				    .life = 3,
				    .date = 20000,
				    .run = 5,
				    .day = 4,
				    .limited = "bytes_per_day",
				    .put_to_sleep = true},
			    got = {.run = 9};

	assert_int_equal(store_agent_add(s, &r, NULL), 0);
	assert_int_equal(store_usage_get(s, r.id, &got, NULL), 0);
	assert_int_equal(got.run, 0);
	assert_int_equal(store_usage_set(s, r.id, &u, NULL), 0);
	u.run = 6;
	assert_int_equal(store_usage_set(s, r.id, &u, NULL), 0);
	assert_int_equal(store_usage_get(s, r.id, &got, NULL), 0);
	assert_string_equal(got.instance, "x");
	assert_true(got.counted == u.counted && got.life == 3 && got.date == 20000 &&
		    got.run == 6 && got.day == 4 && got.put_to_sleep);
	assert_string_equal(got.limited, "bytes_per_day");
	assert_int_equal(store_agent_remove(s, r.id, NULL), 0);
	assert_int_equal(number(s, "SELECT COUNT(*) FROM usage"), 0);
	store_close(s);
}

static void count(void *data, const struct event_record *e)
{
	int64_t *seen = data;

	seen[0]++;
	if (!seen[1])
		seen[1] = e->seq;
	seen[2] = e->seq;
}

static void test_events_are_bounded(void **state)
{
	struct store *s = opened();
	struct event_record e = {
		.type = "t", .agent = "", .agent_id = "", .by = "", .detail = "", .data = "{}"};
	struct event_query q = {.limit = 1000000};
	int64_t seen[3] = {0}, last;

	assert_int_equal(store_begin(s, NULL), 0);
	for (e.seq = 1; e.seq <= STORE_EVENTS_MAX + 10; e.seq++)
		assert_int_equal(store_event_add(s, &e, NULL), 0);
	assert_int_equal(store_commit(s, NULL), 0);
	assert_int_equal(store_events(s, &q, count, seen, NULL), 0);
	assert_int_equal(seen[0], STORE_EVENTS_MAX);
	assert_int_equal(seen[1], 11);
	assert_int_equal(store_event_last(s, &last, NULL), 0);
	assert_int_equal(last, STORE_EVENTS_MAX + 10);
	memset(seen, 0, sizeof(seen));
	q = (struct event_query){.after = 100, .limit = 5, .newest = false};
	assert_int_equal(store_events(s, &q, count, seen, NULL), 0);
	assert_int_equal(seen[1], 101);
	assert_int_equal(seen[2], 105);
	memset(seen, 0, sizeof(seen));
	q = (struct event_query){.limit = 5, .newest = true};
	assert_int_equal(store_events(s, &q, count, seen, NULL), 0);
	assert_int_equal(seen[1], STORE_EVENTS_MAX + 6);
	assert_int_equal(seen[2], STORE_EVENTS_MAX + 10);
	/* numbers are never used again */
	sql_run(s, NULL, "DELETE FROM events", "");
	assert_int_equal(store_event_last(s, &last, NULL), 0);
	assert_int_equal(last, STORE_EVENTS_MAX + 10);
	store_close(s);
}

static struct egress_record entry(const char *name, const char *verdict)
{
	return (struct egress_record){.time = realtime_ns(),
		.count = 1,
		.port = 443,
		.name = name,
		.address = "",
		.protocol = "tcp",
		.rule = "",
		.verdict = verdict,
		.reason = "no rule"};
}

static void test_egress(void **state)
{
	struct store *s = opened();
	struct agent_record r = record("e"), other = record("o");
	struct egress_record e = entry("x.example", "deny");
	bool repeated;

	assert_int_equal(store_agent_add(s, &r, NULL), 0);
	assert_int_equal(store_agent_add(s, &other, NULL), 0);
	assert_int_equal(store_egress_add(s, other.id, &e, &repeated, NULL), 0);
	assert_int_equal(store_egress_add(s, r.id, &e, &repeated, NULL), 0);
	assert_false(repeated);
	e.count = 4;
	assert_int_equal(store_egress_add(s, r.id, &e, &repeated, NULL), 0);
	assert_true(repeated);
	assert_int_equal(number(s, "SELECT count FROM egress WHERE agent = 'ag_e'"), 5);
	e.time += 2 * EGRESS_REPEAT_NS;
	assert_int_equal(store_egress_add(s, r.id, &e, &repeated, NULL), 0);
	assert_false(repeated);
	e = entry("x.example", "allow");
	assert_int_equal(store_begin(s, NULL), 0);
	for (int i = 0; i < STORE_EGRESS_MAX + 5; i++) {
		assert_int_equal(store_egress_add(s, r.id, &e, &repeated, NULL), 0);
		assert_false(repeated);
	}
	assert_int_equal(store_commit(s, NULL), 0);
	assert_int_equal(
		number(s, "SELECT COUNT(*) FROM egress WHERE agent = 'ag_e'"), STORE_EGRESS_MAX);
	assert_int_equal(number(s, "SELECT COUNT(*) FROM egress WHERE agent = 'ag_o'"), 1);
	assert_int_equal(store_agent_remove(s, r.id, NULL), 0);
	assert_int_equal(number(s, "SELECT COUNT(*) FROM egress"), 1);
	store_close(s);
}

static struct action_record action(int64_t time, const char *params)
{
	return (struct action_record){.time = time,
		.duration_ms = 7,
		.source = "mcp/browser_click",
		.by = "tok_a",
		.action = "click",
		.params = params,
		.error = "",
		.url = "https://a.example/x"};
}

static void seen_action(void *data, const struct action_record *a)
{
	int64_t *seen = data;

	if (!seen[0]++)
		seen[1] = a->seq;
	seen[2] = a->seq;
	assert_string_equal(a->source, "mcp/browser_click");
	assert_string_equal(a->by, "tok_a");
	assert_string_equal(a->action, "click");
	assert_string_equal(a->error, "");
	assert_string_equal(a->url, "https://a.example/x");
	assert_int_equal(a->duration_ms, 7);
}

static void add_actions(struct store *s, const char *agent, int n, const char *params)
{
	static int64_t time;

	assert_int_equal(store_begin(s, NULL), 0);
	for (int i = 0; i < n; i++) {
		struct action_record a = action(++time, params);

		assert_int_equal(store_action_add(s, agent, &a, NULL), 1);
	}
	assert_int_equal(store_actions_trim(s, agent, NULL), 0);
	assert_int_equal(store_commit(s, NULL), 0);
}

static void test_actions(void **state)
{
	struct store *s = opened();
	struct agent_record r = record("r"), other = record("o");
	struct action_record a = action(5, "{}");
	int64_t seen[3] = {0};

	assert_int_equal(store_agent_add(s, &r, NULL), 0);
	assert_int_equal(store_agent_add(s, &other, NULL), 0);
	assert_int_equal(store_action_add(s, r.id, &a, NULL), 1);
	/* the same report again is none; the same moment elsewhere is another one */
	assert_int_equal(store_action_add(s, r.id, &a, NULL), 0);
	assert_int_equal(store_action_add(s, other.id, &a, NULL), 1);
	assert_true(store_action_add(s, "ag_nobody", &a, NULL) < 0);
	a.time++;
	assert_int_equal(store_action_add(s, r.id, &a, NULL), 1);
	assert_int_equal(store_actions(s, &(struct action_query){.agent = r.id, .limit = 9},
				 seen_action, seen, NULL),
		0);
	assert_int_equal(seen[0], 2);
	store_close(s);
	s = opened();
	assert_int_equal(store_agent_remove(s, r.id, NULL), 0);
	assert_int_equal(number(s, "SELECT COUNT(*) FROM actions"), 1);
	store_close(s);
}

static void test_actions_are_bounded(void **state)
{
	struct store *s = opened();
	struct agent_record r = record("r"), other = record("o");
	int64_t seen[3] = {0};
	char large[2049];

	assert_int_equal(store_agent_add(s, &r, NULL), 0);
	assert_int_equal(store_agent_add(s, &other, NULL), 0);
	add_actions(s, other.id, 3, "{}");
	add_actions(s, r.id, STORE_ACTIONS_MAX + 10, "{}");
	assert_int_equal(number(s, "SELECT COUNT(*) FROM actions WHERE agent = 'ag_r'"),
		STORE_ACTIONS_MAX / 20 * 19);
	add_actions(s, r.id, STORE_ACTIONS_MAX / 20, "{}");
	assert_int_equal(
		number(s, "SELECT COUNT(*) FROM actions WHERE agent = 'ag_r'"), STORE_ACTIONS_MAX);
	assert_int_equal(number(s, "SELECT MIN(seq) FROM actions WHERE agent = 'ag_r'"),
		STORE_ACTIONS_MAX / 20 + 14);
	/* the first behind one; the last of all */
	assert_int_equal(
		store_actions(s, &(struct action_query){.agent = r.id, .after = 1000, .limit = 5},
			seen_action, seen, NULL),
		0);
	assert_true(seen[0] == 5 && seen[1] == 1001 && seen[2] == 1005);
	memset(seen, 0, sizeof(seen));
	assert_int_equal(store_actions(s, &(struct action_query){.agent = r.id, .limit = 5},
				 seen_action, seen, NULL),
		0);
	assert_true(seen[0] == 5 && seen[2] == STORE_ACTIONS_MAX / 20 * 21 + 13);
	/* by bytes: the newest stay */
	memset(large, 'x', sizeof(large) - 1);
	large[sizeof(large) - 1] = '\0';
	add_actions(s, r.id, STORE_ACTIONS_BYTES / 2048 + 10, large);
	assert_true(number(s, "SELECT SUM(bytes) FROM actions WHERE agent = 'ag_r'") <=
		    STORE_ACTIONS_BYTES);
	assert_true(number(s, "SELECT COUNT(*) FROM actions WHERE agent = 'ag_r'") >
		    STORE_ACTIONS_BYTES / 2048 * 8 / 10);
	assert_int_equal(number(s, "SELECT COUNT(*) FROM actions WHERE agent = 'ag_o'"), 3);
	store_close(s);
}

static void seen_pictures(void *data, const struct action_record *a)
{
	int64_t *ids = data;

	ids[0] = a->before;
	ids[1] = a->after;
}

static void check_pictures(
	struct store *s, int64_t seq, const char *want_before, const char *want_after)
{
	for (int i = 0; i < 2; i++) {
		AUTOFREE char *got = NULL;
		const char *want = i ? want_before : want_after;

		assert_int_equal(store_action_picture_get(s, "ag_r", seq, i, &got, NULL), 0);
		if (want)
			assert_string_equal(got, want);
		else
			assert_null(got);
	}
}

static void test_pictures(void **state)
{
	struct store *s = opened();
	struct agent_record r = record("r");
	struct action_record a = action(5000, "{}");
	int64_t ids[2];

	assert_int_equal(store_agent_add(s, &r, NULL), 0);
	assert_int_equal(store_action_picture(s, r.id, 4, 0, "before", NULL), 0);
	a.before = 4;
	assert_int_equal(store_action_add(s, r.id, &a, NULL), 1);
	check_pictures(s, 1, "before", NULL);
	assert_int_equal(store_action_picture(s, r.id, 6, 5000, "after", NULL), 0);
	assert_int_equal(store_action_picture(s, r.id, 6, 5000, "twice", NULL), 0);
	check_pictures(s, 1, "before", "after");
	check_pictures(s, 2, NULL, NULL);
	{
		AUTOFREE char *large = xmalloc(STORE_PICTURES_BYTES);

		memset(large, 'x', STORE_PICTURES_BYTES - 1);
		large[STORE_PICTURES_BYTES / 20 * 19 - 7] = '\0'; /* with "after" beside it */
		assert_int_equal(store_action_picture(s, r.id, 7, 0, large, NULL), 0);
		assert_int_equal(store_actions_trim(s, r.id, NULL), 0);
		check_pictures(s, 1, "before", "after"); /* there is room */
		large[STORE_PICTURES_BYTES / 20 + 20] = '\0';
		assert_int_equal(store_action_picture(s, r.id, 3, 0, large, NULL), 0);
		assert_int_equal(store_actions_trim(s, r.id, NULL), 0);
	}
	check_pictures(s, 1, NULL, "after");
	assert_int_equal(store_actions(s, &(struct action_query){.agent = r.id, .limit = 1},
				 seen_pictures, ids, NULL),
		0);
	assert_true(ids[0] == 0 && ids[1] == 6);
	assert_int_equal(store_agent_remove(s, r.id, NULL), 0);
	assert_int_equal(number(s, "SELECT COUNT(*) FROM pictures"), 0);
	store_close(s);
}

/* A database of the version before there was an action log. */
static void test_actions_come_to_an_old_database(void **state)
{
	AUTOFREE char *bak = xasprintf("%s/berth.db.bak", scratch_path);
	struct store *s = opened();
	struct agent_record r = record("r");

	assert_int_equal(store_agent_add(s, &r, NULL), 0);
	assert_int_equal(sqlite3_exec(s->db,
				 "DROP TABLE actions; DROP TABLE pictures; PRAGMA user_version = 5",
				 NULL, NULL, NULL),
		SQLITE_OK);
	store_close(s);
	s = opened();
	assert_int_equal(number(s, "PRAGMA user_version"), 7);
	assert_int_equal(number(s, "SELECT COUNT(*) FROM agents"), 1);
	assert_int_equal(access(bak, F_OK), 0);
	add_actions(s, r.id, 1, "{}");
	store_close(s);
}

/* A process that dies between BEGIN and COMMIT leaves nothing; one that dies right after COMMIT
 * leaves all. */
static void test_killed_in_the_middle(void **state)
{
	struct store *s;

	for (int committed = 0; committed <= 1; committed++) {
		pid_t pid = fork();
		int status;

		if (pid == 0) {
			cJSON *policy = cJSON_Parse("{}");
			struct agent_record r = record(committed ? "kept" : "lost");

			if (store_open(&s, scratch_path, NULL) < 0 || store_begin(s, NULL) < 0 ||
				store_agent_add(s, &r, NULL) < 0 ||
				store_policy_set(s, r.id, policy, NULL) < 0)
				_exit(1);
			if (committed && store_commit(s, NULL) < 0)
				_exit(2);
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		s = opened();
		assert_int_equal(number(s, "SELECT COUNT(*) FROM agents"), committed);
		assert_int_equal(number(s, "SELECT COUNT(*) FROM policies"), committed);
		store_close(s);
	}
}

static void test_full_disk(void **state)
{
	struct store *s = opened();
	struct agent_record r = record("fits");
	struct err err = {0};
	int n = 0;

	assert_int_equal(store_agent_add(s, &r, NULL), 0);
	sql_run(s, NULL, "PRAGMA wal_checkpoint(TRUNCATE)", "");
	{
		AUTOFREE char *sql = xasprintf(
			"PRAGMA max_page_count = %d", (int)number(s, "PRAGMA page_count"));

		number(s, sql); /* as if the disk had no page more */
	}
	for (; n < 1000; n++) {
		char name[16];

		snprintf(name, sizeof(name), "n%d", n);
		r = record(name);
		if (store_agent_add(s, &r, &err) < 0)
			break;
	}
	assert_true(n < 1000);
	assert_int_equal(err.status, 507);
	assert_string_equal(err.type, "disk-full");
	assert_int_equal(number(s, "SELECT COUNT(*) FROM agents"), n + 1);
	store_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_new_and_again, each, after),
		cmocka_unit_test_setup_teardown(test_newer_version_is_refused, each, after),
		cmocka_unit_test_setup_teardown(test_damage_is_refused, each, after),
		cmocka_unit_test_setup_teardown(test_backup, each, after),
		cmocka_unit_test_setup_teardown(test_agents, each, after),
		cmocka_unit_test_setup_teardown(test_agents_are_bounded, each, after),
		cmocka_unit_test_setup_teardown(test_every_member, each, after),
		cmocka_unit_test_setup_teardown(test_policies, each, after),
		cmocka_unit_test_setup_teardown(test_rules_become_policies, each, after),
		cmocka_unit_test_setup_teardown(test_usage, each, after),
		cmocka_unit_test_setup_teardown(test_events_are_bounded, each, after),
		cmocka_unit_test_setup_teardown(test_egress, each, after),
		cmocka_unit_test_setup_teardown(test_actions, each, after),
		cmocka_unit_test_setup_teardown(test_actions_are_bounded, each, after),
		cmocka_unit_test_setup_teardown(test_pictures, each, after),
		cmocka_unit_test_setup_teardown(test_actions_come_to_an_old_database, each, after),
		cmocka_unit_test_setup_teardown(test_killed_in_the_middle, each, after),
		cmocka_unit_test_setup_teardown(test_full_disk, each, after),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
