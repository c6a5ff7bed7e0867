// SPDX-License-Identifier: Apache-2.0
// What client/ttmem.hpp promises, read back from the library itself.
#include "ttmem.hpp"
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#define CHECK(what)                                                                             \
	do {                                                                                    \
		if (!(what)) {                                                                  \
			std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what); \
			std::exit(1);                                                           \
		}                                                                               \
	} while (0)

using ttmem::kind;

static std::uint64_t live(std::uint32_t device, kind of)
{
	return ttmem::totals(device, of).live_bytes;
}

static std::uint64_t live_of_tag(const char *name)
{
	std::uint64_t bytes = 0;

	for (const auto &row : ttmem::tags())
		if (std::strcmp(row.tag, name) == 0)
			bytes += row.live_bytes;
	return bytes;
}

static std::uint64_t unknown_frees()
{
	return ttmem::errors().value().unknown_frees;
}

static void a_tag_is_that_of_its_scope()
{
	{
		ttmem::tag outer("outer");
		ttmem::alloc(0, kind::l1, 1, 10);
		{
			const ttmem::tag inner(std::string_view("inner and no more", 5));
			ttmem::alloc(0, kind::l1, 2, 200);
			ttmem::alloc(0, kind::l1, 3, 4000, "own");
		}
		ttmem::alloc(0, kind::l1, 4, 30);
	}
	ttmem::alloc(0, kind::l1, 5, 50000);
	CHECK(live_of_tag("outer") == 40);
	CHECK(live_of_tag("inner") == 200);
	CHECK(live_of_tag("own") == 4000);
	CHECK(live_of_tag("") == 50000);
	for (std::uint64_t address = 1; address <= 5; address++)
		ttmem::free(0, kind::l1, address);
	CHECK(live(0, kind::l1) == 0);
}

static void a_long_tag_is_cut()
{
	const std::string name(100, 'x');
	const ttmem::tag tag{std::string_view(name)};
	const ttmem::buffer buffer(0, kind::cb, 1, 64);

	CHECK(live_of_tag(name.substr(0, TTMEM_TAG_MAX).c_str()) == 64);
}

static void a_buffer_is_freed_once()
{
	ttmem::buffer empty;
	CHECK(!empty);
	{
		ttmem::buffer first(1, kind::dram, 4096, 100, "first");
		CHECK(first);
		CHECK(live(1, kind::dram) == 100);
		ttmem::buffer second(std::move(first));
		ttmem::buffer third(1, kind::dram, 4096, 7);
		CHECK(live(1, kind::dram) == 107);
		third = std::move(second);
		CHECK(live(1, kind::dram) == 100);
		ttmem::buffer &same = third;
		third = std::move(same);
		CHECK(live(1, kind::dram) == 100);
		std::thread([moved = std::move(third)] { CHECK(moved); }).join();
		CHECK(live(1, kind::dram) == 0);
	}
	CHECK(live(1, kind::dram) == 0);
	ttmem::buffer kept(1, kind::dram, 1, 8);
	const ttmem_handle handle = kept.release();
	CHECK(!kept);
	kept.reset();
	CHECK(live(1, kind::dram) == 8);
	ttmem_free_handle(handle);
	CHECK(unknown_frees() == 0);
}

static void a_device_is_declared()
{
	ttmem::device_info card;

	card.board = "n300";
	card.dram_total = 1u << 30;
	CHECK(ttmem::declare_device(3, card) == 0);
	CHECK(ttmem::declare_device(64, card) == -EINVAL);
#if __cplusplus >= 202002L
	CHECK(ttmem::declare_device(3, {.l1_total = 4096, .arch = "wormhole_b0"}) == 0);
#endif
}

static void sums_and_tags_can_be_read()
{
	std::string name;

	ttmem::alloc(5, kind::trace, 1, 1000, "t");
	ttmem::alloc_failed(6, kind::kernel, 4096, 64);
	std::size_t found = 0;
	for (const auto &row : ttmem::totals()) {
		if (row.device == 5 && row.of == kind::trace && row.sums.live_bytes == 1000)
			found++;
		if (row.device == 6 && row.of == kind::kernel && row.sums.failures == 1)
			found++;
		CHECK(row.device != 7);
	}
	CHECK(found == 2);
	ttmem::free(5, kind::trace, 1);
	/* More rows than there is room for at first. */
	for (unsigned int i = 0; i < 300; i++) {
		name = "tag" + std::to_string(i);
		ttmem::alloc(5, kind::trace, i, 1000 + i, name.c_str());
	}
	std::vector<ttmem_tag_totals> rows;
	CHECK(ttmem::read_tags(rows) == 0);
	CHECK(rows.size() == 300);
	CHECK(rows.front().live_bytes == 1299);
	CHECK(rows.back().live_bytes == 1000);
	for (unsigned int i = 0; i < 300; i++)
		ttmem::free(5, kind::trace, i);
	CHECK(ttmem::tags().empty());
}

// An allocator as TT-Metal's are: addresses are numbers, and none is a failure.
struct bump {
	std::uint64_t next = 0, end = 4096;
	unsigned int freed = 0;

