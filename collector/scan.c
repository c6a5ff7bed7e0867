/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking into a process that could not say hello: it started before us, or while we were being
 * restarted, or in a container that does not see the socket. Its ledger is among its descriptors,
 * and a copy of it can be had. A ledger is the process's own only if it is mapped there: a forked
 * child has its parent's descriptor too.
 *
 * A process that is stuck in exec makes all of this wait, for ever perhaps. So it is the work of
 * errands; the loop then checks and adopts. walk.c says who is looked into.
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
 * another major version we do not know for whom it is; whoever wonders where it is should hear. No
 * doorbell is taken of what is not for us: another collector has its clients' ledgers mapped, too,
 * and what it has under the doorbell's number may be its lock, which would outlive it in the copy.
 */
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
	if (hash ? hash != search->hash : !search->takes_unnamed)
		return false;
	finding->eventfd = eventfd < 0 ? -1 : copy_fd(finding->pidfd, eventfd);
	if (finding->eventfd >= 0 && !descriptor_is_eventfd(finding->eventfd)) {
		descriptors_discard(&finding->eventfd, 1);
		finding->eventfd = -1;
	}
	return true;
}

static void finding_drop(const struct finding *finding)
{
	descriptors_discard(
		(const int[]){finding->pidfd, finding->memfd, finding->eventfd, finding->memory},
		4);
}

/* Takes a copy of the descriptor; the pidfd makes sure that it is still the same process's. */
static bool try_fd(struct ledger_search *search, pid_t pid, int fd)
{
	struct finding finding = {.pid = pid, .memfd = -1, .eventfd = -1, .memory = -1};
	struct stat st;

	finding.pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (finding.pidfd < 0)
		return false;
	finding.memfd = copy_fd(finding.pidfd, fd);
	finding.memory = proc_memory_open("/proc", pid);
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
