/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding processes that could not say hello: they started before us, or while we were being
 * restarted, or in a container that does not see the socket. Their ledger is among their
 * descriptors, and a copy of it can be had.
 *
 * We look through all processes at our start. Later ones say hello, but for those in another root:
 * while somebody reads we look through these again, at most once a second, and so seldom that it
 * takes no more than a hundredth of a processor.
 *
 * First an errand lists the processes that have such a descriptor, which waits for nobody. Then
 * each of them is looked into by an errand of its own: a process that is stuck in exec makes that
 * wait, for ever perhaps. The loop then checks and adopts. A ledger is the process's own only if it
 * is mapped there: a forked child has its parent's descriptor too.
 */
#include "descriptor.h"
#include "proc.h"
#include "server.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define FAULTY_MAX 1024
#define TRIES_MAX  8 /* ledgers of one process that are looked at */
#define LINK_TEXT  "/memfd:" LEDGER_NAME " (deleted)"

#define AGAIN_NS      1000000000u
#define AGAIN_SHARE   100      /* of the time that the last look took... */
#define AGAIN_EACH_NS 20000000 /* ...and for each process that had to be looked into */

/* Processes that seem to have a ledger. */
struct list {
	struct server *server;
	GHashTable *known; /* pids that are left out, as are those in our own root; NULL: none is */
	GArray *found;     /* struct candidate */
	uint64_t took_ns;
};

struct candidate {
	pid_t pid;
	uid_t uid;
};

/* One of them. */
struct look {
	struct server *server;
	pid_t pid;
	struct ledger_search search;
};

