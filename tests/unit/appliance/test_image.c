/* Images: listed, read, verified, found damaged, removed. */
#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>

#include "image.h"

#define ID "0123456789abcdef"

static void write_text(const char *path, const char *text)
{
	assert_int_equal(file_write_atomic(path, text, strlen(text), 0644, NULL), 0);
}

static void file_of(const char *id, const char *name, const char *text)
{
	AUTOFREE char *path = xasprintf("%s/images/%s/%s", scratch_path, id, name);

	write_text(path, text);
}

static void hash_of(const char *text, char hex[65])
{
	unsigned char digest[crypto_hash_sha256_BYTES];

	crypto_hash_sha256(digest, (const unsigned char *)text, strlen(text));
	hex_encode(digest, sizeof(digest), hex);
}

static void make_image(const char *id, const char *built_at)
{
	AUTOFREE char *images = xasprintf("%s/images", scratch_path);
	AUTOFREE char *dir = xasprintf("%s/%s", images, id), *manifest = NULL;
	char k[65], i[65], r[65];

	assert_int_equal(make_dir(images, 0755, NULL), 0);
	assert_int_equal(make_dir(dir, 0755, NULL), 0);
	file_of(id, "vmlinuz", "kernel");
	file_of(id, "initrd.img", "initrd");
	file_of(id, "rootfs.erofs", "root file system");
	hash_of("kernel", k);
	hash_of("initrd", i);
	hash_of("root file system", r);
	manifest = xasprintf(
		"{\"format\":1,\"id\":\"%s\",\"flavor\":\"headless-shell\",\"built_at\":\"%s\","
		"\"kernel\":\"6.12\",\"digests\":{\"vmlinuz\":\"%s\",\"initrd.img\":\"%s\","
		"\"rootfs.erofs\":\"%s\"},\"sizes\":{\"vmlinuz\":6,\"initrd.img\":6,"
		"\"rootfs.erofs\":16},\"packages\":{\"a\":\"1\",\"b\":\"2\"}}",
		id, built_at, k, i, r);
	file_of(id, "manifest.json", manifest);
}

static void test_list(void **unused)
{
	AUTOFREE struct image *list = NULL;
	struct image newest;
	struct err err = {0};
	size_t n;

	scratch_new();
	assert_int_equal(image_list(scratch_path, &list, &n, &err), 0);
	assert_int_equal(n, 0);
	assert_true(image_newest(scratch_path, &newest, &err) < 0);
	assert_string_equal(err.type, "no-image");
	assert_true(err.hint[0] != 0);
	make_image(ID, "2026-01-01T00:00:00Z");
	make_image("fedcba9876543210", "2026-02-01T00:00:00Z");
	free(list);
	assert_int_equal(image_list(scratch_path, &list, &n, &err), 0);
	assert_int_equal(n, 2);
	assert_string_equal(list[0].id, "fedcba9876543210");
	assert_int_equal(list[0].packages, 2);
	assert_int_equal(list[0].size, 28);
	assert_int_equal(image_newest(scratch_path, &newest, &err), 0);
	assert_string_equal(newest.id, "fedcba9876543210");
	assert_int_equal(image_remove(scratch_path, "fedcba9876543210", &err), 0);
	assert_int_equal(image_newest(scratch_path, &newest, &err), 0);
	assert_string_equal(newest.id, ID);
	scratch_end();
}

static void test_damage(void **unused)
{
	struct image image;
	struct err err = {0};

	scratch_new();
	make_image(ID, "2026-01-01T00:00:00Z");
	assert_int_equal(image_verify(scratch_path, ID, false, &err), 0);
	assert_int_equal(image_verify(scratch_path, ID, false, &err), 0);
	/* The same size, other bytes: seen although a verdict was kept. */
	file_of(ID, "rootfs.erofs", "root FILE system");
	assert_true(image_verify(scratch_path, ID, false, &err) < 0);
	assert_string_equal(err.type, "image-damaged");
	assert_int_equal(err.status, 409);
	assert_non_null(strstr(err.msg, "rootfs.erofs"));
	file_of(ID, "rootfs.erofs", "root file system");
	assert_int_equal(image_verify(scratch_path, ID, true, &err), 0);
	file_of(ID, "vmlinuz", "short");
	assert_true(image_get(scratch_path, ID, &image, &err) < 0);
	assert_string_equal(err.type, "image-damaged");
	file_of(ID, "manifest.json", "{\"format\":1");
	assert_true(image_get(scratch_path, ID, &image, &err) < 0);
	assert_string_equal(err.type, "image-damaged");
	scratch_end();
}

static void test_names(void **unused)
{
	static const char *const bad[] = {"", ".", "..", "../../etc", "0123456789ABCDEF",
		"0123456789abcde/", "0123456789abcdef0", "0123456789abcdee"};
	struct image image;
	struct err err;

	scratch_new();
	make_image(ID, "2026-01-01T00:00:00Z");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		err = (struct err){0};
		assert_true(image_get(scratch_path, bad[i], &image, &err) < 0);
		assert_string_equal(err.type, "image-not-found");
		assert_true(image_remove(scratch_path, bad[i], &err) < 0);
	}
	assert_int_equal(image_get(scratch_path, ID, &image, &err), 0);
	scratch_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_names),
	};

	return sodium_init() < 0 || cmocka_run_group_tests_name("image", tests, NULL, NULL);
}
