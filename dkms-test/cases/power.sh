# shellcheck shell=sh disable=SC3043 # sourced after /lib.sh
# Power cuts without a reboot, on simulated disks: `. /lib.sh; . /cases/power.sh`. See dkms-test/guest-src/wbpower.c and
# dkms-test/disks.

# What the disks and the device say when the power goes, and a log that ends there: not what we look for.
expect_kernel_log 'Buffer I/O error|I/O error, dev wbd_|lost async page write'

# disk_pair SUFFIX SEGMENT_SIZE SLOTS BACKING_MB [KEY=VALUE...]: cacheSUFFIX with so many slots, backSUFFIX, formatted. The
# keys are the disks', both with a volatile cache.
disk_pair()
{
	local suffix="$1" segment="$2" slots="$3" mb="$4"
	shift 4
	make_sim_disk "cache$suffix" "$((1024 + ${segment%K} * slots))K" cache=volatile seed=1 "$@" >/dev/null
	make_sim_disk "back$suffix" "${mb}M" cache=volatile seed=2 "$@" >/dev/null
	writeboost-ctl format "/dev/wbd_cache$suffix" --backing "/dev/wbd_back$suffix" --segment-size "$segment" \
		--yes --force
}

# remove_pair SUFFIX
remove_pair() { sim remove "cache$1" "back$1"; }

# cuts NAME OPTION...: on the pair with suffix 1.
cuts()
{
	wbpower wb cache1 back1 "$@" | tee -a /tmp/power.out
	grep -q '^figures: ' /tmp/power.out || {
		kernel_log | grep -v 'sectors .* to' | tail -n 40
		cat /proc/wbdisk
		dmsetup remove wb && writeboost-ctl dump /dev/wbd_cache1 | head -n 60
	}
	expect_eq "$(grep -c '^figures: ' /tmp/power.out)" 1 "lines of figures of wbpower $*"
	sed -n "s/^figures: /figures power $CASE: /p" /tmp/power.out >>/tmp/power.figures
	rm /tmp/power.out
}

# tell_figures: to build/figures/power on the host.
tell_figures() { cat /tmp/power.figures >/dev/results; }
