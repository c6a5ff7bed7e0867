/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program of the stand-in's that does what its standard input says: one command a line, one line
 * of answer each, "ok ..." or "error ...".
 *
 *     in-thread COMMAND;...  on a thread of its own, as TT-Metal knows nothing of it
 *     carried COMMAND;...    on another thread, as TT-Metal's thread pool does it
 *     in-child COMMAND;...   in a forked child, which answers for itself
 *
 * "hold" answers and then waits for a line, so that a child can be looked at.
 */
#include <cstring>
#include <functional>
#include <iomanip>
#include <iostream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <tt-metalium/graph_tracking.hpp>
#include <tt-metalium/mesh_device.hpp>
#include <unistd.h>

#ifdef WITH_PROCESSOR
#include "ttmem_tt_metal_processor.hpp"
#else
#include "ttmem_tt_metal.hpp"
#endif

using namespace tt::tt_metal;
using Words = std::istringstream;

namespace
{
std::map<std::string, std::unique_ptr<IDevice>> devices;
std::map<std::string, std::unique_ptr<Allocator>> allocators;
std::map<std::string, std::shared_ptr<Buffer>> buffers;

template <class T> T next(Words &words)
{
	T value;

	if (!(words >> std::setbase(0) >> value))
		throw std::invalid_argument("a word is missing or wrong");
	return value;
}

IDevice *next_device(Words &words)
{
	return devices.at(next<std::string>(words)).get();
}

int next_kind(Words &words)
{
	static const std::map<std::string, int> kinds = {
		{"dram", TTMEM_DRAM},         {"l1", TTMEM_L1},       {"system", TTMEM_SYSTEM},
		{"l1_small", TTMEM_L1_SMALL}, {"trace", TTMEM_TRACE}, {"cb", TTMEM_CB}};

	return kinds.at(next<std::string>(words));
}

BufferType next_type(Words &words)
{
	return static_cast<BufferType>(next_kind(words));
}

CoreRangeSet next_cores(Words &words)
{
	std::vector<CoreRange> ranges;
	std::size_t x, y, last_x, last_y;

	while (words >> x >> y >> last_x >> last_y)
		ranges.push_back({{x, y}, {last_x, last_y}});
	return CoreRangeSet(ranges);
}

std::string create(Words &words, bool in_another_allocator)
{
	const auto name = next<std::string>(words);
	IDevice *device = next_device(words);
	const BufferType type = next_type(words);
	const auto size = next<DeviceAddr>(words);

	if (in_another_allocator) {
		auto &allocator = allocators[next<std::string>(words)];

		if (!allocator)
			allocator = std::make_unique<Allocator>(1u << 20, 4);
		buffers[name] = Buffer::create(device, allocator.get(), size, type);
	} else {
		buffers[name] = Buffer::create(device, size, type);
	}
	return std::to_string(buffers[name]->address());
}

std::string view(Words &words)
{
	const auto name = next<std::string>(words);
	IDevice *device = next_device(words);
	const auto whole = buffers.at(next<std::string>(words));

	buffers[name] =
		Buffer::create(device, whole->address(), whole->size(), whole->buffer_type());
	return "";
}

std::string totals(Words &words)
{
	struct ttmem_totals totals;
	const auto device = next<std::uint32_t>(words);
	const int error =
		ttmem_get_totals(device, static_cast<ttmem_kind>(next_kind(words)), &totals);
	std::ostringstream text;

	text << "error=" << error << " bytes=" << totals.live_bytes
	     << " buffers=" << totals.live_buffers << " ever=" << totals.allocated_buffers
	     << " failures=" << totals.failures;
	return text.str();
}

std::string errors()
{
	struct ttmem_errors errors = {};
	std::ostringstream text;

	ttmem_get_errors(&errors);
	text << "unknown=" << errors.unknown_frees << " sizes=" << errors.size_mismatches
	     << " bad=" << errors.bad_arguments << " untracked=" << errors.untracked;
	return text.str();
}

std::string circular(Words &words)
{
	const IDevice *device = next_device(words);
	const auto how = next<std::string>(words);
	const auto address = next<std::uint64_t>(words), size = next<std::uint64_t>(words);
	const CoreRangeSet cores = next_cores(words);
	auto &tracker = GraphTracker::instance();

	if (how == "local" || how == "global")
		tracker.track_allocate_cb(cores, address, size, how == "global", device);
#ifndef STANDIN_EARLIER
	else if (how == "dataflow" || how == "borrowed")
		tracker.track_later([&](IGraphProcessor &one) {
			one.track_allocate_dataflow_buffer(cores, address, size, how == "borrowed",
							   device);
		});
	else if (how == "scratchpad")
		tracker.track_later([&](IGraphProcessor &one) {
			one.track_allocate_scratchpad(cores, address, size, device);
		});
#endif
	else
		throw std::invalid_argument(how);
	return "";
}

std::string end_function(Words &words)
{
	std::string how;

	words >> how;
	if (how == "with-output")
		GraphTracker::instance().track_function_end(std::any(42));
#ifndef STANDIN_EARLIER
	else if (how == "all")
		GraphTracker::instance().track_function_end(std::any(GraphFunctionAbort{true}));
#endif
	else
		GraphTracker::instance().track_function_end();
	return "";
}

/* Many threads that allocate and free at once. */
std::string storm(Words &words)
{
	const int threads = next<int>(words), rounds = next<int>(words);
	IDevice *device = next_device(words);
	std::vector<std::thread> all;

	for (int i = 0; i < threads; i++)
		all.emplace_back([=] {
			std::shared_ptr<Buffer> kept;

			for (int round = 0; round < rounds; round++)
				kept = Buffer::create(device, 1024u << round % 5, BufferType::L1);
		});
	for (auto &thread : all)
		thread.join();
	return "";
}

std::string asic_ids(Words &words)
{
	const auto first = next<std::uint64_t>(words);

	ttmem::metal::set_asic_ids([first](const IDevice &device) {
		return first + static_cast<std::uint64_t>(device.id());
	});
	return "";
}

std::string carry_out(const std::string &command, Words &words)
{
	auto &tracker = GraphTracker::instance();

	if (command == "create")
		return create(words, false);
	if (command == "create-in")
		return create(words, true);
	if (command == "view")
		return view(words);
	if (command == "free")
		buffers.erase(next<std::string>(words));
	else if (command == "hook")
		tracker.set_hook(next<int>(words) != 0);
	else if (command == "cb")
		return circular(words);
	else if (command == "cb-free")
		tracker.track_deallocate_cb(next_device(words));
	else if (command == "begin")
		tracker.track_function_start(next<std::string>(words));
	else if (command == "end")
		return end_function(words);
	else if (command == "push")
		ttmem_tag_push(next<std::string>(words).c_str());
	else if (command == "pop")
		ttmem_tag_pop();
	else if (command == "hold") {
		std::string line;

		std::cout << "ok holds" << std::endl;
		std::getline(std::cin, line);
	} else if (command == "storm")
		return storm(words);
	else if (command == "asic-ids")
		return asic_ids(words);
	else if (command == "captures")
		return tracker.is_enabled() ? "yes" : "no";
	else if (command == "totals")
		return totals(words);
	else if (command == "errors")
		return errors();
#ifdef WITH_PROCESSOR
	else if (command == "attach")
		ttmem::metal::attach_thread();
	else if (command == "attach-ops")
		ttmem::metal::attach_thread(ttmem::metal::Processor::Buffers::leave);
	else if (command == "push-another")
		tracker.push_processor(std::make_shared<ttmem::metal::Processor>());
	else if (command == "detach")
		tracker.pop_processor();
#endif
	else
		throw std::invalid_argument("no such command: " + command);
	return "";
}

std::string answer_to(const std::string &line);

/* Commands with semicolons in between. The answer is the last one's, or the first error. */
std::string answer_to_all(const std::string &lines)
{
	Words words(lines);
	std::string line, answer;

	while (answer.rfind("error", 0) && std::getline(words, line, ';'))
		answer = answer_to(line);
	return answer;
}

std::string answer_to(const std::string &line)
try {
	Words words(line);
	const auto command = next<std::string>(words);
	std::string rest, answer;

	std::getline(words >> std::ws, rest);
	const std::function<void()> task = [&] { answer = answer_to_all(rest); };
	if (command == "in-thread") {
		std::thread(task).join();
	} else if (command == "carried") {
		std::thread(GraphTracker::instance().wrap_with_current_context(task)).join();
	} else if (command == "in-child") {
		const pid_t child = fork();

		if (child == 0) {
			std::cout << answer_to_all(rest) << std::endl;
			_exit(0);
		}
		waitpid(child, nullptr, 0);
	} else {
		Words arguments(rest);

		answer = "ok " + carry_out(command, arguments);
	}
	return answer;
} catch (const std::exception &error) {
	return std::string("error ") + error.what();
}
} // namespace

int main()
{
	std::string line;

	devices["0"] = CreateDevice(0);
	devices["1"] = CreateDevice(1);
	devices["mesh"] = std::make_unique<distributed::MeshDevice>(
		std::vector<IDevice *>{devices["0"].get(), devices["1"].get()});
	while (std::getline(std::cin, line)) {
		const std::string answer = answer_to(line);

		if (!answer.empty())
			std::cout << answer << std::endl;
	}
	buffers.clear();
}
