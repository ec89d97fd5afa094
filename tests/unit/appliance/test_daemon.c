/* berthd behind its control socket: the operations, the life of agents, what is refused. */
#include "scratch.h"

#include "control.h"
#include "daemon_harness.h"
#include "fake_world.h"
#include "json.h"
#include "ops.h"
#include "sock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>

static void test_life(void **state)
{
	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\",\"labels\":{\"k\":\"v\"},\"allow\":[\"Example.COM."
				"\",\"example.com\"]}");
	assert_string_equal(shown("a", "state"), "running");
	assert_string_equal(shown("a", "browser"), "up");
	assert_string_equal(shown("a", "state_detail"), "");
	assert_true(shown_number("a", "pid") > 1);
	assert_world(1, 1);
	want_ok("agent.start", "{\"agent\":\"a\"}"); /* it is so already */
	want_ok("agent.stop", "{\"agent\":\"a\"}");
	assert_string_equal(shown("a", "state"), "stopped");
	assert_world(1, 0);
	want_ok("agent.stop", "{\"agent\":\"a\"}");
	want_ok("agent.start", "{\"agent\":\"a\"}");
	want_ok("agent.restart", "{\"agent\":\"a\"}");
	assert_string_equal(shown("a", "state"), "running");
	assert_world(1, 1);
	want_ok("agent.stop", "{\"agent\":\"a\",\"force\":true}");
	want_ok("agent.remove", "{\"agent\":\"a\"}");
	want_error("agent.get", "{\"agent\":\"a\"}", "agent-not-found");
	assert_world(0, 0);
}

static void test_create_stopped(void **state)
{
	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\",\"start\":false}");
	assert_string_equal(shown("a", "state"), "stopped");
	assert_world(1, 0);
	want_error("agent.create", "{\"name\":\"a\",\"start\":false}", "agent-exists");
	want_error("agent.connect", "{\"agent\":\"a\",\"port\":\"cdp\"}", "wrong-state");
	assert_world(1, 0);
}

/* What cannot be made leaves nothing behind and says why. */
static void refused_create(const char *type)
{
	daemon_up();
	want_error("agent.create", "{\"name\":\"a\"}", type);
	want_error("agent.get", "{\"agent\":\"a\"}", "agent-not-found");
	assert_world(0, 0);
	daemon_kill();
}

static void test_refused_creates(void **state)
{
	fake = (struct fake_world){.no_image = true};
	refused_create("no-image");
	fake = (struct fake_world){.image_damaged = true};
	refused_create("image-damaged");
	fake = (struct fake_world){.qemu_missing = true};
	refused_create("qemu-missing");
	fake = (struct fake_world){.disk_full = true};
	refused_create("disk-full");
}

/* An answer that is there within ms, by id; the test fails otherwise. */
static cJSON *answer_within(unsigned id, unsigned ms)
{
	uint64_t start = now_ms();
	cJSON *msg = receive();

	assert_int_equal(json_int(msg, "id", 0), id);
	assert_in_range(now_ms() - start, 0, ms);
	return msg;
}

/* While the image is read others are answered; all who want it share one reading. */
static void test_image_is_read_aside(void **state)
{
	AUTOFREE char *path = xasprintf("%s/verified-%s", scratch_path, FAKE_IMAGE);
	struct stat st;
	unsigned first;

	fake.verify_ms = 1500;
	daemon_up();
	ask("agent.create", "{\"name\":\"a\"}");
	first = last_id;
	ask("agent.create", "{\"name\":\"b\"}");
	ask("agent.create", "{\"name\":\"c\"}");
	ask("status", NULL);
	cJSON_Delete(answer_within(last_id, 700));
	ask("agent.stop", "{\"agent\":\"c\"}"); /* cut short: c's create is answered as well */
	cJSON_Delete(answer_within(first + 2, 700));
	cJSON_Delete(answer_within(last_id, 700));
	for (int i = 0; i < 2; i++) {
		cJSON *msg = receive();

		assert_non_null(json_get(msg, "ok"));
		cJSON_Delete(msg);
	}
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 1);
	assert_string_equal(shown("a", "state"), "running");
	assert_string_equal(shown("b", "state"), "running");
	assert_string_equal(shown("c", "state"), "stopped");
	assert_world(2, 2); /* c has no disk yet */
}

