#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A daemon, some simulated models, and what to type.
#
#   tools/demo.sh [BUILD_DIR [SECONDS]]      (build, and until Ctrl-C)
#
# It ends only what it started and removes only what it made.
set -u

tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=${1:-$tools/../build}
duration=${2:-0}
rounds=3

daemon='' timer='' opener='' work='' mount_dir='' socket=''
sims=()
made=() # directories, in the order in which they were made
failed=0

# --- words --------------------------------------------------------------------------------------

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
	bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' plain=$'\e[0m'
else
	bold='' dim='' green='' plain=''
fi

title() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
note() { printf '%s%s%s\n' "$dim" "$*" "$plain"; }

complain() {
	printf 'demo: %s\n' "$*" >&2
	failed=1
}

die() {
	complain "$@"
	exit 1
}

die_with_log() {
	tail -n 20 "$work/ttmemd.log" | sed 's/^/  /' >&2
	die "$1; its log is $work/ttmemd.log"
}

# --- ending -------------------------------------------------------------------------------------

# A job that has ended is reaped, and its pid may be another's by now.
runs() { [[ -n $1 ]] && jobs -pr | grep -qx -- "$1"; }

# stop PID WHAT: SIGTERM, and SIGKILL for what does not heed it.
stop() {
	runs "$1" || return 0
	kill -TERM "$1"
	for ((i = 0; i < 100; i++)); do
		runs "$1" || return 0
		sleep 0.1
	done
	complain "$2 (pid $1) did not end within 10 s of SIGTERM"
	kill -KILL "$1"
	wait "$1"
}

# Asks the mount table: a stat of a mount whose server is dead hangs or fails.
is_mounted() {
	local path=${1//\\/\\134}
	path=${path// /\\040} awk '$5 == ENVIRON["path"] { found = 1 } END { exit !found }' \
		/proc/self/mountinfo
}

unmount_leftover() {
	is_mounted "$mount_dir" || return
	complain "$mount_dir is still mounted after the end of ttmemd: unmounting"
	if ((EUID == 0)); then umount -l "$mount_dir"; else fusermount3 -uz "$mount_dir"; fi
}

remove_files() {
	# The log explains a failure, so it outlives one.
	[[ -n $work ]] && ((!failed)) && rm -f -- "$work/ttmemd.log" "$work/models.log"
	[[ -n $work ]] && rm -rf -- "$work/driver" "$work/shm"
	for ((i = ${#made[@]} - 1; i >= 0; i--)); do
		rmdir -- "${made[i]}" 2>/dev/null || ((failed)) ||
			complain "cannot remove ${made[i]}"
	done
}

is_ours() { [[ " ${made[*]} " == *" $1 "* ]]; }

# A daemon that was killed leaves these. Elsewhere they may be a later daemon's.
remove_leftovers() {
	is_ours "${socket%/*}" && rm -f -- "$socket" "$socket.lock"
	is_ours "$mount_dir" && rm -f -- "$mount_dir.lock"
	rm -f -- "$work/alloc.sock" "$work/alloc.sock.lock"
}

end_processes() {
	local pid
	title 'Ending the models, then the daemon'
	stop "$timer" sleep
	stop "$opener" sleep
	for pid in "${sims[@]}"; do stop "$pid" ttmem-sim; done
	stop "$daemon" ttmemd
	unmount_leftover
	remove_leftovers
}

finish() {
	local status=$?
	# A second Ctrl-C must not cut the clearing up short.
	trap '' INT TERM HUP QUIT
	trap - EXIT
	((status)) && failed=1
	[[ -n $daemon ]] && end_processes
	remove_files
	((failed)) || note 'Nothing is left behind.'
	exit $((failed && !status ? 1 : status))
}

# --- beginning ----------------------------------------------------------------------------------

check_requirements() {
	[[ -x $build/ttmemd && -x $build/ttmem-sim && -x $build/ttmem-fake-driver ]] ||
		die "$build lacks ttmemd, ttmem-sim or ttmem-fake-driver: build them first (make)"
	[[ $duration =~ ^[0-9]{1,6}$ ]] || { complain "SECONDS is not a number: $duration"; exit 64; }
	[[ -e /dev/fuse ]] ||
		die '/dev/fuse is missing: load the kernel module (modprobe fuse), or start the container with --device /dev/fuse --cap-add SYS_ADMIN'
	[[ -r /dev/fuse && -w /dev/fuse ]] ||
		die "/dev/fuse cannot be opened by $(id -un): chmod 666 /dev/fuse, or run the demo as root"
	((EUID == 0)) || command -v fusermount3 >/dev/null ||
		die 'fusermount3 is missing: an ordinary user needs it to mount (apt-get install fuse3)'
	# The lock goes with this process. Its children do not inherit it.
	exec 9<"$build"
	flock -n 9 || die "another demo runs from $build"
}

make_dir() {
	mkdir -p -- "$1" || die "cannot make $1"
	made+=("$1")
}

make_system_dir() { [[ -d $1 ]] || make_dir "$1"; }

# The address of a Unix socket holds 107 bytes, and a build directory may be another user's.
choose_work_dir() {
	work=$build/demo
	if ((${#work} <= 90)) && [[ -w $build ]]; then
		make_dir "$work"
	else
		work=$(mktemp -d /tmp/ttmem-demo.XXXXXX) || die 'cannot make a directory in /tmp'
		made+=("$work")
	fi
}

default_places_are_free() {
	((EUID == 0)) && ! is_mounted /run/ttmem && ! grep -q ' /run/ttmemd/ttmemd\.sock$' /proc/net/unix
}

choose_places() {
	choose_work_dir
	if default_places_are_free; then
		mount_dir=/run/ttmem socket=/run/ttmemd/ttmemd.sock
		make_system_dir /run/ttmemd
		make_system_dir "$mount_dir"
	else
		mount_dir=$work/mnt socket=$work/ttmemd.sock
		is_mounted "$mount_dir" && die "$mount_dir is mounted already"
		make_dir "$mount_dir"
	fi
	export TTMEM_SOCKET=$socket
}

# await SECONDS COMMAND...: until it succeeds, or the daemon ends.
await() {
	local tries=$(($1 * 10))
	shift
	for ((; tries > 0; tries--)); do
		"$@" && return 0
		runs "$daemon" || return 1
		sleep 0.1
	done
	return 1
}

is_ready() { timeout 2 cat "$mount_dir/version" >/dev/null 2>&1; }

# What the driver of four cards would show. No card is touched: a machine that has some keeps its own.
make_driver() {
	rm -rf -- "$work/driver" "$work/shm"
	mkdir -p -- "$work/driver" "$work/shm"
	"$build/ttmem-fake-driver" --root "$work/driver" --devices n300,n300,n150,p150a ||
		die "the driver's tree could not be made"
}

start_daemon() {
	# A session of its own keeps the terminal's Ctrl-C from it: finish() ends things in order.
	setsid "$build/ttmemd" --foreground --mount "$mount_dir" --socket "$socket" \
		--shm "$work/shm" --alloc-server="$work/alloc.sock" \
		--driver-sysfs "$work/driver/class/tenstorrent" --driver-procfs "$work/driver/proc" \
		>"$work/ttmemd.log" 2>&1 9<&- &
	daemon=$!
	await 10 is_ready && return
	die_with_log 'ttmemd did not get ready'
}

# start_sim MODEL OPTIONS...
start_sim() {
	setsid "$build/ttmem-sim" --hold "$work/driver" --model "$@" >>"$work/models.log" 2>&1 9<&- &
	sims+=("$!")
	printf '  %-11s pid %-7s %s\n' "$1" "$!" "${*:2}"
}

start_models() {
	: >"$work/models.log"
	start_sim llama-8b --devices 0,1 --seed 1 --load-ms 120
	start_sim mistral-7b --devices 2 --seed 2 --load-ms 60 --board n150 --as tt-metal --shm "$work/shm"
	start_sim whisper --devices 3 --seed 3 --load-ms 40 --step-ms 300 \
		--as alloc-server --alloc-socket "$work/alloc.sock"
	start_sim resnet50 --devices 3 --seed 4 --load-ms 20 --step-ms 60 --board p150a
	open_device
}

# A process that has a device open and reports nothing: somebody's shell, perhaps.
open_device() {
	sleep 1000000 9<&- &
	opener=$!
	echo "$opener" | flock "$work/driver/.lock" tee -a "$work/driver/proc/1/pids" >/dev/null
	printf '  %-11s pid %-7s %s\n' sleep "$opener" 'holds device 1 open, and says nothing'
}

all_hold_memory() {
	local pid total
	for pid in "${sims[@]}"; do
		read -r total 2>/dev/null <"$mount_dir/pids/$pid/total" || return 1
		((total > 0)) || return 1
	done
}

# --- showing ------------------------------------------------------------------------------------

# show COMMAND: as it would look in a shell that stands in the mount.
show() {
	printf '\n%s%s$%s %s%s%s\n' "$green" "$mount_dir" "$plain" "$bold" "$1" "$plain"
	(cd "$mount_dir" && bash -c "$1") || die "failed in $mount_dir: $1"
}

# Sleeps so that a signal is acted upon at once; the traps stop the sleep.
pause() {
	sleep "$1" 9<&- &
	timer=$!
	wait "$timer"
	timer=
}

time_is_up() { ((duration && SECONDS >= duration)); }

show_round() {
	title "Round $1 of $rounds"
	show 'cat summary'
	show 'cat device2/dram_used'
}

show_details() {
	local pid=${sims[1]}
	title 'In detail'
	show 'cat sources'
	show 'grep . pids/[0-9]*/source'
	show 'cat device2/board device2/dram_total device2/capacity_source'
	show "grep -v ' 0\$' device2/stat"
	show "grep -v ' 0\$' pids/$pid/stat"
	pid=${sims[0]}
	show "head -n 4 pids/$pid/buffers"
	show "tail -n 4 pids/$pid/buffers"
}

suggest() {
	local pid=${sims[0]}
	title "Now type, in another terminal"
	cat <<-END
		  cat $mount_dir/summary
		  watch -n1 cat $mount_dir/summary
		  cat $mount_dir/device0/stat
		  grep -r . $mount_dir/pids/$pid
		  column -t $mount_dir/pids/$pid/buffers | tail
		  ls -l $mount_dir/by-pci
		  kill -9 $pid      ${dim}# and look at the summary again$plain
	END
}

# A model may be killed meanwhile: that is worth seeing.
tell_end_of_model() {
	local pid others=()
	note "The model with pid $1 is gone, and so is its memory."
	for pid in "${sims[@]}"; do [[ $pid == "$1" ]] || others+=("$pid"); done
	sims=("${others[@]}")
}

# Until Ctrl-C, the end of the time, or of the daemon.
stay() {
	local left=$((duration - SECONDS)) who=''
	if ((duration)); then
		((left > 0)) || return
		note $'\n'"Ends in $left s, or with Ctrl-C."
		sleep "$left" 9<&- &
		timer=$!
	else
		note $'\nEnds with Ctrl-C.'
	fi
	for (( ; ; )); do
		# bash would tell of a killed model in its own words.
		wait -n -p who "$daemon" "${sims[@]}" ${timer:+"$timer"} 2>/dev/null
		case $who in
		"$timer") return ;;
		"$daemon") die_with_log 'ttmemd ended by itself' ;;
		*) tell_end_of_model "$who" ;;
		esac
	done
}

main() {
	trap finish EXIT
	trap 'exit 0' INT TERM HUP QUIT
	# Whoever read the output has left: end quietly, but end.
	trap 'exec >/dev/null 2>&1; exit 0' PIPE
	build=$(cd "$build" 2>/dev/null && pwd) || die "there is no directory ${1:-build}"
	check_requirements
	choose_places

	title "ttmem: device memory by process, as files in $mount_dir"
	make_driver
	start_daemon
	SECONDS=0
	start_models
	await 15 all_hold_memory || die_with_log 'ttmemd does not show the models'
	for ((round = 1; round <= rounds; round++)); do
		time_is_up && return
		show_round "$round"
		((round < rounds)) && pause 2
	done
	show_details
	suggest
	stay
}

main "$@"
