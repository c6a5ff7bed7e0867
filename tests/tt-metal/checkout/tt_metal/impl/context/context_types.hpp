/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

namespace tt::tt_metal
{
class IDevice;

enum class ContextId : int { first, second };

ContextId extract_context_id(const IDevice *device);
} // namespace tt::tt_metal
