#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds what the tests need of a release, in a directory with its name: build.sh ARCHIVE DIRECTORY.
# With its own Makefile, but without the warnings that later compilers may have for it, and without
# a sanitizer: it stands for what is installed somewhere.
set -eu

archive=$1 tree=$2/$(basename "$1" .tar.xz)
for name in MAKEFLAGS MAKEOVERRIDES MFLAGS MAKELEVEL BUILD SAN CFLAGS CPPFLAGS LDFLAGS; do
	unset "$name"
done

rm -rf "$tree"
mkdir -p "$2"
tar -xJf "$archive" -C "$2"
make -s -C "$tree" -j"$(nproc)" CC="${CC:-gcc}" WARN=-w OPT=-O1 build/ttmemd build/libttmem.so \
	build/ttmem-sim build/tests/peers/peer build/tests/peers/storm

# Programs that find the library when they are started. One has a copy of its data in itself, as
# programs that are not position-independent have.
for kind in pie no-pie; do
	${CC:-gcc} -D_GNU_SOURCE -O1 -w -I"$tree/client" -f$kind -$kind -o "$tree/build/peer-$kind" \
		"$tree/tests/peers/peer.c" -L"$tree/build" -lttmem -pthread
done

# What make would take for its own.
find "$tree/build" -name '*.d' -delete
touch "$tree/built"
