# shellcheck shell=sh disable=SC2034,SC3043 # sourced after /lib.sh and pair.sh
# What data-hang and data-discard have in common: simulated disks that hold requests up, below a device of 64 segments of
# three blocks.

cache=$(make_sim_disk cache 2M cache=volatile)
backing=$(make_sim_disk backing 8M cache=volatile)
table="0 $(sectors "$backing") writeboost $backing $cache"
wb=/dev/mapper/wb
knobs="sync_interval 3600 update_record_interval 0 enable_migration_modulator 0"

# begin ALLOW_MIGRATE: a new device
begin() { format 16K; dm_create wb "$table 6 $knobs"; message allow_migrate "$1"; }
# hung DISK: a request is held up there.
hung() { [ "$(sim_value "$1" hung)" -ge 1 ]; }
# still PID WHAT
still() { sleep 0.3; kill -0 "$1" || fail "$2"; }