/* berthd may be asked to end, or killed, while an image is read. */
static void test_end_while_image_is_read(void **state)
{
	fake.verify_ms = 1000;
	daemon_up();
	ask("agent.create", "{\"name\":\"a\"}");
	ask("shutdown", NULL);
	cJSON_Delete(answer_within(last_id - 1, 700)); /* cut short */
	cJSON_Delete(answer_within(last_id, 700));
	assert_int_equal(daemon_wait(), 0);
	daemon_up();
	wait_shown("a", "browser", "up"); /* it was wanted */
	want_ok("agent.stop", "{\"agent\":\"a\"}");
	ask("agent.start", "{\"agent\":\"a\"}");
	usleep(100000);
	daemon_kill();
	daemon_up();
	wait_shown("a", "browser", "up");
	assert_world(1, 1);
}

static void test_start_that_fails(void **state)
{
	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\",\"start\":false}");
	daemon_kill();
	fake.qemu_missing = true;
	daemon_up();
	want_error("agent.start", "{\"agent\":\"a\"}", "qemu-missing");
	assert_string_equal(shown("a", "state"), "failed");
	assert_non_null(strstr(shown("a", "state_detail"), "qemu-system"));
	assert_world(1, 0);
	daemon_kill();
	fake.qemu_missing = false;
	daemon_up();
	assert_string_equal(shown("a", "state"), "failed");
	want_ok("agent.start", "{\"agent\":\"a\"}");
	assert_string_equal(shown("a", "state"), "running");
}

static void test_browser_late(void **state)
{
	AUTOFREE char *conf = xasprintf("%s/berth.conf", scratch_path);

	assert_int_equal(
		file_write_atomic(conf, "[agent]\nbrowser_timeout = 1\n", 28, 0644, NULL), 0);
	fake.no_browser = true;
	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\"}");
	assert_string_equal(shown("a", "state"), "running");
	assert_string_equal(shown("a", "browser"), "down");
	assert_non_null(strstr(shown("a", "state_detail"), "within 1 s"));
}

/* A browser that is not started yet is not down. */
static void test_first_start_events(void **state)
{
	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\"}");
	want_ok("agent.restart", "{\"agent\":\"a\"}");
	assert_int_equal(count_events("browser.up"), 2);
	assert_int_equal(count_events("browser.down"), 0);
}

/* What the API says while a machine is made for an agent that has run before. */
static void test_state_on_the_way(void **state)
{
	unsigned id;

	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\",\"start\":false}");
	daemon_kill();
	fake.verify_ms = 500;
	daemon_up();
	ask("agent.start", "{\"agent\":\"a\"}");
	id = last_id;
	assert_string_equal(shown("a", "state"), "creating");
	assert_string_equal(shown("a", "state_detail"), "making its disk and network");
	cJSON_Delete(answer_within(id, 20000));
	assert_string_equal(shown("a", "state"), "running");
	daemon_kill();
	daemon_up();
	assert_string_equal(shown("a", "state"), "running"); /* adopted: it never was away */
}

static void test_crashes(void **state)
{
	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\"}");
	want_ok("agent.create", "{\"name\":\"b\",\"on_crash\":\"stop\"}");
	kill((pid_t)shown_number("b", "pid"), SIGKILL);
	wait_shown("b", "state", "stopped");
	assert_non_null(strstr(shown("b", "state_detail"), "crashed"));
	kill((pid_t)shown_number("a", "pid"), SIGKILL);
	wait_shown("a", "state", "creating");
	assert_non_null(strstr(shown("a", "state_detail"), "it is being restarted"));
	wait_shown("a", "browser", "up"); /* after a second */
	assert_string_equal(shown("a", "state"), "running");
	assert_string_equal(shown("a", "state_detail"), "");
	assert_int_equal(shown_number("a", "restarts"), 1);
	assert_world(2, 1);
}

/* A guest that dies at each boot is tried again a few times, then left alone; a start by somebody
 * tries anew. */
static void test_gives_up(void **state)
{
	fake.crash_at_boot = true;
	daemon_up();
	want_error("agent.create", "{\"name\":\"a\"}", "internal");
	wait_shown("a", "state", "failed"); /* 1 + 2 + 4 + 8 s */
	assert_int_equal(shown_number("a", "restarts"), 4);
	assert_world(1, 0);
	want_error("agent.start", "{\"agent\":\"a\"}", "internal");
	assert_int_equal(shown_number("a", "restarts"), 1);
	want_ok("agent.remove", "{\"agent\":\"a\"}");
	assert_world(0, 0);
}

