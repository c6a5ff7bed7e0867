/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
#include <cstddef>
#include <utility>
#include <vector>

#ifdef STANDIN_CORES_IN_NAMESPACE
namespace tt::tt_metal
{
#endif
struct CoreCoord {
	std::size_t x, y;
};

/* Both ends are in it. */
struct CoreRange {
	CoreCoord start_coord, end_coord;
};

class CoreRangeSet
{
public:
	explicit CoreRangeSet(std::vector<CoreRange> ranges) : ranges_(std::move(ranges))
	{
	}
	const std::vector<CoreRange> &ranges() const
	{
		return ranges_;
	}

private:
	std::vector<CoreRange> ranges_;
};
#ifdef STANDIN_CORES_IN_NAMESPACE
} // namespace tt::tt_metal
#endif
