/* Agents and their policies in the database. */
#include "store_sql.h"
#include "util.h"

#include <errno.h>
#include <string.h>

void agent_record_done(struct agent_record *r)
{
	free(r->labels);
	free(r->layers);
	free(r->next_layers);
	r->labels = r->layers = r->next_layers = NULL;
}

/* The lowest slot that no agent has. */
static int free_slot(struct store *s, unsigned *ret, struct err *err)
{
	AUTOSTMT sqlite3_stmt *st =
		sql_prepare(s, err, "SELECT slot FROM agents ORDER BY slot", "");
	unsigned slot = 0;
	int r;

	if (!st)
		return -EIO;
	while ((r = sql_step(s, st, err)) == 1 && sqlite3_column_int64(st, 0) == slot)
		slot++;
	if (r < 0)
		return r;
	if (slot >= STORE_AGENTS_MAX) {
		err_set(err, ENOSPC, "there are %d agents already, which is the most",
			STORE_AGENTS_MAX);
		return err_type(err, 409, "limit-reached");
	}
	*ret = slot;
	return 0;
}

static int name_taken(struct store *s, const char *name, struct err *err)
{
	AUTOSTMT sqlite3_stmt *st =
		sql_prepare(s, err, "SELECT 1 FROM agents WHERE name = ?", "s", name);
	int r = st ? sql_step(s, st, err) : -EIO;

	if (r <= 0)
		return r;
	err_set(err, EEXIST, "there is an agent '%s' already", name);
	return err_type(err, 409, "agent-exists");
}

int store_agent_add(struct store *s, struct agent_record *r, struct err *err)
{
	int code = name_taken(s, r->name, err);

	if (code == 0)
		code = free_slot(s, &r->slot, err);
	if (code < 0)
		return code;
	code = sql_run(s, err,
		"INSERT INTO agents (id, name, slot, image, memory_mib, cpus, disk_gib, labels, "
		"on_crash, state, wanted, detail,"
		" machine_id, created_at, started_at, parent, port, restarts, boots, disk, "
		"layers, base, base_digest, head, idle_suspend)"
		" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
		"?)",
		"ssusuuusssssmiisuuusssssu", r->id, r->name, r->slot, r->image, r->memory_mib,
		r->cpus, r->disk_gib, r->labels ? r->labels : "{}", r->on_crash, r->state,
		r->wanted, r->detail, r->machine_id, r->created_at, r->started_at, r->parent,
		r->port, r->restarts, r->boots, r->disk, r->layers ? r->layers : "[]", r->base,
		r->base_digest, r->head, r->idle_suspend);
	return code < 0 ? code : 0;
}

int store_agent_save(struct store *s, const struct agent_record *r, struct err *err)
{
	int code = sql_run(s, err,
		"UPDATE agents SET name = ?, image = ?, memory_mib = ?, cpus = ?, disk_gib = ?, "
		"labels = ?, on_crash = ?,"
		" state = ?, wanted = ?, detail = ?, started_at = ?, parent = ?, port = "
		"?, restarts = ?, boots = ?, disk = ?, layers = ?, base = ?, base_digest = ?, head "
		"= ?, idle_suspend = ?, next_layers = ?"
		" WHERE id = ?",
		"ssuuusssssisuuusssssuss", r->name, r->image, r->memory_mib, r->cpus, r->disk_gib,
		r->labels ? r->labels : "{}", r->on_crash, r->state, r->wanted, r->detail,
		r->started_at, r->parent, r->port, r->restarts, r->boots, r->disk,
		r->layers ? r->layers : "[]", r->base, r->base_digest, r->head, r->idle_suspend,
		r->next_layers ? r->next_layers : "", r->id);

	if (code == 0)
		return err_set(err, ENOENT, "the record of agent %s is gone", r->id);
	return code < 0 ? code : 0;
}

int store_agent_remove(struct store *s, const char *id, struct err *err)
{
	int code = sql_run(s, err, "DELETE FROM agents WHERE id = ?", "s", id);

	return code < 0 ? code : 0;
}

static void read_agent(sqlite3_stmt *st, struct agent_record *r)
{
	unsigned *const numbers[] = {&r->slot, &r->memory_mib, &r->cpus, &r->disk_gib, &r->port,
		&r->restarts, &r->boots};
	int column = 0;

	sql_copy(st, column++, r->id, sizeof(r->id));
	sql_copy(st, column++, r->name, sizeof(r->name));
	sql_copy(st, column++, r->image, sizeof(r->image));
	sql_copy(st, column++, r->parent, sizeof(r->parent));
	sql_copy(st, column++, r->on_crash, sizeof(r->on_crash));
	sql_copy(st, column++, r->state, sizeof(r->state));
	sql_copy(st, column++, r->wanted, sizeof(r->wanted));
	sql_copy(st, column++, r->detail, sizeof(r->detail));
	r->labels = xstrdup(sql_text(st, column++));
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		*numbers[i] = (unsigned)sqlite3_column_int64(st, column++);
	r->created_at = sqlite3_column_int64(st, column++);
	r->started_at = sqlite3_column_int64(st, column++);
	if (sqlite3_column_bytes(st, column) == (int)sizeof(r->machine_id))
		memcpy(r->machine_id, sqlite3_column_blob(st, column), sizeof(r->machine_id));
	column++;
	sql_copy(st, column++, r->disk, sizeof(r->disk));
	r->layers = xstrdup(sql_text(st, column++));
	sql_copy(st, column++, r->base, sizeof(r->base));
	sql_copy(st, column++, r->base_digest, sizeof(r->base_digest));
	sql_copy(st, column++, r->head, sizeof(r->head));
	r->idle_suspend = (unsigned)sqlite3_column_int64(st, column++);
	r->next_layers = xstrdup(sql_text(st, column++));
}

int store_agents(struct store *s, void (*fn)(void *data, struct agent_record *r), void *data,
	struct err *err)
{
	AUTOSTMT sqlite3_stmt *st = sql_prepare(s, err,
		"SELECT id, name, image, parent, on_crash, state, wanted, detail, labels, "
		"slot, memory_mib, cpus,"
		" disk_gib, port, restarts, boots, created_at, started_at, machine_id, disk, "
		"layers, base, "
		"base_digest, head, idle_suspend, next_layers FROM agents "
		"ORDER BY created_at, id",
		"");
	int r;

	if (!st)
		return -EIO;
	while ((r = sql_step(s, st, err)) == 1) {
		struct agent_record record = {0};

		read_agent(st, &record);
		fn(data, &record);
	}
	return r;
}

int store_policy_set(struct store *s, const char *agent, const cJSON *policy, struct err *err)
{
	AUTOFREE char *text = cJSON_PrintUnformatted(policy);
	int r = sql_run(s, err,
		"INSERT INTO policies (agent, policy) VALUES (?, ?)"
		" ON CONFLICT (agent) DO UPDATE SET policy = excluded.policy",
		"ss", agent, text);

	return r < 0 ? r : 0;
}

int store_policy_get(struct store *s, const char *agent, cJSON **ret, struct err *err)
{
	AUTOSTMT sqlite3_stmt *st =
		sql_prepare(s, err, "SELECT policy FROM policies WHERE agent = ?", "s", agent);
	int r = st ? sql_step(s, st, err) : -EIO;

	if (r < 0)
		return r;
	*ret = r == 1 ? cJSON_Parse(sql_text(st, 0)) : NULL;
	return *ret ? 0 : err_set(err, EIO, "the policy of agent %s is not in the database", agent);
}
