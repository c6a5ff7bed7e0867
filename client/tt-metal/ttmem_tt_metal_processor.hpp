/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libttmem for an unchanged TT-Metal: a processor for its public graph-tracking interface.
 *
 *     ttmem::metal::attach_thread();      // in each thread that allocates; again does nothing
 *
 * Compile ttmem_tt_metal_processor.cpp and ttmem_tt_metal.cpp with your program. TT-Metal has a
 * stack of processors for each thread: what a thread allocates without one is not seen, apart from
 * work that TT-Metal's own thread pool takes over. docs/tt-metal.md has the rest.
 */
#ifndef TTMEM_TT_METAL_PROCESSOR_HPP
#define TTMEM_TT_METAL_PROCESSOR_HPP

#include "ttmem_tt_metal.hpp"
#include <any>
#include <span>
#include <string_view>
#include <tt-metalium/graph_tracking.hpp>

namespace ttmem::metal
{
/* CoreRangeSet is TT-Metal's, in its namespace or in none. */
namespace names
{
using namespace ::tt::tt_metal;
using Cores = CoreRangeSet;
} // namespace names
using names::Cores;
using GraphProcessor = ::tt::tt_metal::IGraphProcessor;

/* Some releases report two more kinds of a program's memory, and release them with its circular
 * buffers; in others nobody calls these. So they cannot say "override". */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsuggest-override"
class TTMEM_API LaterEvents : public GraphProcessor
{
public:
	void track_allocate_dataflow_buffer(const Cores &cores, std::uint64_t address,
					    std::uint64_t size, bool borrows_memory,
					    const Device *device);
	void track_allocate_scratchpad(const Cores &cores, std::uint64_t address,
				       std::uint64_t size, const Device *device);
};
#pragma GCC diagnostic pop

/*
 * Buffers, circular buffers, and the names of operations as tags. Any number of threads may share
 * one, and one of them more on a stack changes nothing but tags.
 */
class TTMEM_API Processor : public LaterEvents
{
public:
	/* What it leaves out where the six lines of `integrate` are in TT-Metal, too. If both see
	 * a buffer it still counts once, as long as both are of one copy of ttmem_tt_metal.cpp. */
	enum class Buffers { report, leave };

	explicit Processor(Buffers buffers = Buffers::report);

	/* It only looks on: otherwise TT-Metal would believe that a capture runs. */
	bool is_capture_processor() const override;

	void track_allocate(const Buffer *buffer) override;
	void track_deallocate(Buffer *buffer) override;
	void track_allocate_cb(const Cores &cores, std::uint64_t address, std::uint64_t size,
			       bool is_globally_allocated, const Device *device) override;
	void track_deallocate_cb(const Device *device) override;
	void track_function_start(std::string_view name,
				  std::span<::tt::tt_metal::TrackedArgument> arguments) override;
	void track_function_end() override;
	void track_function_end(const std::any &output) override;

private:
	const Buffers buffers_;
};

/* Puts a processor on the calling thread's stack unless one is there. The choice is that of the
 * process's first call. */
TTMEM_API void attach_thread(Processor::Buffers buffers = Processor::Buffers::report);
} // namespace ttmem::metal

#endif
