/* Agents on a disk that may fail (disk_world.h). */
#include "scratch.h"

#include "disk_world.h"

#include "agent_fsm.h"
#include "daemon_harness.h"
#include "fake_machine.h"
#include "fake_world.h"
#include "faults.h"
#include "json.h"
#include "snapshot.h"
#include "util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define LOG_TOLD 600

static char at[600];

void world_at(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(at, sizeof(at), fmt, ap);
	va_end(ap);
}

unsigned world_failures;
jmp_buf world_escape;

/* The end of berthd's log. */
static void print_log(void)
{
	AUTOFREE char *path = xasprintf("%s/log", scratch_path), *text = NULL;
	size_t n;

	if (file_read(AT_FDCWD, path, 1u << 24, &text, &n, NULL) == 0)
		print_error("%s\n", text + (n > LOG_TOLD ? n - LOG_TOLD : 0));
}

void world_fail(const char *fmt, ...)
{
	char what[1000];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	print_error("%s: %s\n", at, what);
	if (world_failures++ < 3)
		print_log();
	longjmp(world_escape, 1);
}
#define FAIL world_fail

/* ---- what comes before ---- */

static char *folder_of(const char *name)
{
	AUTOFREE char *id = xstrdup(shown(name, "id"));

	return xasprintf("%s/agents/%s", scratch_path, id);
}

void world_live(const char *name, unsigned n)
{
	AUTOFREE char *id = xstrdup(shown(name, "id"));

	machine_remember((pid_t)shown_number(name, "pid"), n);
	machine_write(scratch_path, id, n);
}

static void nobody(void)
{
}

static void running(void)
{
	want_ok("agent.create", "{\"name\":\"a\",\"memory_mib\":256}");
	world_live("a", 1);
}

static void asleep(void)
{
	running();
	want_ok("agent.suspend", "{\"agent\":\"a\"}");
}

static void stopped(void)
{
	running();
	want_ok("agent.stop", "{\"agent\":\"a\"}");
}

static void with_snapshot(void)
{
	running();
	want_ok("agent.snapshot", "{\"agent\":\"a\",\"tag\":\"t\"}");
	world_live("a", 2);
}

static void asleep_with_snapshot(void)
{
	with_snapshot();
	want_ok("agent.suspend", "{\"agent\":\"a\"}");
}

static void template_there(void)
{
	want_ok("agent.create", "{\"name\":\"x\",\"memory_mib\":256}");
	want_ok("agent.remove", "{\"agent\":\"x\"}");
}

#define A "{\"agent\":\"a\"}"
#define ONE             \
	{               \
		1, "1," \
	}
#define TWO               \
	{                 \
		2, "1,2," \
	}
#define BOOTED          \
	{               \
		0, "1," \
	}
#define NEW           \
	{             \
		0, "" \
	}
#define NONE            \
	{               \
		0, NULL \
	}

