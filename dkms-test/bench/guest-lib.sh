# shellcheck shell=sh disable=SC3043,SC1091,SC2034,SC2154 # run by bash --posix; names are shared between files
# What is measured, as the guest sees it: the devices, how each target is set up on them, and the rows' fio jobs.
# Sourced by `guest-measure` and `guest-profile`, with $target set (its "-" as "_").
#
# The devices are RAM disks that answer after a while, as an SSD and a disk would: see make_disks.
WB_MODULE=none
. /lib.sh

tell() { printf '%s\n' "$*" >/dev/results; }

# --- Devices ----------------------------------------------------------------------------------------------------

# make_disks SECTOR_SIZE: $ssd, 25 us a request, 64 at once, 2 GiB; $disk, 2 ms, 32 at once, 4 GiB. null_blk copies sector
# by sector, so small ones would treble what the devices themselves cost the CPU. max_sectors: else it would
# cut each request of 1 MiB into nine.
make_disks()
{
	ssd=$(make_ram_disk ssd 2048 "$1" irqmode=2 completion_nsec=25000 hw_queue_depth=64 max_sectors=2560)
	disk=$(make_ram_disk disk 4096 "$1" irqmode=2 completion_nsec=2000000 hw_queue_depth=32 max_sectors=2560)
	# All the SSD's memory is there from the start: whoever writes a block first must not pay for its page.
	dd if=/dev/zero of="$ssd" bs=1M count=2048 oflag=direct 2>/dev/null
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

make_writeboost()	{ make_ours 2 allow_migrate 0; }
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
	/host/make-bcache --block "$(blockdev --getss "$ssd")" --writeback -C "$ssd" -B "$disk"
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

make_device()
{
	make_disks "$1"
	"make_$target"
	need_block "$device"
}

remove_device()
{
	dmsetup status
	case_cleanup
	remove_all_dm
	remove_disks
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
	w64k-qd8)	bytes=256 fio_options='--rw=randwrite --size=300m --ioengine=libaio --iodepth=8' bs=65536 ;;
	w1m-seq)	bytes=256 fio_options='--rw=write --size=300m --ioengine=libaio --iodepth=4' bs=1048576 ;;
	w512-qd32)	bytes=8 fio_options="--rw=randwrite --size=64m $queued" bs=512 ;;
	r4k-hit-qd32)	bytes=64 fio_options="--rw=randread --size=300m $queued" direction=read ;;
	rw7030-qd32)	bytes=64 fio_options="--rw=randrw --rwmixread=70 --size=300m $queued" direction=read ;;
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
