# shellcheck shell=sh disable=SC3043 # sourced after /cases/power.sh
# Power cuts below a file system in use. See dkms-test/guest-src/wbfiles.c.

place=/mnt/power
expect_kernel_log 'EXT4-fs|JBD2|XFS|metadata I/O error|Filesystem has been shut down|dm-[0-9]+'

# A number below $1 that follows from the seed and what was drawn before.
random_state=1
draw() { random_state=$(((random_state * 1103515245 + 12345) % 2147483648)); drawn=$((random_state / 65536 % $1)); }

# fs_cycle FSCK...: use the file system until the power goes, bring all back, check and mount it.
fs_cycle()
{
	draw 1500
	ops=$((1 + drawn))
	draw 32768
	sim cut-at "ops=$ops" "seed=$drawn" cache1 back1
	# It ends at the first error; a file system may notice late that its device is gone.
	timeout 60 wbfiles use "$place" /tmp/notes "$((random_state + 1))" ||
		[ "$(sim_value cache1 power)" = cut ] || fail "wbfiles, and the power is on"
	expect_eq "$(sim_value cache1 power)" cut "power after the load"
	umount "$place"
	dm_remove wb
	sim revive cache1 back1
	fs_up "$@"
	wbfiles check "$place" /tmp/notes
}

# fs_up FSCK...: create the device, let the journal be replayed by a mount, check, and mount it.
fs_up()
{
	dm_create wb "$table"
	mount /dev/mapper/wb "$place"
	umount "$place"
	"$@" /dev/mapper/wb >/tmp/fsck.out 2>&1 || {
		cat /tmp/fsck.out
		fail "the file system is not clean: $*"
	}
	mount /dev/mapper/wb "$place"
}

# try_power SECONDS CYCLES MKFS FSCK: MKFS and FSCK are commands to which the device is added.
try_power()
{
	local seconds="$1" cycles="$2" mkfs="$3" fsck="$4" done=0 started
	mkdir -p "$place"
	rm -f /tmp/notes
	table="0 $(sectors /dev/wbd_back1) writeboost /dev/wbd_back1 /dev/wbd_cache1"
	dm_create wb "$table"
	# shellcheck disable=SC2086 # words
	$mkfs /dev/mapper/wb
	dm_remove wb
	# shellcheck disable=SC2086
	fs_up $fsck
	wbfiles check "$place" /tmp/notes
	started=$(uptime_ms)
	while [ $done -lt "$cycles" ] && [ $(($(uptime_ms) - started)) -lt $((seconds * 1000)) ]; do
		# shellcheck disable=SC2086
		fs_cycle $fsck
		done=$((done + 1))
	done
	umount "$place"
	dm_remove wb
	echo "figures power $CASE: cycles $done, seconds $((($(uptime_ms) - started) / 1000)), violations 0" \
		>>/tmp/power.figures
}
