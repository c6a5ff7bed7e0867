/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
#include <any>
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <tt-metalium/buffer.hpp>
#include <tt-metalium/core_coord.hpp>
#include <vector>

namespace tt::tt_metal
{
class IDevice;
class Program;

struct TrackedArgument {
	std::any value;
};

class STANDIN_API IGraphProcessor
{
public:
	virtual ~IGraphProcessor() = default;
	virtual bool is_capture_processor() const
	{
		return true;
	}
	virtual void track_allocate(const Buffer *)
	{
	}
	virtual void track_deallocate(Buffer *)
	{
	}
	virtual void track_allocate_cb(const CoreRangeSet &, std::uint64_t, std::uint64_t, bool,
				       const IDevice *)
	{
	}
#ifndef STANDIN_EARLIER
	virtual void track_allocate_dataflow_buffer(const CoreRangeSet &, std::uint64_t,
						    std::uint64_t, bool, const IDevice *)
	{
	}
	virtual void track_allocate_scratchpad(const CoreRangeSet &, std::uint64_t, std::uint64_t,
					       const IDevice *)
	{
	}
#endif
	virtual void track_deallocate_cb(const IDevice *)
	{
	}
	virtual void track_program(Program *, const IDevice *)
	{
	}
	virtual void track_function_start(std::string_view, std::span<TrackedArgument>)
	{
	}
	virtual void track_function_end()
	{
	}
	virtual void track_function_end(const std::any &)
	{
	}
};

#ifndef STANDIN_EARLIER
struct GraphFunctionAbort {
	bool unwind_all = false;
};
#endif

using Processors = std::vector<std::shared_ptr<IGraphProcessor>>;

/* One for the process; its stack of processors is the thread's. */
class STANDIN_API GraphTracker
{
public:
	static GraphTracker &instance();

	/* Does a capture run in this thread? */
	bool is_enabled() const;
	void push_processor(const std::shared_ptr<IGraphProcessor> &processor);
	void pop_processor();
#ifndef STANDIN_EARLIER
	const Processors &get_processors() const;
#endif
	/* A capture that keeps buffers from the allocator. */
	void set_hook(bool keeps_buffers);
	bool hook_allocate(const Buffer *buffer);

	void track_allocate(const Buffer *buffer);
	void track_deallocate(Buffer *buffer);
	void track_allocate_cb(const CoreRangeSet &cores, std::uint64_t address, std::uint64_t size,
			       bool is_globally_allocated, const IDevice *device);
	void track_deallocate_cb(const IDevice *device);
	void track_function_start(std::string_view name);
	void track_function_end();
	void track_function_end(const std::any &output);
	void track_later(const std::function<void(IGraphProcessor &)> &event);

	/* What TT-Metal's thread pool does: the task has the stack of the thread that made it. */
	std::function<void()> wrap_with_current_context(std::function<void()> task);
};
} // namespace tt::tt_metal
