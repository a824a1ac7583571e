# shellcheck shell=sh disable=SC3043,SC3047,SC3028 # run by bash --posix
# What every case begins with: `. /lib.sh`. Cases are POSIX sh and `local`. They are run by `bash
# --posix`, which unlike smaller shells can say which command it was that failed.
#
# Sourcing it promises: the shell stops at the first command that fails; the module dm_writeboost is
# loaded (unless the case has set WB_MODULE=none before); and when the case ends well, its mounts,
# device-mapper devices, RAM disks and loop devices are removed. If that does not work, or the
# module cannot be unloaded and loaded again afterwards (a leaked reference), or the kernel's log is
# not clean, the case has failed. What a failed case leaves is not touched: run-cases shows it, and
# that guest is not used again.
#
# A case's header may hold, each on a comment line of its own:
#	# tier: fast|full|soak		when it is run (default full)
#	# time-limit: SECONDS		default 120; `soak` for what goes on for soak_seconds
#	# not-on-uml: REASON		why the sanitizer kernels cannot run it
#	# needs: WORD...		kernel modules or programs; skipped where one is missing
#	# vm: OPTION...			options for `vm`, such as --smp 2 (the default is 1 CPU),
#					--icount or --mem 2G; cases with the same ones share a guest
set -eu
if [ -n "${BASH_VERSION:-}" ]; then
	# shellcheck disable=SC3041 # set -E: in functions too
	set -E
	# shellcheck disable=SC3054
	trap '[ "$expecting" ] || echo "FAIL: ${BASH_SOURCE##*/}:$LINENO: $BASH_COMMAND" >&2' ERR
fi
expecting=''

