#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What the benchmark makes of figures: results.json, the musts, the exit status.
#
# The figures here are made up, so that it is known which must is missed.
cd "$(dirname "$0")" || exit 1
report=$PWD/../bench/report.py
command -v python3 >/dev/null || { echo "ok - skipped: there is no python3, which make bench installs"; exit 0; }
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

status=0
ok() { echo "ok - $1"; }
no() { echo "not ok - $1"; status=1; }

# told TARGET LINE...: what a guest has told.
told()
{
	local target=$1
	shift
	printf '%s\n' "$@" >"$dir/$target.base.rows"
}

# tables ROWS TARGETS: results.json, and tables in $out; $code is their exit status.
tables()
{
	PYTHONDONTWRITEBYTECODE=1 python3 "$report" collect "$dir" 6.1 "$1" "$2" || no "collect: status $?"
	out=$(PYTHONDONTWRITEBYTECODE=1 python3 "$report" tables "$dir")
	code=$?
}

# expect TEST CODE [REGEX...]: that status, and lines that match.
expect()
{
	local test=$1 want=$2 regex
	shift 2
	[ "$code" = "$want" ] || { no "$test: status $code, not $want"; return; }
	for regex; do
		grep -qE -e "$regex" <<<"$out" || { no "$test: nothing matches $regex"; return; }
	done
	ok "$test"
}

drain() { echo "row drain-uniform ops=16384 ms=200 drain_ms=1000 disk_requests=$1 disk_us=$2 disk_seek_us=1"; }

told writeboost "row w4k-qd1 ops=16384 ms=153"
tables w4k-qd1 writeboost
# shellcheck disable=SC2016 # these are backquotes of Markdown
expect "a must holds" 0 '`w4k-qd1` .* holds' '\| 107 084 \|'
told writeboost "row w4k-qd1 ops=16384 ms=170"
tables w4k-qd1 writeboost
expect "a missed must is named and fails" 1 '^missed: w4k-qd1: iops is 96 376, must be >= 97 000'
told writeboost "row ssd-requests ssd_requests=101"
tables ssd-requests writeboost
expect "of requests, fewer are better" 1 '^missed: ssd-requests'

told writeboost "$(drain 100 5000000)"
told writecache "$(drain 99 9000000)"
told bcache "$(drain 200 9000000)"
told dm-cache "$(drain 200 9000000)"
told upstream "$(drain 200 4000000)"
tables drain-uniform "writeboost writecache bcache dm-cache"
expect "without all rivals nothing is judged" 0 'disk_requests .* not judged'
tables drain-uniform "writeboost writecache bcache dm-cache upstream"
expect "each figure against the best of its own" 1 '^missed: drain-uniform: disk_requests .*writecache: 99' \
	'^missed: drain-uniform: disk_s .*upstream: 4'
told writeboost "$(drain 99 4000000)"
tables drain-uniform "writeboost writecache bcache dm-cache upstream"
expect "as good as the best" 0

# No cache is quicker than the disk that it is for: 64 MiB at 180 MB/s take 0.373 s, 32 blocks 0.728 ms.
all="writeboost writecache bcache dm-cache upstream"
for us in 380000:0 382000:1; do
	told writeboost "row drain-sequential ops=1024 ms=200 drain_ms=1000 disk_requests=1 disk_us=${us%:*} disk_seek_us=1"
	for rival in writecache bcache dm-cache upstream; do
		told $rival "row drain-sequential ops=1024 ms=200 drain_ms=1000 disk_requests=9 disk_us=378000 disk_seek_us=1"
	done
	tables drain-sequential "$all"
	expect "a drain within 2 % of the transfer: ${us%:*} us" ${us#*:}
done
for us in 742:0 744:1; do
	told writeboost "row full-sequential ops=1024 ms=200 p99_us=${us%:*}"
	for rival in writecache bcache dm-cache upstream; do
		told $rival "row full-sequential ops=1024 ms=200 p99_us=720"
	done
	tables full-sequential "$all"
	expect "a full cache within 2 % of the transfer: ${us%:*} us" ${us#*:}
done

told writeboost "row scaling ratio=1.64 zero_ratio=1.83"
tables scaling writeboost
expect "scaling against dm-zero's" 1 '^missed: scaling'
told writeboost "row scaling ratio=1.65 zero_ratio=1.83"
tables scaling writeboost
expect "scaling, nine tenths of dm-zero's" 0

told writeboost "row scaling ratio=1.20 zero_ratio=1.21"
tables scaling writeboost
expect "scaling on a busy machine is not judged" 1 '^scaling of writeboost: dm-zero itself gains 1.21' 'not judged'

start() { echo "row start-$1 headers=1030 load_us=53000 resume_us=$2 read_us=10000 requests=1037 kib=4148"; }
told writeboost "$(start orderly 15000)" "$(start crash 15010)"
tables "start-orderly start-crash" "writeboost zero"
# shellcheck disable=SC2016 # these are backquotes of Markdown
expect "a start, by the time that reading its headers takes" 1 '^missed: start-crash: ratio is 1.501' \
	'`start-orderly` .* holds' '^\| `start-orderly` .* 1.5 \|$'

told writecache "refused w512-qd32 4 KiB blocks"
tables w512-qd32 "zero writecache"
expect "a figure that is missing is named" 1 '^missing: w512-qd32 of zero' 'refused \(4 KiB blocks\)'
told zero "failed no such thing"
tables w512-qd32 "zero writecache"
expect "a guest that failed is named" 1 '^zero failed: no such thing'
exit $status
