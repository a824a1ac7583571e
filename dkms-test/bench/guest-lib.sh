# shellcheck shell=sh disable=SC3043,SC1091,SC2034,SC2154 # run by bash --posix; names are shared between files
# What is measured, as the guest sees it: the devices, how each target is set up on them, and the rows' fio jobs.
# Sourced by `guest-measure` and `guest-profile`, with $target set (its "-" as "_").
#
# The devices are RAM disks that answer after a while, as an SSD and a disk would: see make_disks.
WB_MODULE=none
. /lib.sh

tell() { printf '%s\n' "$*" >/dev/results; }

# --- Devices ----------------------------------------------------------------------------------------------------

# make_disks KIND SECTOR_SIZE: sets $ssd and $disk.
#	plain	ssd: 25 us a request, 64 at once, 2 GiB, no volatile cache. disk: 2 ms, 32 at once, 4 GiB
#	flush	ssd: the same times, 512 MiB, and a volatile cache: a flush waits for all that is under way, and takes
#		100 us more. disk: as above
#	seeks	ssd: as plain, 512 MiB. disk: an arm, see dkms-test/disks/model.c: 7200 turns a minute, half a turn for each access
#		that does not go on where the last one ended, seeks of 0.5 to 16 ms, 180 MB/s, 4 GiB. Its write cache
#		is off: the order is what the cache makes it, and the scheduler (mq-deadline)
#	full	as seeks, with an ssd of 256 MiB
# null_blk copies sector by sector, so small ones would treble what the devices themselves cost the CPU.
# max_sectors: else it would cut each request of 1 MiB into nine.
make_disks()
{
	local megabytes=2048
	case $1 in
	flush)
		megabytes=512
		ssd=$(make_sim_disk ssd 512M sector="$2" cache=volatile model=ssd channels=64 read_us=25 write_us=25 \
			kib_ns=0 flush_us=100 reorder=0)
		;;
	seeks)	megabytes=512 ;;
	full)	megabytes=256 ;;
	esac
	[ "$1" = flush ] ||
		ssd=$(make_ram_disk ssd $megabytes "$2" irqmode=2 completion_nsec=25000 hw_queue_depth=64 max_sectors=2560)
	case $1 in
	seeks|full)
		disk=$(make_sim_disk disk 4G sector="$2" model=disk rpm=7200 seek_min_us=500 seek_max_us=16000 rate=180 \
			reorder=0)
		;;
	*)
		disk=$(make_ram_disk disk 4096 "$2" irqmode=2 completion_nsec=2000000 hw_queue_depth=32 \
			max_sectors=2560)
		;;
	esac
	# Where it is the CPU that counts, all the SSD's memory is there from the start: whoever writes a block first must not
	# pay for its page.
	case $1 in seeks|full) return 0 ;; esac
	dd if=/dev/zero of="$ssd" bs=1M count=$megabytes oflag=direct 2>/dev/null
}

# need_fast_crc: CRC32C must be the CPU's own instruction. libcrc32c holds the driver that it took when it was loaded.
need_fast_crc()
{
	[ ! -d /sys/module/crc32c_intel ] || [ "$(cat /sys/module/crc32c_intel/refcnt)" -eq 0 ] || return 0
	# Built in, and so first, in later kernels.
	[ ! -d /sys/module/libcrc32c ] && grep -q 'crc32c-intel' /proc/crypto && return 0
	fail "CRC32C is computed in software, all figures would be wrong"
}

# A device for each target: sets $device. The cache devices are all zeros.
make_zero()
{
	[ -d /sys/module/dm_zero ] || insmod /host/dm-zero.ko
	dm_create bench "0 $(sectors "$disk") zero"
	device=/dev/mapper/bench
}

make_raw_ssd()		{ device=$ssd; }
make_raw_disk()		{ device=$disk; }
make_linear()		{ dm_create bench "0 $(sectors "$ssd") linear $ssd 0"; device=/dev/mapper/bench; }

make_ours()
{
	modprobe dm_writeboost
	writeboost-ctl format "$ssd" --backing "$disk" --yes
	dm_create bench "0 $(sectors "$disk") writeboost $disk $ssd $*"
	device=/dev/mapper/bench
	need_fast_crc
}

# In the rows that tell what requests cost it migrates only for want of room, as the others do.
make_writeboost()
{
	case $kind in
	plain|flush) make_ours 2 allow_migrate 0 ;;
	*)	make_ours ;;
	esac
}

make_writeboost_default() { make_ours; }

