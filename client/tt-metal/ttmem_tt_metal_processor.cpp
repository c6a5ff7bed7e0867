/* SPDX-License-Identifier: Apache-2.0 */
#include "ttmem_tt_metal_processor.hpp"
#include <algorithm>
#include <cstring>
#include <memory>
#include <tt-metalium/buffer.hpp>
#include <tt-metalium/core_coord.hpp>
#include <tt-metalium/device.hpp>

namespace tt::tt_metal
{
struct GraphFunctionAbort; /* not in all releases */
}

namespace ttmem::metal
{
namespace
{
/* How many tags of this thread are ours: what a program has pushed itself stays its own. */
thread_local unsigned open_functions;

void close_function()
{
	if (!open_functions)
		return;
	open_functions--;
	ttmem_tag_pop();
}

/* An operation that ended with an exception may say that all those around it have ended, too. */
template <class Abort> bool ends_all(const std::any &output)
{
	if constexpr (requires(const Abort &abort) { abort.unwind_all; }) {
		const auto *abort = std::any_cast<Abort>(&output);

		return abort && abort->unwind_all;
	}
	return false;
}

void take(const Cores &ranges, std::uint64_t address, std::uint64_t size,
	  const Device *device) noexcept
try {
	std::vector<detail::Core> cores;

	if (!detail::is_on() || !device || !size)
		return;
	for (const auto &range : ranges.ranges())
		for (auto x = range.start_coord.x; x <= range.end_coord.x; x++)
			for (auto y = range.start_coord.y; y <= range.end_coord.y; y++)
				cores.emplace_back(x, y);
	detail::cores_taken(*device, cores, address, size);
} catch (...) {
}

/* Is there a processor of ours on this thread's stack? */
template <class Tracker> bool is_attached(const Tracker &tracker)
{
	if constexpr (requires { tracker.get_processors().begin(); }) {
		const auto &all = tracker.get_processors();

		return std::any_of(all.begin(), all.end(), [](const auto &one) {
			return dynamic_cast<const Processor *>(one.get()) != nullptr;
		});
	} else {
		static thread_local bool attached;

		return std::exchange(attached, true);
	}
}
} // namespace

void LaterEvents::track_allocate_dataflow_buffer(const Cores &cores, std::uint64_t address,
						 std::uint64_t size, bool borrows_memory,
						 const Device *device)
{
	if (!borrows_memory)
		take(cores, address, size, device);
}

void LaterEvents::track_allocate_scratchpad(const Cores &cores, std::uint64_t address,
					    std::uint64_t size, const Device *device)
{
	take(cores, address, size, device);
}

Processor::Processor(Buffers buffers) : buffers_(buffers)
{
}

bool Processor::is_capture_processor() const
{
	return false;
}

/* A buffer that a capture has kept from the allocator has the address 0 and takes no memory. */
void Processor::track_allocate(const Buffer *buffer)
{
	if (buffers_ == Buffers::report && buffer && detail::is_on() && buffer->address())
		detail::allocated(*buffer, buffer->address());
}

void Processor::track_deallocate(Buffer *buffer)
{
	if (buffers_ == Buffers::report && buffer)
		buffer_freed(*buffer);
}

/* One that is globally allocated lies in a buffer that was reported already. */
void Processor::track_allocate_cb(const Cores &cores, std::uint64_t address, std::uint64_t size,
				  bool is_globally_allocated, const Device *device)
{
	if (!is_globally_allocated)
		take(cores, address, size, device);
}

/* The interface does not say which: all of the device go. */
void Processor::track_deallocate_cb(const Device *device)
{
	if (device && detail::is_on())
		detail::cores_released(*device);
}

void Processor::track_function_start(std::string_view name,
				     std::span<::tt::tt_metal::TrackedArgument> /*arguments*/)
{
	char tag[TTMEM_TAG_MAX + 1];
	const std::size_t length = std::min(name.size(), sizeof tag - 1);

	std::memcpy(tag, name.data(), length);
	tag[length] = '\0';
	open_functions++;
	ttmem_tag_push(tag);
}

void Processor::track_function_end()
{
	close_function();
}

void Processor::track_function_end(const std::any &output)
{
	const bool all = ends_all<::tt::tt_metal::GraphFunctionAbort>(output);

	do
		close_function();
	while (all && open_functions);
}

void attach_thread(Processor::Buffers buffers)
{
	/* Stacks of threads that end late may outlive static objects. */
	static const auto &only =
		*new std::shared_ptr<GraphProcessor>(std::make_shared<Processor>(buffers));
	auto &tracker = ::tt::tt_metal::GraphTracker::instance();

	if (!is_attached(tracker))
		tracker.push_processor(only);
}
} // namespace ttmem::metal
