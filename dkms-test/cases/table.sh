# shellcheck shell=sh disable=SC2034,SC2154,SC3043 # sourced after /lib.sh and /cases/pair.sh; the cases use the variables
# The error table of doc/writeboost.rst: `. /lib.sh; . /cases/pair.sh; . /cases/table.sh`. The devices can be told which
# of their requests fail. Each cell says what it is about, makes that happen, and looks at all that the table promises.

# table_pair CACHE_MB BACKING_MB: both with a volatile cache, formatted, segments of 64 KiB.
table_pair()
{
	cache=$(make_sim_disk cache "$1M" cache=volatile)
	backing=$(make_sim_disk backing "$2M" cache=volatile)
	table="0 $(sectors "$backing") writeboost $backing $cache"
	format 64K
}

# Where things are on the cache device, in sectors: options of a fault.
SUPER_0='first=0 last=7' SUPER_1='first=512 last=519'
RECORD_0='first=256 last=263' RECORD_1='first=768 last=775'
RECORDS='first=256 last=775'	# and nothing that is ever written between them
LOG='first=2048'
# place SLOT BLOCK: one block of the log; block 0 of a slot is its first header.
place() { echo "first=$((2048 + $1 * 128 + $2 * 8)) last=$((2048 + $1 * 128 + $2 * 8 + 7))"; }

# fault DISK KIND OP [OPTION...]
fault()
{
	local disk="$1" kind="$2" op="$3"
	shift 3
	# shellcheck disable=SC2048,SC2086 # a range is two words
	sim fault "$disk" kind="$kind" op="$op" $*
}
clear_faults() { sim clear cache backing; }
# hits DISK: how many requests the faults of a disk have hit.
hits()
{
	awk -v disk="$1:" '/^[^ ]/ { mine = $1 == disk }
		mine && $1 == "fault" { sub(".* hit=", ""); sum += $0 } END { print sum + 0 }' /proc/wbdisk
}
has_hits() { [ "$(hits "$1")" -ge "$2" ]; }

# read_ahead LETTER BLOCK COUNT: through the page cache, with what is read ahead of us failing; it matters to nobody.
read_ahead()
{
	fault cache error read ahead=1
	fault backing error read ahead=1
	blockdev --setra 256 /dev/mapper/wb
	dd if=/dev/mapper/wb of=/tmp/read bs=4k skip="$2" count="$3" status=none || fail "reading with read-ahead that fails"
	dd if="$(data "$1")" of=/tmp/wanted bs=4k skip="$2" count="$3" status=none
	cmp /tmp/read /tmp/wanted
	expect_status health ok
	errors_since 0 0
	no_event
}

limited() { timeout 20 "$@"; }	# nothing may take long, least of all for ever

# cell WORD...: begins one. A device `wb` is there, or will be made.
cell()
{
	echo "cell: $*"
	mark="cell: $* ($(uptime_ms))"
	echo "$mark" >/dev/kmsg
	seen_events=0 seen_cache=0 seen_backing=0
	! dm_exists wb || {
		seen_events=$(events) seen_cache=$(status_of cache_errors) seen_backing=$(status_of backing_errors)
	}
}

log_of_cell() { dmesg >/tmp/kernel.log; sed "1,/$mark/d" /tmp/kernel.log; }
said_now() { log_of_cell | grep -qE -e "$1"; }
# said REGEX / unsaid REGEX: a line of the kernel's log of this cell, of the target's and as it begins, matches; some are
# written a moment later.
said() { wait_for 10 said_now "device-mapper: writeboost: $1"; }
unsaid() { ! said_now "device-mapper: writeboost: $1" || fail "in the log: $(log_of_cell | grep -E -e "$1" | head -n 1)"; }

# event: one has come since the cell began.
event() { wait_for 10 event_came; }
event_came() { [ "$(events)" -gt "$seen_events" ]; }
no_event() { expect_eq "$(events)" "$seen_events" "events"; }

# errors_since CACHE BACKING: counted since the cell began: a number, or N+ for so many or more.
errors_since()
{
	counted cache_errors "$seen_cache" "$1"
	counted backing_errors "$seen_backing" "$2"
}
counted()
{
	local now=$(($(status_of "$1") - $2))
	case $3 in
	*+) [ "$now" -ge "${3%+}" ] || fail "$1: $now counted, not $3" ;;
	*) expect_eq "$now" "$3" "$1 counted" ;;
	esac
}

# eio COMMAND...: it fails, with EIO.
eio()
{
	expect_fail "$@"
	expect_match "$output" 'Input/output error'
}
read_blocks() { limited dd if=/dev/mapper/wb of=/dev/null bs=4k skip="$1" count="$2" iflag=direct status=none; }
sync_wb() { limited xfs_io -c fsync /dev/mapper/wb; }
write_wb()
{
	limited dd if="$(data "$1")" of=/dev/mapper/wb bs=4k skip=$(($2 % 1024)) seek="$2" count="$3" \
		oflag="${4:-direct}" conv=notrunc status=none
}
write_fua() { write_wb "$@" direct,dsync; }

# settled: all is on the backing device, but for the segment still open.
settled() { [ "$(status_of migrated)" -ge $(($(status_of current) - 1)) ]; }

# remove_wb: whatever fails, it takes no more than seconds.
remove_wb()
{
	local before took
	before=$(uptime_ms)
	limited dmsetup remove wb || fail "the device cannot be removed"
	took=$(($(uptime_ms) - before))
	[ $took -lt 10000 ] || fail "the removal took $took ms"
}

# create_wb [OPTION...]: as health says, nothing is wrong.
create_wb()
{
	dm_create wb "$table $((2 + $#)) sync_interval 0 $*"
	expect_status health ok
}

# begin_anew [OPTION...]: the device is removed while its faults last; they end, and it is created again.
begin_anew()
{
	remove_wb
	clear_faults
	create_wb "$@"
}

# power_cut [OPTION...]: the same, but both devices keep only what is durable, and some of the rest.
cut_seed=0
power_cut()
{
	cut_seed=$((cut_seed + 1))
	sim cut seed=$cut_seed cache backing
	remove_wb
	clear_faults
	sim revive cache backing
	create_wb "$@"
}

# no_create ERROR: creation is refused, in time, with that error, and leaves nothing behind.
no_create()
{
	expect_fail limited dmsetup create wb --table "$table"
	expect_match "$output" "$1"
	! dm_exists wb || fail "refused, and the device is there"
}
