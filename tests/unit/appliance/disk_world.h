/*
 * Agents with memory and disks (fake_machine.h) on a disk that may fail: what can be done to them,
 * and what must be true of the state folder afterwards. With daemon_harness.h and faults.h.
 */
#ifndef BERTH_TEST_DISK_WORLD_H
#define BERTH_TEST_DISK_WORLD_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>

/* An agent at one moment: what its guest remembers and has on its disk. */
struct moment {
	unsigned memory; /* 0: it has booted since */
	const char *disk;
};

/* One thing to do, and what is to be found whether it was done, cut short, or refused. */
struct deed {
	const char *name;
	void (*before)(void); /* makes the world it happens in; the daemon runs */
	const char *op, *args;
	struct moment a, a_new; /* "a" is at one of the two: old, new; disk NULL: it is not there */
	struct moment b;        /* "b", if it is there */
	unsigned snapshots, snapshots_new;
	unsigned snapshots_open; /* so many besides may be there when it was cut short */
	bool warm;               /* with warm templates */
	bool late; /* refused when there was no way back, it may be done all the same */
	bool ends; /* then who ran before may have to boot */
};
extern const struct deed deeds[];
extern const unsigned n_deeds;

/* A scratch folder, faults_begin and the daemon; then what comes before the deed. */
void world_new(const struct deed *d);
void world_end(void);
/* Says in each failure where we are. */
__attribute__((format(printf, 1, 2))) void world_at(const char *fmt, ...);
/* Says what is wrong and leaves for world_escape: the next one may tell more. */
extern unsigned world_failures;
extern jmp_buf world_escape;
__attribute__((format(printf, 1, 2), noreturn)) void world_fail(const char *fmt, ...);
/* The guest of one that runs goes on to the moment n. */
void world_live(const char *name, unsigned n);
/* Waits until no agent is on its way anywhere. */
void world_settle(void);
/*
 * Nothing is lost: every agent is at one of its moments (woken for a look if it sleeps), snapshots
 * and templates are whole. done: the deed was answered with success, so it must be the new one;
 * failed: with an error, so the old one; neither: either. cut: power was cut, so who ran has
 * booted. on: "a" has lived on to that moment since, 0 it has not.
 */
enum deed_end { DEED_DONE, DEED_FAILED, DEED_OPEN };
void world_check(const struct deed *d, enum deed_end end, bool cut, unsigned on);
/* No file is there that nobody needs. */
void world_check_leftovers(void);

#endif
