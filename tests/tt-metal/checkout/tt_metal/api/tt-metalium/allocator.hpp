/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
#include <cstddef>
#include <map>
#include <mutex>
#include <tt-metalium/buffer_types.hpp>

namespace tt::tt_metal
{
class Buffer;

struct Statistics {
	std::size_t largest_free_block_bytes;
};

/* Keeps the books of banks that are filled evenly. The lowest gap is taken, so that an address
 * comes back soon. */
class STANDIN_API Allocator
{
public:
	Allocator(DeviceAddr bytes_per_bank, std::uint32_t banks);

	DeviceAddr allocate_buffer(Buffer *buffer);
	void deallocate_buffer(Buffer *buffer);
	Statistics get_statistics(const BufferType &type) const;
	std::uint32_t get_num_banks(const BufferType &type) const;

private:
	mutable std::mutex lock_;
	const DeviceAddr bytes_per_bank_;
	const std::uint32_t banks_;
	std::map<BufferType, std::map<DeviceAddr, DeviceAddr>> taken_; /* first byte, last + 1 */
};
} // namespace tt::tt_metal
