# report.awk: of what the guests have told (files TARGET.rows), make results.json, and the table on standard output.
#
# Wants the variables rows, targets and kernel. Exits with 1 if a figure is missing or one of ours is below upstream's.

FNR == 1 { target = FILENAME; sub(/\.rows$/, "", target) }
$1 == "row" { ops[$2, target] = $3; ms[$2, target] = $4 }
$1 == "refused" { refused[$2, target] = substr($0, length($1) + length($2) + 3) }
$1 == "failed" { failed[target] = substr($0, 8) }

# Higher is better everywhere but in the count of requests.
function value(row, target)
{
	if (!((row, target) in ops))
		return ""
	return row == "ssd-requests" ? ops[row, target] : int(ops[row, target] * 1000 / ms[row, target])
}

function worse(row, a, b) { return row == "ssd-requests" ? a > b : a < b }

function grouped(n,   s)
{
	for (s = ""; n >= 1000; n = int(n / 1000))
		s = sprintf(" %03d", n % 1000) s
	return n s
}

# Neither has a cache whose requests to count.
function inapplicable(row, target) { return row == "ssd-requests" && (target == "zero" || target == "raw-disk") }

function cell(row, target)
{
	if ((row, target) in refused)
		return "refused (" refused[row, target] ")"
	if (inapplicable(row, target))
		return "-"
	return (row, target) in ops ? grouped(value(row, target)) : "missing"
}

function quote(s) { gsub(/[\\"]/, "\\\\&", s); return "\"" s "\"" }

function json(   i, j, row, target, first, file)
{
	file = "results.json"
	printf "{\n  \"schema_version\": 1,\n  \"kernel\": %s,\n  \"time\": \"virtual: 1 instruction = 1 ns\",\n  \"rows\": {", quote(kernel) >file
	for (i = 1; i <= nr; i++) {
		row = name[i]
		printf "%s\n    %s: {", (i > 1 ? "," : ""), quote(row) >file
		first = 1
		for (j = 1; j <= nt; j++) {
			target = of[j]
			if ((row, target) in refused)
				printf "%s\n      %s: { \"refused\": %s }", (first ? "" : ","), quote(target), \
					quote(refused[row, target]) >file
			else if (!((row, target) in ops))
				continue
			else if (row == "ssd-requests")
				printf "%s\n      %s: { \"requests\": %d }", (first ? "" : ","), quote(target), ops[row, target] >file
			else
				printf "%s\n      %s: { \"iops\": %d, \"requests\": %d, \"ms\": %d, \"ns_per_request\": %d }", \
					(first ? "" : ","), quote(target), value(row, target), ops[row, target], \
					ms[row, target], ms[row, target] * 1000000 / ops[row, target] >file
			first = 0
		}
		printf "\n    }" >file
	}
	printf "\n  }\n}\n" >file
	close(file)
}

END {
	nr = split(rows, name, " ")
	nt = split(targets, of, " ")
	json()

	title["w4k-qd1"] = "4K random write, psync QD1, 64 MB"
	title["w4k-qd32"] = "4K random write, libaio QD32, 64 MB"
	title["w4k-fsync"] = "4K random write + fsync each, 1 job, 16 MB"
	title["w4k-fsync-4jobs"] = "4K random write + fsync each, 4 jobs, 4 x 4 MB"
	title["w64k-qd8"] = "64K random write, QD8, 256 MB"
	title["w1m-seq"] = "1M sequential write, QD4, 256 MB"
	title["w512-qd32"] = "512 B random write, QD32, 8 MB"
	title["r4k-hit-qd32"] = "4K random read, all hits, QD32, 64 MB"
	title["rw7030-qd32"] = "70/30 random, QD32, 64 MB: the reads"
	title["ssd-requests"] = "requests to the cache device for 16 384 4K writes (fewer are better)"

	printf "IOPS in virtual time (1 instruction = 1 ns, one CPU), kernel %s\n\n", kernel
	line = "|---|---|"
	printf "| row | workload |"
	for (j = 1; j <= nt; j++) {
		printf " %s |", of[j]
		line = line "---|"
		has[of[j]] = 1
	}
	printf "\n%s\n", line
	for (i = 1; i <= nr; i++) {
		row = name[i]
		printf "| `%s` | %s |", row, title[row]
		for (j = 1; j <= nt; j++) {
			printf " %s |", cell(row, of[j])
			if (cell(row, of[j]) == "missing")
				missing = missing "\nmissing: " row " of " of[j]
		}
		printf "\n"
		if (has["writeboost"] && has["upstream"] && value(row, "upstream") != "" &&
		    value(row, "writeboost") != "") {
			if (worse(row, value(row, "writeboost"), value(row, "upstream")))
				missed = missed sprintf("\nmissed: %s: ours %s, upstream %s", row, cell(row, "writeboost"),
					cell(row, "upstream"))
		}
	}

	printf "\n"
	if (has["writeboost"])
		print "writeboost is measured with `allow_migrate 0`: like upstream by default (its `writeback_threshold` is 0) " \
			"it writes to the disk only when it needs room." \
			(has["writeboost-default"] ? "\nwriteboost-default is the same as it comes: it also migrates while the " \
				"row runs, on the one CPU there is." : "")
	if (has["upstream"])
		print "upstream spends a slot of 512 KiB on every fsync, so in the fsync rows together it runs out of slots and waits for the disk."
	for (j = 1; j <= nt; j++)
		if (of[j] in failed)
			printf "%s failed: %s\n", of[j], failed[of[j]]
	printf "%s%s%s", missing, missed, missing missed == "" ? "" : "\n"
	if (missing missed != "")
		exit 1
	if (has["writeboost"] && has["upstream"])
		print "No row of ours is below upstream's."
}
