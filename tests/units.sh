#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs unit tests, as many at a time as there are processors: units.sh [--env NAME=VALUE] PROGRAM...
# A line for each; of one that fails, all that it said. Fails if one does.
set -u

if [ "${1:-}" = --one ]; then
	begun=$(date +%s)
	said=$("$2" 2>&1 </dev/null)
	status=$?
	name=$(basename "$2")${TTMEM_TEST_FENCES:+, without membarrier}
	if [ $status -eq 0 ]; then
		echo "ok $(($(date +%s) - begun)) s  $name"
	else
		printf '%s\nFAILED: %s (%d)\n' "$said" "$name" $status
	fi
	exit $((status != 0))
fi
if [ "${1:-}" = --env ]; then
	export "${2?}"
	shift 2
fi
printf '%s\0' "$@" | xargs -0 -n 1 -P "$(nproc)" "$0" --one