/* The daemon is killed; agents go on and are the same ones for the next. */
static void test_adoption(void **state)
{
	int64_t pid;

	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\",\"allow\":[\"a.example\"]}");
	want_ok("agent.create", "{\"name\":\"dead\"}");
	want_ok("agent.create", "{\"name\":\"stays\",\"on_crash\":\"stop\"}");
	pid = shown_number("a", "pid");
	{
		pid_t dead = (pid_t)shown_number("dead", "pid"),
		      stays = (pid_t)shown_number("stays", "pid");

		daemon_kill();
		kill(dead, SIGKILL);
		kill(stays, SIGKILL);
		reap();
	}
	daemon_up();
	wait_shown("a", "browser", "up");
	assert_int_equal(shown_number("a", "pid"), pid);
	assert_int_equal(shown_number("a", "restarts"), 0);
	assert_string_equal(shown("stays", "state"), "stopped");
	wait_shown("dead", "browser", "up");
	assert_int_equal(shown_number("dead", "restarts"), 1);
	assert_world(3, 2);
	want_ok("agent.stop", "{\"agent\":\"a\"}");
	assert_world(3, 1);
}

static void test_shutdown(void **state)
{
	AUTOFREE char *bak = xasprintf("%s/berth.db.bak", scratch_path);

	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\"}");
	want_ok("agent.create", "{\"name\":\"b\"}");
	want_ok("agent.stop", "{\"agent\":\"b\"}");
	want_ok("shutdown", NULL);
	assert_int_equal(daemon_wait(), 0);
	assert_int_equal(access(bak, F_OK), 0);
	assert_world(2, 0);
	/* what ran runs again, what had been stopped does not */
	daemon_up();
	wait_shown("a", "state", "running");
	assert_int_equal(shown_number("a", "restarts"), 0);
	assert_string_equal(shown("b", "state"), "stopped");
}

static void make_left(const char *path)
{
	AUTOFREE char *full = xasprintf("%s/%s", scratch_path, path);

	assert_int_equal(make_dir(full, 0700, NULL), 0);
}

static void test_leftovers(void **state)
{
	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\"}");
	daemon_kill();
	make_left("agents/ag_nobody");
	make_left("run/agents/ag_nobody");
	make_left("agents/ag_nobody/sub");
	{
		AUTOFREE char *ns = xasprintf("%s/run/ns/ag_nobody", scratch_path);

		close(open(ns, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	}
	daemon_up();
	wait_shown("a", "browser", "up");
	assert_world(1, 1);
	assert_int_equal(count_files("lost/ag_nobody"), 1); /* a disk is not thrown away */
}

static void test_second_daemon(void **state)
{
	pid_t first;

	daemon_up();
	want_ok("status", NULL);
	first = daemon_pid;
	daemon_start();
	assert_int_equal(WEXITSTATUS(daemon_wait()), 1);
	daemon_pid = first;
	want_ok("status", NULL);
}

static void test_corrupt_database(void **state)
{
	AUTOFREE char *db = xasprintf("%s/berth.db", scratch_path),
		      *log = xasprintf("%s/log", scratch_path), *text = NULL;

	assert_int_equal(
		file_write_atomic(db, "not a database, but long enough", 31, 0600, NULL), 0);
	daemon_start();
	assert_int_equal(WEXITSTATUS(daemon_wait()), 1);
	assert_int_equal(file_read(AT_FDCWD, log, 1 << 20, &text, NULL, NULL), 0);
	assert_non_null(strstr(text, "damaged"));
}

static void write_scratch(const char *name, const char *text)
{
	AUTOFREE char *path = xasprintf("%s/%s", scratch_path, name);

	assert_int_equal(file_write_atomic(path, text, strlen(text), 0644, NULL), 0);
}

/* From berth.conf to the environment of the agent's berth-policy. */
static void test_private_networks(void **state)
{
	AUTOFREE char *text = NULL, *path = NULL;

	write_scratch("berth.conf", "[policy]\nprivate_networks = 10.1.0.0/16 192.168.7.7\n");
	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\"}");
	path = xasprintf("%s/networks-%s", scratch_path, shown("a", "id"));
	assert_int_equal(file_read(AT_FDCWD, path, 1000, &text, NULL, NULL), 0);
	assert_string_equal(text, "10.1.0.0/16,192.168.7.7");
}

/* From berth.conf and the file with the credentials to the agent's berth-policy, over the channel.
 */
static void test_upstream_proxy(void **state)
{
	AUTOFREE char *text = NULL, *path = NULL, *secret = xasprintf("%s/secret", scratch_path);

	write_scratch("berth.conf",
		"[policy]\nresolvers = 9.9.9.9\nupstream_proxy = http://10.1.1.1:3128\n"
		"upstream_proxy_auth_file = secret\n");
	assert_int_equal(file_write_atomic(secret, "joe:pw", 6, 0600, NULL), 0);
	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\",\"allow\":[\"upstream.example\"]}");
	path = xasprintf("%s/upstream-%s", scratch_path, shown("a", "id"));
	assert_int_equal(file_read(AT_FDCWD, path, 1000, &text, NULL, NULL), 0);
	assert_string_equal(text, "{\"resolvers\":[\"9.9.9.9\"],\"proxy\":{\"kind\":\"http\","
				  "\"host\":\"10.1.1.1\",\"port\":3128,\"names\":false,"
				  "\"user\":\"joe\",\"password\":\"pw\"}}");
	assert_int_equal(count_events("upstream.down"), 1);
}

