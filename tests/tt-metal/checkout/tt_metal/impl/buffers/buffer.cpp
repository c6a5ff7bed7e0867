/* SPDX-License-Identifier: Apache-2.0 */
#include <tt-metalium/buffer.hpp>
#include <tt-metalium/device.hpp>
#include <tt-metalium/graph_tracking.hpp>
#if defined(STANDIN_TRACY)
#include <tracy/Tracy.hpp>
#endif
#include "impl/context/metal_context.hpp"

namespace tt::tt_metal
{
namespace
{
/* Buffer::allocate_impl() { address_ = allocator_->allocate_buffer(this); } is not this. */
const char *const sayings[] = {"void Buffer::deallocate_impl() {", R"x(allocate_buffer(")x"};
constexpr char brace = '{', quote = '\'';
constexpr unsigned long thousand = 1'000;
} // namespace

std::shared_ptr<Buffer> Buffer::create(IDevice *device, DeviceAddr size, BufferType type)
{
	return create(device, device->allocator().get(), size, type);
}

std::shared_ptr<Buffer> Buffer::create(IDevice *device, Allocator *allocator, DeviceAddr size,
				       BufferType type)
{
	auto buffer = std::make_shared<Buffer>(device, allocator, size, type, true);

	if (size == 0)
		buffer->is_allocated_ = true;
	else
		buffer->allocate_impl();
	return buffer;
}

std::shared_ptr<Buffer> Buffer::create(IDevice *device, DeviceAddr address, DeviceAddr size,
				       BufferType type)
{
	auto buffer = std::make_shared<Buffer>(device, device->allocator().get(), size, type, false);

	buffer->address_ = address;
	buffer->is_allocated_ = true;
	return buffer;
}

Buffer::Buffer(IDevice *device, Allocator *allocator, DeviceAddr size, BufferType type, bool owns)
    : device_(device), allocator_(allocator), size_(size), buffer_type_(type), owns_data_(owns)
{
	static_cast<void>(sayings);
	static_cast<void>(brace + quote + thousand);
}

void Buffer::allocate_impl() {
	if (GraphTracker::instance().hook_allocate(this)) {
		address_ = 0;
		hooked_allocation_ = true;
	} else {
		// The allocator throws when it has no room: see Allocator::allocate_buffer().
		address_ = allocator_->allocate_buffer(this); /* what comes back
			is an address in each bank */

#if defined(STANDIN_TRACY)
		if (true) {
			TracyAllocN(address_, size_, "allocate_buffer(this)");
		}
#endif
	}

	is_allocated_ = true;
	GraphTracker::instance().track_allocate(this);
}

// Buffer::allocate_impl() has its opposite here.
void Buffer::deallocate() {
	if (!owns_data_) {
		return;
	}
	this->deallocate_impl();
}

void Buffer::deallocate_impl()
{
	if (!is_allocated_) {
		return;
	}

	if (device_->is_initialized() && size_ != 0) {
		GraphTracker::instance().track_deallocate(this);
		if (!hooked_allocation_) {
			allocator_->deallocate_buffer(this);
		}
	}
	is_allocated_ = false;
}

Buffer::~Buffer()
{
	deallocate();
}

IDevice *Buffer::device() const
{
	return device_;
}

Allocator *Buffer::allocator() const
{
	return allocator_;
}

DeviceAddr Buffer::address() const
{
	return address_;
}

DeviceAddr Buffer::size() const
{
	return size_;
}

BufferType Buffer::buffer_type() const
{
	return buffer_type_;
}
} // namespace tt::tt_metal
