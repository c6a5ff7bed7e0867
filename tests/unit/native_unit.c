/* SPDX-License-Identifier: Apache-2.0 */
/* Whose ledger is believed, and what becomes of the devices it speaks of. */
#include "forged.h"
#include "native.h"
#include <sys/stat.h>

#define PID  77 /* of a made-up process, in a made-up /proc */
#define ASIC 0xa51c

struct scene {
	struct model model;
	struct native native;
	struct forged forged;
	char *proc;
	unsigned int ended; /* calls of end_peer */
};

static uint64_t now_ns = 1700000000000000000;
static struct scene *scene;

static uint64_t clock_of_the_scene(void)
{
	return now_ns;
}

static void put(pid_t pid, const char *name, const char *text)
{
	unit_put_proc(scene->proc, pid, name, text);
}

/* The server's part: lets go of the ledger. */
static void end_peer(void *peer)
{
	scene->ended++;
	native_release(&scene->native, peer);
}

static int setup(void **state)
{
	(void)state;
	scene = g_new0(struct scene, 1);
	model_init(&scene->model);
	scene->model.now_ns = scene->model.spent_ns = clock_of_the_scene;
	scene->model.proc = scene->proc = unit_mkdir();
	native_init(&scene->native, &scene->model);
	scene->native.end_peer = end_peer;
	put(PID, "stat", "77 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 1234 0\n");
	forged_make(&scene->forged);
	scene->forged.header->pid = PID;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	native_fini(&scene->native);
	model_fini(&scene->model);
	forged_forget(&scene->forged);
	unit_rmdir(scene->proc);
	g_free(scene);
	return 0;
}

#define CLAIM(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static struct ledger *adopt_as(struct forged *forged, pid_t pid, const char **why)
{
	struct ledger *ledger;

	*why = NULL;
	forge_seal(&forged->by_hand, FORGE_SEALS);
	ledger = native_adopt(&scene->native, forged->by_hand.memfd, pid, geteuid(), 100, why);
	assert_true(ledger || fd_is_open(forged->by_hand.memfd));
	if (ledger)
		ledger->peer = ledger;
	return ledger;
}

static struct ledger *adopt(void)
{
	const char *why;
	struct ledger *ledger = adopt_as(&scene->forged, PID, &why);

	assert_non_null(ledger);
	assert_null(why);
	return ledger;
}

static void assert_refused(const char *want)
{
	const char *why;

	assert_null(adopt_as(&scene->forged, PID, &why));
	assert_non_null(why);
	assert_non_null(strstr(why, want));
	assert_int_equal(g_tree_nnodes(scene->model.processes), 0);
	close(scene->forged.by_hand.memfd);
}

static struct ledger_device *device_slot(uint32_t index)
{
	return (struct ledger_device *)forged_at(&scene->forged, LEDGER_OFFSET_DEVICES) + index;
}

/* The process says what its device is, as the library would. */
static void declare(uint32_t index, uint64_t asic_id)
{
	device_slot(index)->asic_id = asic_id;
	device_slot(index)->sequence += 2;
	scene->forged.header->devices_used |= 1ull << index;
	scene->forged.header->device_generation++;
}

static struct device *device_of(const struct ledger *ledger, uint32_t index)
{
	const GPtrArray *holdings = ledger->process->holdings;

	for (guint i = 0; i < holdings->len; i++) {
		const struct holding *holding = holdings->pdata[i];

		if (holding->slots >> index & 1)
			return holding->device;
	}
	return NULL;
}

static void a_process_comes_with_what_it_holds(void **state)
{
	struct ledger *ledger = adopt();
	struct amount amounts[KIND_COUNT];

	(void)state;
	assert_ptr_equal(model_process_by_pid(&scene->model, PID), ledger->process);
	assert_int_equal(ledger->process->start_ticks, 1234);
	process_read(ledger->process, KINDS_ALL, amounts);
	assert_int_equal(amounts[TTMEM_DRAM].used_bytes, 4096);
	assert_int_equal(process_peak(&scene->model, ledger->process, (enum kind)TTMEM_DRAM, 0),
			 4096);
	native_release(&scene->native, ledger);
	assert_null(model_process_by_pid(&scene->model, PID));
	assert_false(fd_is_open(scene->forged.by_hand.memfd));
}

