#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Compiles and runs the examples that are installed, and compares what they print with what they
# should. Usage: tests/installed.sh BUILD_DIR tests/examples.sh
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
examples="$TTMEM_ROOT/share/doc/ttmem/examples"
flags=$(pkg-config --cflags --libs ttmem)
warnings='-Wall -Wextra -Werror'

# shellcheck disable=SC2086 # flags are words
build() {
	case $1 in
	*.c) ${CC:-cc} $warnings -o "$work/program" "$1" $flags ;;
	*.cpp) ${CXX:-c++} -std=c++17 $warnings -o "$work/program" "$1" $flags ;;
	*.py) printf '#!/bin/sh\nexec python3 %s\n' "$1" >"$work/program" && chmod +x "$work/program" ;;
	esac
}

count=0
for source in "$examples"/*/*.c "$examples"/*/*.cpp "$examples"/*/*.py; do
	build "$source"
	"$work/program" >"$work/printed"
	diff -u "${source%.*}.expected" "$work/printed" || {
		echo "${source##*/} prints something else" >&2
		exit 1
	}
	rm "$work/program"
	count=$((count + 1))
done
test $count = "$(find examples -name '*.expected' | wc -l)"
