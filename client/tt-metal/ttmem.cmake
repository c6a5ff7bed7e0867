# SPDX-License-Identifier: Apache-2.0
#
# ttmem_add_to(TARGET) compiles ttmem_tt_metal.cpp into a target of TT-Metal's and links libttmem.
# `integrate` puts the call into tt_metal/impl/CMakeLists.txt. CMake 3.17 or later.
#
# libttmem is looked for where this file is installed, then by pkg-config, then in the usual
# places. TTMEM_ROOT names another prefix.
option(TTMEM_ASIC_IDS "Ask UMD for the ASIC ids of devices" ON)

function(ttmem_find)
    list(PREPEND CMAKE_PREFIX_PATH ${TTMEM_ROOT} "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../../..")
    find_library(TTMEM_LIBRARY ttmem PATHS ${CMAKE_PREFIX_PATH} PATH_SUFFIXES lib lib64
                 NO_DEFAULT_PATH)
    find_path(TTMEM_INCLUDE_DIR ttmem.h PATHS ${CMAKE_PREFIX_PATH} PATH_SUFFIXES include
              NO_DEFAULT_PATH)
    if(NOT TTMEM_LIBRARY OR NOT TTMEM_INCLUDE_DIR)
        find_package(PkgConfig QUIET)
        if(PKG_CONFIG_FOUND)
            pkg_check_modules(TTMEM_PC QUIET ttmem)
        endif()
        find_library(TTMEM_LIBRARY ttmem HINTS ${TTMEM_PC_LIBRARY_DIRS})
        find_path(TTMEM_INCLUDE_DIR ttmem.h HINTS ${TTMEM_PC_INCLUDE_DIRS})
    endif()
    if(NOT TTMEM_LIBRARY OR NOT TTMEM_INCLUDE_DIR)
        message(FATAL_ERROR "libttmem is not installed where CMake looks: set TTMEM_ROOT to its "
                            "prefix, or take ttmem out again with `integrate --remove`")
    endif()
endfunction()

function(ttmem_add_to target)
    set(here "${CMAKE_CURRENT_FUNCTION_LIST_DIR}")
    ttmem_find()
    target_sources(${target} PRIVATE "${here}/ttmem_tt_metal.cpp")
    target_include_directories(${target} PRIVATE "${here}" "${TTMEM_INCLUDE_DIR}")
    # The file itself and no imported target: those would have to be exported with TT-Metal.
    target_link_libraries(${target} PRIVATE "${TTMEM_LIBRARY}")
    set_source_files_properties("${here}/ttmem_tt_metal.cpp" PROPERTIES
                                SKIP_UNITY_BUILD_INCLUSION ON SKIP_PRECOMPILE_HEADERS ON)
    if(TTMEM_ASIC_IDS)
        set_source_files_properties("${here}/ttmem_tt_metal.cpp" PROPERTIES
                                    COMPILE_DEFINITIONS TTMEM_TT_METAL_INTERNAL)
    endif()
    message(STATUS "ttmem: ${TTMEM_LIBRARY}")
endfunction()
