/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

namespace tt::tt_metal
{
class Cluster;

enum class ContextId : int;

class MetalContext
{
public:
	static MetalContext &instance(ContextId id);

	Cluster &get_cluster();
};
} // namespace tt::tt_metal