static void test_policy(void **state)
{
	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\",\"allow\":[\"b.example\",\"A.example:443\"]}");
	want_ok("policy.change", "{\"agent\":\"a\",\"allow\":[\"b.example\",\"event.example\"],"
				 "\"remove\":[\"a.example:443\"]}");
	{
		cJSON *msg = call("policy.get", "{\"agent\":\"a\"}"), *rules;

		rules = cJSON_GetObjectItem(cJSON_GetObjectItem(msg, "ok"), "rules");
		assert_int_equal(cJSON_GetArraySize(rules), 2);
		assert_string_equal(cJSON_GetArrayItem(rules, 1)->valuestring, "event.example");
		cJSON_Delete(msg);
	}
	{
		cJSON *msg = call("policy.log", "{\"agent\":\"a\",\"verdict\":\"deny\"}"), *list;
		const cJSON *e;

		list = cJSON_GetObjectItem(cJSON_GetObjectItem(msg, "ok"), "entries");
		e = cJSON_GetArrayItem(list, 0);
		assert_int_equal(cJSON_GetArraySize(list), 1);
		assert_string_equal(json_str(e, "name", ""), "no.example");
		assert_int_equal(json_int(e, "count", 0), 2);
		cJSON_Delete(msg);
	}
	want_ok("policy.set",
		"{\"agent\":\"a\",\"rules\":[\"bad.example\"]}"); /* it then sends nonsense: refused
								   */
	want_error("policy.change", "{\"agent\":\"a\",\"remove\":[\"b.example\"]}", "invalid-rule");
	want_error("policy.set", "{\"agent\":\"a\",\"rules\":[\"http://x\"]}", "invalid-rule");
	want_error(
		"policy.set", "{\"agent\":\"a\",\"rules\":[],\"mode\":\"off\"}", "invalid-request");
	want_error(
		"policy.change", "{\"agent\":\"a\",\"limits\":{\"no-such\":1}}", "invalid-request");
	want_error("policy.log", "{\"agent\":\"a\",\"verdict\":\"both\"}", "invalid-request");
	{
		cJSON *rules = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(rules, "rules");
		char *text;

		cJSON_AddStringToObject(rules, "agent", "a");
		for (int i = 0; i <= RULES_MAX; i++) {
			AUTOFREE char *rule = xasprintf("n%d.example", i);

			cJSON_AddItemToArray(list, cJSON_CreateString(rule));
		}
		text = cJSON_PrintUnformatted(rules);
		want_error("policy.set", text, "limit-reached");
		free(text);
		cJSON_Delete(rules);
	}
	want_ok("policy.set", "{\"agent\":\"a\",\"rules\":[]}");
}

static unsigned count_tokens(const char *label)
{
	cJSON *msg = call("token.list", "{}");
	const cJSON *one;
	unsigned n = 0;

	cJSON_ArrayForEach (one, json_get(json_get(msg, "ok"), "tokens")) {
		n += streq(json_str(one, "label", ""), label);
	}
	cJSON_Delete(msg);
	return n;
}

/* Adds an entry that is over now, with more members; how many were added. */
static int64_t add_action(const char *agent, int64_t time_us, const char *more)
{
	AUTOFREE char *args = xasprintf(
		"{\"entries\":[{\"agent\":\"%s\",\"time\":%lld,\"source\":\"computer/openai\","
		"\"action\":\"click\",\"params\":{\"at\":[1,2]},\"duration_ms\":5%s}]}",
		agent, (long long)time_us, more);
	cJSON *msg = call("actions.add", args);
	int64_t n = json_int(json_get(msg, "ok"), "added", -1);

	cJSON_Delete(msg);
	return n;
}

/* The i-th action of an agent's log as text, "" if there is none. */
static char *logged(const char *args, int i)
{
	cJSON *msg = call("actions.list", args), *e;
	char *text;

	e = cJSON_GetArrayItem(json_get(json_get(msg, "ok"), "entries"), i);
	cJSON_DeleteItemFromObject(e, "time");
	text = e ? cJSON_PrintUnformatted(e) : xstrdup("");
	cJSON_Delete(msg);
	return text;
}