CASE=${CASE:-${0##*/}}
WB_MODULE=${WB_MODULE:-dm_writeboost}

# There is no udev: libdevmapper is to make the nodes itself, and wait for nobody.
export DM_DISABLE_UDEV=1

# --- Verdicts -------------------------------------------------------------------------------------

# fail REASON: the case ends as failed.
fail() { echo "FAIL: $*" >&2; exit 1; }

# skip REASON: the case ends as skipped.
skip() { echo "SKIP: $*" >&2; exit 77; }

# expect_eq ACTUAL EXPECTED [WHAT]
expect_eq() { [ "$1" = "$2" ] || fail "${3:-value} is '$1', expected '$2'"; }

# expect_match TEXT REGEX [WHAT]: some line of TEXT matches.
expect_match()
{
	printf '%s\n' "$1" | grep -qE -e "$2" || fail "${3:-text} is '$1', expected a match of '$2'"
}

# expect_fail COMMAND...: it must fail, by itself and not by a signal. What it printed is left in
# $output. (Better than `! COMMAND`, which no shell stops at; and not in an `if`, where functions do
# not stop at what fails in them.)
expect_fail()
{
	local status
	expecting=1
	set +e
	output=$(set -e; "$@" 2>&1)
	status=$?
	set -e
	expecting=''
	[ "$status" -ne 0 ] || fail "this succeeded, and must not: $*"
	[ "$status" -lt 126 ] || fail "this was killed or not found (status $status): $* ($output)"
}

# wait_for SECONDS COMMAND...: until COMMAND succeeds; fails when the time is over.
wait_for()
{
	local limit="$1" deadline
	shift
	deadline=$(($(uptime_ms) + limit * 1000))
	until "$@"; do
		[ "$(uptime_ms)" -lt "$deadline" ] || fail "waited ${limit} s in vain for: $*"
		sleep 0.05
	done
}

# The guest's clock in ms, virtual where time is.
uptime_ms()
{
	local up rest
	# shellcheck disable=SC2034 # rest
	read -r up rest </proc/uptime
	echo $((${up%.*} * 1000 + 1${up#*.} * 10 - 1000))
}

# soak_seconds: how long a case of tier soak is to go on.
soak_seconds() { sed 's/.*soak_seconds=\([0-9]*\).*/\1/' /proc/cmdline; }

# --- Disks ----------------------------------------------------------------------------------------

NULLB=/sys/kernel/config/nullb

# need_block PATH...: fails unless each is a block device (fio and dd would make a regular file in
# /dev).
need_block()
{
	local path
	for path; do
		[ -b "$path" ] || fail "$path is not a block device"
	done
}

# make_ram_disk NAME SIZE_MB [SECTOR_SIZE [ATTRIBUTE=VALUE...]]: a null_blk with memory, gone when
# the case ends. The attributes are those of null_blk's configfs folder (irqmode, completion_nsec,
# hw_queue_depth, cache_size, badblocks ...). Prints the path of the device; so call it as
# `cache=$(make_ram_disk cache 64)`.
make_ram_disk()
{
	local name="$1" size="$2" sector="${3:-512}" dir="$NULLB/$1" attribute path
	if [ $# -le 3 ]; then set --; else shift 3; fi
	[ -d "$NULLB" ] || modprobe null_blk
	mkdir "$dir" || fail "there is a RAM disk $name already"
	for attribute in memory_backed=1 "size=$size" "blocksize=$sector" "$@" power=1; do
		echo "${attribute#*=}" >"$dir/${attribute%%=*}" ||
			fail "null_blk does not take $attribute"
	done
	# Later kernels name the disk after the folder.
	path=/dev/$name
	[ -b "$path" ] || path=/dev/nullb$(cat "$dir/index")
	need_block "$path"
	echo "$path"
}

# remove_ram_disk NAME: all its contents are gone.
remove_ram_disk()
{
	echo 0 >"$NULLB/$1/power"
	rmdir "$NULLB/$1"
}

# sim COMMAND...: a command to the simulated disks; see dkms-test/disks/control.c. It fails with
# the reason in the kernel's log.
sim()
{
	[ -e /proc/wbdisk ] || modprobe wbdisk
	printf '%s\n' "$*" >/proc/wbdisk
}

# make_sim_disk NAME SIZE [KEY=VALUE...]: a simulated disk, with what `create` knows (cache=volatile
# model=disk sector=4096 ...), gone when the case ends. Prints the path of the device.
make_sim_disk()
{
	local name="$1" size="$2"
	shift 2
	sim create "$name" "size=$size" "$@" || fail "there is no simulated disk $name: $(dmesg | tail -n 1)"
	need_block "/dev/wbd_$name"
	echo "/dev/wbd_$name"
}

# sim_value NAME KEY: what /proc/wbdisk says of KEY, such as power, flushes or unflushed.
sim_value()
{
	awk -v disk="$1:" -v key="$2=" '
		/^[^ ]/ { mine = $1 == disk }
		mine { for (i = 1; i <= NF; i++)
			if (index($i, key) == 1) { print substr($i, length(key) + 1); exit } }
	' /proc/wbdisk
}

# sectors DEVICE: its length in 512-byte sectors, as a table line wants it.
sectors() { blockdev --getsz "$1"; }

# run_fio DEVICE OPTION...: fio on a block device, direct I/O, repeatable, quiet unless it fails.
run_fio()
{
	local device="$1"
	shift
	need_block "$device"
	fio --name=fio --filename="$device" --direct=1 --randrepeat=1 \
		--output=/tmp/fio.out "$@" || {
		cat /tmp/fio.out
		fail "fio failed on $device: $*"
	}
}

# --- Device-mapper --------------------------------------------------------------------------------

# dm_create NAME TABLE: creates and activates it, and checks /dev/mapper/NAME. A table of several
# lines is one argument.
dm_create()
{
	printf '%s\n' "$2" | dmsetup create "$1" || fail "device $1 was not created"
	need_block "/dev/mapper/$1"
}

# dm_swap NAME TABLE: load a new table and swap to it.
dm_swap()
{
	printf '%s\n' "$2" | dmsetup load "$1" || fail "device $1 does not take the new table"
	dmsetup suspend "$1" || fail "device $1 does not suspend"
	dmsetup resume "$1" || fail "device $1 does not resume"
}

# dm_remove NAME: at once or not at all, no retries: a device that is still open is a finding.
dm_remove()
{
	dmsetup remove "$1" || fail "device $1 was not removed"
	! dm_exists "$1" || fail "device $1 is there after its removal"
}

dm_exists() { dmsetup info "$1" >/dev/null 2>&1; }

# --- The kernel's log -----------------------------------------------------------------------------

# What no case may leave in the log.
KERNEL_ALARMS='WARNING:|BUG:|Oops|Call Trace|INFO: task .* blocked|rcu.*stall|soft lockup|'\
'hard LOCKUP|lockdep|refcount_t|possible (recursive|circular)|inconsistent lock|suspicious RCU|'\
'sleeping function|while atomic|general protection|UBSAN|KASAN|KFENCE|use-after-free|corruption|'\
'still has objects|objects remaining|ODEBUG|non-static key|irq lock inversion|kmemleak: .*disabled'
EXPECTED_ALARMS='^$'

# expect_kernel_log REGEX: this case brings lines about that match; they are no alarm.
expect_kernel_log() { EXPECTED_ALARMS="$EXPECTED_ALARMS|$1"; }

# kernel_log: since the case's start; all there is when that has been overwritten.
kernel_log()
{
	dmesg >/tmp/kernel.log
	if grep -q "case-start: $CASE\$" /tmp/kernel.log; then
		sed -n "/case-start: $CASE\$/,\$p" /tmp/kernel.log
	else
		cat /tmp/kernel.log
	fi
}

# kernel_log_has REGEX
kernel_log_has() { kernel_log | grep -qE -e "$1"; }

# kernel_log_clean: fails if there is an alarm in the log that the case has not declared.
kernel_log_clean()
{
	local alarms
	alarms=$(kernel_log | grep -E -e "$KERNEL_ALARMS" | grep -vE -e "$EXPECTED_ALARMS") ||
		return 0
	kernel_log | tail -n 60
	fail "kernel log: $(printf '%s\n' "$alarms" | head -n 1)"
}

# --- Beginning and end ----------------------------------------------------------------------------

# Newest first: a mount may hang on an earlier one.
unmount_all()
{
	awk '$1 ~ "^/dev/" { print $2 }' /proc/mounts | tac | while read -r place; do
		umount "$place" || exit 1
	done
}

dm_names() { dmsetup ls 2>/dev/null | sed -n 's/[[:space:]]*(.*//p'; }

# Pass after pass, as one device may stand on another, for as long as that helps.
remove_all_dm()
{
	local names before=''
	names=$(dm_names)
	while [ -n "$names" ] && [ "$names" != "$before" ]; do
		for name in $names; do
			dmsetup remove "$name" 2>/dev/null || true
		done
		before=$names names=$(dm_names)
	done
	[ -z "$names" ] || {
		echo "device-mapper devices that cannot be removed:"
		dmsetup info
		return 1
	}
}

remove_disks()
{
	local dir
	losetup -D
	for dir in "$NULLB"/*/; do
		[ ! -d "$dir" ] || remove_ram_disk "$(basename "$dir")" || return 1
	done
	for dir in wbdisk scsi_debug brd; do
		! grep -q "^$dir " /proc/modules || rmmod $dir || return 1
	done
}

reload_module()
{
	[ "$WB_MODULE" != none ] || return 0
	rmmod "$WB_MODULE" || return 1
	no_leaks
	modprobe "$WB_MODULE"
}

# no_leaks: where the kernel can tell (kmemleak), nothing is left allocated that nothing points to.
# It looks at two instants, and only at what is 5 s old then.
# What the case has declared by expect_leak REGEX, to be matched by some line of the report, is none.
KMEMLEAK=/sys/kernel/debug/kmemleak
EXPECTED_LEAKS='^$'

# expect_leak REGEX
expect_leak() { EXPECTED_LEAKS="$EXPECTED_LEAKS|$1"; }

no_leaks()
{
	[ -e $KMEMLEAK ] || return 0
	sleep 6
	echo scan >$KMEMLEAK
	echo scan >$KMEMLEAK
	awk -v expected="$EXPECTED_LEAKS" '
		function tell() { if (report != "" && !known) printf "%s", report; report = ""; known = 0 }
		/^unreferenced object/ { tell() }
		{ report = report $0 "\n"; if ($0 ~ expected) known = 1 }
		END { tell() }' $KMEMLEAK >/tmp/leaks
	[ -s /tmp/leaks ] || return 0
	cat /tmp/leaks
	fail "memory leaked: $(grep -c '^unreferenced' /tmp/leaks) objects"
}

# checks_work: where the kernel checks locks, it still does. After some reports it stops, for good.
checks_work()
{
	[ -e /proc/lockdep_stats ] || return 0
	grep -q 'debug_locks: *1$' /proc/lockdep_stats ||
		fail "lockdep is off: a report before this case began, or none of it in the log"
}

at_exit()
{
	local status=$?
	trap - EXIT
	[ "$status" -eq 0 ] || [ "$status" -eq 77 ] || exit "$status"
	cd /
	if type case_cleanup >/dev/null 2>&1; then
		case_cleanup || fail "cleanup: the case's own case_cleanup"
	fi
	unmount_all || fail "cleanup: a file system cannot be unmounted"
	remove_all_dm || fail "cleanup: a device-mapper device cannot be removed"
	remove_disks || fail "cleanup: a disk cannot be removed"
	reload_module || fail "cleanup: $WB_MODULE cannot be unloaded and loaded again"
	kernel_log_clean
	checks_work
	exit "$status"
}

# A case may define case_cleanup for what only it knows of; it runs first.
echo "case-start: $CASE" >/dev/kmsg
trap at_exit EXIT
trap 'exit 143' TERM INT HUP
[ "$WB_MODULE" = none ] || modprobe "$WB_MODULE" || fail "the module $WB_MODULE cannot be loaded"
