/* SPDX-License-Identifier: Apache-2.0 */
/* The same chip, by whichever name a source knows it, is one device; the driver numbers it. */
#include "tellers.h"

#define PCI_0 "0000:01:00.0"
#define PCI_1 "0000:02:00.0"

static struct device *number(struct tellers *tellers, uint32_t n)
{
	return model_device_numbered(&tellers->model, n);
}

static void driver_forgets(struct tellers *tellers, struct device *device)
{
	model_device_forget(&tellers->model, source_of(tellers, SOURCE_KMD), device);
}

static void a_chip_is_one_device_by_whichever_name(void **state)
{
	struct tellers *tellers = *state;
	struct device *device = driver_lists(tellers, 0, 0xa, PCI_0);

	driver_lists(tellers, 1, 0xb, PCI_1);
	assert_ptr_equal(
		names(tellers, SOURCE_NATIVE, (struct identity){.index = 5, .asic_id = 0xa}),
		device);
	assert_ptr_equal(names(tellers, SOURCE_NATIVE, (struct identity){.index = 6, .pci = PCI_0}),
			 device);
	assert_ptr_equal(names(tellers, SOURCE_NATIVE, (struct identity){0}), device);
	assert_ptr_equal(names(tellers, SOURCE_ALLOC_SERVER, (struct identity){0}), device);
	assert_ptr_equal(names(tellers, SOURCE_TT_METAL,
			       (struct identity){.index = DEVICE_NO_INDEX, .asic_id = 0xa}),
			 device);
	assert_int_equal(g_tree_nnodes(tellers->model.devices), 2);
}

static void the_asic_id_counts_more_than_the_address_and_that_more_than_the_index(void **state)
{
	struct tellers *tellers = *state;
	struct device *a = driver_lists(tellers, 0, 0xa, PCI_0);
	struct device *b = driver_lists(tellers, 1, 0xb, PCI_1);
	struct identity both = {.index = 1, .asic_id = 0xa, .pci = PCI_1},
			pci = {.index = 1, .pci = PCI_0};

	assert_ptr_equal(names(tellers, SOURCE_NATIVE, both), a);
	assert_ptr_equal(names(tellers, SOURCE_NATIVE, pci), a);
	assert_string_equal(a->identity.pci, PCI_0);
	assert_ptr_equal(names(tellers, SOURCE_NATIVE, (struct identity){.index = 1}), b);
}

static void a_name_that_the_driver_does_not_know_is_behind_its_numbers(void **state)
{
	struct tellers *tellers = *state;

	driver_lists(tellers, 0, 0xa, PCI_0);
	driver_lists(tellers, 3, 0xb, PCI_1);
	assert_int_equal(
		names(tellers, SOURCE_NATIVE, (struct identity){.index = 0, .asic_id = 0xc})
			->number,
		4);
	assert_int_equal(
		names(tellers, SOURCE_NATIVE, (struct identity){.index = 1, .asic_id = 0xd})
			->number,
		5);
	assert_int_equal(
		names(tellers, SOURCE_NATIVE, (struct identity){.index = 9, .asic_id = 0xe})
			->number,
		9);
	assert_int_equal(names(tellers, SOURCE_TT_METAL,
			       (struct identity){.index = DEVICE_NO_INDEX, .asic_id = 0xf})
				 ->number,
			 6);
}

static void an_address_that_several_claim_is_the_drivers_devices(void **state)
{
	struct tellers *tellers = *state;
	struct identity claim = {.index = 0, .asic_id = 0x99, .pci = PCI_0};
	struct identity other = {.index = 1, .asic_id = 0x98, .pci = PCI_0};
	struct device *device;

	names(tellers, SOURCE_NATIVE, claim);
	device = driver_lists(tellers, 5, 0xa, PCI_0);
	names(tellers, SOURCE_NATIVE, other);
	assert_int_equal(g_tree_nnodes(tellers->model.devices), 3);
	assert_ptr_equal(names(tellers, SOURCE_NATIVE, (struct identity){.index = 9, .pci = PCI_0}),
			 device);
	assert_ptr_equal(driver_lists(tellers, 5, 0, PCI_0), device); /* while it is reset */
}

