# shellcheck shell=sh disable=SC3043,SC2154 # sourced after /cases/power.sh and power-fs.sh
# What power-soak and power-soak-smp do: power cuts for as long as is wished, each quarter of a minute with another segment
# size, cache size, number of writers, workload, disks and meddling. The seed of each round is told; a round is not
# repeatable to the instruction, but its parameters are: `one_round SEED`.

random_state=$(od -An -N4 -tu4 /dev/urandom)
random_state=$((random_state % 2147483648))
pick() { draw $#; shift "$drawn"; picked=$1; }

# one_round SEED
one_round()
{
	local segment slots mb writers sectors ops options='' disk=''
	random_state=$1
	pick 16K 16K 16K 32K 64K 128K 256K 1024K; segment=$picked
	pick 4 5 6 8 12 16; slots=$picked
	pick 2 3 4 6 8; writers=$picked
	mb=$((2 + ${segment%K} * slots / 512))
	sectors=$((mb * 2048 - 1))
	[ "$sectors" -le 60000 ] || sectors=60001
	pick 200 600 1500; ops=$picked
	pick 0 0 30 100; options="--torn $picked"
	pick 4 4 0 40; options="$options --discards $picked"
	pick none none knobs reload drain; [ "$picked" != drain ] || options="$options --torn 0"
	options="$options --meddle $picked"
	pick '' 'reorder=0' 'delay_us=0 reorder=0' 'flush_us=3000' 'delay_us=400' 'fua=0' 'sector=4096' \
		'model=disk seek_max_us=3000 wcache=1M' 'model=ssd' 'model=net latency_us=300 jitter_us=400'
	disk=$picked
	[ "$disk" != sector=4096 ] || { options="$options --grain 8"; mb=$((mb + 6)) sectors=$((mb * 1024)); }
	pick 16 48 256 2048; options="$options --max $picked"
	echo "round: seed $1, segments $slots of $segment, $writers writers, $sectors sectors, disks '$disk', $options"
	# shellcheck disable=SC2086 # words
	disk_pair 1 "$segment" "$slots" "$mb" $disk
	# shellcheck disable=SC2086
	cuts --seed "$1" --cycles 100000 --seconds "$round_seconds" --sectors "$sectors" --ops "$ops" \
		--writers "$writers" $options
	remove_pair 1
}

round_seconds=15
deadline=$(($(uptime_ms) + $(soak_seconds) * 1000))
rounds=0
while [ "$(uptime_ms)" -lt $deadline ]; do
	draw 32768
	one_round $((random_state % 1000000 + 1))
	rounds=$((rounds + 1))
	# Now and then with a file system.
	if [ $((rounds % 8)) = 4 ]; then
		disk_pair 1 64K 16 32
		try_power 20 1000 "mkfs.ext4 -q -F" "e2fsck -f -n"
		remove_pair 1
	elif [ $((rounds % 8)) = 0 ]; then
		disk_pair 1 256K 24 320
		try_power 30 1000 "mkfs.xfs -q -f" "xfs_repair -n"
		remove_pair 1
	fi
done

# One line of all of them.
awk -v rounds=$rounds -v name="$CASE" '
	{ for (i = 1; i <= NF; i++) if ($i == "cycles") cycles += $(i + 1)
	  else if ($i == "creation") created += $(i + 1)
	  else if ($i == "operations") ops += $(i + 1)
	  else if ($i == "seconds") seconds += $(i + 1) }
	END { printf "figures power %s: rounds %d, cycles %d, cuts in creation besides %d, operations %d, seconds %d, violations 0\n",
		name, rounds, cycles, created, ops, seconds }
' /tmp/power.figures >/dev/results