static void test_actions(void **state)
{
	int64_t before = realtime_ns() / 1000 - 1, now;

	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\",\"start\":false}");
	now = realtime_ns() / 1000;
	assert_int_equal(add_action("a", now, ""), 1);
	assert_int_equal(add_action("a", now, ""), 0); /* comes twice; takes a seq */
	assert_int_equal(
		add_action("a", now + 1, ",\"error\":\"no\",\"url\":\"u\",\"by\":\"tok_a\""), 1);
	/* of an agent that had the name before, of one that is gone, and no action at all */
	assert_int_equal(add_action("a", before, ""), 0);
	assert_int_equal(add_action("gone", now, ""), 0);
	assert_int_equal(add_action("a", now + 2, ",\"secret\":1"), 0);
	want_ok("actions.add", "{\"entries\":[1]}");
	want_error("actions.list", "{\"agent\":\"a\",\"limit\":501}", "invalid-request");
	want_error("actions.list", "{\"agent\":\"gone\"}", "agent-not-found");
	{
		AUTOFREE char *args = xasprintf("{\"entries\":[],\"pictures\":[{\"agent\":\"a\","
						"\"id\":%lld,\"of\":%lld,\"jpeg\":\"/9j/\"},"
						"{\"agent\":\"a\",\"id\":%lld,\"of\":%lld,"
						"\"jpeg\":\"not base64\"}]}",
			(long long)now + 5, (long long)now + 1, (long long)now + 6, (long long)now);

		want_ok("actions.add", args);
	}
	want_ok("actions.picture", "{\"agent\":\"a\",\"seq\":3,\"which\":\"after\"}");
	want_error(
		"actions.picture", "{\"agent\":\"a\",\"seq\":3,\"which\":\"before\"}", "not-found");
	want_error(
		"actions.picture", "{\"agent\":\"a\",\"seq\":1,\"which\":\"after\"}", "not-found");
	daemon_kill();
	daemon_up();
	{
		AUTOFREE char *first = logged("{\"agent\":\"a\"}", 0),
			      *second = logged("{\"agent\":\"a\",\"after\":1}", 0),
			      *none = logged("{\"agent\":\"a\",\"after\":3}", 0);

		assert_string_equal(first,
			"{\"seq\":1,\"source\":\"computer/openai\",\"by\":null,"
			"\"action\":\"click\",\"params\":{\"at\":[1,2]},\"ok\":true,"
			"\"error\":null,\"duration_ms\":5,\"url\":null,\"pictures\":[]}");
		assert_string_equal(second,
			"{\"seq\":3,\"source\":\"computer/openai\",\"by\":\"tok_a\","
			"\"action\":\"click\",\"params\":{\"at\":[1,2]},\"ok\":false,"
			"\"error\":\"no\",\"duration_ms\":5,\"url\":\"u\",\"pictures\":[\"after\"]"
			"}");
		assert_string_equal(none, "");
	}
	/* a fork's log is its own */
	want_ok("agent.fork", "{\"agent\":\"a\",\"names\":[\"b\"]}");
	{
		AUTOFREE char *none = logged("{\"agent\":\"b\"}", 0);

		assert_string_equal(none, "");
	}
}

static void test_tokens_and_images(void **state)
{
	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\",\"start\":false}");
	want_error("token.create", "{\"role\":\"agent\"}", "invalid-request");
	want_error("token.create", "{\"role\":\"admin\",\"agent\":\"a\"}", "invalid-request");
	want_error("token.create", "{\"role\":\"root\"}", "invalid-request");
	want_error("token.create", "{\"role\":\"agent\",\"agent\":\"x\"}", "agent-not-found");
	want_ok("token.create", "{\"role\":\"agent\",\"agent\":\"a\",\"ttl\":60,\"label\":\"x\"}");
	want_error("token.revoke", "{\"id\":\"tok_none\"}", "token-not-found");
	want_ok("token.create", "{\"role\":\"agent\",\"agent\":\"a\",\"label\":\"y\"}");
	for (int i = 0; i < 3; i++)
		want_ok("token.create", "{\"role\":\"agent\",\"agent\":\"a\",\"label\":\"x\","
					"\"replace\":true}");
	assert_int_equal(count_tokens("x"), 1);
	assert_int_equal(count_tokens("y"), 1);
	want_error("token.check", "{\"hash\":\"00\"}", "invalid-request");
	want_error("image.remove", "{\"image\":\"" FAKE_IMAGE "\"}", "image-in-use");
	want_error("image.remove", "{\"image\":\"ffffffffffffffff\"}", "image-not-found");
	want_error("agent.create", "{\"name\":\"b\",\"image\":\"ffffffffffffffff\"}",
		"image-not-found");
	want_ok("image.list", NULL);
}

