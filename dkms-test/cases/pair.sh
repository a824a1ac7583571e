# shellcheck shell=sh disable=SC2034,SC2154,SC3043 # sourced after /lib.sh; the cases use the variables
# A cache device and a backing device whose ground can be pulled away: `. /lib.sh; . /cases/pair.sh`. Each is a RAM
# disk with a linear device on it, so that a case can put errors, delays or nothing below a live cache, and can cut
# the power: what is not on the RAM disks by then is lost.

cache=/dev/mapper/fast
backing=/dev/mapper/slow

# make_pair CACHE_MB BACKING_MB [ATTRIBUTE=VALUE...]: both devices, not formatted. The attributes are null_blk's, for both.
make_pair()
{
	local cache_mb="$1" backing_mb="$2"
	shift 2
	cache_disk=$(make_ram_disk cache "$cache_mb" 512 "$@")
	backing_disk=$(make_ram_disk backing "$backing_mb" 512 "$@")
	whole_cache="0 $(sectors "$cache_disk") linear $cache_disk 0"
	whole_backing="0 $(sectors "$backing_disk") linear $backing_disk 0"
	dm_create fast "$whole_cache"
	dm_create slow "$whole_backing"
	table="0 $(sectors "$backing") writeboost $backing $cache"
}

# format [SEGMENT_SIZE]: without asking, whatever is there.
format() { writeboost-ctl format "$cache" --backing "$backing" --yes --force --segment-size "${1:-64K}"; }

# under NAME TABLE: what lies under `fast` or `slow` from now on, also while requests hang or fail.
under() { dmsetup load "$1" --table "$2" && dmsetup suspend --noflush --nolockfs "$1" && dmsetup resume "$1"; }

# errors NAME / whole NAME: all requests fail / none does any more.
errors() { under "$1" "0 $(sectors "/dev/mapper/$1") error"; }
whole() { if [ "$1" = fast ]; then under fast "$whole_cache"; else under slow "$whole_backing"; fi; }

# cut_power: as if the machine had stopped: wb is gone, and all that the RAM disks had not got.
cut_power()
{
	errors fast
	errors slow
	dm_remove wb
	whole fast
	whole slow
}

# in_time SECONDS COMMAND...: it ends within that time; a request that hangs is past `timeout` and its signals. Return: its
# status. Not for expect_fail, which waits for all that writes to it.
in_time()
{
	local limit="$1" pid
	shift
	"$@" <&0 &
	pid=$!
	gone() { ! kill -0 $pid 2>/dev/null; }
	wait_for "$limit" gone
	wait $pid
}

# --- Status -----------------------------------------------------------------------------------------------------

# status_of FIELD [DEVICE]: a field of the status line, by its name in doc/writeboost.rst.
status_of()
{
	local number=1 field
	for field in version health caching capacity used dirty clean current durable migrated \
		read_ram read_cache read_partial read_miss write_ram write_cache write_partial write_miss \
		absorbed flushes fuas chunks fill migrated_blocks migrated_requests discards bypasses \
		cache_errors backing_errors args; do
		[ "$field" != "$1" ] || break
		number=$((number + 1))
	done
	[ "$number" -le 30 ] || fail "the status line has no field $1"
	dmsetup status "${2:-wb}" | cut -d' ' -f$((number + 3))
}

# knob KEY [DEVICE]: the value in force, of the status line.
knob() { dmsetup status "${2:-wb}" | grep -o " $1 [0-9]*" | cut -d' ' -f3; }

# is FIELD VALUE: for wait_for.
is() { [ "$(status_of "$1")" = "$2" ]; }
at_least() { [ "$(status_of "$1")" -ge "$2" ]; }

# expect_status FIELD VALUE
expect_status() { expect_eq "$(status_of "$1")" "$2" "status: $1"; }

events() { dmsetup info -c --noheadings -o events "${1:-wb}"; }

message() { dmsetup message -- wb 0 "$@"; }
drain() { message drain && wait_for 60 is caching drained; }

# sysfs [DEVICE]: its folder of knobs.
sysfs() { echo "/sys/block/dm-$(dmsetup info -c --noheadings -o minor "${1:-wb}")/writeboost"; }

# recoveries: how often a cache object was made from the media, by the kernel's log.
recoveries() { kernel_log | grep -c 'writeboost: .*: recovered ' || true; }

# --- Data -------------------------------------------------------------------------------------------------------

# Random blocks, told apart by a letter: /tmp/data.a, 4 MiB each.
data()
{
	[ -e "/tmp/data.$1" ] || dd if=/dev/urandom of="/tmp/data.$1" bs=1M count=4 status=none
	echo "/tmp/data.$1"
}

# write_data LETTER BLOCK COUNT [DEVICE]: blocks of 4 KiB, those of the same number (modulo its length) in the data;
# acknowledged, not flushed.
write_data()
{
	dd if="$(data "$1")" of="${4:-/dev/mapper/wb}" bs=4k skip=$(($2 % 1024)) seek="$2" count="$3" oflag=direct conv=notrunc \
		status=none
}

# Larger requests for more of it: BLOCK and COUNT are multiples of 16.
write_much()
{
	dd if="$(data "$1")" of="${4:-/dev/mapper/wb}" bs=64k skip=$(($2 % 1024 / 16)) seek=$(($2 / 16)) count=$(($3 / 16)) \
		oflag=direct conv=notrunc status=none
}

# write_volatile LETTER BLOCK COUNT: so that they are in the open chunk, in RAM alone. Where they ended a segment, again.
write_volatile()
{
	local chunks=
	until [ "$chunks" = "$(status_of chunks)" ]; do
		chunks=$(status_of chunks)
		write_data "$@"
	done
}

# has_data LETTER BLOCK COUNT [DEVICE]
has_data()
{
	dd if="${4:-/dev/mapper/wb}" of=/tmp/read bs=4k skip="$2" count="$3" iflag=direct,fullblock status=none || return
	dd if="$(data "$1")" of=/tmp/wanted bs=4k skip=$(($2 % 1024)) count="$3" status=none
	cmp -s /tmp/read /tmp/wanted
}

expect_data()
{
	has_data "$@" || fail "blocks $2 to $(($2 + $3 - 1)) of ${4:-/dev/mapper/wb} are not those of data.$1"
}

# flush_device [DEVICE]: a FLUSH, and all acknowledged before is durable.
flush_device() { xfs_io -c fsync "${1:-/dev/mapper/wb}"; }

# sum DEVICE: checksum of its contents, past the page cache.
sum() { dd if="$1" bs=1M iflag=direct status=none | md5sum | cut -d' ' -f1; }
