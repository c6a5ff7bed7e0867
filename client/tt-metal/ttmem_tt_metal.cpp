/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buffers are reported with handles, and a table leads from an allocator and an address to them:
 * sub-devices and submeshes have allocators of their own, which may give out the same addresses.
 * If an allocator gives out an address that is in the table, the buffer that was there is gone,
 * whoever freed it.
 */
#include "ttmem_tt_metal.hpp"
#include "ttmem_tt_metal_releases.hpp"
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <map>
#include <mutex>
#include <pthread.h>
#include <tt-metalium/mesh_device.hpp>
#include <unordered_map>

namespace ttmem::metal
{
namespace
{
using ::tt::tt_metal::BufferType;
using ::tt::tt_metal::distributed::MeshDevice;
using AsicIds = std::function<std::uint64_t(const Device &)>;

static_assert(static_cast<int>(BufferType::DRAM) == TTMEM_DRAM);
static_assert(static_cast<int>(BufferType::L1) == TTMEM_L1);
static_assert(static_cast<int>(BufferType::SYSTEM_MEMORY) == TTMEM_SYSTEM);
static_assert(static_cast<int>(BufferType::L1_SMALL) == TTMEM_L1_SMALL);
static_assert(static_cast<int>(BufferType::TRACE) == TTMEM_TRACE);

struct Key {
	const void *allocator;
	std::uint32_t kind;
	std::uint64_t address;

