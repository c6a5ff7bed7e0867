/* SPDX-License-Identifier: Apache-2.0 */
#include "alloc_records.h"
#include "capped.h"
#include <glib.h>
#include <string.h>

_Static_assert(ALLOC_CLASSES *ALLOC_DEVICES == ALLOC_SPACES, "each class on each device");

#define NO_TAG 255

static const char *const tags[] = {"application", "fabric", "dispatch"};

void alloc_records_init(struct alloc_records *records, struct alloc_quota *quota)
{
	memset(records, 0, sizeof *records);
	alloc_table_init(&records->table);
	records->quota = quota;
}

void alloc_records_fini(struct alloc_records *records)
{
	for (int device = 0; device < ALLOC_DEVICES; device++)
		g_free(records->devices[device]);
	records->quota->used -= records->table.used;
	alloc_table_fini(&records->table);
}

static uint8_t space_of(enum alloc_class class, uint32_t device)
{
	return (uint8_t)(class * ALLOC_DEVICES + device);
}

static struct alloc_sums *sums_get(struct alloc_records *records, uint32_t device)
{
	if (!records->devices[device]) {
		records->devices[device] = g_new0(struct alloc_sums, 1);
		records->known |= 1ull << device;
	}
	return records->devices[device];
}

static void note_highest(uint64_t *peak, uint64_t value)
{
	if (value > *peak)
		*peak = value;
}

/* A buffer comes into the sums. */
static void count_in(struct alloc_records *records, uint32_t device, uint8_t kind, uint64_t size)
{
	struct alloc_sums *sums = sums_get(records, device);
	struct amount *amount = &sums->amounts[kind];

	amount->used_bytes += size;
	amount->used_buffers++;
	add_capped(&amount->allocated_bytes, size);
	amount->allocated_buffers++;
	records->used_bytes[kind] += size;
	note_highest(&sums->peak_bytes[kind], amount->used_bytes);
	note_highest(&records->peak_bytes[kind], records->used_bytes[kind]);
}

static void count_out(struct alloc_records *records, uint32_t device, uint8_t kind, uint64_t size)
{
	struct amount *amount = &records->devices[device]->amounts[kind];

	amount->used_bytes -= size;
	amount->used_buffers--;
	records->used_bytes[kind] -= size;
}

static bool fits(const struct alloc_records *records, uint8_t kind, uint64_t size)
{
	return size <= ALLOC_SIZE_MAX && records->used_bytes[kind] <= ALLOC_SIZE_MAX - size;
}

/* One more reference. Of another size or kind than before: the sums and the list follow. */
static void refer_again(struct alloc_records *records, struct alloc_record *record, uint32_t device,
			uint8_t kind, uint64_t size)
{
	if (record->references < UINT32_MAX)
		record->references++;
	if (record->size_bytes == size && record->kind == kind)
		return;
	records->errors.size_mismatches++;
	count_out(records, device, record->kind, record->size_bytes);
	if (!fits(records, kind, size)) {
		records->errors.untracked++;
		size = 0;
	}
	count_in(records, device, kind, size);
	record->size_bytes = size;
	record->kind = kind;
}

static uint8_t tag_of(const struct alloc_message *message)
{
	bool is_kernel = message->type == ALLOC_KERNEL_LOAD;

	return is_kernel && message->buffer_type < G_N_ELEMENTS(tags) ? message->buffer_type
								      : NO_TAG;
}

static void come(struct alloc_records *records, const struct alloc_message *message,
		 enum alloc_class class, uint8_t kind, uint64_t time_ns)
{
	uint32_t device = (uint32_t)message->device;
	uint8_t space = space_of(class, device);
	struct alloc_record *record = alloc_table_find(&records->table, space, message->buffer);

	if (record) {
		refer_again(records, record, device, kind, message->size);
		return;
	}
	if (fits(records, kind, message->size) && records->quota->used < records->quota->limit)
		record = alloc_table_add(&records->table, space, message->buffer);
	if (!record) {
		records->errors.untracked++;
		return;
	}
	records->quota->used++;
	record->size_bytes = message->size;
	record->time_ns = time_ns;
	record->kind = kind;
	record->tag = tag_of(message);
	records->live[class][device]++;
	count_in(records, device, kind, message->size);
}

static void go(struct alloc_records *records, struct alloc_record *record)
{
	enum alloc_class class = record->space / ALLOC_DEVICES;
	uint32_t device = record->space % ALLOC_DEVICES;

	if (--record->references)
		return;
	count_out(records, device, record->kind, record->size_bytes);
	alloc_table_remove(&records->table, record);
	records->live[class][device]--;
	records->quota->used--;
}

static void free_one(struct alloc_records *records, const struct alloc_message *message,
		     enum alloc_class class)
{
	struct alloc_record *record = alloc_table_find(
		&records->table, space_of(class, (uint32_t)message->device), message->buffer);

	for (uint32_t device = 0; !record && device < ALLOC_DEVICES; device++)
		if (records->live[class][device])
			record = alloc_table_find(&records->table, space_of(class, device),
						  message->buffer);
	if (record)
		go(records, record);
	else
		records->errors.unknown_frees++;
}

void alloc_records_event(struct alloc_records *records, const struct alloc_message *message,
			 uint64_t time_ns)
{
	uint8_t kind = message->buffer_type;

	if (message->device < 0 || message->device >= ALLOC_DEVICES || kind >= KIND_COUNT) {
		records->errors.bad_arguments++;
		return;
	}
	switch (message->type) {
	case ALLOC_ALLOC:
		come(records, message, ALLOC_OF_BUFFER, kind, time_ns);
		break;
	case ALLOC_CB_ALLOC:
		come(records, message, ALLOC_OF_CB, TTMEM_CB, time_ns);
		break;
	case ALLOC_KERNEL_LOAD:
		come(records, message, ALLOC_OF_KERNEL, TTMEM_KERNEL, time_ns);
		break;
	case ALLOC_FREE:
		free_one(records, message, ALLOC_OF_BUFFER);
		break;
	case ALLOC_CB_FREE:
		free_one(records, message, ALLOC_OF_CB);
		break;
	case ALLOC_KERNEL_UNLOAD:
		free_one(records, message, ALLOC_OF_KERNEL);
		break;
	default:
		break;
	}
}

static struct buffer row_of(const struct alloc_table *table, const struct alloc_record *record)
{
	return (struct buffer){
		.address = alloc_table_buffer(table, record),
		.size_bytes = record->size_bytes,
		.time_ns = record->time_ns,
		.device = record->space % ALLOC_DEVICES,
		.kind = record->kind,
		.tag = record->tag == NO_TAG ? NULL : tags[record->tag],
	};
}

/* From one record to the next by their places; from one call to the next by the hash. */
size_t alloc_records_rows(const struct alloc_records *records, struct buffer_cursor *cursor,
			  struct buffer *rows, size_t room)
{
	const struct alloc_table *table = &records->table;
	const struct alloc_record *at = alloc_table_from(table, cursor->next), *last = at;
	size_t count = 0;

	for (; at && count < room; at = alloc_table_after(table, at)) {
		rows[count++] = row_of(table, at);
		last = at;
	}
	cursor->done = !at || last->hash == UINT64_MAX;
	if (!cursor->done)
		cursor->next = last->hash + 1;
	return count;
}
