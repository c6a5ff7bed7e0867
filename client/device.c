/* SPDX-License-Identifier: Apache-2.0 */
/* The device table: what the owner says of its devices. */
#include "internal.h"
#include <errno.h>
#include <string.h>

/* Tells readers that a device is in use. */
void ttmem__device_seen(struct client *client, uint32_t device)
{
	struct ledger_header *header = client->header;
	uint64_t bit = 1ull << device;

	if (!(__atomic_fetch_or(&header->devices_used, bit, __ATOMIC_RELEASE) & bit))
		__atomic_fetch_add(&header->device_generation, 1, __ATOMIC_RELEASE);
}

static void text_set(char *to, const char *text, size_t size)
{
	if (!text)
		return;
	memset(to, 0, size);
	memcpy(to, text, strnlen(text, size - 1));
}

static void entry_write(struct ledger_device *entry, const struct ttmem_device *device)
{
	uint32_t sequence = word_get(&entry->sequence);

	word_set(&entry->sequence, sequence + 1);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	if (device->is_remote)
		entry->flags |= LEDGER_DEVICE_REMOTE;
	if (device->asic_id)
		entry->asic_id = device->asic_id;
	if (device->dram_total)
		entry->dram_total = device->dram_total;
	if (device->l1_total)
		entry->l1_total = device->l1_total;
	text_set(entry->pci, device->pci, sizeof entry->pci);
	text_set(entry->arch, device->arch, sizeof entry->arch);
	text_set(entry->board, device->board, sizeof entry->board);
	__atomic_store_n(&entry->sequence, sequence + 2, __ATOMIC_RELEASE);
}

int ttmem_declare_device(uint32_t index, const struct ttmem_device *device)
{
	struct client *client;
	int saved = errno;
	int error;

	if (index >= LEDGER_DEVICES || !device || device->size != sizeof *device)
		return -EINVAL;
	client = ttmem__client_ready();
	if (!client)
		return -ENOTCONN;
	/* A signal handler's call may need the same lock. */
	ttmem__thread.busy = 1;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	lock_take(&client->lock);
	error = ttmem__back(client, &client->devices[index], sizeof *client->devices);
	if (!error) {
		entry_write(&client->devices[index], device);
		__atomic_fetch_or(&client->header->devices_used, 1ull << index, __ATOMIC_RELEASE);
		__atomic_fetch_add(&client->header->device_generation, 1, __ATOMIC_RELEASE);
	}
	lock_give(&client->lock);
	doorbell_check(client);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	ttmem__thread.busy = 0;
	errno = saved;
	return error;
}
