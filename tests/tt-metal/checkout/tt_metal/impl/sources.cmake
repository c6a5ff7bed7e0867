# SPDX-License-Identifier: Apache-2.0
set(IMPL_SRC
    ${CMAKE_CURRENT_SOURCE_DIR}/buffers/buffer.cpp # buffers/dispatch.cpp is not here
    ${CMAKE_CURRENT_SOURCE_DIR}/device/device.cpp
)