const struct deed deeds[] = {
	{"suspend", running, "agent.suspend", A, ONE, ONE},
	{"wake", asleep, "agent.resume", A, ONE, ONE},
	{"snapshot", running, "agent.snapshot", A, ONE, ONE, .snapshots_new = 1},
	{"snapshot of a disk", running, "agent.snapshot", "{\"agent\":\"a\",\"memory\":false}", ONE,
		ONE, .snapshots_new = 1},
	{"snapshot asleep", asleep, "agent.snapshot", A, ONE, ONE, .snapshots_new = 1},
	{"snapshot at rest", stopped, "agent.snapshot", A, BOOTED, BOOTED, .snapshots_new = 1},
	{"restore", with_snapshot, "agent.restore", "{\"agent\":\"a\",\"snapshot\":\"t\"}", TWO,
		ONE, .snapshots = 1, .snapshots_new = 1, .late = true, .ends = true},
	{"restore asleep", asleep_with_snapshot, "agent.restore",
		"{\"agent\":\"a\",\"snapshot\":\"t\"}", TWO, ONE, .snapshots = 1,
		.snapshots_new = 1, .late = true},
	{"fork", running, "agent.fork", "{\"agent\":\"a\",\"names\":[\"b\"]}", ONE, ONE, ONE,
		.snapshots_open = 1, .late = true},
	{"fork asleep", asleep, "agent.fork", "{\"agent\":\"a\",\"names\":[\"b\"]}", ONE, ONE, ONE,
		.snapshots_open = 1, .late = true},
	{"fork of a snapshot", with_snapshot, "agent.fork",
		"{\"agent\":\"a\",\"names\":[\"b\"],\"snapshot\":\"t\"}", TWO, TWO, ONE,
		.snapshots = 1, .snapshots_new = 1, .late = true},
	{"removal", running, "agent.remove", A, ONE, NONE, .late = true},
	{"removal asleep", asleep_with_snapshot, "agent.remove", A, TWO, NONE, .snapshots = 1,
		.snapshots_new = 1, .late = true},
	{"removal of a snapshot", asleep_with_snapshot, "snapshot.remove", "{\"snapshot\":\"t\"}",
		TWO, TWO, .snapshots = 1},
	{"create", nobody, "agent.create", "{\"name\":\"a\",\"memory_mib\":256}", NONE, NEW,
		.late = true},
	{"create at rest", nobody, "agent.create",
		"{\"name\":\"a\",\"memory_mib\":256,\"start\":false}", NONE, NEW, .late = true},
	{"create with a new template", nobody, "agent.create",
		"{\"name\":\"a\",\"memory_mib\":256}", NONE, NEW, .warm = true, .late = true},
	{"create from a template", template_there, "agent.create",
		"{\"name\":\"a\",\"memory_mib\":256}", NONE, NEW, .warm = true, .late = true},
};
const unsigned n_deeds = ARRAY_SIZE(deeds);

void world_new(const struct deed *d)
{
	static const char warm[] = "[agent]\nwarm_templates = 1\n";
	AUTOFREE char *conf = NULL;

	each(NULL);
	conf = xasprintf("%s/berth.conf", scratch_path);
	if (d->warm)
		file_write_atomic(conf, warm, sizeof(warm) - 1, 0600, NULL);
	faults_begin(scratch_path);
	world_at("%s, before", d->name);
	daemon_up();
	d->before();
}

void world_end(void)
{
	after(NULL);
	faults_end();
}

/* ---- how it is ---- */

static bool on_its_way(const char *detail)
{
	for (int p = 0; p < N_PHASES; p++)
		if (p != PHASE_RUNNING && streq(detail, agent_phase_name((enum agent_phase)p)))
			return true;
	return false;
}

static bool settled(const cJSON *agent)
{
	const char *state = json_str(agent, "state", ""),
		   *detail = json_str(agent, "state_detail", "");

	if (on_its_way(detail) || streq(state, "creating"))
		return false;
	return !streq(state, "running") ||
	       (!detail[0] && streq(json_str(agent, "browser", ""), "up"));
}

void world_settle(void)
{
	for (int i = 0; i < 4000; i++) {
		cJSON *list = call("agent.list", "{}"), *one;
		bool all = list;

		cJSON_ArrayForEach (one, json_get(json_get(list, "ok"), "agents"))
			all = all && settled(one);
		if (all || i == 3999) {
			AUTOFREE char *text = cJSON_PrintUnformatted(list);

			cJSON_Delete(list);
			if (!all)
				FAIL("it does not settle: %s", text);
			return;
		}
		cJSON_Delete(list);
		usleep(3000);
	}
}