static int copy_fd(int pidfd, int fd)
{
	return (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
}

static bool is_ledger_link(int dir, const char *name)
{
	char text[sizeof LINK_TEXT];

	return readlinkat(dir, name, text, sizeof text) == sizeof LINK_TEXT - 1 &&
	       !memcmp(text, LINK_TEXT, sizeof LINK_TEXT - 1);
}

/* Whether it is for us, and the doorbell that goes with it. All else is checked at the adoption. Of
 * another major version we do not know for whom it is; whoever wonders where it is should hear. */
static bool look_inside(const struct ledger_search *search, struct finding *finding)
{
	struct ledger_view view;
	const char *why;
	uint64_t hash;
	int eventfd, error;

	error = ledger_view_open(&view, finding->memfd, finding->uid, &why);
	if (error == -EPROTONOSUPPORT)
		finding->fault = why;
	if (error)
		return finding->fault != NULL;
	hash = ledger_view_socket_hash(&view);
	eventfd = ledger_view_eventfd(&view);
	ledger_view_abandon(&view);
	finding->eventfd = eventfd < 0 ? -1 : copy_fd(finding->pidfd, eventfd);
	if (finding->eventfd >= 0 && !descriptor_is_eventfd(finding->eventfd)) {
		descriptors_discard(&finding->eventfd, 1);
		finding->eventfd = -1;
	}
	return hash ? hash == search->hash : search->takes_unnamed;
}

static void finding_drop(const struct finding *finding)
{
	descriptors_discard((const int[]){finding->pidfd, finding->memfd, finding->eventfd}, 3);
}

/* Takes a copy of the descriptor; the pidfd makes sure that it is still the same process's. */
static bool try_fd(struct ledger_search *search, pid_t pid, int fd)
{
	struct finding finding = {.pid = pid, .memfd = -1, .eventfd = -1};
	struct stat st;

	finding.pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (finding.pidfd < 0)
		return false;
	finding.memfd = copy_fd(finding.pidfd, fd);
	if (finding.memfd < 0 || proc_ids("/proc", pid, &finding.uid, &finding.gid) ||
	    fcntl(finding.memfd, F_GET_SEALS) < 0 || fstat(finding.memfd, &st) ||
	    !proc_maps_inode("/proc", pid, st.st_ino) || !look_inside(search, &finding)) {
		finding_drop(&finding);
		return false;
	}
	finding.inode = st.st_ino;
	g_array_append_val(search->findings, finding);
	return true;
}

/* The first ledger that is the process's own. An honest process has one, and perhaps its parents';
 * one that hoards them would hold up those behind it. */
void ledger_search_process(struct ledger_search *search, pid_t pid)
{
	int tries = TRIES_MAX;
	bool found = false;
	char path[64];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	while (dir && !found && tries && (entry = readdir(dir))) {
		if (!g_ascii_isdigit(*entry->d_name) || !is_ledger_link(dirfd(dir), entry->d_name))
			continue;
		tries--;
		found = try_fd(search, pid, atoi(entry->d_name));
	}
	if (dir)
		closedir(dir);
}

static bool has_ledger(pid_t pid, uid_t *uid)
{
	bool found = false;
	char path[64];
	struct dirent *entry;
	struct stat st;
	DIR *dir;

	snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	while (dir && !found && (entry = readdir(dir)))
		found = g_ascii_isdigit(*entry->d_name) &&
			is_ledger_link(dirfd(dir), entry->d_name);
	if (found && !fstat(dirfd(dir), &st))
		*uid = st.st_uid;
	if (dir)
		closedir(dir);
	return found;
}

/* Where a process is: its mount namespace, and its root in that. */
struct root {
	char namespace[32];
	char path[256];
};

/* These are links of the kernel's own: to read them waits for nobody. */
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

static bool is_left_out(const struct list *list, const struct root *own, pid_t pid)
{
	return list->known && (g_hash_table_contains(list->known, GINT_TO_POINTER(pid)) ||
			       !is_elsewhere(own, pid));
}

static uint64_t thread_ns(void)
{
	struct timespec now = {0};

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void list_run(void *data)
{
	struct list *list = data;
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	struct root own;

	root_of(getpid(), &own);
	while (proc && (entry = readdir(proc))) {
		struct candidate candidate = {.pid = (pid_t)atoi(entry->d_name)};

		if (candidate.pid > 0 && candidate.pid != getpid() &&
		    !is_left_out(list, &own, candidate.pid) &&
		    has_ledger(candidate.pid, &candidate.uid))
			g_array_append_val(list->found, candidate);
	}
	if (proc)
		closedir(proc);
	list->took_ns = thread_ns();
}

void ledger_search_begin(const struct server *server, struct ledger_search *search)
{
	search->hash = ledger_socket_hash(server->path);
	search->takes_unnamed = server->is_default;
	search->findings = g_array_new(FALSE, FALSE, sizeof(struct finding));
}

/* Some processes are looked at again and again. */
static void refuse_once(struct server *server, const struct finding *finding)
{
	if (g_hash_table_size(server->faulty) >= FAULTY_MAX)
		g_hash_table_remove_all(server->faulty);
	if (g_hash_table_add(server->faulty, GSIZE_TO_POINTER(finding->inode)))
		server_refuse(server, server_user(server, finding->uid), finding->pid,
			      finding->fault);
}

void ledger_search_end(struct server *server, struct ledger_search *search, bool take)
{
	for (guint i = 0; i < search->findings->len; i++) {
		const struct finding *finding = &g_array_index(search->findings, struct finding, i);

		if (take && !finding->fault) {
			peer_found(server, finding);
			continue;
		}
		if (take)
			refuse_once(server, finding);
		finding_drop(finding);
	}
	g_array_free(search->findings, TRUE);
}

static void look_run(void *data)
{
	struct look *look = data;

	ledger_search_process(&look->search, look->pid);
}

static void look_done(void *data, void *owner)
{
	struct server *server = owner;
	struct look *look = data;

	g_hash_table_remove(look->server->looked_into, GINT_TO_POINTER(look->pid));
	ledger_search_end(server, &look->search, server && !server->closed);
	g_free(look);
}

/* One that hangs is not made better by another. */
static void look_begin(struct server *server, const struct candidate *candidate)
{
	struct look *look;

	if (!g_hash_table_add(server->looked_into, GINT_TO_POINTER(candidate->pid)))
		return;
	look = g_new0(struct look, 1);
	look->server = server;
	look->pid = candidate->pid;
	ledger_search_begin(server, &look->search);
	errand_begin(&server->errands, candidate->uid, look_run, look_done, look, server);
}

static void list_done(void *data, void *owner)
{
	struct server *server = owner;
	struct list *list = data;

	for (guint i = 0; server && i < list->found->len; i++)
		look_begin(server, &g_array_index(list->found, struct candidate, i));
	list->server->scanning = false;
	list->server->scan_next_ns =
		uv_hrtime() + MAX(AGAIN_NS, AGAIN_SHARE * list->took_ns +
						    AGAIN_EACH_NS * (uint64_t)list->found->len);
	if (list->known)
		g_hash_table_destroy(list->known);
	g_array_free(list->found, TRUE);
	g_free(list);
	if (server && server->scan_again && !server->closed)
		server_scan(server);
}

static void list_begin(struct server *server, GHashTable *known)
{
	struct list *list = g_new0(struct list, 1);

	server->scanning = true;
	list->server = server;
	list->known = known;
	list->found = g_array_new(FALSE, FALSE, sizeof(struct candidate));
	errand_begin(&server->errands, ERRANDS_OWN, list_run, list_done, list, server);
}

void server_scan(struct server *server)
{
	server->scan_again = server->scanning;
	if (!server->scanning)
		list_begin(server, NULL);
}

void server_scan_elsewhere(struct server *server)
{
	GPtrArray *ledgers = server->native->ledgers;
	GHashTable *known;

	if (server->scanning || server->closed || uv_hrtime() < server->scan_next_ns)
		return;
	known = g_hash_table_new(NULL, NULL);
	for (guint i = 0; i < ledgers->len; i++) {
		const struct ledger *ledger = ledgers->pdata[i];

		g_hash_table_add(known, GINT_TO_POINTER(ledger->process->pid));
	}
	list_begin(server, known);
}
