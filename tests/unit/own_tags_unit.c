/* SPDX-License-Identifier: Apache-2.0 */
/* ttmem_get_tags(): what the process holds, by tag. */
#include "crew.h"
#include "own_ledger.h"

#define ROOM 512

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static struct ttmem_tag_totals rows[ROOM];
static size_t count;

static void look(void)
{
	count = ROOM;
	assert_int_equal(ttmem_get_tags(rows, &count), 0);
	for (size_t i = 0; i < count; i++)
		assert_true(!i || rows[i - 1].live_bytes >= rows[i].live_bytes);
}

static void assert_row(size_t i, const char *tag, uint32_t device, uint32_t kind, uint64_t bytes,
		       uint64_t buffers)
{
	assert_true(i < count);
	assert_string_equal(rows[i].tag, tag);
	assert_int_equal(rows[i].device, device);
	assert_int_equal(rows[i].kind, kind);
	assert_int_equal(rows[i].live_bytes, bytes);
	assert_int_equal(rows[i].live_buffers, buffers);
}

static void rows_come_by_use_for_each_tag_device_and_kind(void)
{
	ttmem_handle handle;

	assert_int_equal(ttmem_start(), 0);
	ttmem_alloc(0, TTMEM_DRAM, 1, 300, "weights");
	ttmem_alloc(0, TTMEM_DRAM, 2, 200, "weights");
	ttmem_alloc(0, TTMEM_DRAM, 2, 200, "another reference");
	ttmem_alloc(63, TTMEM_DRAM, 1, 400, "weights");
	ttmem_alloc(0, TTMEM_KERNEL, 1, 100, "weights");
	ttmem_alloc(0, TTMEM_DRAM, 3, 1000, "");
	handle = ttmem_alloc_handle(0, TTMEM_DRAM, 1, 700, "kv_cache");
	look();
	assert_int_equal(count, 5);
	assert_row(0, "", 0, TTMEM_DRAM, 1000, 1);
	assert_row(1, "kv_cache", 0, TTMEM_DRAM, 700, 1);
	assert_row(2, "weights", 0, TTMEM_DRAM, 500, 2);
	assert_row(3, "weights", 63, TTMEM_DRAM, 400, 1);
	assert_row(4, "weights", 0, TTMEM_KERNEL, 100, 1);
	ttmem_free_handle(handle);
	ttmem_free(0, TTMEM_DRAM, 2);
	ttmem_free(63, TTMEM_DRAM, 1);
	look();
	assert_int_equal(count, 3);
	assert_row(1, "weights", 0, TTMEM_DRAM, 500, 2);
	assert_row(2, "weights", 0, TTMEM_KERNEL, 100, 1);
}

static void a_buffer_of_no_bytes_has_a_row(void)
{
	assert_int_equal(ttmem_start(), 0);
	look();
	assert_int_equal(count, 0);
	ttmem_alloc(5, TTMEM_L1, 1, 0, "empty");
	look();
	assert_int_equal(count, 1);
	assert_row(0, "empty", 5, TTMEM_L1, 0, 1);
	ttmem_free(5, TTMEM_L1, 1);
	look();
	assert_int_equal(count, 0);
}

static void with_too_little_room_the_largest_are_there(void)
{
	char tag[16];

	assert_int_equal(ttmem_start(), 0);
	for (uint64_t i = 0; i < 100; i++) {
		snprintf(tag, sizeof tag, "%u", (unsigned int)i);
		ttmem_alloc(0, TTMEM_DRAM, i, 1 + i * 37 % 100, tag);
	}
	for (size_t room = 0; room < 100; room += 9) {
		memset(rows, 0xee, sizeof rows);
		count = room;
		errno = 77;
		assert_int_equal(ttmem_get_tags(room ? rows : NULL, &count), -ENOSPC);
		assert_int_equal(errno, 77);
		assert_int_equal(count, 100);
		for (size_t i = 0; i < room; i++)
			assert_int_equal(rows[i].live_bytes, 100 - i);
		assert_int_equal(rows[room].live_bytes, 0xeeeeeeeeeeeeeeeeull);
	}
	count = 100;
	assert_int_equal(ttmem_get_tags(rows, &count), 0);
	assert_int_equal(rows[99].live_bytes, 1);
}

