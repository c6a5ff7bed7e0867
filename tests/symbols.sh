#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Compares what libttmem.so exports with the list in client/ttmem.map. Prints the difference and
# exits with 1 if there is one: a symbol that lost its export attribute links cleanly and is gone.
# Usage, from the project's root: tests/symbols.sh BUILD_DIR
set -eu

build=${1:?usage: tests/symbols.sh BUILD_DIR}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Names between "global:" and "local:", and the version that they belong to.
awk '
	/^[A-Z][A-Z0-9_.]* *\{/ { version = $1 }
	/^global:/ { listed = 1; next }
	/^local:/ { listed = 0 }
	listed { sub(";", ""); if ($1 != "") print $1 "@@" version }
' client/ttmem.map | sort >"$work/listed"

# The version itself is an absolute symbol (type A). nm says @@ for a default version.
nm -D --defined-only --with-symbol-versions "$build/libttmem.so" |
	awk '$2 != "A" { print $3 }' | sort >"$work/exported"

test -s "$work/listed" || { echo "client/ttmem.map lists nothing" >&2; exit 1; }
if ! diff -u "$work/listed" "$work/exported" >"$work/diff"; then
	echo "client/ttmem.map (-) and $build/libttmem.so (+) differ:" >&2
	sed 1,2d "$work/diff"
	exit 1
fi
