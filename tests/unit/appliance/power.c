/* What a power cut can leave of a folder (power.h): a small model of its names and files. */
#include "scratch.h"

#include "power.h"

#include "bytes.h"
#include "faults.h"
#include "util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>

#define NAMES_MAX 64
#define NODES_MAX 4000
#define CUTS_MAX 20000

struct names {
	struct {
		char name[100];
		struct node *node;
	} all[NAMES_MAX];
	size_t n;
};

/* A file or folder. */
struct node {
	unsigned long ino;
	bool folder, dirty;     /* dirty: written since its last sync */
	struct names now, sure; /* of a folder */
	long size;              /* of a file, now */
	char copy[200];         /* of a file when it was synced, "" never */
	char made[300];         /* where power_cut put it */
};

struct power {
	char log[128], last[400], ahead[1000];
	FILE *f;
	struct node *root, *nodes[NODES_MAX], *touched; /* touched: the folder of the last name */
	struct names before;                            /* that folder's names before it */
	size_t n;
	uint64_t cuts[CUTS_MAX]; /* hashes of those made */
	size_t n_cuts;
};

static struct node *add(struct power *p, unsigned long ino, bool folder)
{
	struct node *n = xcalloc(1, sizeof(*n));

	assert_true(p->n < NODES_MAX);
	n->ino = ino;
	n->folder = folder;
	p->nodes[p->n++] = n;
	return n;
}

/* The newest one: numbers are used again. */
static struct node *by_ino(struct power *p, unsigned long ino)
{
	for (size_t i = p->n; i > 0; i--)
		if (p->nodes[i - 1]->ino == ino)
			return p->nodes[i - 1];
	fail_msg("power: inode %lu is not known", ino);
	return NULL;
}

static struct node *find(const struct names *in, const char *name)
{
	for (size_t i = 0; i < in->n; i++)
		if (streq(in->all[i].name, name))
			return in->all[i].node;
	return NULL;
}

static void take_name(struct names *in, const char *name)
{
	for (size_t i = 0; i < in->n; i++)
		if (streq(in->all[i].name, name))
			in->all[i--] = in->all[--in->n];
}

static void give_name(struct names *in, const char *name, struct node *node)
{
	take_name(in, name);
	assert_true(in->n < NAMES_MAX && node);
	snprintf(in->all[in->n].name, sizeof(in->all[0].name), "%s", name);
	in->all[in->n++].node = node;
}

/* The folder of a path below the root, and the name in it. */
static struct node *folder_of(struct power *p, const char *path, const char **name)
{
	struct node *at = p->root;
	const char *slash;

	while ((slash = strchr(path, '/'))) {
		AUTOFREE char *part = xasprintf("%.*s", (int)(slash - path), path);

		at = find(&at->now, part);
		if (!at)
			fail_msg("power: there is no folder %s", path);
		path = slash + 1;
	}
	*name = path;
	return at;
}

static struct node *look_up(struct power *p, const char *path)
{
	const char *name;
	struct node *folder;

	if (!path[0])
		return p->root;
	folder = folder_of(p, path, &name);
	return find(&folder->now, name);
}

/* node NULL: the name goes. */
static void change(struct power *p, const char *path, struct node *node)
{
	const char *name;
	struct node *folder = folder_of(p, path, &name);

	p->touched = folder;
	p->before = folder->now;
	if (node)
		give_name(&folder->now, name, node);
	else
		take_name(&folder->now, name);
}

static bool outside(const char *name)
{
	static const char *const own[] = {"run", "log", "qemus", "policies", "images"};

	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (streq(name, own[i]))
			return true;
	return starts_with(name, "rules-") || starts_with(name, "networks-") ||
	       starts_with(name, "upstream-") || starts_with(name, "verified-") ||
	       streq(name, "berth.db-shm");
}

static void scan(struct power *p, const char *path, struct node *folder)
{
	DIR *dir = opendir(path);
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		AUTOFREE char *one = xasprintf("%s/%s", path, e->d_name);
		struct node *node = NULL;
		struct stat st;

		if (streq(e->d_name, ".") || streq(e->d_name, "..") || lstat(one, &st) < 0 ||
			(folder == p->root && outside(e->d_name)))
			continue;
		for (size_t i = 0; i < p->n && !node; i++)
			if (p->nodes[i]->ino == st.st_ino)
				node = p->nodes[i];
		if (!node) {
			node = add(p, st.st_ino, S_ISDIR(st.st_mode));
			node->size = st.st_size;
			if (!node->folder) {
				snprintf(node->copy, sizeof(node->copy), "%s/base-%lu", p->log,
					(unsigned long)st.st_ino);
				faults_copy(one, node->copy);
			}
		}
		give_name(&folder->now, e->d_name, node);
		if (node->folder)
			scan(p, one, node);
	}
	if (dir)
		closedir(dir);
	folder->sure = folder->now;
}

struct power *power_new(const char *root, const char *log)
{
	struct power *p = xcalloc(1, sizeof(*p));

	snprintf(p->log, sizeof(p->log), "%s", log);
	p->root = add(p, 0, true);
	scan(p, root, p->root);
	return p;
}

void power_free(struct power *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->nodes[i]);
	if (p->f)
		fclose(p->f);
	free(p);
}

unsigned power_calls(const struct power *p)
{
	return (unsigned)strtoul(p->last, NULL, 10) + 1;
}

const char *power_last(const struct power *p)
{
	return p->last;
}

static void synced(struct power *p, const char *number, unsigned long ino)
{
	struct node *n = by_ino(p, ino);
	struct stat st;

	n->dirty = false;
	snprintf(n->copy, sizeof(n->copy), "%s/%s", p->log, number);
	assert_int_equal(stat(n->copy, &st), 0);
	n->size = st.st_size;
}