static void nonsense_is_refused(void)
{
	assert_int_equal(ttmem_start(), 0);
	count = 1;
	assert_int_equal(ttmem_get_tags(rows, NULL), -EINVAL);
	assert_int_equal(ttmem_get_tags(NULL, &count), -EINVAL);
	count = 0;
	assert_int_equal(ttmem_get_tags(NULL, &count), 0);
}

static void while_it_is_off_there_are_none(void)
{
	count = ROOM;
	errno = 77;
	assert_int_equal(ttmem_get_tags(rows, &count), -ENOTCONN);
	assert_int_equal(count, 0);
	assert_int_equal(errno, 77);
	assert_int_equal(ledgers_open(), 0);
}

static void a_long_name_is_cut_and_ends(void)
{
	char tag[200];

	assert_int_equal(ttmem_start(), 0);
	memset(tag, 'x', sizeof tag - 1);
	tag[199] = 0;
	ttmem_alloc(0, TTMEM_DRAM, 1, 1, tag);
	memset(rows, 0xee, sizeof rows);
	look();
	assert_int_equal(strlen(rows[0].tag), TTMEM_TAG_MAX);
	assert_int_equal(strspn(rows[0].tag, "x"), TTMEM_TAG_MAX);
}

static void what_has_no_place_in_the_table_of_tags_is_other(void)
{
	char tag[16];

	assert_int_equal(ttmem_start(), 0);
	for (uint64_t i = 0; i < TTMEM_MAX_TAGS + 50; i++) {
		snprintf(tag, sizeof tag, "%u", (unsigned int)i);
		ttmem_alloc(0, TTMEM_DRAM, i, 1, tag);
	}
	count = 1;
	assert_int_equal(ttmem_get_tags(rows, &count), -ENOSPC);
	assert_int_equal(count, TTMEM_MAX_TAGS + 1);
	assert_row(0, "other", 0, TTMEM_DRAM, 50, 50);
}

