/*
 * berthd as a process of its own on the scratch folder, with the stand-ins of fake_world.h, and a
 * client of its control socket. The wait_ and want_ functions fail the test.
 */
#ifndef BERTH_TEST_DAEMON_HARNESS_H
#define BERTH_TEST_DAEMON_HARNESS_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ctl.h"

extern pid_t daemon_pid; /* 0: none */
extern struct ctl *client;
extern unsigned last_id; /* of the last request */

void daemon_start(void);
bool connect_to(void);
void daemon_up(void);
int daemon_wait(void);
void daemon_kill(void);
void ask(const char *op, const char *args);
cJSON *receive(void);
cJSON *call(const char *op, const char *args);
void want_ok(const char *op, const char *args);
void want_error(const char *op, const char *args, const char *type);
const char *shown(const char *name, const char *member);
int64_t shown_number(const char *name, const char *member);
void wait_shown(const char *name, const char *member, const char *value);
unsigned count_files(const char *folder);
unsigned count_events(const char *type);
void reap(void);
void assert_world(unsigned all, unsigned running);
/* A sleeping agent keeps its namespace, for the connections in it. */
void assert_world_asleep(unsigned all, unsigned running, unsigned asleep);
/* All of them, at once. */
void kill_qemus(void);
int each(void **state);
int after(void **state);

#endif