static void a_device_that_goes_is_hidden_and_comes_back_with_its_number(void **state)
{
	struct tellers *tellers = *state;
	struct device *device = driver_lists(tellers, 1, 0xa, PCI_0);
	uint64_t serial = device->serial;

	driver_forgets(tellers, device);
	assert_false(device_is_shown(device));
	assert_ptr_equal(driver_lists(tellers, 4, 0xa, PCI_1), device);
	assert_true(device_is_shown(device));
	assert_int_equal(device->number, 1);
	assert_string_equal(device->identity.pci, PCI_1);
	assert_int_not_equal(device->serial, serial);
}

static void another_card_in_the_slot_is_another_device(void **state)
{
	struct tellers *tellers = *state;
	struct device *first = driver_lists(tellers, 0, 0xa, PCI_0), *second;

	driver_forgets(tellers, first);
	second = driver_lists(tellers, 0, 0xb, PCI_0);
	assert_ptr_not_equal(second, first);
	assert_int_not_equal(second->number, 0);
	assert_false(device_is_shown(first));
	assert_ptr_equal(driver_lists(tellers, 0, 0xb, PCI_0), second);
	assert_ptr_equal(number(tellers, 0), first);
}

static void a_chip_whose_id_cannot_be_read_is_known_by_its_address(void **state)
{
	struct tellers *tellers = *state;
	struct device *device = driver_lists(tellers, 0, 0xa, PCI_0);

	driver_forgets(tellers, device);
	assert_ptr_equal(driver_lists(tellers, 0, 0, PCI_0), device);
	assert_int_equal(device->identity.asic_id, 0xa);
	driver_lists(tellers, 1, 0, PCI_1);
	assert_int_equal(driver_lists(tellers, 1, 0xb, PCI_1)->number, 1);
	assert_int_equal(number(tellers, 1)->identity.asic_id, 0xb);
}

static void a_client_that_came_before_the_driver_keeps_its_device(void **state)
{
	struct tellers *tellers = *state;
	struct device *unnamed = names(tellers, SOURCE_NATIVE, (struct identity){.index = 1});
	struct device *named =
		names(tellers, SOURCE_NATIVE, (struct identity){.index = 0, .asic_id = 0xa});

	assert_int_equal(driver_lists(tellers, 0, 0xb, PCI_0)->number, 2);
	assert_ptr_equal(driver_lists(tellers, 1, 0xc, PCI_1), unnamed);
	assert_ptr_equal(driver_lists(tellers, 2, 0xa, "0000:03:00.0"), named);
	assert_int_equal(named->number, 0);
}

static void the_driver_takes_away_what_only_clients_had_heard_of(void **state)
{
	struct tellers *tellers = *state;
	struct device *device = driver_lists(tellers, 0, 0xa, PCI_0);

	names(tellers, SOURCE_NATIVE, (struct identity){.index = 0, .asic_id = 0xa});
	tells(tellers, SOURCE_NATIVE, 1, device, 100);
	driver_forgets(tellers, device);
	assert_true(device_is_shown(device));
	names(tellers, SOURCE_NATIVE, (struct identity){.index = 0, .asic_id = 0xa});
	leaves(tellers, SOURCE_NATIVE, 1);
	assert_false(device_is_shown(device));
	names(tellers, SOURCE_NATIVE, (struct identity){.index = 0, .asic_id = 0xa});
	tells(tellers, SOURCE_NATIVE, 2, device, 100);
	assert_true(device_is_shown(device));
	leaves(tellers, SOURCE_NATIVE, 2);
	assert_false(device_is_shown(device));
}

static void a_region_keeps_its_device_when_the_driver_goes(void **state)
{
	struct tellers *tellers = *state;
	struct device *device = driver_lists(tellers, 0, 0xa, PCI_0);

	names(tellers, SOURCE_TT_METAL,
	      (struct identity){.index = DEVICE_NO_INDEX, .asic_id = 0xa});
	driver_forgets(tellers, device);
	assert_true(device_is_shown(device));
	model_device_forget(&tellers->model, source_of(tellers, SOURCE_TT_METAL), device);
	assert_false(device_is_shown(device));
}

