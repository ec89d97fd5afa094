/* Guest images: what is there, and is it whole? */
#include "image.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>

#include "bytes.h"
#include "json.h"
#include "paths.h"
#include "util.h"

#define MANIFEST_MAX (1u << 20)
#define PIECE (1u << 20)
#define FINGERPRINT_MAX 8192

static const char *const image_files[] = {"vmlinuz", "initrd.img", "rootfs.erofs"};

static int damaged(struct err *err, const char *id)
{
	if (err) {
		err_context(err, "the image %s is damaged", id);
		err_hint(err, "remove it (berth image rm %s) and build it anew (berth image build)",
			id);
	}
	return err_type(err, 409, "image-damaged");
}

char *image_dir(const char *state, const char *id)
{
	return path_in(state, "images/%s", id);
}

/* An id is 16 hex digits: nothing that could leave the folder. */
static bool id_valid(const char *id)
{
	return strlen(id) == 16 && strspn(id, "0123456789abcdef") == 16;
}

/* The parsed manifest (cJSON_Delete it), or NULL with err: -ENOENT if there is none. */
static cJSON *read_manifest(const char *state, const char *id, struct err *err)
{
	AUTOFREE char *path = path_in(state, "images/%s/manifest.json", id);
	AUTOFREE char *text = NULL;
	cJSON *m;

	if (!id_valid(id)) {
		err_set(err, ENOENT, "'%.40s' is not the id of an image", id);
		return NULL;
	}
	if (file_read(AT_FDCWD, path, MANIFEST_MAX, &text, NULL, err) < 0)
		return NULL;
	m = cJSON_Parse(text);
	if (cJSON_IsObject(m) && streq(json_str(m, "id", ""), id) && json_int(m, "format", 0) == 1)
		return m;
	cJSON_Delete(m);
	err_set(err, EPROTO, "its manifest is not one that this berth can read");
	return NULL;
}

static int check_sizes(const char *state, const char *id, const cJSON *manifest, struct err *err)
{
	const cJSON *sizes = json_get(manifest, "sizes");

	for (size_t i = 0; i < ARRAY_SIZE(image_files); i++) {
		AUTOFREE char *path = path_in(state, "images/%s/%s", id, image_files[i]);
		struct stat st;

		if (stat(path, &st) < 0)
			return err_sys(err, "%s", image_files[i]);
		if (st.st_size != json_int(sizes, image_files[i], -1))
			return err_set(err, EIO, "%s has %lld bytes, not the %lld of the manifest",
				image_files[i], (long long)st.st_size,
				(long long)json_int(sizes, image_files[i], -1));
	}
	return 0;
}

static void fill(struct image *ret, const cJSON *m)
{
	const cJSON *size;

	*ret = (struct image){.packages = (size_t)cJSON_GetArraySize(json_get(m, "packages"))};
	snprintf(ret->id, sizeof(ret->id), "%s", json_str(m, "id", ""));
	snprintf(ret->flavor, sizeof(ret->flavor), "%s", json_str(m, "flavor", ""));
	snprintf(ret->built_at, sizeof(ret->built_at), "%s", json_str(m, "built_at", ""));
	snprintf(ret->kernel, sizeof(ret->kernel), "%s", json_str(m, "kernel", ""));
	cJSON_ArrayForEach (size, json_get(m, "sizes"))
		ret->size += (uint64_t)MAX(0, json_int(json_get(m, "sizes"), size->string, 0));
}

int image_get(const char *state, const char *id, struct image *ret, struct err *err)
{
	struct err why = {0};
	cJSON *m = read_manifest(state, id, &why);
	int r;

	if (!m && why.code == -ENOENT) {
		err_set(err, ENOENT, "there is no image '%.40s'", id);
		err_hint(err, "berth image ls");
		return err_type(err, 404, "image-not-found");
	}
	r = m ? check_sizes(state, id, m, &why) : why.code;
	if (m && r == 0)
		fill(ret, m);
	cJSON_Delete(m);
	if (r == 0)
		return 0;
	if (err)
		*err = why;
	return damaged(err, id);
}

static int newest_first(const void *a, const void *b)
{
	const struct image *x = a, *y = b;
	int order = strcmp(y->built_at, x->built_at);

	return order ? order : strcmp(x->id, y->id);
}

int image_list(const char *state, struct image **ret, size_t *ret_n, struct err *err)
{
	AUTOFREE char *path = path_in(state, "images");
	struct image *list = NULL;
	struct dirent *e;
	size_t n = 0;
	DIR *d = opendir(path);

	if (!d && errno != ENOENT)
		return err_sys(err, "cannot look into %s", path);
	while (d && (e = readdir(d))) {
		cJSON *m = id_valid(e->d_name) ? read_manifest(state, e->d_name, NULL) : NULL;

		if (!m)
			continue;
		list = xrealloc(list, (n + 1) * sizeof(*list));
		fill(&list[n++], m);
		cJSON_Delete(m);
	}
	if (d)
		closedir(d);
	if (n > 1)
		qsort(list, n, sizeof(*list), newest_first);
	*ret = list;
	*ret_n = n;
	return 0;
}

