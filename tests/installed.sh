#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# An installed copy: what README.md, the guide, the examples and the manual pages say is compiled
# against it and run. Usage, from the project's root: installed.sh BUILD_DIR [COMMAND...]
# With a command it runs that instead, with an installed copy in its environment.
set -eu
build=$(cd "${1:?usage: installed.sh BUILD_DIR [COMMAND...]}" && pwd)
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

unset TTMEM TTMEM_REPORT TTMEM_LIBRARY TT_ALLOC_TRACKING_ENABLED
python=/usr/lib/python3/dist-packages
env -u MAKEFLAGS -u MAKELEVEL make -s BUILD="$build" DESTDIR="$work/root" PREFIX=/usr PYTHONDIR=$python install
export TTMEM_ROOT="$work/root/usr" PATH="$work/root/usr/bin:$work/root/usr/sbin:$PATH"
export PKG_CONFIG_SYSROOT_DIR="$work/root" PKG_CONFIG_PATH="$TTMEM_ROOT/lib/pkgconfig"
export LD_LIBRARY_PATH="$TTMEM_ROOT/lib" PYTHONPATH="$work/root$python"
export PYTHONDONTWRITEBYTECODE=1 TTMEM_SOCKET="${TTMEM_SOCKET:-/nonexistent}"

if [ $# != 0 ]; then
	"$@"
	exit
fi
ttmemd --version | grep -q "^ttmemd $(cat VERSION)$"
man -l "$TTMEM_ROOT/share/man/man8/ttmemd.8" | grep -q "exit"
tests/examples.sh
python3 tests/blocks.py README.md docs/instrument.md
python3 tests/man_doc.py
python3 tests/man_doc.py --self-test
echo "installed: ok"
