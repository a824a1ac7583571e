# shellcheck shell=sh disable=SC2154,SC3043 # sourced after /lib.sh and /cases/pair.sh
# What the cases about bad input share: a refusal is an error, a line in the kernel's log, and nothing written.

sums() { sum "$cache_disk"; sum "$backing_disk"; }

# writes: how many requests that change something both disks have got. Quicker than checksums, and stricter.
writes()
{
	local disk
	for disk in "$cache_disk" "$backing_disk"; do
		awk '{ print $5, $12 }' "/sys/block/${disk#/dev/}/stat"
	done
}

# refused TABLE REGEX [OPTION...]: dmsetup create fails; the log has a new line that matches. Nothing is written.
refused()
{
	local table="$1" regex="$2" before mark
	shift 2
	before=$(writes) mark="refused $(uptime_ms)"
	echo "$mark" >/dev/kmsg
	expect_fail dmsetup create wb "$@" --table "$table"
	dmesg | sed "1,/$mark\$/d" >/tmp/new.log
	grep -E 'device-mapper: (writeboost|table|ioctl): ' /tmp/new.log | grep -qE -e "$regex" ||
		fail "table '$table': no line in the log matches '$regex': $(cat /tmp/new.log)"
	! dm_exists wb || fail "table '$table': refused, and the device is there"
	expect_eq "$(writes)" "$before" "writes to the disks at a refusal ($table)"
}