static void refuses_the_ledger_of_another_process(void **state)
{
	(void)state;
	scene->forged.header->pid = PID + 1;
	put(PID, "status", "Name:\tx\nNSpid:\t77\t5\n");
	assert_refused("another process");
}

static void believes_the_number_that_a_process_has_in_its_namespace(void **state)
{
	(void)state;
	scene->forged.header->pid = 5;
	put(PID, "status", "Name:\tx\nNSpid:\t77\t5\n");
	assert_int_equal(adopt()->process->pid, PID);
}

static void refuses_a_process_that_has_ended(void **state)
{
	char *path = g_strdup_printf("%s/%d/stat", scene->proc, PID);

	(void)state;
	assert_int_equal(unlink(path), 0);
	g_free(path);
	assert_refused("ended");
}

static void a_ledger_counts_once(void **state)
{
	const char *why;
	int copy = dup(scene->forged.by_hand.memfd);

	(void)state;
	adopt();
	assert_null(native_adopt(&scene->native, copy, PID, geteuid(), 100, &why));
	assert_non_null(strstr(why, "known"));
	assert_int_equal(scene->ended, 0);
	close(copy);
}

static void a_new_ledger_ends_the_one_before(void **state)
{
	uint64_t serial = adopt()->process->serial;
	struct forged newer;
	struct ledger *ledger;
	const char *why;

	(void)state;
	forged_make(&newer);
	newer.header->pid = PID;
	ledger = adopt_as(&newer, PID, &why);
	assert_non_null(ledger);
	assert_int_equal(scene->ended, 1);
	assert_null(model_process(&scene->model, serial));
	assert_ptr_equal(model_process_by_pid(&scene->model, PID), ledger->process);
	assert_int_equal(scene->native.ledgers->len, 1);
	assert_false(fd_is_open(scene->forged.by_hand.memfd));
	forged_forget(&newer);
}

static void a_device_that_is_declared_later_is_bound_at_the_next_look(void **state)
{
	struct ledger *ledger = adopt();

	(void)state;
	assert_int_equal(device_of(ledger, FORGE_DEVICE)->identity.asic_id, 0);
	declare(FORGE_DEVICE, ASIC);
	declare(9, ASIC + 1);
	assert_null(device_of(ledger, 9));
	model_sync(&scene->model, NULL);
	assert_int_equal(device_of(ledger, FORGE_DEVICE)->identity.asic_id, ASIC);
	assert_int_equal(device_of(ledger, 9)->identity.asic_id, ASIC + 1);
	declare(9, ASIC); /* it was the same chip all along */
	model_sync(&scene->model, NULL);
	assert_ptr_equal(device_of(ledger, 9), device_of(ledger, FORGE_DEVICE));
	assert_int_equal(ledger->process->holdings->len, 1);
}

static void a_look_for_one_process_leaves_the_others_alone(void **state)
{
	struct ledger *ledger = adopt(), *other;
	const struct scope own = {.serial = ledger->process->serial};
	const struct scope list = {.is_list = true};
	struct forged neighbour;
	const char *why;

	(void)state;
	put(PID + 1, "stat", "78 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 1234 0\n");
	forged_make(&neighbour);
	neighbour.header->pid = PID + 1;
	other = adopt_as(&neighbour, PID + 1, &why);
	assert_non_null(other);
	declare(9, ASIC);
	neighbour.header->device_generation++;
	model_sync(&scene->model, &list);
	assert_null(device_of(ledger, 9));
	model_sync(&scene->model, &own);
	assert_non_null(device_of(ledger, 9));
	assert_int_not_equal(other->view.seen_generation, neighbour.header->device_generation);
	model_sync(&scene->model, &(struct scope){.serial = device_of(ledger, 9)->serial});
	assert_int_equal(other->view.seen_generation, neighbour.header->device_generation);
	forged_forget(&neighbour);
}

