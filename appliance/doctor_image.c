/* Are there images, and are they whole? */
#include "doctor_image.h"
#include "json.h"
#include "paths.h"
#include "util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>

#define MANIFEST_MAX (1u << 20)

static const char *const files[] = {"vmlinuz", "initrd.img", "rootfs.erofs"};

static int digest_file(const char *path, char hex[65], struct err *err)
{
	AUTOFD int fd = open(path, O_RDONLY | O_CLOEXEC);
	AUTOFREE unsigned char *piece = xmalloc(1 << 20);
	unsigned char digest[crypto_hash_sha256_BYTES];
	crypto_hash_sha256_state s;
	ssize_t n;

	if (fd < 0)
		return err_sys(err, "cannot open %s", path);
	crypto_hash_sha256_init(&s);
	while ((n = read(fd, piece, 1 << 20)) > 0)
		crypto_hash_sha256_update(&s, piece, (unsigned long long)n);
	if (n < 0)
		return err_sys(err, "cannot read %s", path);
	crypto_hash_sha256_final(&s, digest);
	hex_encode(digest, sizeof(digest), hex);
	return 0;
}

static int check_files(const char *dir, const cJSON *manifest, struct err *err)
{
	const cJSON *digests = json_get(manifest, "digests");
	char hex[65];

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		AUTOFREE char *path = xasprintf("%s/%s", dir, files[i]);
		int r = digest_file(path, hex, err);

		if (r < 0)
			return r;
		if (!streq(json_str(digests, files[i], ""), hex))
			return err_set(
				err, EIO, "%s is damaged: it is not what the manifest says", path);
	}
	return 0;
}

static int check_one(const char *images, const char *name, char id[40], struct err *err)
{
	AUTOFREE char *dir = xasprintf("%s/%s", images, name);
	AUTOFREE char *path = xasprintf("%s/manifest.json", dir);
	AUTOFREE char *text = NULL;
	cJSON *manifest;
	int r = file_read(AT_FDCWD, path, MANIFEST_MAX, &text, NULL, err);

	if (r == -ENOENT)
		return 0; /* something else */
	if (r < 0)
		return r;
	manifest = cJSON_Parse(text);
	r = manifest ? check_files(dir, manifest, err)
		     : err_set(err, EPROTO, "%s is damaged: not JSON", path);
	cJSON_Delete(manifest);
	snprintf(id, 40, "%.39s", name);
	return r < 0 ? r : 1;
}

static int each_image(const char *state, char id[40], bool look_only, struct err *err)
{
	AUTOFREE char *images = path_in(state, "images");
	DIR *d = opendir(images);
	struct dirent *e;
	int n = 0, r = 0;

	while (d && r >= 0 && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		r = look_only ? 1 : check_one(images, e->d_name, id, err);
		n += r > 0;
	}
	if (d)
		closedir(d);
	return r < 0 ? r : n;
}

bool doctor_image_any(const char *state)
{
	return each_image(state, NULL, true, NULL) > 0;
}

int doctor_image_check(const char *state, char id[40], struct err *err)
{
	return each_image(state, id, false, err);
}
