/* Images: building one here, listing and removing them. */
#include "cli.h"
#include "paths.h"
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define ARGS_MAX 64
#define ID_MAX 256

/* Options that berth-image-build takes as they are. */
static int builder_args(const struct cli *c, const char *out, const char **args)
{
	int n = 0;

	args[n++] = "berth-image-build";
	args[n++] = "--out";
	args[n++] = out;
	if (cli_flag(c, "no-update"))
		args[n++] = "--no-update";
	for (size_t i = 0; i < c->n_values && n + 2 < ARGS_MAX; i++) {
		static const char *const names[] = {
			"flavor", "mirror", "security-mirror", "extra-packages", "ca"};
		static const char *const given[] = {
			"--flavor", "--mirror", "--security-mirror", "--extra-packages", "--ca"};

		for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
			if (!streq(c->values[i].option->name, names[k]))
				continue;
			args[n++] = given[k];
			args[n++] = c->values[i].value;
		}
	}
	args[n] = NULL;
	return n;
}

/* Its output, line by line; the last one is the image's id. */
static void read_id(int fd, char id[ID_MAX])
{
	AUTOFILE FILE *f = fdopen(fd, "r");
	char line[ID_MAX];

	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\r\n")] = 0;
		if (line[0])
			memcpy(id, line, sizeof(line));
	}
}

static pid_t start_builder(const char *program, const char **args, int out)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	dup2(out, STDOUT_FILENO);
	signal(SIGPIPE, SIG_DFL);
	execv(program, (char *const *)args);
	fprintf(stderr, "berth: cannot run %s: %m\n", program);
	_exit(127);
}

static int run_builder(const char *program, const char **args, char id[ID_MAX], struct err *err)
{
	int p[2], status = 0;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(err, "cannot make a pipe");
	pid = start_builder(program, args, p[1]);
	close(p[1]);
	read_id(p[0], id);
	if (pid < 0)
		return err_sys(err, "cannot start the builder");
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && id[0])
		return 0;
	err_set(err, EIO, "the image was not built");
	return err_hint(err, "the lines above say why; no half-built image is left");
}

/* New agents then begin at once. Without an appliance that is up, the first create makes it. */
static void make_template(struct cli *c, const char *id)
{
	AUTOFREE char *path = xasprintf("/v1/images/%s/template", id),
		      *socket = path_in(c->state, "run/api/api.sock");
	struct err err;

	if (cli_flag(c, "no-template") || access(socket, F_OK) < 0)
		return;
	if (cli_call(c, "POST", path, NULL, "making its warm template", NULL, &err) < 0)
		fprintf(stderr, "berth: no warm template yet: %s; the first create makes it\n",
			err.msg);
}

static uid_t give_to;

static int give_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return lchown(path, give_to, give_to);
}

/* What root builds belongs to the appliance's root, who may remove it; the folder's owner says who
 * that is. */
static int give_away(const char *images, const char *id, struct err *err)
{
	AUTOFREE char *dir = xasprintf("%s/%s", images, id);
	struct stat st;

	if (geteuid() != 0 || stat(images, &st) < 0 || st.st_uid == 0)
		return 0;
	give_to = st.st_uid;
	return nftw(dir, give_entry, 8, FTW_PHYS) < 0
		       ? err_sys(err, "cannot give %s to the appliance", dir)
		       : 0;
}

static int make_folders(const char *state, const char *images, struct err *err)
{
	AUTOFREE char *copy = xstrdup(state);
	int r;

	/* /home/user/.local/share may not be there yet. */
	for (char *p = strchr(copy + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = 0;
		r = make_dir(copy, 0755, err);
		*p = '/';
		if (r < 0)
			return r;
	}
	r = make_dir(state, 0711, err);
	return r < 0 ? r : make_dir(images, 0755, err);
}

int cli_image_build(struct cli *c, struct err *err)
{
	AUTOFREE char *program = path_libexec("berth-image-build"),
		      *images = path_in(c->state, "images");
	const char *args[ARGS_MAX + 2];
	char id[ID_MAX] = "";
	int r;

	if (c->url)
		return cli_usage_error(
			err, "an image is built on the appliance's own machine; leave out --url");
	if (access(program, X_OK) < 0) {
		err_sys(err, "%s", program);
		return err_hint(err, "install berth again: meson install -C build/quickstart");
	}
	r = make_folders(c->state, images, err);
	if (r < 0)
		return r;
	builder_args(c, images, args);
	r = run_builder(program, args, id, err);
	r = r < 0 ? r : give_away(images, id, err);
	if (r < 0)
		return r;
	make_template(c, id);
	if (c->json)
		printf("{\n\t\"id\":\t\"%s\"\n}\n", id);
	else
		cli_print("%s", id);
	return 0;
}

static void image_row(struct cli_table *t, const cJSON *i)
{
	char size[32], packages[32];

	cli_format_size((double)json_int(i, "size", 0), size);
	snprintf(packages, sizeof(packages), "%lld", (long long)json_int(i, "packages", 0));
	cli_table_row(t, (const char *[]){json_str(i, "id", "?"), json_str(i, "flavor", "?"),
				 json_str(i, "built_at", NULL), size, packages,
				 json_bool(i, "default", false) ? "yes" : "no"});
}

int cli_image_ls(struct cli *c, struct err *err)
{
	struct cli_table t = {.columns = 6};
	AUTOJSON *v = NULL;
	const cJSON *i;
	int r = cli_call(c, "GET", "/v1/images", NULL, NULL, &v, err);

	if (r < 0)
		return r;
	if (c->json) {
		cli_print_json(v);
		return 0;
	}
	cli_table_row(&t, (const char *[]){"ID", "FLAVOR", "BUILT", "SIZE", "PACKAGES", "DEFAULT"});
	cJSON_ArrayForEach (i, json_get(v, "images")) {
		image_row(&t, i);
	}
	cli_table_print(&t);
	return 0;
}

int cli_image_rm(struct cli *c, struct err *err)
{
	AUTOFREE char *id = cli_encode(c->args[0], false);
	AUTOFREE char *path = xasprintf("/v1/images/%s", id);
	int r = cli_call(c, "DELETE", path, NULL, NULL, NULL, err);

	if (r == 0 && c->json)
		puts("{}");
	else if (r == 0)
		cli_print("%s removed", c->args[0]);
	return r;
}
