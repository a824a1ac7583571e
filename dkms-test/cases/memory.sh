# shellcheck shell=sh disable=SC2034,SC2154,SC3043 # sourced after /lib.sh and /cases/pair.sh
# Little memory, and all that is written has to go through the device to make room: `. /lib.sh; . /cases/pair.sh;
# . /cases/memory.sh`. The disks are the host's, for RAM disks would take the memory that is to be short. The cache device
# is much smaller than the load, so that it has to migrate, and the backing device takes 3 ms for each write.

modprobe dm-delay
need_block /dev/vda /dev/vdb
cache=/dev/vda
dm_create slow "0 $(sectors /dev/vdb) delay /dev/vdb 0 0 /dev/vdb 0 3"
backing=/dev/mapper/slow
table="0 $(sectors $backing) writeboost $backing $cache"
format 256K

memory_mb() { awk '$1 == "MemAvailable:" { print int($2 / 1024) }' /proc/meminfo; }
# A guest needs memory to begin with. All but 80 MB of what is left then is taken away: huge pages are not swapped.
echo 0 >/proc/sys/vm/nr_hugepages
echo $((($(memory_mb) - 80) / 2)) >/proc/sys/vm/nr_hugepages
[ "$(memory_mb)" -lt 120 ] || fail "there are $(memory_mb) MB left"
vmstat() { awk -v key="$1" '$1 == key { print $2 }' /proc/vmstat; }
# What must not be in the kernel's log: an allocation of ours that failed, a task that was killed for memory.
no_victims()
{
	! kernel_log_has 'Out of memory|oom-kill|invoked oom-killer|page allocation failure|blocked for more than' ||
		fail "$(kernel_log | grep -E 'Out of memory|oom-kill|page allocation|blocked for more' | head -n 1)"
}
migrated_all()
{
	[ "$(status_of migrated)" -gt "$1" ] || fail "nothing was migrated under the load: $(dmsetup status wb)"
	expect_status health ok
	expect_status cache_errors 0
	expect_status backing_errors 0
}
