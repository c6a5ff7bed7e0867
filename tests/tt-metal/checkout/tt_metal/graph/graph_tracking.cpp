/* SPDX-License-Identifier: Apache-2.0 */
#include <algorithm>
#include <tt-metalium/graph_tracking.hpp>
#include <utility>

namespace tt::tt_metal
{
namespace
{
thread_local Processors processors;
thread_local bool keeps_buffers_;
} // namespace

GraphTracker &GraphTracker::instance()
{
	static GraphTracker tracker;

	return tracker;
}

bool GraphTracker::is_enabled() const
{
	return std::any_of(processors.begin(), processors.end(),
			   [](const auto &one) { return one->is_capture_processor(); });
}

void GraphTracker::push_processor(const std::shared_ptr<IGraphProcessor> &processor)
{
	processors.push_back(processor);
}

void GraphTracker::pop_processor()
{
	processors.pop_back();
}

#ifndef STANDIN_EARLIER
const Processors &GraphTracker::get_processors() const
{
	return processors;
}
#endif

void GraphTracker::set_hook(bool keeps_buffers)
{
	keeps_buffers_ = keeps_buffers;
}

bool GraphTracker::hook_allocate(const Buffer *)
{
	return keeps_buffers_;
}

void GraphTracker::track_later(const std::function<void(IGraphProcessor &)> &event)
{
	for (const auto &one : processors)
		event(*one);
}

void GraphTracker::track_allocate(const Buffer *buffer)
{
	track_later([=](auto &one) { one.track_allocate(buffer); });
}

void GraphTracker::track_deallocate(Buffer *buffer)
{
	track_later([=](auto &one) { one.track_deallocate(buffer); });
}

void GraphTracker::track_allocate_cb(const CoreRangeSet &cores, std::uint64_t address,
				     std::uint64_t size, bool is_globally_allocated,
				     const IDevice *device)
{
	track_later([&](auto &one) {
		one.track_allocate_cb(cores, address, size, is_globally_allocated, device);
	});
}

void GraphTracker::track_deallocate_cb(const IDevice *device)
{
	track_later([=](auto &one) { one.track_deallocate_cb(device); });
}

void GraphTracker::track_function_start(std::string_view name)
{
	std::array<TrackedArgument, 1> arguments;

	track_later([&](auto &one) { one.track_function_start(name, arguments); });
}

void GraphTracker::track_function_end()
{
	track_later([](auto &one) { one.track_function_end(); });
}

void GraphTracker::track_function_end(const std::any &output)
{
	track_later([&](auto &one) { one.track_function_end(output); });
}

std::function<void()> GraphTracker::wrap_with_current_context(std::function<void()> task)
{
	return [task = std::move(task), carried = processors] {
		Processors before = std::exchange(processors, carried);

		task();
		processors = std::move(before);
	};
}
} // namespace tt::tt_metal
