/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
#include <tt-metalium/device.hpp>
#include <vector>

namespace tt::tt_metal::distributed
{
/* Has an allocator of its own, and a number that is not a chip's. */
class STANDIN_API MeshDevice final : public IDevice
{
public:
	explicit MeshDevice(std::vector<IDevice *> devices);

	std::vector<IDevice *> get_devices() const;
	int id() const override;
	tt::ARCH arch() const override;
	bool is_initialized() const override;
	bool is_mmio_capable() const override;
	int num_dram_channels() const override;
	std::uint32_t dram_size_per_channel() const override;
	std::uint32_t l1_size_per_core() const override;
	Grid logical_grid_size() const override;
	const std::unique_ptr<Allocator> &allocator() const override;

private:
	std::vector<IDevice *> devices_;
	std::unique_ptr<Allocator> allocator_;
};
} // namespace tt::tt_metal::distributed
