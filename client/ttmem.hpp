/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libttmem for C++17 and later: what ttmem.h has, with owners that undo by themselves, and a
 * wrapper that reports what an allocator does. ttmem.h says what each call means; all that it says
 * of threads, signals and fork holds here.
 *
 * Only what returns a std::vector can throw (std::bad_alloc), and ttmem::tracked lets through what
 * the allocator throws. Works with -fno-exceptions and -fno-rtti.
 */
#ifndef TTMEM_HPP
#define TTMEM_HPP

#include "ttmem.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace ttmem
{

/* What a buffer is allocated from. */
enum class kind : std::uint32_t {
	dram = TTMEM_DRAM,
	l1 = TTMEM_L1,
	system = TTMEM_SYSTEM,
	l1_small = TTMEM_L1_SMALL,
	trace = TTMEM_TRACE,
	cb = TTMEM_CB,
	kernel = TTMEM_KERNEL
};

inline constexpr std::uint32_t all_devices = TTMEM_ALL_DEVICES;

constexpr ::ttmem_kind to_c(kind of) noexcept
{
	return static_cast<::ttmem_kind>(of);
}

/* ---- Reporting ------------------------------------------------------------------------------ */

/* 0, or a negative errno: then the process is not tracked, and none the worse. */
inline int start() noexcept
{
	return ttmem_start();
}

/* The release of the library that is loaded. */
inline const char *version() noexcept
{
	return ttmem_version();
}

/* Without a tag: the one of the innermost ttmem::tag of the thread. */
inline void alloc(std::uint32_t device, kind of, std::uint64_t address, std::uint64_t size,
		  const char *name = nullptr) noexcept
{
	ttmem_alloc(device, to_c(of), address, size, name);
}

inline void free(std::uint32_t device, kind of, std::uint64_t address) noexcept
{
	ttmem_free(device, to_c(of), address);
}

/* `largest_free` is the largest block that was free then. 0: not known. */
inline void alloc_failed(std::uint32_t device, kind of, std::uint64_t size,
			 std::uint64_t largest_free = 0) noexcept
{
	ttmem_alloc_failed(device, to_c(of), size, largest_free);
}

/* What is known of a device. 0 or a null pointer: not known. */
struct device_info {
	std::uint64_t asic_id = 0;
	std::uint64_t dram_total = 0;
	std::uint64_t l1_total = 0;
	const char *pci = nullptr;
	const char *arch = nullptr;
	const char *board = nullptr;
	bool is_remote = false;
};

/* The strings are copied. 0, or a negative errno; -ENOTCONN when tracking is off. */
inline int declare_device(std::uint32_t index, const device_info &info) noexcept
{
	::ttmem_device device = {};

	device.size = static_cast<std::uint32_t>(sizeof device);
	device.is_remote = info.is_remote;
	device.asic_id = info.asic_id;
	device.dram_total = info.dram_total;
	device.l1_total = info.l1_total;
	device.pci = info.pci;
	device.arch = info.arch;
	device.board = info.board;
	return ttmem_declare_device(index, &device);
}

/* ---- Owners --------------------------------------------------------------------------------- */

/* Until the end of its scope, buffers that the thread allocates without a tag have this one. It
 * belongs to the thread and to the scope, so it can be neither copied nor moved. */
class [[nodiscard]] tag
{
      public:
	explicit tag(const char *name) noexcept
	{
		ttmem_tag_push(name);
	}

	explicit tag(std::string_view name) noexcept
	{
		char copy[TTMEM_TAG_MAX + 1] = {};

		std::copy_n(name.data(), std::min<std::size_t>(name.size(), TTMEM_TAG_MAX), copy);
		ttmem_tag_push(copy);
	}

	~tag()
	{
		ttmem_tag_pop();
	}

	tag(const tag &) = delete;
	tag &operator=(const tag &) = delete;
};

/* The report of one live buffer: reported when made, and as freed when it goes, in whatever thread.
 * It owns the report and not the memory. In a forked child, where the parent's buffers are not
 * known, its end is counted in ttmem_errors.unknown_frees. */
class [[nodiscard]] buffer
{
      public:
	buffer() noexcept = default;

	buffer(std::uint32_t device, kind of, std::uint64_t address, std::uint64_t size,
	       const char *name = nullptr) noexcept
	    : handle_(ttmem_alloc_handle(device, to_c(of), address, size, name))
	{
	}

	buffer(buffer &&other) noexcept : handle_(other.release())
	{
	}

	buffer &operator=(buffer &&other) noexcept
	{
		if (this != &other) {
			reset();
			handle_ = other.release();
		}
		return *this;
	}

	~buffer()
	{
		reset();
	}

	buffer(const buffer &) = delete;
	buffer &operator=(const buffer &) = delete;

	/* Reports the buffer as freed now. */
	void reset() noexcept
	{
		ttmem_free_handle(release());
	}

	/* From here on the caller must call ttmem_free_handle(). */
	ttmem_handle release() noexcept
	{
		return std::exchange(handle_, 0);
	}

	ttmem_handle handle() const noexcept
	{
		return handle_;
	}

	/* False: empty, or not tracked. */
	explicit operator bool() const noexcept
	{
		return handle_ != 0;
	}

      private:
	ttmem_handle handle_ = 0;
};

/* ---- Reading back --------------------------------------------------------------------------- */

/* What the process holds of a kind on a device; all zeros when tracking is off. */
inline ::ttmem_totals totals(std::uint32_t device, kind of) noexcept
{
	::ttmem_totals sums = {};

	ttmem_get_totals(device, to_c(of), &sums);
	return sums;
}

struct totals_row {
	std::uint32_t device;
	kind of;
	::ttmem_totals sums;
};

/* The same for each device and kind that was used. */
inline std::vector<totals_row> totals()
{
	std::vector<totals_row> rows;

	for (std::uint32_t device = 0; device < TTMEM_MAX_DEVICES; device++)
		for (std::uint32_t i = 0; i < TTMEM_KINDS; i++) {
			const totals_row row = {device, kind{i}, totals(device, kind{i})};

			if (row.sums.allocated_buffers != 0 || row.sums.failures != 0)
				rows.push_back(row);
		}
	return rows;
}

/* What is live by tag, device and kind, the most bytes first. Returns 0, or a negative errno and no
 * rows: -ENOTCONN when tracking is off. */
inline int read_tags(std::vector<::ttmem_tag_totals> &rows)
{
	std::size_t count = 64;
	int error;

	do {
		/* A few more than there were, because other threads go on allocating. */
		rows.resize(count + count / 4);
		count = rows.size();
		error = ttmem_get_tags(rows.data(), &count);
	} while (error == -ENOSPC);
	rows.resize(error == 0 ? count : 0);
	return error;
}

inline std::vector<::ttmem_tag_totals> tags()
{
	std::vector<::ttmem_tag_totals> rows;

	read_tags(rows);
	return rows;
}

/* What could not be recorded; nothing when tracking is off. */
inline std::optional<::ttmem_errors> errors() noexcept
{
	::ttmem_errors counts = {};

	if (ttmem_get_errors(&counts) != 0)
		return std::nullopt;
	return counts;
}

/* Writes the table for people. 0, or a negative errno. */
inline int report(int fd) noexcept
{
	return ttmem_report(fd);
}

/* ---- Allocators ----------------------------------------------------------------------------- */

/*
 * What an allocator's allocate() returns: whether it has failed, and the buffer's address. There
 * is one for unsigned integers (which never say so: such an allocator fails by an exception), for
 * pointers (failed: null), and for std::optional of these (failed: empty). Specialise it for
 * types of your own.
 */
template <typename Result, typename = void> struct allocation;

template <typename Result> struct allocation<Result, std::enable_if_t<std::is_unsigned_v<Result>>> {
	static bool failed(Result) noexcept
	{
		return false;
	}
	static std::uint64_t address(Result result) noexcept
	{
		return result;
	}
};

template <typename Pointed> struct allocation<Pointed *> {
	static bool failed(const Pointed *result) noexcept
	{
		return result == nullptr;
	}
	static std::uint64_t address(const Pointed *result) noexcept
	{
		return reinterpret_cast<std::uintptr_t>(result);
	}
};

template <typename Result> struct allocation<std::optional<Result>> {
	static bool failed(const std::optional<Result> &result) noexcept
	{
		return !result || allocation<Result>::failed(*result);
	}
	static std::uint64_t address(const std::optional<Result> &result) noexcept
	{
		return allocation<Result>::address(*result);
	}
};

/*
 * An allocator of device memory that reports what it does, for one device and kind. The allocator
 * must have
 *
 *     allocate(size, ...)        returns what ttmem::allocation knows; may throw when it fails
 *     deallocate(address, ...)   takes an address that allocation<> knows, too
 *
 * and may have
 *
 *     largest_free() const noexcept            bytes, reported with a failure
 *     allocated_size(size) const noexcept      the bytes that an allocation of `size` takes, where
 *                                              this is more (alignment)
 *
 * Further arguments go through. tracked<Allocator &> wraps one that lives elsewhere. The wrapper is
 * as safe for threads as the allocator is.
 */
template <typename Allocator> class tracked
{
      public:
	/* `name` is the tag of all its buffers, and must live as long. Null: the thread's. */
	template <typename... Args>
	tracked(std::uint32_t device, kind of, const char *name, Args &&...args)
	    : inner_(std::forward<Args>(args)...), name_(name), device_(device), kind_(of)
	{
	}

	template <typename... Args> auto allocate(std::uint64_t size, Args &&...args)
	{
		failure_guard guard{*this, size};
		auto result = inner_.allocate(static_cast<std::size_t>(size),
					      std::forward<Args>(args)...);
		using of_result = allocation<decltype(result)>;

		if (!of_result::failed(result)) {
			guard.has_failed = false;
			ttmem_alloc(device_, to_c(kind_), of_result::address(result),
				    taken_by(size), name_);
		}
		return result;
	}

	/* Reported first: once the allocator has it back, another thread may be given the address.
	 * So a buffer whose deallocate() throws counts as freed. */
	template <typename Address, typename... Args>
	decltype(auto) deallocate(Address &&address, Args &&...args)
	{
		using of_address = allocation<std::remove_cv_t<std::remove_reference_t<Address>>>;

		if (!of_address::failed(address))
			ttmem_free(device_, to_c(kind_), of_address::address(address));
		return inner_.deallocate(std::forward<Address>(address),
					 std::forward<Args>(args)...);
	}

	auto &inner() noexcept
	{
		return inner_;
	}

	const auto &inner() const noexcept
	{
		return inner_;
	}

      private:
	using plain = std::remove_reference_t<Allocator>;

	template <typename T, typename = void> struct has_largest_free : std::false_type {
	};
	template <typename T>
	struct has_largest_free<T, std::void_t<decltype(std::declval<const T &>().largest_free())>>
	    : std::true_type {
		static_assert(noexcept(std::declval<const T &>().largest_free()),
			      "largest_free() is called while an exception is on its way");
	};

	template <typename T, typename = void> struct has_allocated_size : std::false_type {
	};
	template <typename T>
	struct has_allocated_size<
		T, std::void_t<decltype(std::declval<const T &>().allocated_size(std::size_t{}))>>
	    : std::true_type {
		static_assert(noexcept(std::declval<const T &>().allocated_size(std::size_t{})),
			      "allocated_size() is called when the buffer is allocated already");
	};

	/* Reports a failure whether allocate() says so or throws, without a try block. */
	struct failure_guard {
		const tracked &owner;
		std::uint64_t size;
		bool has_failed = true;

		failure_guard(const tracked &of, std::uint64_t bytes) noexcept
		    : owner(of), size(bytes)
		{
		}
		~failure_guard()
		{
			if (has_failed)
				ttmem_alloc_failed(owner.device_, to_c(owner.kind_),
						   owner.taken_by(size), owner.largest_free());
		}
		failure_guard(const failure_guard &) = delete;
		failure_guard &operator=(const failure_guard &) = delete;
	};

	std::uint64_t taken_by(std::uint64_t size) const noexcept
	{
		if constexpr (has_allocated_size<plain>::value)
			return std::as_const(inner_).allocated_size(static_cast<std::size_t>(size));
		else
			return size;
	}

	std::uint64_t largest_free() const noexcept
	{
		if constexpr (has_largest_free<plain>::value)
			return std::as_const(inner_).largest_free();
		else
			return 0;
	}

	Allocator inner_;
	const char *name_;
	std::uint32_t device_;
	kind kind_;
};

} // namespace ttmem

#endif