	bool operator==(const Key &) const = default;
};

struct KeyHash {
	std::size_t operator()(const Key &key) const
	{
		std::uint64_t hash = reinterpret_cast<std::uintptr_t>(key.allocator);

		hash = (hash ^ key.address) * 0x9e3779b97f4a7c15u + key.kind;
		return static_cast<std::size_t>(hash ^ hash >> 29);
	}
};

struct Held {
	const Buffer *buffer;
	std::uint64_t size;
	std::vector<ttmem_handle> handles; /* one for each device */
};

/* Byte ranges that neither overlap nor touch. */
class Spans
{
public:
	/* Returns how many bytes of the range were not in yet. */
	std::uint64_t add(std::uint64_t start, std::uint64_t end)
	{
		std::uint64_t fresh = end - start, first = start, last = end;
		auto at = ends_.upper_bound(start);

		if (at != ends_.begin() && std::prev(at)->second >= start)
			--at;
		while (at != ends_.end() && at->first <= end) {
			fresh -= std::min(at->second, end) - std::max(at->first, start);
			first = std::min(first, at->first);
			last = std::max(last, at->second);
			at = ends_.erase(at);
		}
		ends_.emplace(first, last);
		return fresh;
	}

private:
	std::map<std::uint64_t, std::uint64_t> ends_;
};

/* What programs have taken of a device's L1. */
struct Taken {
	std::map<detail::Core, Spans> cores;
	std::vector<ttmem_handle> handles;
};

struct State {
	std::mutex lock;
	std::unordered_map<Key, Held, KeyHash> held;
	std::map<std::uint32_t, Taken> taken;
	AsicIds asic_ids;
	std::atomic<std::uint64_t> declared{0}; /* a bit for each device */
};

/* Never destroyed: buffers are freed in destructors of static objects, too. */
State &state();

/* A forked child has a ledger of its own, with nothing in it. */
void before_fork()
{
	state().lock.lock();
}

void after_fork()
{
	state().lock.unlock();
}

void after_fork_in_child()
{
	state().held.clear();
	state().taken.clear();
	state().declared = 0;
	state().lock.unlock();
}

State &state()
{
	static State *const only = [] {
		pthread_atfork(before_fork, after_fork, after_fork_in_child);
		return new State;
	}();

	return *only;
}

class KeepErrno
{
public:
	KeepErrno() = default;
	KeepErrno(const KeepErrno &) = delete;
	KeepErrno &operator=(const KeepErrno &) = delete;
	~KeepErrno()
	{
		errno = saved_;
	}

private:
	int saved_ = errno;
};

std::uint64_t asic_id_of(const Device &device)
{
	AsicIds ask;

	{
		const std::lock_guard guard(state().lock);
		ask = state().asic_ids;
	}
	return ask ? ask(device) : releases::umd_asic_id(device);
}

/* What cannot be found out is left out. While tracking is off nothing is noted as done. */
void declare(const Device &device, std::uint32_t index)
{
	struct ttmem_device facts = {};
	const std::uint64_t bit = index < TTMEM_MAX_DEVICES ? std::uint64_t{1} << index : 0;

	if (!bit || state().declared.load(std::memory_order_relaxed) & bit)
		return;
	facts.size = sizeof facts;
	try {
		releases::describe(device, facts);
		facts.asic_id = asic_id_of(device);
	} catch (...) {
	}
	if (ttmem_declare_device(index, &facts) == 0)
		state().declared.fetch_or(bit, std::memory_order_relaxed);
}

/* A mesh's buffer has its size on each of the devices. */
template <class Visit> void for_each_device(const Device *device, Visit visit)
{
	const auto *mesh = dynamic_cast<const MeshDevice *>(device);

	if (mesh) {
		for (const Device *one : mesh->get_devices())
			visit(*one, static_cast<std::uint32_t>(one->id()));
	} else if (device) {
		visit(*device, static_cast<std::uint32_t>(device->id()));
	}
}

std::uint32_t kind_of(const Buffer &buffer)
{
	return static_cast<std::uint32_t>(buffer.buffer_type());
}

/* A kind that a later release has is none of those that ttmem has behind the last one. */
bool is_known(const Buffer &buffer)
{
	return kind_of(buffer) <= TTMEM_TRACE;
}

Key key_of(const Buffer &buffer, std::uint64_t address)
{
	return {releases::allocator_of(buffer), kind_of(buffer), address};
}

void free_all(const std::vector<ttmem_handle> &handles)
{
	for (const ttmem_handle handle : handles)
		ttmem_free_handle(handle);
}

/* The handles of what was there before, taken out. False: it is this very buffer. */
bool make_room(const Key &key, const Buffer &buffer, std::vector<ttmem_handle> &stale)
{
	const std::lock_guard guard(state().lock);
	const auto found = state().held.find(key);

	if (found == state().held.end())
		return true;
	if (found->second.buffer == &buffer && found->second.size == buffer.size())
		return false;
	stale = std::move(found->second.handles);
	state().held.erase(found);
	return true;
}
} // namespace

void detail::allocated(const Buffer &buffer, std::uint64_t address) noexcept
try {
	const KeepErrno keep;
	const Key key = key_of(buffer, address);
	Held held{&buffer, buffer.size(), {}};
	std::vector<ttmem_handle> stale;

	if (!is_known(buffer) || !make_room(key, buffer, stale))
		return;
	free_all(stale);
	for_each_device(buffer.device(), [&](const Device &device, std::uint32_t index) {
		declare(device, index);
		const ttmem_handle handle = ttmem_alloc_handle(
			index, static_cast<enum ttmem_kind>(key.kind), address, held.size, nullptr);
		if (handle)
			held.handles.push_back(handle);
	});
	if (held.handles.empty())
		return;
	const std::lock_guard guard(state().lock);
	state().held.insert_or_assign(key, std::move(held));
} catch (...) {
}

void detail::allocation_failed(const Buffer &buffer) noexcept
try {
	const KeepErrno keep;
	std::uint64_t largest = 0;

	if (!is_known(buffer))
		return;
	try {
		largest = releases::largest_free(buffer);
	} catch (...) {
	}
	for_each_device(buffer.device(), [&](const Device &device, std::uint32_t index) {
		declare(device, index);
		ttmem_alloc_failed(index, static_cast<enum ttmem_kind>(kind_of(buffer)),
				   buffer.size(), largest);
	});
} catch (...) {
}

void detail::freed(const Buffer &buffer) noexcept
try {
	const KeepErrno keep;
	std::vector<ttmem_handle> handles;

	{
		const std::lock_guard guard(state().lock);
		const auto found = state().held.find(key_of(buffer, buffer.address()));

		if (found == state().held.end())
			return;
		handles = std::move(found->second.handles);
		state().held.erase(found);
	}
	free_all(handles);
} catch (...) {
}

/*
 * Programs share L1: the circular buffers of one that waits in the program cache lie where those
 * of the next one do. So bytes of a core that are taken already are not counted again, and the sum
 * never is more than there is.
 */
void detail::cores_taken(const Device &device, const std::vector<Core> &cores,
			 std::uint64_t address, std::uint64_t size_per_core) noexcept
try {
	const KeepErrno keep;

	if (address + size_per_core < address)
		return;
	for_each_device(&device, [&](const Device &one, std::uint32_t index) {
		declare(one, index);
		const std::lock_guard guard(state().lock);
		Taken &taken = state().taken[index];
		std::uint64_t fresh = 0;

		for (const Core &core : cores)
			fresh += taken.cores[core].add(address, address + size_per_core);
		const ttmem_handle handle =
			fresh ? ttmem_alloc_handle(index, TTMEM_CB, address, fresh, nullptr) : 0;
		if (handle)
			taken.handles.push_back(handle);
	});
} catch (...) {
}

void detail::cores_released(const Device &device) noexcept
try {
	const KeepErrno keep;

	for_each_device(&device, [](const Device &, std::uint32_t index) {
		const std::lock_guard guard(state().lock);
		const auto found = state().taken.find(index);

		if (found == state().taken.end())
			return;
		free_all(found->second.handles);
		state().taken.erase(found);
	});
} catch (...) {
}

void set_asic_ids(std::function<std::uint64_t(const Device &)> asic_id_of) noexcept
try {
	const std::lock_guard guard(state().lock);

	state().asic_ids = std::move(asic_id_of);
	state().declared = 0;
} catch (...) {
}
} // namespace ttmem::metal
