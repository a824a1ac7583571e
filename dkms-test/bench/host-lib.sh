# shellcheck shell=bash disable=SC2034,SC2154
# What `run` and `profile` share, on the host: rows and targets there are, building what their guests take, guests.
# Sourced, never run. Wants the array `targets` in `prepare`.
. "$(dirname "${BASH_SOURCE[0]}")/../rig/lib.sh"

BASE_ROWS="w4k-qd1 w4k-qd32 w4k-fsync w4k-fsync-4jobs w64k-qd8 w1m-seq w512-qd32 r4k-hit-qd32 rw7030-qd32"
START_ROWS="start-orderly start-crash start-synced"
ALL_ROWS="$BASE_ROWS ssd-requests w4k-fsync-16jobs ssd-flush-1job ssd-flush-4jobs ssd-flush-16jobs r4k-migrating \
drain-uniform drain-zipf drain-sequential full-uniform full-zipf full-sequential $START_ROWS scaling"
ALL_TARGETS="zero raw-ssd raw-disk writeboost writecache bcache dm-cache upstream"
MORE_TARGETS="linear writeboost-default"
BENCH=$ROOT/dkms-test/bench
OUT=$BUILD/bench
kernel=$(main_kernel)

# check_words KIND ALLOWED WORD...
check_words()
{
	local kind=$1 allowed=$2 word
	shift 2
	for word; do
		[[ " $allowed " == *" $word "* ]] || die "no $kind '$word': choose of $allowed"
	done
}
is_target() { [[ " ${targets[*]} " == *" $1 "* ]]; }

# make-bcache is used from its package, which is not installed.
fetch_bcache_tools()
{
	[ ! -x "$OUT/share/make-bcache" ] || return 0
	rm -rf "$OUT/tmp"
	mkdir -p "$OUT/tmp"
	(cd "$OUT/tmp" && apt-get -q -o APT::Sandbox::User=root download bcache-tools) >"$OUT/fetch.log" 2>&1 ||
		die "apt cannot fetch bcache-tools: see ${OUT#"$ROOT"/}/fetch.log, try apt-get update, or leave out bcache"
	dpkg -x "$OUT"/tmp/*.deb "$OUT/tmp/files"
	cp "$OUT"/tmp/files/usr/sbin/make-bcache "$OUT/share/"
	rm -r "$OUT/tmp"
}

# The rig's guests have no dm-zero.
add_dm_zero()
{
	local file
	file=$(find "$BUILD/kernels/$kernel/lib/modules" -name 'dm-zero.ko*')
	cp "$file" "$OUT/share/"
	[[ $file != *.xz ]] || xz -d -f "$OUT/share/dm-zero.ko.xz"
}

# install_plotter: for the plots.
install_plotter()
{
	local package state missing=()
	for package in gnuplot-nox fonts-dejavu-core python3; do
		state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) || true
		[ "$state" = installed ] || missing+=("$package")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	[ "$(id -u)" = 0 ] || die "these packages are missing, install them as root: ${missing[*]}"
	logged plotter env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
		install --no-install-recommends "${missing[@]}"
}

# logged NAME COMMAND...
logged()
{
	local log=$OUT/$1.log
	shift
	"$@" >"$log" 2>&1 || { tail -n 20 "$log" >&2; die "failed: $* (see ${log#"$ROOT"/})"; }
}

# prepare: build everything (unless NO_BUILD is set), and keep other benchmarks out of our files.
prepare()
{
	mkdir -p "$OUT/share"
	exec 7>"$OUT/.lock"
	flock -n 7 || die "another benchmark is under way"
	trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
	trap 'exit 130' INT TERM
	if [ -z "${NO_BUILD:-}" ]; then
		logged setup "$RIG/setup" "$kernel"
		logged build-tools make -s -C "$ROOT/tools" BUILD="$BUILD/tools"
		logged build-guest-bin make -s -C "$ROOT" BUILD="$BUILD" guest-bin
		logged build-module "$RIG/build-module" "$kernel"
		logged build-disks env SRC="$ROOT/dkms-test/disks" "$RIG/build-module" "$kernel"
		! is_target upstream || logged build-upstream "$RIG/upstream" "$kernel"
		logged mkinitramfs "$RIG/mkinitramfs" "$kernel"
	fi
	cp "$BENCH"/guest-* "$OUT/share/"
	! is_target bcache || fetch_bcache_tools
	add_dm_zero
}

# guest OUT OPTION... -- COMMAND...: run it in a guest with these options for `vm` (--icount for virtual time); OUT.rows is
# what it tells, OUT.log the console.
guest()
{
	local out=$1 status=0
	shift
	"$RIG/vm" --kernel "$kernel" --mem 4G --timeout 1800 --append loglevel=5 --share "$OUT/share" \
		--log "$out.log" --results "$out.rows" "$@" 2>"$out.vm" || status=$?
	sed -i 's/\r$//' "$out.rows"
	return "$status"
}

# failure OUT: why a guest failed, in a line.
failure()
{
	grep -m1 '^FAIL' "$1.log" || grep -m1 '^vm: ' "$1.vm" || echo "see ${1#"$ROOT"/}.log"
}
