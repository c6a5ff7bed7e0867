/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
#include <memory>
#include <tt-metalium/allocator.hpp>
#include <tt-metalium/buffer_types.hpp>

namespace tt::tt_metal
{
class IDevice;

class STANDIN_API Buffer final : public std::enable_shared_from_this<Buffer>
{
public:
	static std::shared_ptr<Buffer> create(IDevice *device, DeviceAddr size, BufferType type);
	/* A view of what is there: it owns nothing. */
	static std::shared_ptr<Buffer> create(IDevice *device, DeviceAddr address, DeviceAddr size,
					      BufferType type);
	/* In an allocator that is not the device's own, as a sub-device has one. */
	static std::shared_ptr<Buffer> create(IDevice *device, Allocator *allocator,
					      DeviceAddr size, BufferType type);

	Buffer(IDevice *device, Allocator *allocator, DeviceAddr size, BufferType type, bool owns);
	Buffer(const Buffer &) = delete;
	~Buffer();

	IDevice *device() const;
	Allocator *allocator() const;
	DeviceAddr address() const;
	DeviceAddr size() const;
	BufferType buffer_type() const;
	void deallocate();

private:
	void allocate_impl();
	void deallocate_impl();

	IDevice *const device_;
	Allocator *const allocator_;
	const DeviceAddr size_;
	const BufferType buffer_type_;
	const bool owns_data_;
	bool is_allocated_ = false;
	bool hooked_allocation_ = false;
	DeviceAddr address_ = 0;
};
} // namespace tt::tt_metal
