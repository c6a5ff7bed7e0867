/* SPDX-License-Identifier: Apache-2.0 */
/* What some releases of TT-Metal can be asked and others cannot. Only for ttmem_tt_metal.cpp. */
#ifndef TTMEM_TT_METAL_RELEASES_HPP
#define TTMEM_TT_METAL_RELEASES_HPP

#include "ttmem_tt_metal.hpp"
#include <tt-metalium/buffer.hpp>
#include <tt-metalium/device.hpp>

#if __has_include(<tt-metalium/allocator.hpp>)
#include <tt-metalium/allocator.hpp>
#endif
/* In TT-Metal's own build its cluster, and by it UMD, can be asked for ASIC ids. */
#if defined(TTMEM_TT_METAL_INTERNAL) && __has_include("impl/context/metal_context.hpp") && \
						      __has_include("llrt/tt_cluster.hpp")
#include "impl/context/metal_context.hpp"
#include "llrt/tt_cluster.hpp"
#if __has_include("impl/context/context_types.hpp")
#include "impl/context/context_types.hpp"
#endif
#define HAVE_METAL_CONTEXT 1
#endif

namespace ttmem::metal::releases
{
using ::tt::tt_metal::BufferType;

/* Templates, because only there a name that is missing is no error. */

template <class B> const void *allocator_of(const B &buffer)
{
	if constexpr (requires { buffer.allocator(); })
		return buffer.allocator();
	else
		return buffer.device();
}

/* Banks are filled evenly, so the largest buffer is a block in each. 0: not known. */
template <class B> std::uint64_t largest_free(const B &buffer)
{
	const auto type = buffer.buffer_type();

	if (type != BufferType::DRAM && type != BufferType::L1)
		return 0;
	if constexpr (requires {
			      // cppcheck-suppress constStatement
			      buffer.allocator()->get_statistics(type).largest_free_block_bytes;
			      buffer.allocator()->get_num_banks(type);
		      })
		return std::uint64_t{
			       buffer.allocator()->get_statistics(type).largest_free_block_bytes} *
		       buffer.allocator()->get_num_banks(type);
	else
		return 0;
}

template <class D> const char *arch_of(const D &device)
{
	if constexpr (requires { static_cast<int>(device.arch()); })
		switch (static_cast<int>(device.arch())) {
		case 1:
			return "grayskull";
		case 2:
			return "wormhole_b0";
		case 3:
			return "blackhole";
		case 4:
			return "quasar";
		default:
			break;
		}
	return nullptr;
}

template <class D> void describe(const D &device, struct ttmem_device &facts)
{
	facts.arch = arch_of(device);
	if constexpr (requires { !device.is_mmio_capable(); })
		facts.is_remote = !device.is_mmio_capable();
	if constexpr (requires { device.num_dram_channels() * device.dram_size_per_channel(); })
		facts.dram_total = static_cast<std::uint64_t>(device.num_dram_channels()) *
				   device.dram_size_per_channel();
	if constexpr (requires { device.logical_grid_size().x *device.l1_size_per_core(); })
		facts.l1_total = std::uint64_t{device.logical_grid_size().x} *
				 device.logical_grid_size().y * device.l1_size_per_core();
}

#ifdef HAVE_METAL_CONTEXT
template <class D, class Context> std::uint64_t find_asic_id(const D &device, Context &context)
{
	if constexpr (requires {
			      context.get_cluster().get_cluster_desc()->get_chip_unique_ids();
		      }) {
		const auto *description = context.get_cluster().get_cluster_desc();

		if (description) {
			const auto &ids = description->get_chip_unique_ids();
			const auto found = ids.find(device.id());

			return found == ids.end() ? 0 : std::uint64_t{found->second};
		}
	}
	return 0;
}

/* With several contexts, the wrong one must not come to life by being asked for. */
template <class Context, class D> std::uint64_t umd_asic_id_in(const D &device)
{
	if constexpr (requires { Context::instance(extract_context_id(&device)); })
		return find_asic_id(device, Context::instance(extract_context_id(&device)));
	else if constexpr (requires { Context::instance(); })
		return find_asic_id(device, Context::instance());
	else
		return 0;
}

inline std::uint64_t umd_asic_id(const Device &device)
{
	return umd_asic_id_in<::tt::tt_metal::MetalContext>(device);
}
#else
inline std::uint64_t umd_asic_id(const Device &)
{
	return 0;
}
#endif
} // namespace ttmem::metal::releases

#endif