/* Whether the files of a snapshot or template are what its manifest says. */
static void check_folder(const char *folder)
{
	struct err err = {0};
	cJSON *m = snapshot_read(folder, &err), *one;
	const cJSON *memory = json_get(m, "memory");
	const char *want[SNAPSHOT_LAYERS_MAX + 3], *argv[SNAPSHOT_LAYERS_MAX + 6];
	AUTOFREE char *out = NULL;
	size_t n = 0;
	FILE *f;
	char line[300];

	if (!m)
		FAIL("%s", err.msg);
	out = xasprintf("%s digest", FAULTY_PAGES);
	if (memory) {
		want[n] = json_str(memory, "base_digest", "");
		argv[n++] = json_str(memory, "base", "");
		want[n] = json_str(memory, "device_digest", "");
		argv[n++] = "device";
		if (json_bool(memory, "pages", false)) {
			want[n] = json_str(memory, "pages_digest", "");
			argv[n++] = "pages";
		}
	}
	cJSON_ArrayForEach (one, json_get(m, "layers")) {
		want[n] = json_str(one, "digest", "");
		argv[n++] = json_str(one, "name", "");
	}
	for (size_t i = 0; i < n; i++) {
		AUTOFREE char *so_far = out;

		out = xasprintf("%s %s/%s%s", so_far, folder, argv[i],
			starts_with(argv[i], "d_") ? ".qcow2" : "");
	}
	f = n ? popen(out, "re") : NULL;
	for (size_t i = 0; i < n; i++)
		if (!fgets(line, sizeof(line), f) || !strstr(line, want[i]))
			FAIL("%s/%s is damaged: %s", folder, argv[i], line);
	if (f)
		pclose(f);
	cJSON_Delete(m);
}

/* The folders in one, which are whole; their number. */
static unsigned check_folders(const char *name)
{
	AUTOFREE char *path = xasprintf("%s/%s", scratch_path, name);
	DIR *dir = opendir(path);
	struct dirent *e;
	unsigned n = 0;

	while (dir && (e = readdir(dir))) {
		AUTOFREE char *one = xasprintf("%s/%s", path, e->d_name);

		if (e->d_name[0] == '.')
			continue;
		check_folder(one);
		n++;
	}
	if (dir)
		closedir(dir);
	return n;
}

/* After it has lived on to the moment `on` (0: it has not). */
static bool is_at(unsigned memory, const char *disk, struct moment m, unsigned on, bool may_boot)
{
	AUTOFREE char *wanted =
		on ? xasprintf("%s%u,", m.disk ? m.disk : "", on) : xstrdup(m.disk ? m.disk : "");

	return m.disk && streq(disk, wanted) &&
	       (memory == (on ? on : m.memory) || (may_boot && memory == 0));
}

/* Woken or started for a look; what it remembers and has on its disk. */
static void look_at(const char *name, const char *state, unsigned *memory, char disk[200])
{
	AUTOFREE char *args = xasprintf("{\"agent\":\"%s\"}", name), *folder = folder_of(name);
	char top[64];

	if (!streq(state, "running")) {
		cJSON *msg = call("agent.start", args);

		if (!json_get(msg, "ok"))
			FAIL("%s, which was %s, does not start: %s", name, state,
				json_str(json_get(msg, "error"), "detail", "gone"));
		cJSON_Delete(msg);
	}
	machine_top(folder, top, sizeof(top));
	machine_disk(folder, top, disk, 200);
	*memory = machine_remembers((pid_t)shown_number(name, "pid"));
}

static void check_agent(const char *name, const char *state, const struct moment *allowed, size_t n,
	unsigned on, bool may_boot)
{
	char disk[200];
	unsigned memory;

	look_at(name, state, &memory, disk);
	may_boot = may_boot || streq(state, "stopped");
	for (size_t i = 0; i < n; i++)
		if (is_at(memory, disk, allowed[i], on, may_boot))
			return;
	FAIL("%s was %s, remembers %u and has '%s' on its disk", name, state, memory, disk);
}

