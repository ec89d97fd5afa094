/* Asks berthd who a token is, and remembers the answer for a moment. */
#include "auth.h"
#include "gateway_state.h"
#include "json.h"
#include "log.h"
#include "problem.h"
#include "util.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/*
 * The token itself goes nowhere: its BLAKE2b-256 is looked up here and asked for there. Finding an
 * entry by a hash tells a guesser nothing, so no comparison needs to be in constant time. Wrong
 * tokens are remembered too, so that a client that goes on with a dead one costs berthd a question
 * every KNOWN_MS.
 */
#define KNOWN_MAX 1024
#define KNOWN_MS 5000
#define LOG_EVERY_MS 10000

struct known {
	uint8_t hash[32];
	uint64_t until;
	bool good;
	struct principal who;
	struct err *err; /* when not good; owned */
};

struct auth {
	struct gateway *gw;
	struct known
		known[KNOWN_MAX]; /* by the hash's first bits; a newcomer replaces what was there */
	uint64_t logged, unlogged, epoch;
};

struct auth_check {
	struct auth *auth;
	uint8_t hash[32];
	uint64_t epoch;
	auth_fn *fn; /* NULL: nobody waits any longer */
	void *data;
};

struct auth *auth_new(struct gateway *gw)
{
	struct auth *a = xcalloc(1, sizeof(*a));

	a->gw = gw;
	return a;
}

void auth_forget(struct auth *a)
{
	for (size_t i = 0; i < KNOWN_MAX; i++)
		free(a->known[i].err);
	memset(a->known, 0, sizeof(a->known));
	a->epoch++;
}

void auth_free(struct auth *a)
{
	if (!a)
		return;
	auth_forget(a);
	free(a);
}

static struct known *slot(struct auth *a, const uint8_t hash[32])
{
	return &a->known[(hash[0] | hash[1] << 8) % KNOWN_MAX];
}

static void note_wrong(struct auth *a, const struct err *err)
{
	uint64_t now = now_ms();

	a->unlogged++;
	if (a->logged && now - a->logged < LOG_EVERY_MS)
		return;
	log_warning("%llu request(s) with a wrong token; the last: %s",
		(unsigned long long)a->unlogged, err->type);
	a->logged = now;
	a->unlogged = 0;
}

static bool read_role(const char *s, enum role *ret)
{
	static const char *const names[] = {"none", "viewer", "agent", "admin"};

	for (size_t i = ROLE_VIEWER; i < ARRAY_SIZE(names); i++) {
		if (streq(names[i], s)) {
			*ret = (enum role)i;
			return true;
		}
	}
	return false;
}

/* berthd's RFC 3339 time ("2025-01-31T12:00:00.000Z"); null is never. */
static bool read_expiry(const cJSON *ok, int64_t *ret_ms)
{
	const char *text = json_str(ok, "expires_at", NULL), *end;
	struct tm tm = {0};

	*ret_ms = 0;
	if (!text)
		return true;
	end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!end || (*end != 'Z' && *end != '.'))
		return false;
	*ret_ms = (int64_t)timegm(&tm) * 1000 + (*end == '.' ? strtol(end + 1, NULL, 10) : 0);
	return *ret_ms > 0;
}

static int read_principal(const cJSON *ok, struct principal *ret, struct err *err)
{
	*ret = (struct principal){0};
	if (!read_expiry(ok, &ret->expires_ms))
		return problem(err, 500, "internal", "berthd named a time that is none");
	if (!read_role(json_str(ok, "role", ""), &ret->role))
		return problem(err, 500, "internal", "berthd named a role that is not known here");
	snprintf(ret->agent, sizeof(ret->agent), "%s", json_str(ok, "agent", ""));
	snprintf(ret->token_id, sizeof(ret->token_id), "%s", json_str(ok, "id", ""));
	return 0;
}

static void remember(
	struct auth *a, const uint8_t hash[32], const struct principal *who, const struct err *err)
{
	struct known *k = slot(a, hash);

	free(k->err);
	*k = (struct known){.until = now_ms() + KNOWN_MS, .good = who != NULL};
	memcpy(k->hash, hash, sizeof(k->hash));
	if (who)
		k->who = *who;
	else
		k->err = memcpy(xmalloc(sizeof(*err)), err, sizeof(*err));
}

static void on_answer(void *data, const cJSON *ok, const struct err *err)
{
	struct auth_check *q = data;
	struct principal who;
	struct err wrong;
	bool good = ok && read_principal(ok, &who, &wrong) == 0;

	if (good)
		memcpy(who.token_hash, q->hash, sizeof(who.token_hash));
	if (!good && !err)
		err = &wrong;
	if (!good && err->status == 401)
		note_wrong(q->auth, err);
	if (q->epoch == q->auth->epoch && (good || err->status == 401))
		remember(q->auth, q->hash, good ? &who : NULL, err);
	if (q->fn)
		q->fn(q->data, good ? &who : NULL, err);
	free(q);
}

static bool has_expired(const struct principal *who)
{
	return who->expires_ms && who->expires_ms <= realtime_ns() / 1000000;
}

struct auth_check *auth_check(struct auth *a, const char *token, auth_fn *fn, void *data)
{
	struct auth_check *q = xcalloc(1, sizeof(*q));
	const struct known *k;
	char hex[65];
	cJSON *args;

	*q = (struct auth_check){.auth = a, .epoch = a->epoch, .fn = fn, .data = data};
	crypto_generichash(
		q->hash, sizeof(q->hash), (const unsigned char *)token, strlen(token), NULL, 0);
	k = slot(a, q->hash);
	if (k->until > now_ms() && memcmp(k->hash, q->hash, sizeof(q->hash)) == 0 &&
		!has_expired(&k->who)) {
		struct principal who = k->who;
		struct err err = k->err ? *k->err : (struct err){0};

		free(q);
		fn(data, k->good ? &who : NULL, k->good ? NULL : &err);
		return NULL;
	}
	args = cJSON_CreateObject();
	hex_encode(q->hash, sizeof(q->hash), hex);
	cJSON_AddStringToObject(args, "hash", hex);
	gateway_ask(a->gw, "token.check", args, NULL, on_answer, q);
	return q;
}

void auth_cancel(struct auth_check *q)
{
	q->fn = NULL;
}
