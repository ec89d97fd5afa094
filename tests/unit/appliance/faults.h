/*
 * What a disk can do to the programs under test: full, failing, cut off from power.
 *
 * A library that stands in front of libc's calls that change files (open with O_CREAT, write,
 * rename, link, fsync…), in the test's own process and in the helpers that it starts. Linked by
 * tests only. What is below the root that faults_begin names counts; the stand-ins' own files there
 * do not (faults.c). No such call is made to wait for a real disk.
 */
#ifndef BERTH_TEST_FAULTS_H
#define BERTH_TEST_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

/* Shared by all processes of a test. */
struct faults {
	unsigned armed;
	unsigned calls, fail_at; /* the fail_at-th call since it was armed, from 1; 0: none */
	int victim; /* 0: that call fails; else that process is killed, -1: the caller */
	char root[128], log[128]; /* log: a folder, "" while nothing is recorded */
	char only[16];            /* "": calls of any program count; else of the one of that name */
	bool stand_ins; /* faulty-pages and faulty-img are started, and timers are quick */
	int lock;
	int error;        /* what it fails with */
	bool sticky;      /* and all after it: a full disk stays full */
	bool half;        /* that call writes half first, if it writes at all */
	bool every;       /* count each call; else several that do the same to one file as one */
	char before[400]; /* the call before */
	char hit[400];    /* the call that failed, "" none has */
	char left[300];   /* the name that the last rename left */
	unsigned seq;     /* of the log */
};
extern struct faults *faults; /* NULL: none */

/* From here on, for this process and its children, which faults_end must see no more. */
void faults_begin(const char *root);
void faults_end(void);
/* Counts from 0 on; the n-th call fails. every: see above. */
void faults_arm(unsigned n, int error, bool sticky, bool half, bool every);
void faults_disarm(void);
/*
 * Records what is done, as lines of LOG/log: a number of the line, what, and
 *
 *   create INO PATH     a new file            mkdir INO PATH
 *   rename OLD NEW      link OLD NEW          unlink PATH
 *   size INO BYTES      after a write or truncation
 *   sync INO            LOG/NUMBER is what the file held then
 *   syncdir PATH
 *
 * Paths are below the root; run/ is not in it, as nothing of it outlives its host.
 */
void faults_record(const char *log);
void faults_record_end(void);
/* A copy with its holes. */
void faults_copy(const char *from, const char *to);

#endif
