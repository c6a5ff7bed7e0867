#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# client/ttmem.hpp with both compilers, both standards, and without exceptions and RTTI, with
# warnings as errors; what it promises runs each time. Usage: tests/bindings/hpp.sh BUILD_DIR
set -eu

build=$(cd "${1:?usage: tests/bindings/hpp.sh BUILD_DIR}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
warnings='-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wundef -Werror'

try() {
	compiler=$1
	shift
	# shellcheck disable=SC2086 # a list of words
	"$compiler" "$@" $warnings -pthread -Iclient -o "$work/test" tests/bindings/hpp_test.cpp \
		"$build/libttmem.so"
	env -u TTMEM -u TTMEM_REPORT -u TT_ALLOC_TRACKING_ENABLED LD_LIBRARY_PATH="$build" \
		TTMEM_SOCKET=/nonexistent "$work/test" || {
		echo "it was: $compiler $*" >&2
		exit 1
	}
}

for compiler in g++ clang++; do
	try "$compiler" -std=c++17 -O2
	try "$compiler" -std=c++17 -fno-exceptions -fno-rtti
	try "$compiler" -std=c++20
	try "$compiler" -std=c++20 -O2 -fno-exceptions -fno-rtti
done
