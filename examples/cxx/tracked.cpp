// SPDX-License-Identifier: Apache-2.0
//
// An allocator that knows nothing of ttmem, and a program that reports what it does.
//
//     c++ -std=c++17 -o tracked tracked.cpp $(pkg-config --cflags --libs ttmem)
//
#include <algorithm>
#include <cstdint>
#include <iostream>
#include <iterator>
#include <map>
#include <optional>
#include <ttmem.hpp>

namespace
{

// First fit in one bank of DRAM, with blocks of 1 KiB.
class first_fit
{
      public:
	explicit first_fit(std::uint64_t size)
	{
		free_[0] = size;
	}

	std::optional<std::uint64_t> allocate(std::size_t wanted)
	{
		const std::uint64_t size = allocated_size(wanted);

		for (auto block = free_.begin(); block != free_.end(); ++block) {
			const auto [address, length] = *block;

			if (length < size)
				continue;
			free_.erase(block);
			if (length > size)
				free_[address + size] = length - size;
			used_[address] = size;
			return address;
		}
		return std::nullopt;
	}

	void deallocate(std::uint64_t address)
	{
		auto block = free_.insert(used_.extract(address)).position;
		auto next = std::next(block);

		if (next != free_.end() && block->first + block->second == next->first)
			merge(block, next);
		if (block != free_.begin()) {
			auto before = std::prev(block);
			if (before->first + before->second == block->first)
				merge(before, block);
		}
	}

	// The two that ttmem::tracked asks if they are there.
	std::uint64_t largest_free() const noexcept
	{
		std::uint64_t largest = 0;

		for (const auto &block : free_)
			largest = std::max(largest, block.second);
		return largest;
	}

	std::uint64_t allocated_size(std::size_t size) const noexcept
	{
		return (std::uint64_t{size} + 1023) / 1024 * 1024;
	}

      private:
	using blocks = std::map<std::uint64_t, std::uint64_t>; // length by address

	void merge(blocks::iterator first, blocks::iterator second)
	{
		first->second += second->second;
		free_.erase(second);
	}

	blocks free_, used_;
};

void show(const char *when)
{
	std::cout << when << ": " << ttmem::totals(0, ttmem::kind::dram).live_bytes << " bytes\n";
	for (const auto &row : ttmem::tags())
		std::cout << "    " << row.tag << " " << row.live_bytes << "\n";
}

} // namespace

int main()
{
	ttmem::device_info card;
	ttmem::tracked<first_fit> dram(0, ttmem::kind::dram, nullptr, 1u << 20);

	if (ttmem::start() != 0)
		return 1;
	card.board = "n300";
	card.dram_total = 1u << 20;
	ttmem::declare_device(0, card);

	std::optional<std::uint64_t> weights;
	{
		const ttmem::tag tag("weights");
		weights = dram.allocate(700'000);
	}
	const ttmem::tag tag("kv_cache");
	const auto cache = dram.allocate(100'000);

	show("loaded");
	if (!dram.allocate(500'000))
		std::cout << "no room for 500000 bytes\n";
	dram.deallocate(*weights);
	show("weights gone");
	dram.deallocate(*cache);
	std::cout << "failures: " << ttmem::totals(0, ttmem::kind::dram).failures << "\n";
}
