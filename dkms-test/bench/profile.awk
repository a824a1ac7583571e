# profile.awk: of lists of functions, one a target (`instructions calls module function` per request), make one table.
#
# Wants the variables row, requests and targets (their names, in the order of the files).

FNR == 1 { file++ }
{
	where = $3 " " $4
	seen[where] = 1
	insns[where, file] = $1
	calls[where, file] = $2
	modules[$3] = 1
	module[$3, file] += $1
	total[file] += $1
}

function columns(table, key,   i, s)
{
	for (i = 1; i <= nt; i++)
		s = s sprintf(" %12.1f", table[key, i])
	return s sprintf(" %12.1f", table[key, 1] - table[key, nt])
}

END {
	nt = split(targets, name, " ")
	printf "%s: instructions of one request (mean of %d), idle time not counted\n\n", row, requests
	head = ""
	for (i = 1; i <= nt; i++)
		head = head sprintf(" %12s", name[i])
	head = head sprintf(" %12s", "difference")
	sums = ""
	for (i = 1; i <= nt; i++)
		sums = sums sprintf(" %12.1f", total[i])
	printf "%s\n%s %12.1f  all\n\n", head, sums, total[1] - total[nt]

	sort = "LC_ALL=C sort -rn | cut -f2-"
	for (m in modules)
		if (module[m, 1] >= 1 || module[m, nt] >= 1)
			printf "%f\t%s  %s\n", module[m, 1], columns(module, m), m | sort
	close(sort)

	printf "\n%s %9s\n", head, "calls"
	for (where in seen) {
		d = insns[where, 1] - insns[where, nt]
		if (d > 1 || d < -1 || insns[where, 1] > 10)
			printf "%f\t%s %9.3f  %s\n", d, columns(insns, where), calls[where, 1], where | sort
	}
	close(sort)
}