/* From here on the kernel has no memory for the ledger. */
static void refuse_memory(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MADV_POPULATE_WRITE, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOMEM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {sizeof code / sizeof *code, code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		case_skip("system calls cannot be filtered");
}

static void what_has_no_memory_for_its_tag_is_other(void)
{
	assert_int_equal(ttmem_start(), 0);
	ttmem_alloc(0, TTMEM_DRAM, 1, 3, NULL);
	refuse_memory();
	ttmem_alloc(0, TTMEM_DRAM, 2, 5, "weights");
	look();
	assert_int_equal(count, 2);
	assert_row(0, "other", 0, TTMEM_DRAM, 5, 1);
	assert_row(1, "", 0, TTMEM_DRAM, 3, 1);
}

static void what_cannot_be_listed_counts_too(void)
{
	setenv("TTMEM_RECORDS", "256", 1);
	assert_int_equal(ttmem_start(), 0);
	for (uint64_t i = 0; i < 100000; i++)
		ttmem_alloc((uint32_t)i % 4, TTMEM_DRAM, i / 4, 10 - i % 4, i % 8 < 4 ? "a" : "b");
	look();
	assert_int_equal(count, 8);
	for (size_t i = 0; i < 8; i++) {
		assert_int_equal(rows[i].live_buffers, 12500);
		assert_int_equal(rows[i].live_bytes, 12500 * (10 - i / 2));
	}
	for (uint64_t i = 0; i < 100000; i++)
		ttmem_free((uint32_t)i % 4, TTMEM_DRAM, i / 4);
	look();
	assert_int_equal(count, 0);
}

static void a_forked_child_has_its_own_alone(void)
{
	pid_t child;

	assert_int_equal(ttmem_start(), 0);
	ttmem_alloc(0, TTMEM_DRAM, 1, 5, "parent");
	child = case_fork();
	if (child == 0) {
		look();
		assert_int_equal(count, 0);
		ttmem_alloc(1, TTMEM_L1, 1, 7, "child");
		look();
		assert_int_equal(count, 1);
		assert_row(0, "child", 1, TTMEM_L1, 7, 1);
		_exit(0);
	}
	assert_int_equal(case_wait(child), 0);
	look();
	assert_int_equal(count, 1);
	assert_row(0, "parent", 0, TTMEM_DRAM, 5, 1);
}

/* Its thread may have less priority than we do, and one processor for both. */
static void a_record_that_stays_half_written_is_not_waited_for(void)
{
	struct ledger_record *record;

	assert_int_equal(ttmem_start(), 0);
	ttmem_alloc(0, TTMEM_DRAM, 1, 5, "half");
	ttmem_alloc(0, TTMEM_DRAM, 2, 7, "whole");
	record = (struct ledger_record *)ledger_find(ledger_map(), 0, TTMEM_DRAM, 1);
	record->sequence++;
	look();
	assert_int_equal(count, 1);
	assert_row(0, "whole", 0, TTMEM_DRAM, 7, 1);
	record->sequence--;
	look();
	assert_int_equal(count, 2);
}

#define CHURNERS 3
#define KEPT     200

static bool enough;

/* Each tag has a size of its own. */
static void keep_and_churn(struct crew *crew, unsigned int self)
{
	static const char *const tags[] = {"1", "22", "333", "4444"};
	uint64_t state = self + 1;

	for (uint64_t i = 0; i < KEPT; i++)
		ttmem_alloc(0, TTMEM_DRAM, i << 8 | self, 1000000, "kept");
	crew_pause(crew);
	while (!__atomic_load_n(&enough, __ATOMIC_RELAXED)) {
		uint64_t dice = next_random(&state);
		const char *tag = tags[dice % 4];
		uint64_t address = 1 << 30 | (dice >> 8) % 64 << 8 | self;

		ttmem_alloc((uint32_t)dice >> 16 & 63, TTMEM_L1, address, strlen(tag), tag);
		ttmem_free((uint32_t)dice >> 16 & 63, TTMEM_L1, address);
	}
}

static void what_stays_is_exact_while_others_come_and_go(void)
{
	struct crew crew;
	bool seen = false;

	assert_int_equal(ttmem_start(), 0);
	crew_begin(&crew, CHURNERS, keep_and_churn);
	crew_halt(&crew);
	crew_resume(&crew);
	for (unsigned int turn = 0; turn < rounds(300) || !(seen || RUNNING_ON_VALGRIND); turn++) {
		look();
		assert_row(0, "kept", 0, TTMEM_DRAM, 1000000ull * CHURNERS * KEPT, CHURNERS * KEPT);
		for (size_t i = 1; i < count; i++) {
			assert_int_equal(rows[i].kind, TTMEM_L1);
			assert_int_equal(rows[i].live_bytes,
					 rows[i].live_buffers * strlen(rows[i].tag));
		}
		seen |= count > 1;
	}
	__atomic_store_n(&enough, true, __ATOMIC_RELAXED);
	crew_end(&crew);
	look();
	assert_int_equal(count, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(rows_come_by_use_for_each_tag_device_and_kind),
		isolated(a_buffer_of_no_bytes_has_a_row),
		isolated(with_too_little_room_the_largest_are_there),
		isolated(nonsense_is_refused),
		isolated(while_it_is_off_there_are_none),
		isolated(a_long_name_is_cut_and_ends),
		isolated(what_has_no_place_in_the_table_of_tags_is_other),
		isolated(what_has_no_memory_for_its_tag_is_other),
		isolated(what_cannot_be_listed_counts_too),
		isolated(a_forked_child_has_its_own_alone),
		isolated(a_record_that_stays_half_written_is_not_waited_for),
		isolated(what_stays_is_exact_while_others_come_and_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
