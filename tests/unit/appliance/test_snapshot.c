/* Snapshots as folders: published whole or not at all, read with suspicion, sharing their files. */
#include "scratch.h"

#include "json.h"
#include "snapshot.h"

#include <errno.h>
#include <sys/stat.h>

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const char good[] =
	"{\"format\":1,\"kind\":\"snapshot\",\"id\":\"sn_a\",\"memory_mib\":1,\"cpus\":1,"
	"\"disk_gib\":1,\"layers\":[{\"name\":\"d_a\",\"digest\":\"" HEX "\"}],\"memory\":{"
	"\"base\":\"m_a\",\"base_digest\":\"" HEX "\",\"device_digest\":\"" HEX
	"\",\"pages\":true,\"pages_digest\":\"" HEX "\"}}";

static char *in(const char *name)
{
	return xasprintf("%s/%s", scratch_path, name);
}

static void put(const char *folder, const char *name, const char *text)
{
	AUTOFREE char *path = xasprintf("%s/%s/%s", scratch_path, folder, name);

	assert_int_equal(file_write_atomic(path, text, strlen(text), 0444, NULL), 0);
}

static bool there(const char *folder, const char *name)
{
	AUTOFREE char *path = xasprintf("%s/%s/%s", scratch_path, folder, name);

	return access(path, F_OK) == 0;
}

static int setup(void **state)
{
	scratch_new();
	return 0;
}

static int teardown(void **state)
{
	scratch_end();
	return 0;
}

static void test_publish(void **state)
{
	AUTOFREE char *part = in(".new-sn_a"), *folder = in("sn_a"), *other = in("other");
	cJSON *m = cJSON_Parse(good), *back;
	struct err err;

	assert_null(snapshot_read(folder, &err));
	assert_int_equal(err.code, -ENOENT);
	assert_int_equal(snapshot_make_part(part, NULL), 0);
	put(".new-sn_a", "d_a.qcow2", "disk");
	put(".new-sn_a", "m_a", "memory");
	put(".new-sn_a", "pages", "pages");
	put(".new-sn_a", "device", "device");
	assert_int_equal(snapshot_publish(part, folder, m, NULL), 0);
	assert_false(there(".new-sn_a", "."));
	back = snapshot_read(folder, &err);
	assert_non_null(back);
	cJSON_SetNumberHelper(cJSON_GetObjectItem(m, "format"), SNAPSHOT_FORMAT);
	assert_true(cJSON_Compare(m, back, true));
	assert_true(snapshot_own_bytes(folder) > 0);

	/* what stands on it keeps its files when it goes, twice asked for is fine */
	assert_int_equal(make_dir(other, 0700, NULL), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(snapshot_link_base(folder, other, back, &err), 0);
		assert_int_equal(snapshot_link_memory(folder, other, back, &err), 0);
	}
	assert_int_equal(snapshot_remove(folder, &err), 0);
	assert_int_equal(snapshot_remove(folder, &err), 0);
	assert_true(there("other", "d_a.qcow2") && there("other", "m_a") &&
		    there("other", "pages") && there("other", "device"));
	/* a missing file is damage, another one in its place is no link */
	assert_int_equal(snapshot_link(folder, other, "m_b", &err), -ENOENT);
	assert_string_equal(err.type, "snapshot-damaged");
	cJSON_Delete(m);
	cJSON_Delete(back);
}

/* Manifests that could lead somewhere else, or that are no manifests. */
static void test_suspicion(void **state)
{
	static const struct {
		const char *from, *to;
	} changes[] = {
		{"\"format\":1", "\"format\":2"}, /* which has a sum */
		{"\"format\":1", "\"format\":3"},
		{"\"format\":1", "\"format\":1,\"sum\":\"" HEX "\""},
		{"d_a", "d_../../x"},
		{"d_a", "x"},
		{"m_a", "../m"},
		{"m_a", "m_A"},
		{"\"cpus\":1", "\"cpus\":0"},
		{"\"memory_mib\":1", "\"memory_mib\":-1"},
		{"\"disk_gib\":1", "\"disk_gib\":\"1\""},
		{"\"pages_digest\":\"0", "\"pages_digest\":\"x"},
		{"\"device_digest\"", "\"device_digested\""},
		{"{\"format\"", "[{\"format\""},
	};
	AUTOFREE char *folder = in("sn_a");

	assert_int_equal(make_dir(folder, 0700, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		const char *at = strstr(good, changes[i].from);
		AUTOFREE char *text = NULL;
		struct err err = {0};
		cJSON *m;

		assert_non_null(at);
		text = xasprintf("%.*s%s%s", (int)(at - good), good, changes[i].to,
			at + strlen(changes[i].from));
		put("sn_a", "manifest.json", text);
		m = snapshot_read(folder, &err);
		assert_null(m);
		assert_string_equal(err.type, "snapshot-damaged");
	}
	put("sn_a", "manifest.json", good);
	{
		cJSON *m = snapshot_read(folder, NULL);

		assert_non_null(m);
		cJSON_Delete(m);
	}
}

static void test_sweep(void **state)
{
	AUTOFREE char *half = in(".new-sn_b"), *gone = in(".rm-sn_c"), *whole = in("sn_d");

	assert_int_equal(make_dir(half, 0700, NULL), 0);
	assert_int_equal(make_dir(gone, 0700, NULL), 0);
	assert_int_equal(make_dir(whole, 0700, NULL), 0);
	put(".new-sn_b", "pages", "x");
	snapshot_sweep(scratch_path);
	assert_false(there(".new-sn_b", ".") || there(".rm-sn_c", "."));
	assert_true(there("sn_d", "."));
}

static void test_names(void **state)
{
	static const char *const bad[] = {
		"", "sn_", "sn_/", "sn_..", "SN_a", "sn_A", "d_a", "sn_a b"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(snapshot_id_valid(bad[i]));
	assert_true(snapshot_id_valid("sn_iq4fnl53cqmlijdo"));
	assert_true(snapshot_base_valid("m_zero"));
	assert_false(snapshot_base_valid("m_../x"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_publish, setup, teardown),
		cmocka_unit_test_setup_teardown(test_suspicion, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sweep, setup, teardown),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests_name("snapshot", tests, NULL, NULL);
}
