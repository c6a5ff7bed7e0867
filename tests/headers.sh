#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Compiles client/ttmem.h by itself, as callers in C99 to C23 and C++11 to C++23 do, with gcc and
# clang and all their warnings as errors. Usage, from the project's root: tests/headers.sh
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
warnings='-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wundef -Wcast-qual
	-Wwrite-strings -Werror'

cat >"$work/caller.c" <<'CODE'
#include "ttmem.h"
#include "ttmem.h"

int caller(void);

int caller(void)
{
	struct ttmem_device device = {0};
	struct ttmem_totals totals;
	struct ttmem_errors errors;

	device.size = (uint32_t)sizeof device;
	ttmem_alloc(0, TTMEM_L1, 4096, 1024, "tag");
	ttmem_free(0, TTMEM_L1, 4096);
	ttmem_alloc_failed(0, TTMEM_DRAM, 1024, 0);
	return ttmem_start() + ttmem_declare_device(TTMEM_MAX_DEVICES - 1, &device) +
	       ttmem_get_totals(TTMEM_ALL_DEVICES, TTMEM_KERNEL, &totals) + ttmem_get_errors(&errors) +
	       ttmem_version()[0];
}
CODE
sed 's/ = {0}/{}/; s/caller(void)/caller()/' "$work/caller.c" >"$work/caller.cc"

for compiler in gcc clang; do
	for standard in c99 gnu99 c11 gnu11 c17 c2x; do
		# shellcheck disable=SC2086 # a list of words
		$compiler -std=$standard $warnings -Wstrict-prototypes -Wmissing-prototypes \
			-Wc++-compat -Iclient -c -o "$work/caller.o" "$work/caller.c"
	done
done
for compiler in g++ clang++; do
	for standard in c++11 gnu++11 c++14 c++17 c++20 c++2b; do
		# shellcheck disable=SC2086
		$compiler -std=$standard $warnings -Iclient -c -o "$work/caller.o" "$work/caller.cc"
		# What a C++ caller refers to must be the C names.
		nm --undefined-only "$work/caller.o" |
			awk '$1 == "U" && $2 ~ /^_Z.*ttmem/' >"$work/mangled"
		if [ -s "$work/mangled" ]; then
			echo "client/ttmem.h gives these names to C++ callers:" >&2
			cat "$work/mangled"
			exit 1
		fi
	done
done
