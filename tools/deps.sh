#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing to build, or to build and test. Does nothing when all is there.
# Usage: deps.sh build|test
set -eu
cd "$(dirname "$0")/.."

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
mypy command:mypy
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
mandoc command:mandoc
g++ command:g++
cmake command:cmake
patch command:patch
jq command:jq
valgrind command:valgrind
python3-jsonschema file:/usr/lib/python3/dist-packages/jsonschema/__init__.py
'
# Of these only one program is wanted. Their packages start services, and again after each boot, so
# they are not installed: the program is unpacked in build/debian.
unpack_test='
inotify-tools command:inotifywait
entr command:entr
prometheus unpacked:promtool
prometheus-node-exporter unpacked:prometheus-node-exporter
'

is_there() {
	case $1 in
	module:*) pkg-config --exists "${1#module:}" 2>/dev/null ;;
	command:*) command -v "${1#command:}" >/dev/null 2>&1 ;;
	file:*) test -e "${1#file:}" ;;
	unpacked:*) command -v "${1#*:}" >/dev/null 2>&1 || test -x "build/debian/usr/bin/${1#*:}" ;;
	esac
}

missing() {
	echo "$1" | while read -r package test; do
		[ -z "$package" ] || is_there "$test" || echo "$package"
	done
}

# No root is needed for it.
unpack() {
	echo "Unpacking: $1"
	mkdir -p build/debian
	(cd build/debian && apt-get -qq -o APT::Sandbox::User="$(id -un)" download "$1")
	dpkg-deb --fsys-tarfile build/debian/"$1"_*.deb |
		tar -x --no-same-owner -C build/debian "./usr/bin/$2"
	rm build/debian/"$1"_*.deb
}

needs=$need_build unpacked=
[ "${1:-build}" = build ] || needs="$need_build$need_test" unpacked=$unpack_test
packages=$(missing "$needs" | sort -u | tr '\n' ' ')
archives=$(missing "$unpacked" | tr '\n' ' ')
[ -n "$packages$archives" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
	echo "Missing: $packages$archives" >&2
	echo "These are Debian's names, and there is no apt-get here: install the same things by" >&2
	echo "your system's means (libfuse 3.14, libuv 1.44, GLib 2.74, jansson 2.14, cmocka 1.1.5" >&2
	echo "or later)." >&2
	exit 1
fi
sudo=
if [ "$(id -u)" != 0 ]; then
	if command -v sudo >/dev/null 2>&1; then
		sudo=sudo
	elif [ -n "$packages" ]; then
		echo "Missing: $packages" >&2
		echo "Install them as root: apt-get install $packages" >&2
		exit 1
	fi
fi
if [ "$(id -u)" = 0 ] || [ -n "$sudo" ]; then
	$sudo apt-get -qq update
fi
if [ -n "$packages" ]; then
	echo "Installing: $packages"
	# shellcheck disable=SC2086 # a list of names
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install \
		$packages
fi
for package in $archives; do
	unpack "$package" "$(echo "$unpack_test" | sed -n "s/^$package unpacked://p")"
done

# What apt-get said does not count; what is there does.
packages=$(missing "$needs$unpacked" | tr '\n' ' ')
if [ -n "$packages" ]; then
	echo "Still missing after apt-get: $packages" >&2
	exit 1
fi
