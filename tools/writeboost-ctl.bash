# bash completion for writeboost-ctl(8)                    -*- shell-script -*-
# SPDX-License-Identifier: GPL-2.0

_writeboost_ctl_devices()
{
	local device
	for device in /sys/class/block/*; do
		[ -e "$device" ] && printf '/dev/%s\n' "${device##*/}"
	done
	for device in /dev/mapper/*; do
		[ -b "$device" ] && printf '%s\n' "$device"
	done
}

_writeboost_ctl_names()
{
	dmsetup ls --target writeboost 2>/dev/null | awk '!/^No devices/ { print $1 }'
}

_writeboost_ctl()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local verbs='format create remove drain undrain status list get set check dump repair'
	local knobs='allow_migrate enable_migration_modulator migrate_threshold nr_max_batched_migration
		barrier_deadline_ms update_record_interval sync_interval bypass_run_kib'
	local verb='' options='--help' place=0 i word

	# The verb, and how many of its arguments stand before the cursor.
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		case ${COMP_WORDS[i - 1]} in
		--backing | --segment-size | --option | --timeout) continue ;;
		esac
		case $word in
		-* | =) continue ;;
		esac
		if [ -z "$verb" ]; then verb=$word; else place=$((place + 1)); fi
	done
	COMPREPLY=()

	case $prev in
	--backing)
		mapfile -t COMPREPLY < <(compgen -W "$(_writeboost_ctl_devices)" -- "$cur"; compgen -f -- "$cur")
		return ;;
	--segment-size)
		mapfile -t COMPREPLY < <(compgen -W '16K 32K 64K 128K 256K 512K 1M' -- "$cur")
		return ;;
	--option)
		compopt -o nospace
		mapfile -t COMPREPLY < <(compgen -S = -W "$knobs" -- "$cur")
		return ;;
	--timeout)
		return ;;
	esac
	if [ -z "$verb" ]; then
		mapfile -t COMPREPLY < <(compgen -W "$verbs --help --version" -- "$cur")
		return
	fi

	case $verb in
	format) options+=' --backing --segment-size --force --yes' ;;
	create) options+=' --option --force' ;;
	remove) options+=' --drain --timeout' ;;
	drain) options+=' --timeout' ;;
	status) options+=' --json --no-wait' ;;
	list | check) options+=' --json' ;;
	dump) options+=' --json --entries --all' ;;
	repair) options+=' --cut --skip --backing --force --yes' ;;
	esac
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
		return
	fi

	case $verb:$place in
	format:0 | check:0 | dump:0 | repair:0)
		mapfile -t COMPREPLY < <(compgen -W "$(_writeboost_ctl_devices)" -- "$cur"; compgen -f -- "$cur") ;;
	create:1 | create:2)
		mapfile -t COMPREPLY < <(compgen -W "$(_writeboost_ctl_devices)" -- "$cur") ;;
	remove:0 | drain:0 | undrain:0 | status:0 | get:0 | set:0)
		mapfile -t COMPREPLY < <(compgen -W "$(_writeboost_ctl_names)" -- "$cur") ;;
	get:1)
		mapfile -t COMPREPLY < <(compgen -W "$knobs" -- "$cur") ;;
	set:*)
		compopt -o nospace
		mapfile -t COMPREPLY < <(compgen -S = -W "$knobs" -- "$cur") ;;
	esac
}

complete -F _writeboost_ctl writeboost-ctl
