/* Operations on tokens. */
#include "ops.h"
#include "tokens.h"
#include "util.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

static void add_text_or_null(cJSON *o, const char *name, const char *text)
{
	if (text[0])
		cJSON_AddStringToObject(o, name, text);
	else
		cJSON_AddNullToObject(o, name);
}

static void add_time_or_null(cJSON *o, const char *name, int64_t when)
{
	if (when)
		json_add_time(o, name, when);
	else
		cJSON_AddNullToObject(o, name);
}

static cJSON *token_json(const struct token_record *t)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "id", t->id);
	cJSON_AddStringToObject(o, "role", t->role);
	add_text_or_null(o, "agent", t->agent_name);
	add_time_or_null(o, "expires_at", t->expires_at);
	return o;
}

void op_token_check(struct daemon *d, struct request *r)
{
	struct token_record t;
	struct err err;

	if (token_check(d->store, json_str(request_args(r), "hash", ""), &t, &err) < 0)
		request_fail(r, &err);
	else
		request_ok(r, token_json(&t), -1);
}

static int refuse(struct err *err, const char *what)
{
	err_set(err, EINVAL, "%s", what);
	return err_type(err, 400, "invalid-request");
}

/* Fills role, label and agent. */
static int read_wish(struct daemon *d, const cJSON *args, struct token_record *t, struct err *err)
{
	const char *role = json_str(args, "role", ""), *name = json_str(args, "agent", NULL);
	struct agent *a = NULL;

	if (!streq(role, "admin") && !streq(role, "agent") && !streq(role, "viewer"))
		return refuse(err, "'role' must be admin, agent or viewer");
	if (streq(role, "agent") && !name)
		return refuse(
			err, "a token of the role agent names its agent ('agent' is missing)");
	if (streq(role, "admin") && name)
		return refuse(err,
			"a token of the role admin is for all agents ('agent' cannot be given)");
	if (name) {
		a = agents_find(d->agents, name, err);
		if (!a)
			return err->code;
		snprintf(t->agent, sizeof(t->agent), "%s", agent_record(a)->id);
		snprintf(t->agent_name, sizeof(t->agent_name), "%s", agent_record(a)->name);
	}
	snprintf(t->role, sizeof(t->role), "%s", role);
	snprintf(t->label, sizeof(t->label), "%s", json_str(args, "label", ""));
	return 0;
}

static void tell(struct daemon *d, struct request *r, const char *type, const char *id,
	const struct token_record *t)
{
	struct event_note note = {.type = type, .by = request_by(r), .detail = id};

	if (t) {
		note.agent = t->agent_name;
		note.agent_id = t->agent;
		note.data = cJSON_CreateObject();
		cJSON_AddStringToObject(note.data, "role", t->role);
	}
	events_emit(d->events, &note);
}

/* Those that a new one takes the place of: of the same role, agent and label. */
struct replaced {
	const struct token_record *by;
	cJSON *ids;
};

static void add_replaced(void *data, const struct token_record *t)
{
	struct replaced *all = data;

	if (streq(t->role, all->by->role) && streq(t->agent, all->by->agent) &&
		streq(t->label, all->by->label))
		cJSON_AddItemToArray(all->ids, cJSON_CreateString(t->id));
}

/* Makes t and removes the others, all or nothing. */
static int replace(struct daemon *d, struct token_record *t, int64_t ttl, char text[TOKEN_TEXT_MAX],
	const struct replaced *others, struct err *err)
{
	const cJSON *id;
	int r = store_begin(d->store, err);

	if (r == 0)
		r = store_tokens(d->store, add_replaced, (void *)others, err);
	cJSON_ArrayForEach (id, others->ids) {
		if (r == 0)
			r = store_token_remove(d->store, id->valuestring, err);
	}
	if (r == 0)
		r = token_create(d->store, t, ttl, text, err);
	if (r == 0)
		r = store_commit(d->store, err);
	if (r < 0)
		store_rollback(d->store);
	return r;
}

void op_token_create(struct daemon *d, struct request *r)
{
	const cJSON *args = request_args(r), *id;
	int64_t ttl = json_int(args, "ttl", 0);
	struct token_record t = {0};
	cJSON *ids = cJSON_CreateArray(), *o;
	const struct replaced others = {&t, ids};
	char text[TOKEN_TEXT_MAX];
	struct err err;
	int code = read_wish(d, args, &t, &err);

	if (code == 0)
		code = json_bool(args, "replace", false)
			       ? replace(d, &t, ttl, text, &others, &err)
			       : token_create(d->store, &t, ttl, text, &err);
	if (code < 0) {
		request_fail(r, &err);
		cJSON_Delete(ids);
		return;
	}
	cJSON_ArrayForEach (id, ids) {
		tell(d, r, "token.revoked", id->valuestring, NULL);
	}
	cJSON_Delete(ids);
	tell(d, r, "token.created", t.id, &t);
	o = token_json(&t);
	cJSON_AddStringToObject(o, "token", text);
	request_ok(r, o, -1);
	sodium_memzero(text, sizeof(text));
}

static void add_token(void *data, const struct token_record *t)
{
	cJSON *o = token_json(t);

	cJSON_AddStringToObject(o, "label", t->label);
	json_add_time(o, "created_at", t->created_at);
	add_time_or_null(o, "last_used_at", t->last_used_at);
	cJSON_AddItemToArray(data, o);
}

void op_token_list(struct daemon *d, struct request *r)
{
	cJSON *o = cJSON_CreateObject();
	struct err err;

	if (store_tokens(d->store, add_token, cJSON_AddArrayToObject(o, "tokens"), &err) == 0) {
		request_ok(r, o, -1);
		return;
	}
	cJSON_Delete(o);
	request_fail(r, &err);
}

void op_token_revoke(struct daemon *d, struct request *r)
{
	const char *id = json_str(request_args(r), "id", "");
	struct err err;

	if (store_token_remove(d->store, id, &err) < 0) {
		request_fail(r, &err);
		return;
	}
	tell(d, r, "token.revoked", id, NULL);
	request_ok(r, NULL, -1);
}
