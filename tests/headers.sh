#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Compiles client/ttmem.h by itself, as callers in C99, C11 and C++17 do, with warnings as errors.
# Usage, from the project's root: tests/headers.sh      (CC and CXX choose the compilers)
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
warnings='-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wundef -Werror'

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

for standard in c99 c11 gnu11 c2x; do
	# shellcheck disable=SC2086 # a list of words
	${CC:-gcc} -std=$standard $warnings -Wstrict-prototypes -Wmissing-prototypes -Iclient \
		-c -o "$work/caller.o" "$work/caller.c"
done
for standard in c++11 c++17 c++20; do
	# shellcheck disable=SC2086
	${CXX:-g++} -std=$standard $warnings -Iclient -c -o "$work/caller.o" "$work/caller.cc"
done

# What a C++ caller refers to must be the C names.
nm --undefined-only "$work/caller.o" | awk '$1 == "U" && $2 ~ /^_Z.*ttmem/' >"$work/mangled"
if [ -s "$work/mangled" ]; then
	echo "client/ttmem.h gives these names to C++ callers:" >&2
	cat "$work/mangled"
	exit 1
fi
