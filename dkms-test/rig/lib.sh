# shellcheck shell=bash
# What the rig's host scripts share: where things lie, which kernels there are, how to speak.
#
# Sourced, never run. Everything produced lies below $BUILD; nothing outside it is changed, apart
# from the packages that `setup` installs.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
RIG=$ROOT/dkms-test/rig
BUILD=${BUILD:-$ROOT/build}

die()  { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }
note() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# The release this machine runs, e.g. "bookworm".
host_release() { ( . /etc/os-release && printf '%s\n' "${VERSION_CODENAME:-unknown}" ); }

# The kernel that everything is tested on: the release's own.
main_kernel()
{
	case $(host_release) in
	trixie) echo 6.12 ;;
	*)      echo 6.1 ;;
	esac
}

# The sanitizer kernels: built here with the configuration of dkms-test/sanitize/config/NAME. To the
# rig each is a kernel like the others. All are user-mode Linux, but for kcsan, which QEMU runs.
SANITIZERS='kasan lockdep smp kcsan'
is_sanitizer() { [[ " $SANITIZERS " == *" $1 "* ]]; }
is_uml() { is_sanitizer "$1" && [ "$1" != kcsan ]; }

# time_left, no_time_left: until RUN_UNTIL, seconds since 1970, where that is set.
time_left() { printf '%s\n' $((RUN_UNTIL - EPOCHSECONDS)); }
no_time_left() { [ -n "${RUN_UNTIL:-}" ] && [ "$EPOCHSECONDS" -ge "$RUN_UNTIL" ]; }

# skips_idle_time KERNEL: whether it is user-mode Linux with one CPU, whose time is its own: it stands still
# while anything computes, and idle time is skipped.
skips_idle_time() { is_uml "$1" && [ "$(source_kernel "$1")" != 7.2 ]; }

# source_kernel KERNEL: the kernel whose source a sanitizer kernel is built from.
source_kernel()
{
	case $1 in
	smp) echo 7.2 ;;
	*)   main_kernel ;;
	esac
}

# kernel_suite KERNEL: where KERNEL comes from. Prints "host" (the machine's own apt sources), the
# name of another suite, or nothing when this machine has no way to build for it.
kernel_suite()
{
	if is_sanitizer "$1"; then
		kernel_suite "$(source_kernel "$1")"
		return
	fi
	case $(host_release)/$1 in
	bookworm/6.1|trixie/6.12) echo host ;;
	bookworm/6.12)            echo bookworm-backports ;;
	bookworm/7.[23])          echo trixie-backports ;;
	esac
}

# What `setup` ends with when Debian has dropped a kernel series (EX_UNAVAILABLE).
# shellcheck disable=SC2034 # its users source this
GONE=69

# check_kernel KERNEL: end with a hint unless KERNEL is one of ours.
check_kernel()
{
	case $1 in
	6.1|6.12|7.2|7.3) ;;
	*) is_sanitizer "$1" || die "no kernel '$1' here: choose 6.1, 6.12, 7.2, 7.3 or ${SANITIZERS// /, }" ;;
	esac
}

# need_kernel KERNEL: end with a hint unless `setup KERNEL` has been done.
need_kernel()
{
	check_kernel "$1"
	[ -e "$BUILD/kernels/$1/stamp" ] ||
		die "kernel $1 is not unpacked: run dkms-test/rig/setup $1"
}

# kernel_version KERNEL: what `uname -r` says in the guest.
kernel_version() { cat "$BUILD/kernels/$1/version"; }

# The compiler that KERNEL was built with, and so wants for its modules, e.g. "gcc-12".
kernel_compiler() { grep -o 'gcc-[0-9]*' "$BUILD/kernels/$1/headers/.kernelvariables"; }

# The kbuild programs of 7.x need trixie's libc.
needs_chroot() { [[ "$1" = 7.* ]]; }
CHROOT=$BUILD/chroot/trixie

# in_toolchain KERNEL COMMAND...: run COMMAND where KERNEL's modules can be built. A chroot sees
# $BUILD at the same path, and /proc (objtool reads it), by bind mounts in a mount namespace of
# their own that ends with the command.
in_toolchain()
{
	local kernel=$1
	shift
	if ! needs_chroot "$kernel"; then
		"$@"
		return
	fi
	mkdir -p "$CHROOT$BUILD"
	# shellcheck disable=SC2016 # the inner shell expands it
	unshare --mount sh -c 'mount --bind "$1" "$2$1" && mount --rbind /proc "$2/proc" && shift &&
			       exec chroot "$@"' sh "$BUILD" "$CHROOT" "$@"
}
