# shellcheck shell=sh disable=SC2034,SC2046,SC2086,SC2154,SC3043 # sourced after /lib.sh and /cases/pair.sh
# The backing device is at the other end of a network, and vanishes for OUTAGE seconds, in three ways: the server is
# killed (whoever asks it gets an error at once), or stopped (it answers no more), with a time-out of the NBD device's
# own and without. Writes go on into the cache all the time, nobody waits longer than the device itself does, and when
# the server is back migration goes on by itself, and everything is there.

TIMEOUT=4	# s, the NBD device's own

ifconfig lo 127.0.0.1 up
modprobe nbd nbds_max=4
server_disk=$(make_ram_disk server 32)
cache=$(make_ram_disk cache 32)
cat >/tmp/nbd.conf <<CONF
[generic]
[disk]
exportname = $server_disk
flush = true
fua = true
CONF

start_server() { nbd-server -C /tmp/nbd.conf; }
# Its sessions are processes of their own.
signal_server() { kill "-$1" $(pidof nbd-server) || fail "no server to signal"; }

# connect SECONDS: a new NBD device with that time-out, which stands under `slow` from then on. (One that has lost its
# server cannot be connected again while it is open.)
nbd=-1
connect()
{
	nbd=$((nbd + 1))
	wait_for 10 nbd-client 127.0.0.1 /dev/nbd$nbd -name disk -block-size 512 -timeout $1 >/tmp/client.out 2>&1
	# shellcheck disable=SC2016
	wait_for 10 [ "$(sectors "$server_disk")" = "$(sectors /dev/nbd$nbd)" ]
	local table="0 $(sectors /dev/nbd$nbd) linear /dev/nbd$nbd 0"
	if dm_exists slow; then under slow "$table"; else dm_create slow "$table"; fi
}
case_cleanup()
{
	dm_remove wb && dm_remove slow || return 1
	for number in 0 1 2; do
		nbd-client -d /dev/nbd$number >/dev/null
	done
	signal_server KILL
	rmmod nbd
}

start_server
connect $TIMEOUT
backing=/dev/mapper/slow
table="0 $(sectors $backing) writeboost $backing $cache"
format 64K
dm_create wb "$table 2 enable_migration_modulator 0"
write_data a 0 64
flush_device
migrated() { [ "$(status_of migrated)" -ge $(($(status_of current) - 1)) ]; }	# but for the segment still open
wait_for 20 migrated
expect_data a 0 48 $backing

# outage SIGNAL: begins; the load goes on until after its end. No write or fsync may take as long as one that waits for the
# backing device would, for the cache device is well; this machine may stand still for a second or two. It is paced, so that
# the log has room for all of it, and for the blocks that are read meanwhile, if they are among the newest when it begins.
outage()
{
	write_data a 0 64
	wait_for 20 migrated
	signal_server $1
	began=$(uptime_ms)
	fio --name=load --filename=/dev/mapper/wb --offset=16m --size=16m --rw=randwrite --bs=4k --rate=300k --fsync=32 \
		--ioengine=psync --direct=1 --time_based --runtime=$((OUTAGE + 2)) --max_latency=3s \
		--randseed=$nbd --output=/tmp/load.out &
	load=$!
}
read_miss() { timeout $((OUTAGE + 20)) dd if=/dev/mapper/wb of=/dev/null bs=4k skip=3000 count=1 iflag=direct status=none; }
rest_of_outage() { sleep $(((OUTAGE * 1000 - $(uptime_ms) + began) / 1000 + 1)); }
away()
{
	expect_data a 0 64
	[ "$(status_of dirty)" -gt 100 ] || fail "no dirty data while the device is away: $(dmsetup status wb)"
	! migrated || fail "migrated to a device that is away"
}
# over: the server answers again, and migration goes on by itself.
over()
{
	wait $load || { cat /tmp/load.out; fail "writes while the backing device was away"; }
	wait_for 60 migrated
	expect_data a 0 64
}

# errors_for SECONDS: what happens while the device fails its requests, at the latest after these.
errors_for()
{
	local took
	expect_fail read_miss
	expect_match "$output" 'Input/output error|Connection timed out'
	took=$(($(uptime_ms) - began))
	[ $took -lt $(($1 * 1000 + 3000)) ] || fail "a read waited $took ms for a device with a time-out of $1 s"
	wait_for 30 at_least backing_errors $((errors + 2))
	expect_status health degraded
	rest_of_outage
	away
}

errors=0
outage KILL
errors_for 0
kernel_log_has 'wb: cannot (write to|flush) the backing device; dirty data stays' || fail "nothing in the log"
start_server
connect $TIMEOUT
over

errors=$(status_of backing_errors)
outage STOP
errors_for $((2 * TIMEOUT))	# the block layer looks for time-outs that often
signal_server CONT
connect 0
over

# Without a time-out nothing fails: who asks the device waits for it, all others go on.
errors=$(status_of backing_errors)
outage STOP
read_miss &
read=$!
rest_of_outage
away
kill -0 $read || fail "a read from a device that does not answer is over"
signal_server CONT
wait $read || fail "a read, after the device is back"
over
expect_status backing_errors $errors

dmsetup message wb 0 drain
wait_for 30 is caching drained
expect_eq "$(sum /dev/mapper/wb)" "$(sum $server_disk)" "what the server has"
expect_status cache_errors 0
