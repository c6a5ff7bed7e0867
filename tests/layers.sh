#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Layers include downward only; each file says its licence once and stays within its length. From
# the project's root; prints what does not hold and exits 1. With --self-test it shows, on copies,
# that each check can fail.
set -u

pure='collector/model.c collector/model.h collector/model_internal.h collector/device.c
	collector/holding.c collector/capacity.c collector/leave.c collector/events.h collector/history.c
	collector/oom.c collector/threshold.c collector/tick.c collector/cards.[ch] collector/hidepid.[ch]
	collector/render*.[ch] collector/moment.[ch] collector/json.[ch] collector/kind.[ch]
	collector/plain.[ch] collector/proc.[ch] collector/proc_stat.[ch] collector/capped.h
	collector/numbers.[ch]
	collector/ledger_*.[ch] collector/native.[ch] collector/source.h
	collector/alloc.[ch] collector/alloc_[ahrt]*.[ch] collector/alloc_stream.[ch]
	collector/metal*.[ch] collector/kmd*.[ch] collector/driver_tree.[ch]
	collector/survey.[ch] collector/tally.[ch] collector/ages.[ch] collector/oldest.[ch]
	fs/tree.[ch] fs/list.c fs/entries.[ch] fs/access.[ch]'

# $1: pattern of what may not be included; then the files
without() {
	pattern=$1
	shift
	! grep -nE "^#[[:space:]]*include[[:space:]]+[\"<]($pattern)[\">]" "$@" /dev/null
}

headers_of() {
	(cd "$1" && ls ./*.h) | sed 's,^\./,,; s/\./\\./g' | paste -sd'|' -
}

check() {
	status=0
	collector=$(headers_of collector)
	fs=$(headers_of fs)

	echo "client/ includes nothing of the rest"
	without "(.*/)?($collector|$fs)" client/*.[ch] || status=1
	echo "collector/ includes nothing of fs/, but for daemon.c"
	for file in collector/*.[ch]; do
		[ "$file" = collector/daemon.c ] || without "(.*/)?($fs)|fuse.*" "$file" || status=1
	done
	echo "the model, the renderers, the sources and the tree know nothing of libuv, FUSE or sockets"
	# shellcheck disable=SC2086 # patterns
	without "uv\.h|fuse.*|fs\.h|server\.h|sys/socket\.h" $pure || status=1
	echo "one SPDX line in the first two of each file"
	for file in client/*.[ch] collector/*.[ch] fs/*.[ch] tools/*.c tools/*.sh tools/sim/*.[ch] \
		bench/*.[ch] bench/*.py tests/*.sh tests/*.py tests/unit/*.[ch] tests/peers/*.[ch] \
		tests/mount/*.py Makefile; do
		[ -e "$file" ] || continue
		[ "$(head -n 2 "$file" | grep -c 'SPDX-License-Identifier: Apache-2.0')" = 1 ] ||
			{ echo "$file"; status=1; }
	done
	echo "no file of more than 400 lines"
	for file in client/*.[ch] collector/*.[ch] fs/*.[ch] tools/*.c tools/sim/*.[ch]; do
		[ "$(wc -l < "$file")" -le 400 ] || { wc -l "$file"; status=1; }
	done
	return $status
}

# $1: what is damaged; $2: file; $3: the line that is put at its end
must_fail() {
	cp -r client collector fs tools bench tests Makefile "$work/" || exit 1
	printf '%s\n' "$3" >> "$work/$2"
	if (cd "$work" && check > /dev/null 2>&1); then
		echo "not found: $1"
		exit 1
	fi
	rm -rf "${work:?}"/*
}

if [ "${1:-}" = --self-test ]; then
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	must_fail "client includes the collector" client/lock.c '#include "model.h"'
	must_fail "the collector includes fs" collector/peer.c '#include "tree.h"'
	must_fail "the model includes libuv" collector/model.c '#include <uv.h>'
	must_fail "a renderer includes FUSE" collector/render_root.c '#include <fuse_lowlevel.h>'
	must_fail "the tree includes the mount" fs/tree.c '#include "fs.h"'
	must_fail "a long file" fs/list.c "$(yes '/* */' | head -n 400)"
	must_fail "a file without a licence" tests/unit/bare.c 'int bare;'
	echo "self-test: 7 damages, all found"
	exit 0
fi
check
