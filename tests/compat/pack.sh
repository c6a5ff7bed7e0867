#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Keeps the sources of a release for the tests with its successors: tests/compat/pack.sh COMMIT.
# Takes the place of the release before it, which its own tests were run with.
set -eu
cd "$(dirname "$0")/../.."

commit=${1:?usage: tests/compat/pack.sh COMMIT}
release=ttmem-$(git show "$commit:VERSION")
work=$(mktemp)
trap 'rm -f "$work"' EXIT

git archive --format=tar --prefix="$release/" "$commit" -- LICENSE Makefile VERSION client collector \
	fs tools tests/peers/peer.c tests/peers/storm.c | xz -9e >"$work"
rm -f tests/compat/ttmem-*.tar.xz
cp "$work" "tests/compat/$release.tar.xz"
wc -c "tests/compat/$release.tar.xz"
