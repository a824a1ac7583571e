# shellcheck shell=sh disable=SC3043 # sourced after /lib.sh, pair.sh and table.sh
# What data-cross and durability-bypass have in common: a pair of 65 and 128 MiB with segments of 1 MiB, in $cache and
# $backing, a log that is nearly full, and a write past it that hangs. $past is the block where 128 go past the log.

fill()
{
	local mb4
	for mb4 in 0 1 2 3 4 5 6 7 8 9 10 11; do
		limited dd if="$(data a)" of=/dev/mapper/wb bs=64k seek=$((mb4 * 64)) count=64 oflag=direct conv=notrunc status=none
	done
	sync_wb
}

# begin_bypass LETTER: in the background; it hangs on its way. Sets $first.
begin_bypass()
{
	fault backing hang write first=$((past * 8)) last=$((past * 8 + 1023)) count=1
	before=$(status_of bypasses)
	dd if="$(data "$1")" of=/dev/mapper/wb bs=512k seek=$((past / 128)) count=1 oflag=direct conv=notrunc status=none &
	first=$!
	wait_for 10 has_hits backing 1
}

end_bypass()
{
	sim release backing
	sim clear backing
	wait $first || fail "the write past the log failed"
	[ "$(status_of bypasses)" -gt "$before" ] || fail "nothing went past the log"
}