static void test_update(void **state)
{
	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\",\"start\":false}");
	want_ok("agent.update", "{\"agent\":\"a\",\"memory_mib\":512,\"port\":9222,\"on_crash\":"
				"\"stop\",\"labels\":{\"x\":\"y\"}}");
	daemon_kill();
	daemon_up();
	assert_int_equal(shown_number("a", "memory_mib"), 512);
	assert_int_equal(shown_number("a", "port"), 9222);
	assert_string_equal(shown("a", "on_crash"), "stop");
	want_ok("agent.update", "{\"agent\":\"a\",\"port\":0}");
	assert_int_equal(shown_number("a", "port"), -1); /* null */
	want_error("agent.update", "{\"agent\":\"a\",\"on_crash\":\"dance\"}", "invalid-request");
	want_error("agent.update", "{\"agent\":\"a\",\"idle_suspend\":7}", "invalid-request");
	want_error("agent.create", "{\"name\":\"b\",\"idle_suspend\":1}", "invalid-request");
	want_ok("agent.update", "{\"agent\":\"a\",\"idle_suspend\":8}");
	assert_int_equal(shown_number("a", "idle_suspend"), 8);
	{
		cJSON *msg = call("agent.list", "{\"label\":\"x=y\"}");

		assert_int_equal(cJSON_GetArraySize(json_get(json_get(msg, "ok"), "agents")), 1);
		cJSON_Delete(msg);
		msg = call("agent.list", "{\"label\":\"x=z\"}");
		assert_int_equal(cJSON_GetArraySize(json_get(json_get(msg, "ok"), "agents")), 0);
		cJSON_Delete(msg);
	}
}

/* Memory that was kept is of the machine that it was taken from, whatever the record says since. */
static void test_resized_while_asleep(void **state)
{
	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\",\"memory_mib\":512}");
	want_ok("agent.update", "{\"agent\":\"a\",\"memory_mib\":1024}");
	want_ok("agent.suspend", "{\"agent\":\"a\"}");
	want_ok("agent.update", "{\"agent\":\"a\",\"memory_mib\":2048}");
	want_ok("agent.snapshot", "{\"agent\":\"a\",\"tag\":\"t\"}");
	want_ok("agent.resume", "{\"agent\":\"a\"}");
	want_ok("agent.create", "{\"name\":\"b\",\"from\":\"t\"}");
	assert_int_equal(shown_number("b", "memory_mib"), 512);
	assert_int_equal(shown_number("a", "memory_mib"), 2048);
	want_ok("agent.restart", "{\"agent\":\"a\"}");
	assert_string_equal(shown("a", "state"), "running");
}

/* Of every operation: no argument more, none missing, each of its type and within its bounds. */
static void wrong_members(const struct op *op)
{
	AUTOFREE char *unknown = xasprintf("{\"no_such_member\":1}");

	want_error(op->name, unknown, "invalid-request");
	for (size_t i = 0; i < op->n_members; i++) {
		const struct json_member *m = &op->members[i];
		AUTOFREE char *type = xasprintf("{\"%s\":null}", m->name), *bounds = NULL;

		if (m->required)
			want_error(op->name, "{}", "invalid-request");
		want_error(op->name, type, "invalid-request");
		if (m->type == JSON_INTEGER) {
			bounds = xasprintf("{\"%s\":%lld}", m->name, (long long)m->min - 1);
			want_error(op->name, bounds, "invalid-request");
			free(bounds);
			bounds = xasprintf("{\"%s\":%lld}", m->name, (long long)m->max + 1);
			want_error(op->name, bounds, "invalid-request");
			free(bounds);
			bounds = xasprintf("{\"%s\":1.5}", m->name);
			want_error(op->name, bounds, "invalid-request");
		} else if (m->type == JSON_STRING) {
			bounds = xasprintf("{\"%s\":\"%0*d\"}", m->name, (int)m->max + 1, 0);
			want_error(op->name, bounds, "invalid-request");
		}
	}
}

