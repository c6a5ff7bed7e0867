/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A closer look at the processes that the driver lists: whether one has a ledger of which we do not
 * know (its container does not see our socket), and which /dev/shm it sees. Both can meet a file
 * system that does not answer, so each look is an errand.
 */
#ifndef OUTLOOK_H
#define OUTLOOK_H

#include "kmd.h"
#include "metal.h"
#include "server.h"

struct outlook {
	struct model *model;
	struct metal *metal;
	struct server *server;
	GHashTable *under_way; /* serial -> struct glance, whose thread may hang */
};

/* From now on the driver's source and TT-Metal's call here. */
void outlook_init(struct outlook *outlook, struct kmd *kmd, struct metal *metal,
		  struct server *server);
void outlook_close(struct outlook *outlook, struct kmd *kmd);

#endif