static void a_device_that_is_being_written_keeps_no_other_back(void **state)
{
	struct ledger *ledger = adopt();

	(void)state;
	declare(8, ASIC);
	declare(9, ASIC + 1);
	device_slot(8)->sequence++;
	model_sync(&scene->model, NULL);
	assert_null(device_of(ledger, 8));
	assert_non_null(device_of(ledger, 9));
	device_slot(8)->sequence++;
	model_sync(&scene->model, NULL);
	assert_non_null(device_of(ledger, 8));
}

static void who_declares_without_end_is_looked_at_now_and_then(void **state)
{
	struct ledger *ledger = adopt();
	unsigned int seen = 0, later = 0;

	(void)state;
	for (uint32_t i = 0; i < 1000; i++) {
		declare(9, i % 2 + 1);
		model_sync(&scene->model, NULL);
		seen += ledger->view.seen_generation == scene->forged.header->device_generation;
	}
	assert_in_range(seen, 100, 300);
	for (uint32_t i = 0; i < 100; i++) {
		now_ns += 10000000; /* a second in all */
		declare(9, i % 2 + 1);
		model_sync(&scene->model, NULL);
		later += ledger->view.seen_generation == scene->forged.header->device_generation;
	}
	assert_in_range(later, 9, 11);
}

/* Between two looks it used a device for the first time, failed there, and ended. */
static void what_a_process_did_since_the_last_look_is_seen_at_its_end(void **state)
{
	struct ledger *ledger = adopt();
	struct forged *forged = &scene->forged;
	struct ledger_cell *cell = forged_cell(forged, 0, 9, TTMEM_L1);

	(void)state;
	forged->header->shard_devices[0] |= 1 << 9;
	cell->allocated_bytes = 77;
	cell->allocated_buffers = 1;
	cell->failures = 2;
	cell->failure_time_ns = scene->model.started_ns;
	declare(9, 0xb);
	native_release(&scene->native, ledger);
	assert_int_equal(scene->model.events.oom, 2);
	assert_int_equal(((struct departed *)g_queue_peek_tail(&scene->model.departed))
				 ->leaked_bytes[TTMEM_L1],
			 77);
}

static void buffers_of_a_device_that_is_not_bound_are_left_out(void **state)
{
	struct ledger_record *records = forged_records(&scene->forged);
	struct ledger *ledger = adopt();
	struct source *source = &scene->native.source;
	struct buffer_cursor cursor = {0};
	struct buffer rows[512];

	(void)state;
	records[1] = records[0];
	records[1].device = 63;
	forged_chunks(&scene->forged)[0].used = 2;
	assert_int_equal(source->ops->buffers(source, ledger->process, &cursor, rows, 512), 1);
	assert_int_equal(rows[0].size_bytes, 4096);
	assert_int_equal(rows[0].device, FORGE_DEVICE);
	assert_null(rows[0].tag);
	assert_true(cursor.done);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLAIM(a_process_comes_with_what_it_holds),
		CLAIM(refuses_the_ledger_of_another_process),
		CLAIM(believes_the_number_that_a_process_has_in_its_namespace),
		CLAIM(refuses_a_process_that_has_ended),
		CLAIM(a_ledger_counts_once),
		CLAIM(a_new_ledger_ends_the_one_before),
		CLAIM(a_device_that_is_declared_later_is_bound_at_the_next_look),
		CLAIM(a_look_for_one_process_leaves_the_others_alone),
		CLAIM(a_device_that_is_being_written_keeps_no_other_back),
		CLAIM(who_declares_without_end_is_looked_at_now_and_then),
		CLAIM(what_a_process_did_since_the_last_look_is_seen_at_its_end),
		CLAIM(buffers_of_a_device_that_is_not_bound_are_left_out),
	};

	return RUN(tests);
}