static void test_every_op_refuses_nonsense(void **state)
{
	const struct op *table;
	size_t n;

	daemon_up();
	table = ops_table(&n);
	assert_int_equal(n, 42);
	for (size_t i = 0; i < n; i++)
		wrong_members(&table[i]);
	want_error("no.such.op", NULL, "not-found");
	want_error("agent.connect", "{\"agent\":\"a\",\"port\":\"ssh\"}", "invalid-request");
	want_error("agent.create", "{\"name\":\"A\"}", "invalid-name");
	want_error("agent.create", "{\"name\":\"\"}", "invalid-name");
	want_error("agent.create", "{\"name\":\"a\",\"allow\":[\"*\"]}", "invalid-rule");
	want_error("agent.create", "{\"name\":\"a\",\"labels\":{\"\":\"x\"}}", "invalid-request");
	want_error("agent.create", "{\"name\":\"a\",\"on_crash\":\"x\"}", "invalid-request");
	want_ok("status", NULL);
	assert_world(0, 0);
}

/* Messages that are no requests: answered where they have an id, and the connection lives unless
 * the frame is wrong. */
static void test_bad_messages(void **state)
{
	static const char *const bad[] = {"{}", "{\"id\":\"x\",\"op\":\"status\"}", "{\"id\":1}",
		"{\"id\":1,\"op\":7}", "{\"id\":1,\"op\":\"status\",\"args\":[]}",
		"{\"id\":1,\"op\":\"status\",\"more\":1}", "{\"id\":-1,\"op\":\"status\"}"};

	daemon_up();
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cJSON *msg = cJSON_Parse(bad[i]), *answer;

		ctl_send(client, msg, -1);
		cJSON_Delete(msg);
		answer = receive();
		assert_string_equal(
			json_str(json_get(answer, "error"), "type", "none"), "invalid-request");
		cJSON_Delete(answer);
	}
	want_ok("status", NULL);
	assert_int_equal(write(ctl_fd(client), "\xff\xff\xff\xff{}", 6), 6);
	assert_null(receive()); /* a frame over the limit: closed */
	assert_true(connect_to());
	assert_int_equal(write(ctl_fd(client), "\x02\x00\x00\x00[]", 6), 6);
	assert_null(receive());
	assert_true(connect_to());
	want_ok("status", NULL);
}

static void test_events(void **state)
{
	double seq = 0;
	bool created = false, running = false, done = false, gone = false;

	daemon_up();
	want_ok("token.create", "{\"role\":\"viewer\"}"); /* before: not in the stream */
	ask("events.subscribe", "{}");
	ask("agent.create", "{\"name\":\"a\"}");
	for (int i = 0; i < 100 && !(running && done); i++) {
		cJSON *msg = receive();
		const cJSON *e = json_get(msg, "event");

		done |= json_get(msg, "ok") != NULL;
		if (e) {
			assert_true(json_get(e, "seq")->valuedouble > seq);
			seq = json_get(e, "seq")->valuedouble;
			assert_string_not_equal(json_str(e, "type", ""), "token.created");
			created |= streq(json_str(e, "type", ""), "agent.created");
			running |= streq(json_str(e, "type", ""), "agent.running");
			assert_string_equal(json_str(e, "agent", ""), "a");
			assert_string_equal(json_str(e, "by", ""), "local");
		}
		cJSON_Delete(msg);
	}
	assert_true(created && running && done);
	/* the stream is the one asked for before the last request */
	{
		AUTOFREE char *args = xasprintf("{\"id\":%u}", last_id - 1);

		ask("events.unsubscribe", args);
	}
	for (int i = 0; i < 100 && !gone; i++) {
		cJSON *msg = receive();

		gone = json_int(msg, "id", 0) == last_id && json_get(msg, "ok");
		cJSON_Delete(msg);
	}
	assert_true(gone);
	want_ok("agent.stop", "{\"agent\":\"a\"}");
	{
		cJSON *msg = call("events.list", "{\"agent\":\"a\",\"limit\":1}");
		const cJSON *list = json_get(json_get(msg, "ok"), "events");

		assert_int_equal(cJSON_GetArraySize(list), 1);
		assert_string_equal(
			json_str(cJSON_GetArrayItem(list, 0), "type", ""), "agent.stopped");
		cJSON_Delete(msg);
	}
}

/* A subscriber that reads nothing holds up nobody, and gets all of it when it reads. */
static void test_slow_subscriber(void **state)
{
	struct ctl *slow;
	int64_t seq = 0;

	daemon_up();
	ask("events.subscribe", "{\"after\":0}");
	slow = client;
	client = NULL;
	assert_true(connect_to());
	for (int i = 0; i < 700; i++) {
		cJSON *args = cJSON_CreateObject(), *msg;
		char label[250];
		char *text;

		memset(label, 'x', sizeof(label) - 1);
		label[sizeof(label) - 1] = 0;
		cJSON_AddStringToObject(args, "role", "viewer");
		cJSON_AddStringToObject(args, "label", label);
		text = cJSON_PrintUnformatted(args);
		msg = call("token.create", text);
		assert_non_null(json_get(msg, "ok"));
		cJSON_Delete(msg);
		cJSON_Delete(args);
		free(text);
	}
	while (seq < 701) { /* daemon.started and each token */
		cJSON *msg = ctl_receive(slow, 20000, NULL, NULL);

		assert_non_null(msg);
		assert_int_equal(json_int(json_get(msg, "event"), "seq", 0), seq + 1);
		seq++;
		cJSON_Delete(msg);
	}
	ctl_free(slow);
}

