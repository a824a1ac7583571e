# shellcheck shell=sh disable=SC3043 # sourced after /lib.sh
# The kernel's fault injection: `. /lib.sh; . /cases/fault.sh`. Only some sanitizer kernels have it.

FAULTS=/sys/kernel/debug
[ -d $FAULTS/failslab ] || skip "this kernel has no fault injection"

# attributes KIND NAME=VALUE...: KIND is failslab, fail_page_alloc or fail_make_request.
attributes()
{
	local kind="$1" attribute
	shift
	for attribute; do
		echo "${attribute#*=}" >"$FAULTS/$kind/${attribute%%=*}" || fail "$kind has no $attribute"
	done
}

# Failures are not logged; any allocation may fail, also those that could wait for memory.
for kind in failslab fail_page_alloc fail_make_request; do
	attributes $kind verbose=0 probability=0 interval=1 times=-1 space=0
done
attributes failslab ignore-gfp-wait=N
attributes fail_page_alloc ignore-gfp-wait=N ignore-gfp-highmem=N min-order=0

# What gives up for want of memory may say where it was.
expect_kernel_log 'Call Trace'

# 6.1 forgets its own copy of the name of a slab cache ("bio-192") that cannot be shown in sysfs.
expect_leak '^ *62 69 6f 2d'
