#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing to build, or to build and test. Does nothing when all is there.
# Usage: deps.sh build|test
set -eu

# package, and how to see that it is there: a pkg-config module, a command or a file
need_build='
gcc command:gcc
make command:make
pkg-config command:pkg-config
libfuse3-dev module:fuse3
libuv1-dev module:libuv
libglib2.0-dev module:glib-2.0
libjansson-dev module:jansson
libc6-dev file:/usr/include/stdio.h
fuse3 command:fusermount3
'
need_test='
libcmocka-dev module:cmocka
python3 command:python3
clang command:clang
clang-format command:clang-format
clang-tidy command:clang-tidy
libclang-rt-dev command:clang
cppcheck command:cppcheck
shellcheck command:shellcheck
dwarves command:pahole
attr command:setfattr
util-linux command:setpriv
procps command:pgrep
man-db command:man
groff command:groff
g++ command:g++
'

is_there() {
	case $1 in
	module:*) pkg-config --exists "${1#module:}" 2>/dev/null ;;
	command:*) command -v "${1#command:}" >/dev/null 2>&1 ;;
	file:*) test -e "${1#file:}" ;;
	esac
}

missing() {
	echo "$1" | while read -r package test; do
		[ -z "$package" ] || is_there "$test" || echo "$package"
	done
}

needs=$need_build
[ "${1:-build}" = build ] || needs="$need_build$need_test"
packages=$(missing "$needs" | sort -u | tr '\n' ' ')
[ -n "$packages" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
	echo "Missing: $packages" >&2
	echo "These are Debian's names, and there is no apt-get here: install the same things by" >&2
	echo "your system's means (libfuse 3.14, libuv 1.44, GLib 2.74, cmocka 1.1.5 or later)." >&2
	exit 1
fi
sudo=
if [ "$(id -u)" != 0 ]; then
	if ! command -v sudo >/dev/null 2>&1; then
		echo "Missing: $packages" >&2
		echo "Install them as root: apt-get install $packages" >&2
		exit 1
	fi
	sudo=sudo
fi
echo "Installing: $packages"
$sudo apt-get -qq update
# shellcheck disable=SC2086 # a list of names
$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install $packages

# What apt-get said does not count; what is there does.
packages=$(missing "$needs" | tr '\n' ' ')
if [ -n "$packages" ]; then
	echo "Still missing after apt-get: $packages" >&2
	exit 1
fi
