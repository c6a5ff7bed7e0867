/* SPDX-License-Identifier: Apache-2.0 */
#include "alloc_server.h"
#include "log.h"
#include "plain.h"

#define LINES_MOST 200 /* in all */
#define ROWS       32

static unsigned int dump_buffers(const struct alloc_records *records, pid_t pid, unsigned int lines)
{
	struct buffer_cursor cursor = {0};
	struct buffer rows[ROWS];

	while (lines && !cursor.done) {
		size_t count = alloc_records_rows(records, &cursor, rows, MIN(lines, ROWS));

		for (size_t i = 0; i < count; i++)
			log_info("remaining: pid %d device %u %s 0x%lx: %lu bytes", (int)pid,
				 rows[i].device, kind_name(rows[i].kind), rows[i].address,
				 rows[i].size_bytes);
		lines -= (unsigned int)count;
	}
	return lines;
}

/* What its process holds, in a line, and then each buffer. */
static unsigned int dump_process(const struct process *process, unsigned int lines)
{
	const struct alloc_process *own = process->joined[SOURCE_ALLOC_SERVER];
	const struct alloc_records *records = &own->records;
	char comm[sizeof process->comm];
	uint64_t bytes = 0;

	for (int kind = 0; kind < KIND_COUNT; kind++)
		bytes += records->used_bytes[kind];
	plain_text(comm, process->comm, sizeof comm, true);
	log_info("remaining: pid %d (%s): %u buffers of %lu bytes", (int)process->pid, comm,
		 records->table.used, bytes);
	return dump_buffers(records, process->pid, lines - 1);
}

void alloc_dump(const struct alloc *alloc)
{
	unsigned int lines = LINES_MOST;
	guint unlisted = 0, processes = 0;

	for (GTreeNode *node = g_tree_node_first(alloc->model->processes); node;
	     node = g_tree_node_next(node)) {
		const struct process *process = g_tree_node_value(node);

		if (!process->joined[SOURCE_ALLOC_SERVER])
			continue;
		processes++;
		unlisted += !lines;
		lines = lines ? dump_process(process, lines) : 0;
	}
	if (!lines)
		log_info("remaining: this is not all (%u more processes); see pids/*/buffers",
			 unlisted);
	if (!processes)
		log_info("remaining: no process holds anything");
}
