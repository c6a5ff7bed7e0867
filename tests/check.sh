#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What can be seen without running anything: format, layers, static analysis, scripts. From the
# project's root; says what is wrong and exits 1.
# shellcheck disable=SC2016,SC2317 # functions are called through step, $@ is another shell's
set -u
failed=0

step() {
	printf '%-28s' "$1"
	shift
	if output=$("$@" 2>&1); then
		echo ok
	else
		echo FAILED
		echo "$output"
		failed=1
	fi
}

# What is in the project: by git's word, or in a tree without git by name.
files() {
	git ls-files "$@" 2>/dev/null && return
	for pattern; do
		find . -path ./build -prune -o -path "./$pattern" -print -o -name "$pattern" -print
	done
}

sources=$(files '*.c' '*.h' client/ttmem.hpp 'tests/bindings/*.cpp' 'examples/*.cpp')
scripts=$(files '*.sh' .ci/run)

format() {
	# shellcheck disable=SC2086 # a list of names
	clang-format --dry-run -Werror $sources
}

flags="-D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DTTMEM_VERSION=\"0\" -Iclient -Icollector -Ifs -Itests
	$(pkg-config --cflags fuse3 libuv glib-2.0 jansson)"

tidy() {
	# shellcheck disable=SC2086
	files 'client/*.c' 'collector/*.c' 'fs/*.c' 'tools/*.c' 'tools/sim/*.c' |
		xargs -P "$(nproc)" -n 4 sh -c 'clang-tidy --quiet "$@" -- -std=gnu11 $FLAGS' sh
}

# A second compiler with other warnings.
clang_build() {
	make -s -j"$(nproc)" CC=clang BUILD=build/clang all
}

check_cppcheck() {
	# shellcheck disable=SC2086
	cppcheck --quiet --inline-suppr --error-exitcode=1 --enable=warning,performance,portability \
		--suppress=autoVariables --suppress=missingIncludeSystem --suppress=normalCheckLevelMaxBranches \
		--library=gtk --std=c11 -j "$(nproc)" -D__ORDER_LITTLE_ENDIAN__=1 -D__BYTE_ORDER__=1 \
		-D__GNUC__=12 '-DG_GNUC_PRINTF(a,b)=' -DTTMEM_VERSION='"0"' -Iclient -Icollector -Ifs client collector fs
}

check_shell() {
	# shellcheck disable=SC2086
	shellcheck $scripts
}

check_python() {
	files '*.py' | xargs python3 -m py_compile
}

check_man() {
	warnings=$(man --warnings -l docs/man/*.? 2>&1 >/dev/null)
	# mandoc would have ERRORS after EXAMPLES, as BSDs do.
	warnings=$warnings$(mandoc -T lint -W warning docs/man/*.? 2>&1 | grep -v "order: Sh EXAMPLES")
	[ -z "$warnings" ] || { echo "$warnings"; false; }
}

export FLAGS="$flags"
step "format" format
step "layers" tests/layers.sh
step "shell scripts" check_shell
step "python scripts" check_python
step "man pages" check_man
step "a build with clang" clang_build
step "cppcheck" check_cppcheck
step "clang-tidy" tidy
exit $failed
