/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
#include <cstdint>
#include <memory>
#include <tt-metalium/allocator.hpp>
#include <tt-metalium/core_coord.hpp>

namespace tt
{
enum class ARCH { Invalid = 0, WORMHOLE_B0 = 2, BLACKHOLE = 3 };
}

namespace tt::tt_metal
{
#ifdef STANDIN_CORES_IN_NAMESPACE
using Grid = CoreCoord;
#else
using Grid = ::CoreCoord;
#endif

class STANDIN_API IDevice
{
public:
	IDevice() = default;
	IDevice(const IDevice &) = delete;
	virtual ~IDevice() = default;

	virtual int id() const = 0;
	virtual tt::ARCH arch() const = 0;
	virtual bool is_initialized() const = 0;
	virtual bool is_mmio_capable() const = 0;
	virtual int num_dram_channels() const = 0;
	virtual std::uint32_t dram_size_per_channel() const = 0;
	virtual std::uint32_t l1_size_per_core() const = 0;
	virtual Grid logical_grid_size() const = 0;
	virtual const std::unique_ptr<Allocator> &allocator() const = 0;
};

/* Opens a chip of the stand-in: chip 1 is reached through chip 0. */
STANDIN_API std::unique_ptr<IDevice> CreateDevice(int id);
} // namespace tt::tt_metal