	std::optional<std::uint64_t> allocate(std::uint64_t size, bool from_the_top = false)
	{
		if (end - next < size)
			return std::nullopt;
		if (from_the_top)
			return end -= size;
		return std::exchange(next, next + size);
	}
	int deallocate(std::uint64_t)
	{
		return static_cast<int>(++freed);
	}
	std::uint64_t largest_free() const noexcept
	{
		return end - next;
	}
	std::size_t allocated_size(std::size_t size) const noexcept
	{
		return (size + 31) / 32 * 32;
	}
};

static void a_wrapped_allocator_reports()
{
	ttmem::tracked<bump> pool(8, kind::dram, "pool");
	const std::uint64_t failures = ttmem::totals(8, kind::dram).failures;

	CHECK(pool.allocate(100) == 0u); /* 0 is an address */
	CHECK(live(8, kind::dram) == 128);
	CHECK(live_of_tag("pool") == 128);
	CHECK(pool.allocate(96, true) == 4000u);
	CHECK(live(8, kind::dram) == 224);
	CHECK(!pool.allocate(5000));
	CHECK(ttmem::totals(8, kind::dram).failures == failures + 1);
	CHECK(pool.deallocate(std::uint64_t{0}) == 1);
	CHECK(live(8, kind::dram) == 96);
	const std::optional<std::uint64_t> address = 4000;
	CHECK(pool.deallocate(*address) == 2);
	CHECK(live(8, kind::dram) == 0);
	CHECK(pool.inner().freed == 2);
	CHECK(unknown_frees() == 0);
}

struct heap {
	void *allocate(std::size_t size)
	{
		return size > 4096 ? nullptr : std::malloc(size);
	}
	void deallocate(void *address)
	{
		std::free(address);
	}
};

static void an_allocator_elsewhere_with_pointers_reports()
{
	heap elsewhere;
	ttmem::tracked<heap &> pool(9, kind::system, nullptr, elsewhere);
	const ttmem::tag tag("thread's");
	void *address = pool.allocate(512);

	CHECK(address);
	CHECK(&pool.inner() == &elsewhere);
	CHECK(live_of_tag("thread's") == 512);
	CHECK(!pool.allocate(8192));
	CHECK(ttmem::totals(9, kind::system).failures == 1);
	pool.deallocate(address);
	pool.deallocate(static_cast<void *>(nullptr));
	CHECK(live(9, kind::system) == 0);
	CHECK(unknown_frees() == 0);
}

#if defined(__cpp_exceptions)
#include <stdexcept>

struct thrower {
	std::uint64_t allocate(std::uint64_t size)
	{
		if (size > 100)
			throw std::length_error("out of memory");
		return 64;
	}
	void deallocate(std::uint64_t)
	{
		throw std::logic_error("not freed");
	}
};

static void what_the_allocator_throws_gets_through()
{
	ttmem::tracked<thrower> pool(10, kind::l1, "thrown");
	int caught = 0;

	try {
		pool.allocate(200);
	} catch (const std::length_error &) {
		caught++;
	}
	CHECK(ttmem::totals(10, kind::l1).failures == 1);
	CHECK(live(10, kind::l1) == 0);
	CHECK(pool.allocate(50) == 64);
	try {
		pool.deallocate(std::uint64_t{64});
	} catch (const std::logic_error &) {
		caught++;
	}
	CHECK(caught == 2);
	CHECK(live(10, kind::l1) == 0);
	try {
		const ttmem::tag tag("left by an exception");
		throw 1;
	} catch (int) {
	}
	const ttmem::buffer buffer(10, kind::l1, 1, 1);
	CHECK(live_of_tag("left by an exception") == 0);
}
#else
static void what_the_allocator_throws_gets_through()
{
}
#endif

static void nothing_happens_while_tracking_is_off()
{
	ttmem::tracked<bump> pool(0, kind::dram, "pool");
	const ttmem::tag tag("off");
	ttmem::buffer buffer(0, kind::dram, 1, 1);
	std::vector<ttmem_tag_totals> rows(3);

	CHECK(!buffer);
	CHECK(pool.allocate(100) == 0u);
	pool.deallocate(std::uint64_t{0});
	CHECK(!ttmem::errors());
	CHECK(ttmem::totals().empty());
	CHECK(ttmem::read_tags(rows) == -ENOTCONN && rows.empty());
	CHECK(ttmem::declare_device(0, {}) == -ENOTCONN);
	CHECK(ttmem::report(2) == -ENOTCONN);
}

int main()
{
	static_assert(!std::is_copy_constructible_v<ttmem::buffer>);
	static_assert(std::is_nothrow_move_assignable_v<ttmem::buffer>);
	static_assert(!std::is_move_constructible_v<ttmem::tag>);

	nothing_happens_while_tracking_is_off();
	CHECK(ttmem::start() == 0);
	a_tag_is_that_of_its_scope();
	a_long_tag_is_cut();
	a_buffer_is_freed_once();
	a_device_is_declared();
	sums_and_tags_can_be_read();
	a_wrapped_allocator_reports();
	an_allocator_elsewhere_with_pointers_reports();
	what_the_allocator_throws_gets_through();
	CHECK(ttmem::version()[0] == '0');
}
