#!/bin/sh
# durability-machine.sh first SEGMENT_SIZE SEED | next | last: one boot of dkms-test/host-cases/kill. Its disks are cache,
# backing device and the writers' notes. What it finds, good or bad, is said on the results port.
set -e
exec >/dev/results 2>&1
modprobe dm_writeboost
export DM_DISABLE_UDEV=1
wb() { echo "0 $(blockdev --getsz /dev/vdb) writeboost /dev/vdb /dev/vda" | dmsetup create wb; }
found() { dmesg | grep 'writeboost: ' || true; }
case $1 in
first)
	writeboost-ctl format /dev/vda --backing /dev/vdb --segment-size "$2" --yes --force
	wbload format /dev/vdc --sectors 60000 --seed "$3" --discard no --reads 10
	wb
	;;
next)
	wb
	found
	wbload verify /dev/mapper/wb /dev/vdc
	;;
last)
	wb
	found
	wbload verify /dev/mapper/wb /dev/vdc
	dmsetup message wb 0 drain
	for i in $(seq 600); do
		! dmsetup status wb | grep -q ' drained ' || break
		sleep 0.1
	done
	dmsetup status wb | grep ' drained '
	dmsetup remove wb
	wbload verify /dev/vdb /dev/vdc
	if dmesg | grep -E 'WARNING:|BUG:|Oops|Call Trace'; then
		exit 1
	fi
	echo "all of it holds"
	exit
	;;
esac
wbload write /dev/mapper/wb /dev/vdc
