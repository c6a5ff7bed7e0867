/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
#include <cstdint>
#include <unordered_map>

namespace tt::tt_metal
{
class ClusterDescriptor
{
public:
	const std::unordered_map<int, std::uint64_t> &get_chip_unique_ids() const;
};

class Cluster
{
public:
	const ClusterDescriptor *get_cluster_desc() const;
};
} // namespace tt::tt_metal