static void a_device_that_only_clients_know_stays(void **state)
{
	struct tellers *tellers = *state;
	struct device *device =
		names(tellers, SOURCE_NATIVE, (struct identity){.index = 0, .asic_id = 0xa});

	tells(tellers, SOURCE_NATIVE, 1, device, 100);
	leaves(tellers, SOURCE_NATIVE, 1);
	assert_true(device_is_shown(device));
}

static void the_driver_has_the_last_word_on_what_a_device_is(void **state)
{
	struct tellers *tellers = *state;
	struct identity claimed = {.index = 0,
				   .asic_id = 0xa,
				   .pci = PCI_1,
				   .board = "p150a",
				   .arch = "blackhole",
				   .is_remote = true};
	struct identity listed = {.index = 0, .asic_id = 0xa, .pci = PCI_0, .board = "n300"};
	struct device *device = names(tellers, SOURCE_NATIVE, claimed);

	tells(tellers, SOURCE_NATIVE, 1, device, 100);
	model_device_of_driver(&tellers->model, source_of(tellers, SOURCE_KMD), &listed);
	names(tellers, SOURCE_NATIVE, claimed);
	assert_string_equal(device->identity.pci, PCI_0);
	assert_string_equal(device->identity.board, "n300");
	assert_false(device->identity.is_remote);
}

static void what_one_client_said_of_capacities_the_next_can_correct(void **state)
{
	struct tellers *tellers = *state;
	struct device *device = driver_lists(tellers, 0, 0xa, PCI_0);
	struct identity wrong = {.index = 0, .asic_id = 0xa, .dram_total_bytes = 1};
	struct identity right = {.index = 0, .asic_id = 0xa, .dram_total_bytes = 12};

	names(tellers, SOURCE_NATIVE, wrong);
	tells(tellers, SOURCE_KMD, 1, device, 0);
	tells(tellers, SOURCE_KMD, 2, device, 0);
	tells(tellers, SOURCE_NATIVE, 1, device, 100);
	names(tellers, SOURCE_NATIVE, right);
	assert_int_equal(device_capacity(device, (enum kind)TTMEM_DRAM), 1);
	leaves(tellers, SOURCE_NATIVE, 1);
	names(tellers, SOURCE_NATIVE, right);
	assert_int_equal(device_capacity(device, (enum kind)TTMEM_DRAM), 12);
}

static void the_drivers_devices_fit_beside_those_of_every_user(void **state)
{
	struct tellers *tellers = *state;

	tellers->model.owner = 500;
	for (uint64_t i = 0; i < MODEL_MAX_DEVICES; i++) {
		struct identity identity = {.index = (uint32_t)i % 64, .asic_id = 1000 + i};

		tellers_now_ns++;
		model_device_get(&tellers->model, source_of(tellers, SOURCE_NATIVE), &identity,
				 (uid_t)(1000 + i / MODEL_MAX_DEVICES_PER_USER));
	}
	for (uint32_t n = 0; n < 256; n++)
		assert_non_null(driver_lists(tellers, n, 1 + n, ""));
	assert_int_equal(g_tree_nnodes(tellers->model.devices), MODEL_MAX_DEVICES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TELLERS_TEST(a_chip_is_one_device_by_whichever_name),
		TELLERS_TEST(the_asic_id_counts_more_than_the_address_and_that_more_than_the_index),
		TELLERS_TEST(a_name_that_the_driver_does_not_know_is_behind_its_numbers),
		TELLERS_TEST(an_address_that_several_claim_is_the_drivers_devices),
		TELLERS_TEST(a_device_that_goes_is_hidden_and_comes_back_with_its_number),
		TELLERS_TEST(another_card_in_the_slot_is_another_device),
		TELLERS_TEST(a_chip_whose_id_cannot_be_read_is_known_by_its_address),
		TELLERS_TEST(a_client_that_came_before_the_driver_keeps_its_device),
		TELLERS_TEST(the_driver_takes_away_what_only_clients_had_heard_of),
		TELLERS_TEST(a_region_keeps_its_device_when_the_driver_goes),
		TELLERS_TEST(a_device_that_only_clients_know_stays),
		TELLERS_TEST(the_driver_has_the_last_word_on_what_a_device_is),
		TELLERS_TEST(what_one_client_said_of_capacities_the_next_can_correct),
		TELLERS_TEST(the_drivers_devices_fit_beside_those_of_every_user),
	};

	return RUN(tests);
}
