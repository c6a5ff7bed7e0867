/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libttmem for TT-Metal: what its allocator calls, once for each event. docs/tt-metal.md compares
 * this with the other ways, and `integrate` in this directory puts the calls where they belong.
 *
 * With tracking off, a call is the test of one word. Every call is safe from any thread, throws
 * nothing, and keeps errno.
 */
#ifndef TTMEM_TT_METAL_HPP
#define TTMEM_TT_METAL_HPP

#include "ttmem.h"
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace tt::tt_metal
{
class Buffer;
class IDevice;
} // namespace tt::tt_metal

namespace ttmem::metal
{
using Buffer = ::tt::tt_metal::Buffer;
using Device = ::tt::tt_metal::IDevice;

/* What the calls below stand on; the processor uses it, too. */
namespace detail
{
TTMEM_API void allocated(const Buffer &buffer, std::uint64_t address) noexcept;
TTMEM_API void allocation_failed(const Buffer &buffer) noexcept;
TTMEM_API void freed(const Buffer &buffer) noexcept;

using Core = std::pair<std::uint64_t, std::uint64_t>;
TTMEM_API void cores_taken(const Device &device, const std::vector<Core> &cores,
			   std::uint64_t address, std::uint64_t size_per_core) noexcept;
TTMEM_API void cores_released(const Device &device) noexcept;

inline bool is_on()
{
	return TTMEM__ON;
}
} // namespace detail

/*
 * Stands before the call that allocates. If the call throws, the request has failed, and the
 * destructor reports that. A buffer of a mesh is reported for each device of the mesh.
 */
class Allocation
{
public:
	explicit Allocation(const Buffer &buffer) noexcept : buffer_(&buffer)
	{
	}

	Allocation(const Allocation &) = delete;
	Allocation &operator=(const Allocation &) = delete;

	~Allocation()
	{
		if (TTMEM_UNLIKELY(buffer_ != nullptr) && detail::is_on())
			detail::allocation_failed(*buffer_);
	}

	/* Stands behind the call that allocates. */
	void succeeded(std::uint64_t address) noexcept
	{
		if (detail::is_on())
			detail::allocated(*buffer_, address);
		buffer_ = nullptr;
	}

private:
	const Buffer *buffer_;
};

/* Stands before the call that frees: after it, another thread may get the same address. A buffer
 * whose allocation was not seen is nothing to it. */
inline void buffer_freed(const Buffer &buffer) noexcept
{
	if (detail::is_on())
		detail::freed(buffer);
}

/*
 * How to know a device's ASIC id (UMD's chip_unique_id, tt-kmd's tt_asic_id): 0 for not known. It
 * is asked once for each device, at its first allocation, and again after a call of this. Without
 * it a device is known by its number alone, which is another one when TT_VISIBLE_DEVICES is set.
 * Inside TT-Metal (see ttmem.cmake) UMD is asked where nothing else was said.
 */
TTMEM_API void set_asic_ids(std::function<std::uint64_t(const Device &)> asic_id_of) noexcept;
} // namespace ttmem::metal

#endif
