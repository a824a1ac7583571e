# shellcheck shell=sh disable=SC2154,SC3043 # sourced after /cases/pair.sh
# A file system on the cache: make, use, remove with dirty data, create again, use, drain, remove, and check the backing
# device alone.

place=/mnt/fs

# use SEED: files small and large, written, overwritten in part, renamed, deleted, with and without fsync.
use()
{
	local seed="$1" i
	mkdir -p "$place/d$seed"
	cp -r /usr/busybox/busybox /lib.sh /cases "$place/d$seed/"
	i=0
	while [ $i -lt 60 ]; do
		head -c $((i * 777 + seed)) /usr/busybox/busybox >"$place/d$seed/small$i"
		i=$((i + 1))
	done
	dd if=/usr/busybox/busybox of="$place/d$seed/large" bs=1M conv=fsync status=none
	dd if=/dev/urandom of="$place/d$seed/large" bs=3000 seek=100 count=200 conv=notrunc status=none
	dd if=/dev/urandom of="$place/d$seed/direct" bs=4k count=300 oflag=direct status=none
	rm -r "$place/d$seed/cases"
	i=0
	while [ $i -lt 60 ]; do
		rm "$place/d$seed/small$i"
		i=$((i + 3))
	done
	mv "$place/d$seed/small1" "$place/d$seed/renamed"
	[ ! -d "$place/d$((seed - 1))" ] || rm -r "$place/d$((seed - 1))/small"*
}

sums() { (cd "$place" && find . -type f -exec md5sum {} + | sort); }

# try_fs MKFS FSCK [MOUNT_OPTIONS]: MKFS and FSCK are commands that the device is added to.
try_fs()
{
	local mkfs="$1" fsck="$2" options="${3:-}"
	mkdir -p "$place"
	# As much as there is room for stays dirty.
	dm_create wb "$table 4 allow_migrate 0 nr_max_batched_migration 1"
	# shellcheck disable=SC2086 # words
	$mkfs /dev/mapper/wb
	mount ${options:+-o "$options"} /dev/mapper/wb "$place"
	use 1
	fstrim "$place" || fail "fstrim"
	use 2
	sums >/tmp/sums.1
	umount "$place"
	[ "$(status_of dirty)" -gt 20 ] || fail "only $(status_of dirty) blocks were dirty: this tests nothing"
	dm_remove wb

	# Dirty data stayed on the cache device.
	dm_create wb "$table"
	mount ${options:+-o "$options"} /dev/mapper/wb "$place"
	sums >/tmp/sums.2
	cmp /tmp/sums.1 /tmp/sums.2 || fail "files differ after the device was removed and created again"
	use 3
	sums >/tmp/sums.1
	umount "$place"
	drain
	dm_remove wb

	# shellcheck disable=SC2086 # words
	$fsck "$backing" || fail "the file system on the backing device alone is not clean"
	mount -o ro "$backing" "$place"
	sums >/tmp/sums.2
	cmp /tmp/sums.1 /tmp/sums.2 || fail "files differ on the backing device alone"
	umount "$place"
}
