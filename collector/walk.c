/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking through all processes for ledgers: at our start, when somebody may not have got in, and,
 * while somebody reads, through those with another root than ours, who may not see the socket. This
 * happens at most once a second, and so seldom that it takes a fiftieth of a processor.
 *
 * An errand lists the processes, which waits for nobody. Then a few errands for each user walk
 * along the list of his. They leave out who is in the middle of an exec. One that meets a process
 * which gets stuck there just then stays with it, for ever perhaps, and the others walk on. What
 * one has found it brings home at once, and another takes its place.
 */
#include "proc.h"
#include "proc_stat.h"
#include "server.h"
#include "thread_clock.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AGAIN_NS    1000000000u
#define AGAIN_SHARE 50    /* of the time that a look takes */
#define THREAD_NS   50000 /* to begin and end one */

/* Where a process is: its mount namespace, and its root in that. */
struct root {
	char namespace[32];
	char path[256];
};

struct list {
	struct server *server;
	bool is_elsewhere; /* only those in another root */
	GHashTable *skip;  /* pids */
	GHashTable *rolls; /* uid -> struct roll */
	uint64_t took_ns;
};

/* The processes of a user. Lives as long as somebody walks along it. */
struct roll {
	struct server *server;
	uid_t uid;
	GArray *pids;
	guint next; /* index: whoever comes takes the next, in a thread */
	unsigned int walkers;
	bool is_elsewhere;
	struct root own;
};

struct walker {
	struct roll *roll;
	struct ledger_search search;
	gint at; /* the pid that it looks into; 0: none */
	uint64_t took_ns;
};

/* With newer kernels these links wait for exec, too. */
static bool root_of(pid_t pid, struct root *root)
{
	char path[64];

	memset(root, 0, sizeof *root);
	snprintf(path, sizeof path, "/proc/%d/ns/mnt", (int)pid);
	if (readlink(path, root->namespace, sizeof root->namespace - 1) < 0)
		return false;
	snprintf(path, sizeof path, "/proc/%d/root", (int)pid);
	return readlink(path, root->path, sizeof root->path - 1) >= 0;
}

static bool is_elsewhere(const struct root *own, pid_t pid)
{
	struct root root;

	return root_of(pid, &root) && memcmp(&root, own, sizeof root) != 0;
}

/* --- along one user's processes -------------------------------------------------------------- */

static void roll_free(gpointer data)
{
	struct roll *roll = data;

	g_array_free(roll->pids, TRUE);
	g_free(roll);
}

static void walk_run(void *data)
{
	struct walker *walker = data;
	struct roll *roll = walker->roll;
	guint i;

	while (!walker->search.findings->len &&
	       (i = (guint)g_atomic_int_add(&roll->next, 1)) < roll->pids->len) {
		pid_t pid = g_array_index(roll->pids, pid_t, i);

		g_atomic_int_set(&walker->at, pid);
		if (proc_in_execve("/proc", pid))
			continue; /* it has no ledger any more */
		if (!roll->is_elsewhere || is_elsewhere(&roll->own, pid))
			ledger_search_process(&walker->search, pid);
	}
	g_atomic_int_set(&walker->at, 0);
	walker->took_ns = thread_clock_ns();
}

static void walk_begin(struct roll *roll);

static void walk_done(void *data, void *owner)
{
	struct server *server = owner;
	struct walker *walker = data;
	struct roll *roll = walker->roll;
	bool goes_on = server && !server->closed && walker->search.findings->len;
	guint before = roll->server->native->ledgers->len;

	g_ptr_array_remove_fast(roll->server->walkers, walker);
	ledger_search_end(server, &walker->search, server && !server->closed);
	if (roll->server->native->ledgers->len == before) /* it will be so the next time */
		roll->server->scan_next_ns += AGAIN_SHARE * (walker->took_ns + THREAD_NS);
	g_free(walker);
	if (goes_on && (guint)g_atomic_int_get(&roll->next) < roll->pids->len)
		walk_begin(roll);
	if (!--roll->walkers)
		roll_free(roll);
}

static void walk_begin(struct roll *roll)
{
	struct walker *walker = g_new0(struct walker, 1);
	struct server *server = roll->server;

	walker->roll = roll;
	roll->walkers++;
	ledger_search_begin(server, &walker->search);
	g_ptr_array_add(server->walkers, walker);
	errand_begin(&server->errands, roll->uid, walk_run, walk_done, walker, server);
}