int image_newest(const char *state, struct image *ret, struct err *err)
{
	AUTOFREE struct image *list = NULL;
	size_t n;
	int r = image_list(state, &list, &n, err);

	if (r < 0)
		return r;
	if (n > 0)
		return image_get(state, list[0].id, ret, err);
	err_set(err, ENOENT, "there is no guest image yet");
	err_hint(err, "berth image build");
	return err_type(err, 409, "no-image");
}

static int digest_file(const char *path, char hex[65], struct err *err)
{
	AUTOFD int fd = open(path, O_RDONLY | O_CLOEXEC);
	AUTOFREE unsigned char *piece = xmalloc(PIECE);
	unsigned char digest[crypto_hash_sha256_BYTES];
	crypto_hash_sha256_state s;
	ssize_t n;

	if (fd < 0)
		return err_sys(err, "cannot open %s", path);
	crypto_hash_sha256_init(&s);
	while ((n = read(fd, piece, PIECE)) > 0)
		crypto_hash_sha256_update(&s, piece, (unsigned long long)n);
	if (n < 0)
		return err_sys(err, "cannot read %s", path);
	crypto_hash_sha256_final(&s, digest);
	hex_encode(digest, sizeof(digest), hex);
	return 0;
}

static int check_digests(const char *state, const char *id, const cJSON *manifest, struct err *err)
{
	const cJSON *digests = json_get(manifest, "digests");
	char hex[65];

	for (size_t i = 0; i < ARRAY_SIZE(image_files); i++) {
		AUTOFREE char *path = path_in(state, "images/%s/%s", id, image_files[i]);
		int r = digest_file(path, hex, err);

		if (r < 0)
			return r;
		if (!streq(json_str(digests, image_files[i], ""), hex))
			return err_set(
				err, EIO, "%s is not what the manifest says", image_files[i]);
	}
	return 0;
}

/* What a kept verdict holds for: each file's inode, size, and times of change, and the manifest's
 * digests. */
static void fingerprint(const char *state, const char *id, const cJSON *manifest, struct buf *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(image_files); i++) {
		AUTOFREE char *path = path_in(state, "images/%s/%s", id, image_files[i]);
		struct stat st = {0};

		if (stat(path, &st) < 0)
			continue;
		buf_addf(out, "%s %llu %lld %lld.%ld %lld.%ld %s\n", image_files[i],
			(unsigned long long)st.st_ino, (long long)st.st_size,
			(long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
			(long long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec,
			json_str(json_get(manifest, "digests"), image_files[i], ""));
	}
}

/* Fills now (initialised) and gives the manifest, or NULL and err. */
static cJSON *look(const char *state, const char *id, struct buf *now, struct err *err)
{
	struct image image;
	cJSON *m;

	if (image_get(state, id, &image, err) < 0)
		return NULL;
	m = read_manifest(state, id, err);
	if (m)
		fingerprint(state, id, m, now);
	else
		damaged(err, id);
	return m;
}

static char *kept_path(const char *state, const char *id)
{
	return path_in(state, "images/%s/verified", id);
}

static bool is_kept(const char *state, const char *id, const struct buf *now)
{
	AUTOFREE char *path = kept_path(state, id), *kept = NULL;
	size_t n;

	return file_read(AT_FDCWD, path, FINGERPRINT_MAX, &kept, &n, NULL) == 0 && now->len == n &&
	       memcmp(kept, now->data, n) == 0;
}

int image_verified(const char *state, const char *id, struct err *err)
{
	CLEANUP(buf_done) struct buf now;
	cJSON *m;

	buf_init(&now, FINGERPRINT_MAX);
	m = look(state, id, &now, err);
	cJSON_Delete(m);
	return m ? is_kept(state, id, &now) : -EIO;
}

int image_verify(const char *state, const char *id, bool fully, struct err *err)
{
	AUTOFREE char *path = kept_path(state, id);
	CLEANUP(buf_done) struct buf now;
	cJSON *m;
	int r = 0;

	buf_init(&now, FINGERPRINT_MAX);
	m = look(state, id, &now, err);
	if (!m)
		return -EIO;
	if (fully || !is_kept(state, id, &now)) {
		r = check_digests(state, id, m, err);
		if (r == 0)
			file_write_atomic(path, now.data, now.len, 0644, NULL);
		else
			unlink(path);
	}
	cJSON_Delete(m);
	return r < 0 ? damaged(err, id) : 0;
}

int image_remove(const char *state, const char *id, struct err *err)
{
	AUTOFREE char *dir = image_dir(state, id);
	AUTOFREE char *manifest = xasprintf("%s/manifest.json", dir);

	if (!id_valid(id) || access(dir, F_OK) < 0) {
		err_set(err, ENOENT, "there is no image '%.40s'", id);
		return err_type(err, 404, "image-not-found");
	}
	if (unlink(manifest) < 0 && errno != ENOENT)
		return err_sys(err, "cannot remove %s", manifest);
	return remove_tree(dir, err);
}