static void created(struct power *p, const char *ino, const char *path, bool folder)
{
	struct node *n = add(p, strtoul(ino, NULL, 10), folder);

	n->dirty = !folder;
	change(p, path, n);
}

static void apply(struct power *p, const char *number, const char *what, char *a, const char *b)
{
	struct node *n;

	p->touched = NULL;
	if (streq(what, "create") || streq(what, "mkdir")) {
		created(p, a, b, streq(what, "mkdir"));
	} else if (streq(what, "rename")) {
		n = look_up(p, a);
		change(p, a, NULL);
		change(p, b, n);
	} else if (streq(what, "link")) {
		change(p, b, look_up(p, a));
	} else if (streq(what, "unlink")) {
		change(p, a, NULL);
	} else if (streq(what, "size")) {
		n = by_ino(p, strtoul(a, NULL, 10));
		n->size = atol(b);
		n->dirty = true;
	} else if (streq(what, "sync")) {
		synced(p, number, strtoul(a, NULL, 10));
	} else if (streq(what, "syncdir")) {
		n = look_up(p, a);
		if (n)
			n->sure = n->now;
	} else {
		fail_msg("power: what is %s?", what);
	}
}

static bool is_write(const char *line)
{
	return strstr(line, " size ");
}

static bool next_line(struct power *p, char line[1000])
{
	if (p->ahead[0])
		memcpy(line, p->ahead, sizeof(p->ahead));
	else if (!fgets(line, sizeof(p->ahead), p->f))
		return false;
	p->ahead[0] = 0;
	line[strcspn(line, "\n")] = 0;
	return true;
}

/* What is written after another write and before anything else, tells nothing new. */
static bool another_write(struct power *p, const char *line)
{
	if (!is_write(line) || !fgets(p->ahead, sizeof(p->ahead), p->f))
		return false;
	return is_write(p->ahead) && strtoul(strstr(line, "size ") + 5, NULL, 10) ==
					     strtoul(strstr(p->ahead, "size ") + 5, NULL, 10);
}

bool power_next(struct power *p)
{
	AUTOFREE char *path = xasprintf("%s/log", p->log);
	char line[1000], *rest = line, *number, *what, *a, *b;

	if (!p->f)
		p->f = fopen(path, "re");
	if (!p->f || !next_line(p, line))
		return false;
	while (another_write(p, line))
		next_line(p, line);
	snprintf(p->last, sizeof(p->last), "%.390s", line);
	number = strsep(&rest, " ");
	what = strsep(&rest, " ");
	a = strsep(&rest, " ");
	b = strsep(&rest, " ");
	apply(p, number, what, a ? a : (char *)"", b ? b : "");
	return true;
}

/* ---- what is left ---- */

struct cut {
	struct power *p;
	enum power_variant v;
	bool make; /* else only told apart */
	uint64_t hash;
};

static void mix(struct cut *c, const char *text)
{
	for (; *text; text++)
		c->hash = (c->hash ^ (uint8_t)*text) * UINT64_C(1099511628211);
}

static const struct names *names_in(const struct cut *c, struct node *folder, struct names *room)
{
	if (c->v == POWER_NAMES || c->v == POWER_ZEROS)
		return &folder->now;
	if (c->v != POWER_LAST_NAME || folder != c->p->touched)
		return &folder->sure;
	*room = folder->sure;
	for (size_t i = 0; i < folder->now.n; i++)
		if (find(&c->p->before, folder->now.all[i].name) != folder->now.all[i].node)
			give_name(room, folder->now.all[i].name, folder->now.all[i].node);
	for (size_t i = 0; i < c->p->before.n; i++)
		if (!find(&folder->now, c->p->before.all[i].name))
			take_name(room, c->p->before.all[i].name);
	return room;
}

static void make_file(struct cut *c, struct node *n, const char *to)
{
	bool zeros = c->v == POWER_ZEROS && n->dirty;
	AUTOFREE char *state = xasprintf("%s %ld\n", n->copy, zeros ? n->size : -1L);
	int fd;

	mix(c, to);
	mix(c, state);
	if (!c->make)
		return;
	if (n->made[0]) {
		assert_int_equal(link(n->made, to), 0);
		return;
	}
	if (n->copy[0])
		faults_copy(n->copy, to);
	fd = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	if (zeros)
		assert_int_equal(ftruncate(fd, n->size), 0);
	close(fd);
	snprintf(n->made, sizeof(n->made), "%s", to);
}

static void make_folder(struct cut *c, struct node *n, const char *to)
{
	struct names room;
	const struct names *names = names_in(c, n, &room);

	mix(c, to);
	if (c->make)
		make_dir(to, 0700, NULL);
	for (size_t i = 0; i < names->n; i++) {
		AUTOFREE char *one = xasprintf("%s/%s", to, names->all[i].name);

		if (names->all[i].node->folder)
			make_folder(c, names->all[i].node, one);
		else
			make_file(c, names->all[i].node, one);
	}
}

bool power_cut(struct power *p, enum power_variant v, unsigned expected, const char *to)
{
	struct cut c = {.p = p, .v = v, .hash = 14695981039346656037u + expected};

	if (v == POWER_LAST_NAME && !p->touched)
		return false;
	make_folder(&c, p->root, to);
	for (size_t i = 0; i < p->n_cuts; i++)
		if (p->cuts[i] == c.hash)
			return false;
	assert_true(p->n_cuts < CUTS_MAX);
	p->cuts[p->n_cuts++] = c.hash;
	for (size_t i = 0; i < p->n; i++)
		p->nodes[i]->made[0] = 0;
	c.make = true;
	make_folder(&c, p->root, to);
	return true;
}
