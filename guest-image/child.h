/* Child processes: started with given descriptors as a given user, and reaped, orphans included. */
#ifndef BERTH_INIT_CHILD_H
#define BERTH_INIT_CHILD_H

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

#include "err.h"
#include "user.h"

#define CHILD_MAX 128 /* watched at once */

/* What to run. The strings and lists are the caller's and needed only during child_start. */
struct child_spec {
	const struct user *user;
	const char *cwd; /* NULL: the user's home, or / when that is not there */
	const char *const *argv, *const *env;
	int in, out, err;      /* become 0, 1, 2; the caller's to close */
	bool tty;              /* `in` becomes the controlling terminal */
	int self;              /* open on berth-init itself: run it instead of argv[0] when >= 0 */
	void (*prepare)(void); /* in the child, as the user, before exec; or NULL */
};

/*
 * Starts it in a session and process group of its own. *ret_status: a descriptor that ends without
 * a byte when exec has succeeded, or gives the errno as an int. Returns the pid or a negative
 * errno.
 */
pid_t child_start(const struct child_spec *spec, int *ret_status, struct err *err);

/* Called from the loop when that child has ended (status of waitpid). */
typedef void child_ended_fn(void *data, int status);
/* Right after child_start, before the loop runs again. -ENOBUFS when too many are watched. */
int child_watch(pid_t pid, child_ended_fn *fn, void *data);
/* Forgets a watched child; it is still reaped. */
void child_forget(pid_t pid);

/* Reaps on SIGCHLD from now on: everything, also what is not watched. */
int child_reaper_init(uv_loop_t *loop, struct err *err);
void child_reaper_done(void);

#endif