void world_check(const struct deed *d, enum deed_end end, bool cut, unsigned on)
{
	const struct moment both[] = {d->a, d->a_new}, *from = both + (end == DEED_DONE);
	cJSON *list = call("agent.list", "{}"), *one;
	unsigned snapshots = check_folders("snapshots");
	bool a = false;

	cut = cut || (d->ends && end == DEED_FAILED);
	if (d->late && end == DEED_FAILED)
		end = DEED_OPEN;
	check_folders("templates");
	if (snapshots != (end == DEED_DONE ? d->snapshots_new : d->snapshots) &&
		!(end == DEED_OPEN &&
			(snapshots == d->snapshots_new || snapshots <= d->snapshots_open)))
		FAIL("there are %u snapshots", snapshots);
	cJSON_ArrayForEach (one, json_get(json_get(list, "ok"), "agents")) {
		const char *name = json_str(one, "name", ""), *state = json_str(one, "state", "");

		if (streq(state, "failed") && !(d->ends && cut))
			FAIL("%s has failed: %s", name, json_str(one, "state_detail", ""));
		if (streq(name, "b") && (!d->b.disk || end == DEED_FAILED))
			FAIL("b is there");
		else if (streq(name, "b"))
			check_agent(name, state, &d->b, 1, 0, cut);
		else
			check_agent(name, state, from, end == DEED_OPEN ? 2 : 1, on, cut);
		a |= streq(name, "a");
	}
	if (!a && from[0].disk && !(end == DEED_OPEN && !from[1].disk))
		FAIL("a is gone");
	cJSON_Delete(list);
}

/* ---- leftovers ---- */

static bool is_leftover(const char *name)
{
	if (starts_with(name, "rules-") || starts_with(name, "networks-") ||
		starts_with(name, "upstream-") || starts_with(name, "budget-"))
		return false; /* fake_policy.c's, which is killed at times */
	return strstr(name, ".part") || strstr(name, ".tmp") || strstr(name, ".new") ||
	       strstr(name, ".old") || name[0] == '.';
}

static void check_names(const char *path, bool deep)
{
	DIR *dir = opendir(path);
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		AUTOFREE char *one = xasprintf("%s/%s", path, e->d_name);

		if (streq(e->d_name, ".") || streq(e->d_name, ".."))
			continue;
		if (is_leftover(e->d_name))
			FAIL("%s is left over", one);
		if (deep && e->d_type == DT_DIR)
			check_names(one, false);
	}
	if (dir)
		closedir(dir);
}

static void check_agent_folder(const char *name)
{
	AUTOFREE char *folder = folder_of(name);
	char top[64], disk[200];
	unsigned files = machine_files(folder), chain = 0;

	machine_top(folder, top, sizeof(top));
	if (!top[0])
		FAIL("%s has %u files of disks, which are no chain", folder, files);
	machine_disk(folder, top, disk, sizeof(disk));
	(void)chain;
}

void world_check_leftovers(void)
{
	AUTOFREE char *agents = xasprintf("%s/agents", scratch_path),
		      *snapshots = xasprintf("%s/snapshots", scratch_path),
		      *templates = xasprintf("%s/templates", scratch_path);
	cJSON *list = call("agent.list", "{}"), *one;
	unsigned n = 0;

	check_names(scratch_path, false);
	check_names(agents, true);
	check_names(snapshots, true);
	check_names(templates, true);
	cJSON_ArrayForEach (one, json_get(json_get(list, "ok"), "agents")) {
		check_agent_folder(json_str(one, "name", ""));
		n++;
	}
	cJSON_Delete(list);
	list = call("leftovers", "{}");
	one = cJSON_GetArrayItem(json_get(json_get(list, "ok"), "leftovers"), 0);
	if (one)
		FAIL("%s %s", json_str(one, "path", ""), json_str(one, "what", ""));
	if (count_files("agents") != n || count_files("lost") != 0)
		FAIL("%u agents have %u folders, and %u are laid aside", n, count_files("agents"),
			count_files("lost"));
	cJSON_Delete(list);
}
