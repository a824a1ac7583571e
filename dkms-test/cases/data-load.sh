# shellcheck shell=sh disable=SC3043 # sourced after /lib.sh
# What data-load, data-smp and data-soak do, each with other numbers.

disk=$(make_ram_disk backing 33 512 discard=1)
dm_create odd "0 65535 linear $disk 0"
backing=/dev/mapper/odd
tiny=$(make_ram_disk tiny 2)
dm_create four "0 $((2048 + 4 * 32)) linear $tiny 0"
dm_create eight "0 $((2048 + 8 * 32)) linear $tiny 0"
medium=$(make_ram_disk medium 5)
slow=$(make_ram_disk slow 5 512 irqmode=2 completion_nsec=3000000)

# load CACHE SEGMENT_SIZE OPTION...
load()
{
	local cache="$1" size="$2"
	shift 2
	blkdiscard "$backing"
	writeboost-ctl format "$cache" --backing "$backing" --segment-size "$size" --yes --force
	dm_create wb "0 $(sectors "$backing") writeboost $backing $cache"
	wbload run wb "$backing" "$@"
	dm_remove wb
}

# loads SEED OPS: on 4 slots of 3 blocks, on 8 of them; 20 MiB of work over 4 MiB of log; and that over a cache device that
# is slow enough for blocks to be read while they are written to it.
loads()
{
	load /dev/mapper/four 16K --seed "$1" --sectors 4001 --ops "$2" --max 64 --toggle yes
	load /dev/mapper/eight 16K --seed "$1" --sectors 8001 --ops "$2" --max 256 --toggle yes
	load "$medium" 128K --seed "$1" --sectors 65535 --ops "$2" --toggle yes
	load "$slow" 256K --seed "$1" --sectors 40000 --ops "$2" --writers 8 --reads 50
}
