/* SPDX-License-Identifier: Apache-2.0 */
#include "impl/context/context_types.hpp"
#include "impl/context/metal_context.hpp"
#include "llrt/tt_cluster.hpp"
#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <tt-metalium/buffer.hpp>
#include <tt-metalium/mesh_device.hpp>
#include <utility>

namespace tt::tt_metal
{
namespace
{
constexpr DeviceAddr first_address = 0x1000, bank_bytes = DeviceAddr{1} << 26;
constexpr std::uint32_t banks = 4;

class Device final : public IDevice
{
public:
	explicit Device(int id)
	    : id_(id), allocator_(std::make_unique<Allocator>(bank_bytes, banks))
	{
	}
	int id() const override
	{
		return id_;
	}
	tt::ARCH arch() const override
	{
		return tt::ARCH::WORMHOLE_B0;
	}
	bool is_initialized() const override
	{
		return true;
	}
	bool is_mmio_capable() const override
	{
		return id_ != 1;
	}
	int num_dram_channels() const override
	{
		return 12;
	}
	std::uint32_t dram_size_per_channel() const override
	{
		return 1u << 30;
	}
	std::uint32_t l1_size_per_core() const override
	{
		return 1499136;
	}
	Grid logical_grid_size() const override
	{
		return {8, 8};
	}
	const std::unique_ptr<Allocator> &allocator() const override
	{
		return allocator_;
	}

private:
	const int id_;
	const std::unique_ptr<Allocator> allocator_;
};
} // namespace

std::unique_ptr<IDevice> CreateDevice(int id)
{
	return std::make_unique<Device>(id);
}

Allocator::Allocator(DeviceAddr bytes_per_bank, std::uint32_t number)
    : bytes_per_bank_(bytes_per_bank), banks_(number)
{
}

DeviceAddr Allocator::allocate_buffer(Buffer *buffer)
{
	const std::lock_guard guard(lock_);
	auto &taken = taken_[buffer->buffer_type()];
	const DeviceAddr wanted = (buffer->size() + banks_ - 1) / banks_;
	DeviceAddr start = first_address;

	for (const auto &[first, end] : taken) {
		if (first - start >= wanted)
			break;
		start = end;
	}
	if (start + wanted > first_address + bytes_per_bank_)
		throw std::runtime_error("out of memory");
	taken.emplace(start, start + wanted);
	return start;
}

void Allocator::deallocate_buffer(Buffer *buffer)
{
	const std::lock_guard guard(lock_);

	if (!taken_[buffer->buffer_type()].erase(buffer->address()))
		std::abort();
}

Statistics Allocator::get_statistics(const BufferType &type) const
{
	const std::lock_guard guard(lock_);
	const auto found = taken_.find(type);
	DeviceAddr start = first_address, largest = 0;

	if (found != taken_.end())
		for (const auto &[first, end] : found->second) {
			largest = std::max(largest, first - start);
			start = end;
		}
	return {std::max(largest, first_address + bytes_per_bank_ - start)};
}

std::uint32_t Allocator::get_num_banks(const BufferType &) const
{
	return banks_;
}

ContextId extract_context_id(const IDevice *)
{
	return ContextId::second;
}

/* The first context must stay as it is: nobody has opened it. */
MetalContext &MetalContext::instance(ContextId id)
{
	static MetalContext second;

	if (id != ContextId::second)
		std::abort();
	return second;
}

Cluster &MetalContext::get_cluster()
{
	static Cluster cluster;

	return cluster;
}

const ClusterDescriptor *Cluster::get_cluster_desc() const
{
	static const ClusterDescriptor description;

	return &description;
}

const std::unordered_map<int, std::uint64_t> &ClusterDescriptor::get_chip_unique_ids() const
{
	static const std::unordered_map<int, std::uint64_t> ids = {{0, 0xa51c000}, {1, 0xa51c001}};

	return ids;
}
} // namespace tt::tt_metal

namespace tt::tt_metal::distributed
{
MeshDevice::MeshDevice(std::vector<IDevice *> devices)
    : devices_(std::move(devices)), allocator_(std::make_unique<Allocator>(bank_bytes, banks))
{
}

std::vector<IDevice *> MeshDevice::get_devices() const
{
	return devices_;
}

int MeshDevice::id() const
{
	return 40;
}

tt::ARCH MeshDevice::arch() const
{
	return devices_[0]->arch();
}

bool MeshDevice::is_initialized() const
{
	return true;
}

bool MeshDevice::is_mmio_capable() const
{
	return true;
}

int MeshDevice::num_dram_channels() const
{
	return devices_[0]->num_dram_channels();
}

std::uint32_t MeshDevice::dram_size_per_channel() const
{
	return devices_[0]->dram_size_per_channel();
}

std::uint32_t MeshDevice::l1_size_per_core() const
{
	return devices_[0]->l1_size_per_core();
}

Grid MeshDevice::logical_grid_size() const
{
	return devices_[0]->logical_grid_size();
}

const std::unique_ptr<Allocator> &MeshDevice::allocator() const
{
	return allocator_;
}
} // namespace tt::tt_metal::distributed