make_upstream()
{
	[ -d /sys/module/dm_writeboost ] || {
		modprobe -a dm-mod dm-bufio libcrc32c
		insmod /upstream/dm-writeboost.ko
	}
	# It formats a device whose first sector holds no magic.
	dm_create bench "0 $(sectors "$disk") writeboost $disk $ssd"
	device=/dev/mapper/bench
	need_fast_crc
}

make_writecache()
{
	dm_create bench "0 $(sectors "$disk") writecache s $disk $ssd 4096 0"
	device=/dev/mapper/bench
}

# Everything is cached, as with the others: its own default sends sequential and congested loads past the cache.
make_bcache()
{
	local set
	modprobe bcache
	# The default, or half of it where the SSD is too small for that: it wants 1024 buckets.
	/host/make-bcache --block "$(blockdev --getss "$ssd")" --bucket $([ "$kind" = full ] && echo 256k || echo 512k) \
		--writeback -C "$ssd" -B "$disk"
	echo "$ssd" >/sys/fs/bcache/register
	echo "$disk" >/sys/fs/bcache/register
	device=/dev/bcache0
	wait_for 10 test -b $device
	wait_for 10 test -e /sys/block/bcache0/bcache/cache
	echo 0 >/sys/block/bcache0/bcache/sequential_cutoff
	for set in /sys/fs/bcache/*-*; do
		echo 0 >"$set/congested_read_threshold_us"
		echo 0 >"$set/congested_write_threshold_us"
	done
}

# With 32 KiB blocks, the smallest it knows. Metadata and data share the SSD, as lvm has it.
make_dm_cache()
{
	local metadata=$((16 << 11))
	modprobe -a dm-cache dm-cache-smq
	dm_create metadata "0 $metadata linear $ssd 0"
	dm_create data "0 $(($(sectors "$ssd") - metadata)) linear $ssd $metadata"
	dm_cache smq
	device=/dev/mapper/bench
}

# dm_cache POLICY: make it, or go over to another policy.
dm_cache()
{
	local table
	table="0 $(sectors "$disk") cache /dev/mapper/metadata /dev/mapper/data $disk 64 1 writeback $1 0"
	if dm_exists bench; then dm_swap bench "$table"; else dm_create bench "$table"; fi
}

# Draining: each is told to write all that is dirty to the disk, by the means that it has for that. These return when it is
# done; no means does that at once.
drain_raw_disk()	{ :; }
drain_writecache()	{ dmsetup message bench 0 flush; }

# It would wait for ever for what is still in its RAM buffer.
drain_upstream()
{
	xfs_io -c fsync "$device"
	dmsetup message bench 0 drop_caches
}

# drained COMMAND...: wait until it succeeds, to within 5 % of the time that takes: asking often would take the one CPU from
# who drains.
drained()
{
	local began took
	began=$(uptime_ms)
	until "$@"; do
		took=$(($(uptime_ms) - began))
		[ $took -lt 3600000 ] || fail "draining takes more than an hour"
		usleep $((took * 50 + 10000))
	done
}

# status_is N WORD: the N-th word of the device's status line.
status_is() { [ "$(dmsetup status bench | cut -d' ' -f"$1")" = "$2" ]; }

# Its end is an event.
drain_writeboost()
{
	local event
	event=$(dmsetup info -c --noheadings -o events bench)
	dmsetup message bench 0 drain
	until status_is 6 drained; do
		dmsetup wait bench "$event" >/dev/null
		event=$((event + 1))
	done
}
drain_writeboost_default() { drain_writeboost; }

drain_bcache()
{
	echo 1 >/sys/block/bcache0/bcache/detach
	drained grep -q 'no cache' /sys/block/bcache0/bcache/state
}

drain_dm_cache()
{
	dm_cache cleaner
	drained status_is 14 0
}

case_cleanup()
{
	local set
	[ "$target" = bcache ] && [ -e /sys/block/bcache0 ] || return 0
	echo 1 >/sys/block/bcache0/bcache/stop
	for set in /sys/fs/bcache/*-*; do
		echo 1 >"$set/stop"
	done
	wait_for 60 test ! -e /sys/block/bcache0
	wait_for 60 sh -c '! ls -d /sys/fs/bcache/*-*'
}

# make_device KIND SECTOR_SIZE: sets $ssd, $disk and $device.
make_device()
{
	kind=$1
	make_disks "$kind" "$2"
	"make_$target"
	need_block "$device"
}

remove_device()
{
	dmsetup status
	case_cleanup
	remove_all_dm
	remove_disks
	device=''
}

# --- Rows -------------------------------------------------------------------------------------------------------

queued='--ioengine=libaio --iodepth=32 --iodepth_batch_submit=8 --iodepth_batch_complete_min=4'

# set_row ROW: sets $fio_options, $bs, $jobs, the $bytes of each job, and which $direction counts, read or write.
set_row()
{
	bs=4096 jobs=1 direction=write
	case $1 in
	w4k-qd1)	bytes=64 fio_options='--rw=randwrite --size=300m --ioengine=psync' ;;
	w4k-qd32)	bytes=64 fio_options="--rw=randwrite --size=300m $queued" ;;
	w4k-fsync)	bytes=16 fio_options='--rw=randwrite --size=300m --ioengine=psync --fsync=1' ;;
	w4k-fsync-4jobs) bytes=4 fio_options='--rw=randwrite --size=300m --ioengine=psync --fsync=1' jobs=4 ;;
	w4k-fsync-16jobs) bytes=1 fio_options='--rw=randwrite --size=300m --ioengine=psync --fsync=1' jobs=16 ;;
	w64k-qd8)	bytes=256 fio_options='--rw=randwrite --size=300m --ioengine=libaio --iodepth=8' bs=65536 ;;
	w1m-seq)	bytes=256 fio_options='--rw=write --size=300m --ioengine=libaio --iodepth=4' bs=1048576 ;;
	w512-qd32)	bytes=8 fio_options="--rw=randwrite --size=64m $queued" bs=512 ;;
	r4k-hit-qd32)	bytes=64 fio_options="--rw=randread --size=300m $queued" direction=read ;;
	rw7030-qd32)	bytes=64 fio_options="--rw=randrw --rwmixread=70 --size=300m $queued" direction=read ;;
	ssd-flush-1job)	bytes=8 fio_options='--rw=randwrite --size=300m --ioengine=psync --fsync=1' ;;
	ssd-flush-4jobs) bytes=4 fio_options='--rw=randwrite --size=300m --ioengine=psync --fsync=1' jobs=4 ;;
	ssd-flush-16jobs) bytes=1 fio_options='--rw=randwrite --size=300m --ioengine=psync --fsync=1' jobs=16 ;;
	drain-uniform|full-uniform) bytes=64 fio_options="--rw=randwrite --size=1g $queued" ;;
	drain-zipf|full-zipf) bytes=64 fio_options="--rw=randwrite --random_distribution=zipf:1.1 --size=1g $queued" ;;
	drain-sequential) bytes=64 fio_options='--rw=write --size=1g --ioengine=libaio --iodepth=8' bs=65536 ;;
	full-sequential) bytes=64 fio_options="--rw=write --size=1g $queued" ;;
	r4k-migrating)	bytes=128 fio_options="--rw=randread --size=512m --blockalign=16k $queued" direction=read ;;
	*)		fail "no row $1" ;;
	esac
	bytes=$((bytes * 1048576))
}

# run_row ROW [OPTION...]: its fio job; leaves fio's terse line in $line. The options go after the row's own.
run_row()
{
	local row="$1"
	shift
	set_row "$row"
	# shellcheck disable=SC2086 # options are words
	line=$(fio --name="$row" --filename="$device" --direct=1 --norandommap --randrepeat=1 --group_reporting \
		--output-format=terse --terse-version=3 --bs=$bs --numjobs=$jobs --io_size=$bytes $fio_options "$@") ||
		fail "fio failed at $row: $line"
	[ "$(echo "$line" | cut -d';' -f5)" = 0 ] || fail "fio reports an error at $row: $line"
}

# fio_figures: of that job: requests (ops), ms, percentiles and maximum of their latency in us.
fio_figures()
{
	echo "$line" | tr ';' '\n' | awk -v from="$([ "$direction" = read ] && echo 6 || echo 47)" -v bs="$bs" '
		{ value[NR - from] = $1 }
		END {
			if (value[0] + 0 == 0)
				exit 1
			printf "ops=%d ms=%d", value[0] * 1024 / bs, value[3]
			for (i = 12; i < 32; i++) {
				split(value[i], pair, "%=")
				percentile[pair[1] + 0] = pair[2]
			}
			printf " p50_us=%d p99_us=%d p999_us=%d", percentile[50], percentile[99], percentile[99.9]
			printf " max_us=%d\n", value[33]
		}' || fail "fio did nothing: $line"
}