/* Not more at a time than may be under way, or those of a user whose others are stuck would wait
 * in a queue that grows with each look. */
static guint room_for(const struct server *server, uid_t uid)
{
	guint most = uid == 0 ? ERRANDS_MAX - ERRANDS_KEPT : ERRANDS_MAX_PER_USER, have = 0;

	for (guint i = 0; i < server->walkers->len; i++) {
		const struct walker *walker = server->walkers->pdata[i];

		have += walker->roll->uid == uid;
	}
	return most > have ? most - have : 0;
}

/* The first use is ours, so that it lasts until all have begun. */
static void roll_begin(struct roll *roll)
{
	guint room = room_for(roll->server, roll->uid);

	roll->walkers = 1;
	for (guint i = 0; i < MIN(room, roll->pids->len); i++)
		walk_begin(roll);
	if (!--roll->walkers)
		roll_free(roll);
}

/* --- all of them ------------------------------------------------------------------------------ */

static void list_add(struct list *list, pid_t pid)
{
	struct roll *roll;
	uid_t uid;
	gid_t gid;

	if (g_hash_table_contains(list->skip, GINT_TO_POINTER(pid)) ||
	    proc_ids("/proc", pid, &uid, &gid))
		return;
	roll = g_hash_table_lookup(list->rolls, GUINT_TO_POINTER(uid));
	if (!roll) {
		roll = g_new0(struct roll, 1);
		roll->server = list->server;
		roll->uid = uid;
		roll->pids = g_array_new(FALSE, FALSE, sizeof(pid_t));
		roll->is_elsewhere = list->is_elsewhere;
		root_of(getpid(), &roll->own);
		g_hash_table_insert(list->rolls, GUINT_TO_POINTER(uid), roll);
	}
	g_array_append_val(roll->pids, pid);
}

static void list_run(void *data)
{
	struct list *list = data;
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	while (proc && (entry = readdir(proc))) {
		pid_t pid = (pid_t)atoi(entry->d_name);

		if (pid > 0 && pid != getpid())
			list_add(list, pid);
	}
	if (proc)
		closedir(proc);
	list->took_ns = thread_clock_ns();
}

static void list_done(void *data, void *owner)
{
	struct server *server = owner;
	struct list *list = data;
	GHashTableIter iter;
	gpointer roll;

	list->server->scanning = false;
	list->server->scan_next_ns = uv_hrtime() + MAX(AGAIN_NS, AGAIN_SHARE * list->took_ns);
	g_hash_table_iter_init(&iter, list->rolls);
	while (g_hash_table_iter_next(&iter, NULL, &roll)) {
		if (server && !server->closed)
			roll_begin(roll);
		else
			roll_free(roll);
	}
	g_hash_table_destroy(list->rolls);
	g_hash_table_destroy(list->skip);
	g_free(list);
	if (server && server->scan_again && !server->closed)
		server_scan(server);
}

/* Whoever is looked into now is left out: one that hangs is not made better by another. */
static struct list *list_new(struct server *server)
{
	struct list *list = g_new0(struct list, 1);

	list->server = server;
	list->skip = g_hash_table_new(NULL, NULL);
	list->rolls = g_hash_table_new(NULL, NULL);
	for (guint i = 0; i < server->walkers->len; i++) {
		struct walker *walker = server->walkers->pdata[i];

		g_hash_table_add(list->skip, GINT_TO_POINTER(g_atomic_int_get(&walker->at)));
	}
	return list;
}

static void list_begin(struct list *list)
{
	struct server *server = list->server;

	server->scanning = true;
	errand_begin(&server->errands, ERRANDS_OWN, list_run, list_done, list, server);
}

void server_scan(struct server *server)
{
	server->scan_again = server->scanning;
	if (!server->scanning)
		list_begin(list_new(server));
}

void server_scan_elsewhere(struct server *server)
{
	GPtrArray *ledgers = server->native->ledgers;
	struct list *list;

	if (server->scanning || server->closed || uv_hrtime() < server->scan_next_ns)
		return;
	list = list_new(server);
	list->is_elsewhere = true;
	for (guint i = 0; i < ledgers->len; i++) {
		const struct ledger *ledger = ledgers->pdata[i];

		g_hash_table_add(list->skip, GINT_TO_POINTER(ledger->process->pid));
	}
	list_begin(list);
}
