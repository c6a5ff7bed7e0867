#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The README's program, compiled against an installed copy and run. Usage: readme.sh BUILD_DIR
set -eu
build=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

make -s BUILD="$build" DESTDIR="$work/root" PREFIX=/usr install
awk '/^```c$/ {on = 1; next} /^```$/ {on = 0} on' README.md > "$work/example.c"
grep -q ttmem_alloc "$work/example.c"

PKG_CONFIG_SYSROOT_DIR="$work/root"
PKG_CONFIG_PATH="$work/root/usr/lib/pkgconfig"
export PKG_CONFIG_SYSROOT_DIR PKG_CONFIG_PATH
# shellcheck disable=SC2046 # flags are words
"${CC:-cc}" -Wall -Werror -o "$work/example" "$work/example.c" $(pkg-config --cflags --libs ttmem)
LD_LIBRARY_PATH="$work/root/usr/lib" TTMEM_SOCKET=/nonexistent "$work/example"
"$work/root/usr/sbin/ttmemd" --version | grep -q "^ttmemd $(cat VERSION)$"
man -l "$work/root/usr/share/man/man8/ttmemd.8" | grep -q "exit"
echo "readme: ok"
