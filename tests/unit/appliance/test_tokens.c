/* Tokens: what is made, what is kept, who is let in. */
#include "scratch.h"

#include "store_sql.h"
#include "tokens.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

static struct store *store;

static int each(void **state)
{
	return store_open(&store, scratch_new(), NULL);
}

static int after(void **state)
{
	store_close(store);
	scratch_end();
	return 0;
}

static void hex_of(const char *text, char hex[TOKEN_HEX_LEN + 1])
{
	uint8_t hash[STORE_HASH_LEN];

	token_hash(text, hash);
	hex_encode(hash, sizeof(hash), hex);
}

static void test_hash(void **state)
{
	char hex[TOKEN_HEX_LEN + 1];

	hex_of("abc", hex); /* b2sum -l 256 */
	assert_string_equal(
		hex, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
}

static void test_create_and_check(void **state)
{
	struct token_record t = {.role = "viewer", .label = "l"}, got;
	char text[TOKEN_TEXT_MAX], hex[TOKEN_HEX_LEN + 1];
	struct err err;

	assert_int_equal(token_create(store, &t, 0, text, NULL), 0);
	assert_int_equal(strlen(text), strlen("berth_") + 52);
	assert_true(starts_with(text, "berth_"));
	assert_int_equal(strspn(text + 6, "abcdefghijklmnopqrstuvwxyz234567"), 52);
	hex_of(text, hex);
	assert_int_equal(token_check(store, hex, &got, NULL), 0);
	assert_string_equal(got.id, t.id);
	assert_string_equal(got.role, "viewer");
	text[10] = text[10] == 'a' ? 'b' : 'a';
	hex_of(text, hex);
	assert_true(token_check(store, hex, &got, &err) < 0);
	assert_string_equal(err.type, "token-unknown");
	assert_int_equal(err.status, 401);
	assert_true(token_check(store, "zz", &got, &err) < 0);
	assert_int_equal(err.status, 400);
}

static void test_all_bits_are_used(void **state)
{
	struct token_record t = {.role = "admin"};
	char seen[52][128] = {0}, text[TOKEN_TEXT_MAX];

	store_begin(store, NULL);
	for (int i = 0; i < 600; i++) {
		assert_int_equal(token_create(store, &t, 0, text, NULL), 0);
		for (int c = 0; c < 52; c++)
			seen[c][(int)text[6 + c]] = 1;
	}
	store_commit(store, NULL);
	for (int c = 0; c < 52; c++) {
		int n = 0;

		for (int i = 0; i < 128; i++)
			n += seen[c][i];
		assert_int_equal(n, c < 51 ? 32 : 2); /* the last one carries one bit */
	}
}

static void test_expiry_and_revocation(void **state)
{
	struct token_record t = {.role = "admin"}, got;
	char text[TOKEN_TEXT_MAX], hex[TOKEN_HEX_LEN + 1];
	struct err err;

	assert_int_equal(token_create(store, &t, 1000, text, NULL), 0);
	hex_of(text, hex);
	assert_int_equal(token_check(store, hex, &got, NULL), 0);
	assert_int_equal(got.expires_at - got.created_at, INT64_C(1000000000000));
	sql_run(store, NULL, "UPDATE tokens SET expires_at = 1", "");
	assert_true(token_check(store, hex, &got, &err) < 0);
	assert_string_equal(err.type, "token-expired");
	assert_int_equal(store_token_remove(store, t.id, NULL), 0);
	assert_true(token_check(store, hex, &got, &err) < 0);
	assert_string_equal(err.type, "token-unknown");
	assert_true(store_token_remove(store, t.id, &err) < 0);
	assert_string_equal(err.type, "token-not-found");
}

static void test_use_is_noted_coarsely(void **state)
{
	struct token_record t = {.role = "admin"}, got;
	char text[TOKEN_TEXT_MAX], hex[TOKEN_HEX_LEN + 1];
	int64_t first;

	assert_int_equal(token_create(store, &t, 0, text, NULL), 0);
	hex_of(text, hex);
	assert_int_equal(token_check(store, hex, &got, NULL), 0);
	first = got.last_used_at;
	assert_true(first > 0);
	assert_int_equal(token_check(store, hex, &got, NULL), 0);
	assert_int_equal(got.last_used_at, first);
	sql_run(store, NULL, "UPDATE tokens SET last_used_at = last_used_at - 61000000000", "");
	assert_int_equal(token_check(store, hex, &got, NULL), 0);
	assert_true(got.last_used_at > first);
}

static void test_goes_with_its_agent(void **state)
{
	struct agent_record a = {.id = "ag_x",
		.name = "x",
		.on_crash = "stop",
		.state = "stopped",
		.wanted = "stop"};
	struct token_record t = {.role = "agent", .agent = "ag_x"}, got;
	char text[TOKEN_TEXT_MAX], hex[TOKEN_HEX_LEN + 1];

	assert_int_equal(store_agent_add(store, &a, NULL), 0);
	assert_int_equal(token_create(store, &t, 0, text, NULL), 0);
	hex_of(text, hex);
	assert_int_equal(token_check(store, hex, &got, NULL), 0);
	assert_string_equal(got.agent_name, "x");
	assert_int_equal(store_agent_remove(store, a.id, NULL), 0);
	assert_true(token_check(store, hex, &got, NULL) < 0);
}

static void test_bounded(void **state)
{
	struct token_record t = {.role = "admin"};
	char text[TOKEN_TEXT_MAX];
	struct err err;

	store_begin(store, NULL);
	for (int i = 0; i < STORE_TOKENS_MAX; i++)
		assert_int_equal(token_create(store, &t, i == 0 ? 1 : 0, text, NULL), 0);
	assert_true(token_create(store, &t, 0, text, &err) < 0);
	assert_string_equal(err.type, "limit-reached");
	/* one that expired a day ago makes room */
	sql_run(store, NULL, "UPDATE tokens SET expires_at = 1 WHERE expires_at > 0", "");
	assert_int_equal(token_create(store, &t, 0, text, NULL), 0);
	store_commit(store, NULL);
}

static void test_first(void **state)
{
	AUTOFREE char *path = xasprintf("%s/run/first-token", scratch_path), *text = NULL,
		      *db = NULL, *content = NULL;
	char hex[TOKEN_HEX_LEN + 1];
	struct token_record got;
	struct stat st;
	size_t n;
	bool made;

	assert_int_equal(token_first(store, scratch_path, &made, NULL), 0);
	assert_true(made);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(file_read(AT_FDCWD, path, 100, &text, &n, NULL), 0);
	assert_int_equal(n, 6 + 52 + 1);
	assert_int_equal(text[n - 1], '\n');
	text[n - 1] = 0;
	hex_of(text, hex);
	assert_int_equal(token_check(store, hex, &got, NULL), 0);
	assert_string_equal(got.role, "admin");
	unlink(path);
	assert_int_equal(token_first(store, scratch_path, &made, NULL), 0);
	assert_false(made);
	assert_int_not_equal(stat(path, &st), 0);
	/* the text itself is nowhere in the database */
	store_close(store);
	db = xasprintf("%s/berth.db", scratch_path);
	assert_int_equal(file_read(AT_FDCWD, db, 1 << 24, &content, &n, NULL), 0);
	assert_null(memmem(content, n, text + 6, 20));
	assert_int_equal(store_open(&store, scratch_path, NULL), 0);
}

/* The record is not committed when the file cannot be written, so that the next start makes another
 * token. */
static void test_first_survives_a_failure(void **state)
{
	AUTOFREE char *run = xasprintf("%s/run", scratch_path);
	bool made;

	assert_int_equal(rmdir(run), 0);
	assert_true(token_first(store, scratch_path, &made, NULL) < 0);
	assert_false(made);
	assert_int_equal(mkdir(run, 0700), 0);
	assert_int_equal(token_first(store, scratch_path, &made, NULL), 0);
	assert_true(made);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_hash, each, after),
		cmocka_unit_test_setup_teardown(test_create_and_check, each, after),
		cmocka_unit_test_setup_teardown(test_all_bits_are_used, each, after),
		cmocka_unit_test_setup_teardown(test_expiry_and_revocation, each, after),
		cmocka_unit_test_setup_teardown(test_use_is_noted_coarsely, each, after),
		cmocka_unit_test_setup_teardown(test_goes_with_its_agent, each, after),
		cmocka_unit_test_setup_teardown(test_bounded, each, after),
		cmocka_unit_test_setup_teardown(test_first, each, after),
		cmocka_unit_test_setup_teardown(test_first_survives_a_failure, each, after),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