static void test_many_clients(void **state)
{
	struct ctl *clients[CONTROL_CLIENTS_MAX];
	struct err err;

	daemon_up();
	clients[0] = steal(&client);
	for (int i = 1; i < CONTROL_CLIENTS_MAX; i++) {
		assert_true(connect_to());
		want_ok("status", NULL);
		clients[i] = steal(&client);
	}
	{
		AUTOFREE char *path = xasprintf("%s/run/control/control.sock", scratch_path);
		struct ctl *more = ctl_new(sock_connect_unix(path, NULL));

		assert_null(ctl_receive(more, 5000, NULL, &err)); /* turned away */
		assert_int_not_equal(err.code, -ETIMEDOUT);
		ctl_free(more);
	}
	ctl_free(clients[5]);
	clients[5] = NULL;
	usleep(50000);
	assert_true(connect_to());
	want_ok("status", NULL);
	for (int i = 0; i < CONTROL_CLIENTS_MAX; i++)
		ctl_free(clients[i]);
}

static void test_too_many_waiting(void **state)
{
	unsigned refused = 0;

	daemon_up();
	for (int i = 0; i < CONTROL_WAITING_MAX + 10; i++)
		ask("events.subscribe", "{}");
	for (int i = 0; i < 10; i++) {
		cJSON *msg = receive();

		refused += streq(json_str(json_get(msg, "error"), "type", ""), "too-many-requests");
		cJSON_Delete(msg);
	}
	assert_int_equal(refused, 10);
	assert_true(connect_to()); /* the streams go with their connection */
	want_ok("status", NULL);
}

/* A client that leaves in the middle of what it asked: it is done all the same. */
static void test_client_leaves(void **state)
{
	daemon_up();
	ask("agent.create", "{\"name\":\"a\"}");
	assert_true(connect_to());
	wait_shown("a", "browser", "up");
	ask("agent.remove", "{\"agent\":\"a\"}");
	assert_true(connect_to());
	for (int i = 0; i < 400 && shown_number("a", "memory_mib") > 0; i++)
		usleep(5000);
	want_error("agent.get", "{\"agent\":\"a\"}", "agent-not-found");
	assert_world(0, 0);
}

/* Stop and remove cut a start short; whoever started is told. */
static void test_cut_short(void **state)
{
	unsigned ids[2];

	fake.no_browser = true;
	daemon_up();
	ask("agent.create", "{\"name\":\"a\"}");
	ids[0] = last_id;
	ask("agent.stop", "{\"agent\":\"a\"}");
	ids[1] = last_id;
	for (int i = 0; i < 2; i++) {
		cJSON *msg = receive();

		if (json_int(msg, "id", 0) == ids[0])
			assert_string_equal(
				json_str(json_get(msg, "error"), "type", ""), "wrong-state");
		else
			assert_string_equal(json_str(json_get(msg, "ok"), "state", ""), "stopped");
		assert_true(json_int(msg, "id", 0) == ids[0] || json_int(msg, "id", 0) == ids[1]);
		cJSON_Delete(msg);
	}
	assert_world(1, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, each, after)
	const struct CMUnitTest tests[] = {
		T(test_life),
		T(test_create_stopped),
		T(test_refused_creates),
		T(test_start_that_fails),
		T(test_browser_late),
		T(test_first_start_events),
		T(test_state_on_the_way),
		T(test_crashes),
		T(test_gives_up),
		T(test_adoption),
		T(test_shutdown),
		T(test_leftovers),
		T(test_second_daemon),
		T(test_corrupt_database),
		T(test_image_is_read_aside),
		T(test_end_while_image_is_read),
		T(test_private_networks),
		T(test_upstream_proxy),
		T(test_policy),
		T(test_actions),
		T(test_tokens_and_images),
		T(test_update),
		T(test_resized_while_asleep),
		T(test_every_op_refuses_nonsense),
		T(test_bad_messages),
		T(test_events),
		T(test_slow_subscriber),
		T(test_many_clients),
		T(test_too_many_waiting),
		T(test_client_leaves),
		T(test_cut_short),
	};

	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
