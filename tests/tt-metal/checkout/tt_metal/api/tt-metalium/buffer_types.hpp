/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
#include <cstdint>

#define STANDIN_API __attribute__((visibility("default")))

namespace tt::tt_metal
{
using DeviceAddr = std::uint64_t;

enum class BufferType { DRAM, L1, SYSTEM_MEMORY, L1_SMALL, TRACE };
} // namespace tt::tt_metal
