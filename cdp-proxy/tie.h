/* Connections into guests: whose guest sleeps, what waits for it, and when they end with it. */
#ifndef BERTH_TIE_H
#define BERTH_TIE_H

#include "gateway.h"

struct tied_agent;

struct tie_owner {
	/* true: the guest sleeps, send nothing until false comes. Nothing may be freed in here. */
	void (*on_hold)(void *data, bool hold);
	/*
	 * The guest it was connected to is no more; the tie is closed. code is a WebSocket's:
	 * 1001 the agent is gone, 1012 it will be back, 1013 it cannot be woken now.
	 */
	void (*on_gone)(void *data, int code, const char *why);
};

/* One connection. Embedded in its owner, zeroed before tie_open; fd stays the owner's. */
struct tie {
	struct tie *next, **prev;
	struct tied_agent *agent; /* NULL: not open */
	uint64_t life;
	int fd;
	bool busy;
	const struct tie_owner *owner;
	void *data;
};

/* generation is agent.connect's. Never calls back from inside: look at tie_held. */
void tie_open(struct tie *t, struct gateway *gw, const char *agent, uint64_t generation, int fd,
	const struct tie_owner *owner, void *data);
/* Not open is fine. */
void tie_close(struct tie *t);
bool tie_held(const struct tie *t);
/* Its client sends something, or waits for something: the agent is in use, and woken if it sleeps.
 */
void tie_used(struct tie *t);
/* While it is busy its agent is in use; an agent that sleeps nevertheless is not woken. */
void tie_busy(struct tie *t, bool busy);
/* The guest has sent something. */
void tie_heard(struct tie *t);

/* An event of berthd. */
void ties_event(struct gateway *gw, const cJSON *event);
/* berthd is there again: what was open is compared with how the agents are. */
void ties_daemon_up(struct gateway *gw);

#endif
