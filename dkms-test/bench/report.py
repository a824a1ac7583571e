#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""What the benchmark's guests have told, as JSON, as tables, and as plots.

report.py collect DIR KERNEL "ROW..." "TARGET..."
	reads DIR/TARGET.GROUP.rows and writes DIR/results.json
report.py tables DIR
	reads that, writes DIR/results.md, and prints it. The exit status is 1 if a figure is missing or a
	"must" is missed: both are named. A must is judged when all that it compares was measured.
report.py plots DIR
	writes DIR/*.png, by gnuplot
report.py complete DIR
	whether it has all that a document needs: every row of every target, and none that failed
report.py doc DIR TEMPLATE
	prints TEMPLATE, in which @KERNEL@ and @TABLES@ are replaced
"""
import glob
import json
import os
import re
import subprocess
import sys

NAMES = {
	'zero': 'dm-zero (no cache, no device)',
	'raw-ssd': 'the SSD alone',
	'raw-disk': 'the disk alone',
	'linear': 'dm-linear on the SSD',
	'writeboost': 'dm-writeboost (this one)',
	'writeboost-default': 'dm-writeboost, migrating',
	'writecache': 'dm-writecache',
	'bcache': 'bcache',
	'dm-cache': 'dm-cache (smq)',
	'upstream': 'dm-writeboost 2.2 (Debian)',
}
COLOURS = {
	'zero': '#c8c8c8', 'raw-ssd': '#a0a0a0', 'raw-disk': '#787878', 'linear': '#b4b4b4',
	'writeboost': '#d62728', 'writeboost-default': '#e88080', 'writecache': '#1f77b4',
	'bcache': '#2ca02c', 'dm-cache': '#9467bd', 'upstream': '#ff7f0e',
}
RIVALS = ['writecache', 'bcache', 'dm-cache', 'upstream']
NO_CACHE = ['zero', 'raw-ssd', 'raw-disk', 'linear']

# Rows whose figure is requests per second.
IOPS = {
	'w4k-qd1': '4K random write, psync QD1, 64 MB',
	'w4k-qd32': '4K random write, libaio QD32, 64 MB',
	'w4k-fsync': '4K random write + fsync each, 1 job, 16 MB',
	'w4k-fsync-4jobs': '4K random write + fsync each, 4 jobs, 4 x 4 MB',
	'w64k-qd8': '64K random write, QD8, 256 MB',
	'w1m-seq': '1M sequential write, QD4, 256 MB',
	'w512-qd32': '512 B random write, QD32, 8 MB',
	'r4k-hit-qd32': '4K random read, all hits, QD32, 64 MB',
	'rw7030-qd32': '70/30 random, QD32, 64 MB: the reads',
	'w4k-fsync-16jobs': '4K random write + fsync each, 16 jobs, 16 x 1 MB',
	'ssd-flush-1job': 'flush costs 100 us: 4K write + fsync each, 1 job, 8 MB',
	'ssd-flush-4jobs': 'flush costs 100 us: 4K write + fsync each, 4 jobs, 4 x 4 MB',
	'ssd-flush-16jobs': 'flush costs 100 us: 4K write + fsync each, 16 jobs, 16 x 1 MB',
	'r4k-migrating': '4K random read, all hits, QD32, 128 MB, during a drain',
}
STARTS = {
	'start-orderly': 'after a stop in order, 1 GiB dirty',
	'start-crash': 'after a crash, 1 GiB dirty',
	'start-synced': 'as many headers as blocks, 128 MiB of log',
}
LOADS = {'uniform': '4K uniform', 'zipf': '4K zipf', 'sequential': 'sequential'}

# What must hold: row, figure, at least or at most, bound.
MUSTS = [
	('w4k-qd1', 'iops', '>=', 97000),
	('w4k-qd32', 'iops', '>=', 93000),
	('w4k-fsync', 'iops', '>=', 18600),
	('w4k-fsync-4jobs', 'iops', '>=', 42000),
	('w64k-qd8', 'iops', '>=', 17000),
	('w1m-seq', 'iops', '>=', 1300),
	('w512-qd32', 'iops', '>=', 85000),
	('r4k-hit-qd32', 'iops', '>=', 80000),
	('rw7030-qd32', 'iops', '>=', 58000),
	('ssd-requests', 'ssd_requests', '<=', 100),
	('start-orderly', 'ratio', '<=', 1.5),
	('start-crash', 'ratio', '<=', 1.5),
]
# And against the best of the rivals: row, figure, how many times its value at most.
MUSTS_OF_BEST = [
	('drain-uniform', 'disk_requests', 1),
	('drain-uniform', 'disk_s', 1),
	('drain-zipf', 'disk_requests', 1),
	('drain-zipf', 'disk_s', 1),
	('drain-sequential', 'disk_requests', 0.9),
	('drain-sequential', 'disk_s', 0.9),
	('full-uniform', 'p99_ms', 0.5),
	('full-zipf', 'p99_ms', 0.5),
	('full-sequential', 'p99_ms', 0.5),
]
# But no disk is quicker than its transfer, at 180 MB/s: to be within 2 % of that is good enough. It is that of 64 MiB in
# a drain; and of 32 blocks in line before a full cache, into which no more goes than the disk takes.
FLOORS = {
	'disk_s': (1.02 * (64 << 20) / 180e6, 'the transfer alone, and 2 %'),
	'p99_ms': (1.02 * 32 * 4096 / 180e3, 'the transfer of the 32 in line, and 2 %'),
}
# Against dm-zero in the same boot.
MUST_SCALE = 0.9
# With less gain than this dm-zero has had no second CPU: nothing can be told.
IDLE_SCALE = 1.4


def collect(directory, kernel, rows, targets):
	"""All that was told, by row and target; durations in ms and s, derived figures added."""
	figures = {row: {} for row in rows}
	failed = {}
	for target in targets:
		for path in sorted(glob.glob(os.path.join(directory, target + '.*.rows'))):
			for line in open(path):
				words = line.split()
				if words[:1] == ['row'] and words[1] in figures:
					told = (word.split('=', 1) for word in words[2:])
					figures[words[1]][target] = derive({k: float(v) if '.' in v else int(v)
									    for k, v in told})
				elif words[:1] == ['refused'] and words[1] in figures:
					figures[words[1]][target] = {'refused': ' '.join(words[2:])}
				elif words[:1] == ['failed']:
					failed[target] = ' '.join(words[1:])
	results = {
		'schema_version': 2,
		'kernel': kernel,
		'time': 'virtual: 1 instruction = 1 ns, one CPU; real, with 2 CPUs, in the row scaling',
		'targets': targets,
		'rows': figures,
		'failed': failed,
	}
	results['musts'] = [{'row': row, 'figure': figure, 'must_be': what, 'is': value, 'holds': holds}
			    for row, figure, what, value, holds in musts(results) if row in rows]
	return results


def derive(told):
	told = dict(told)
	if 'ops' in told:
		told['iops'] = int(told['ops'] * 1000 / told['ms'])
	for key in [key for key in told if key.endswith('_us')]:
		if key.startswith(('disk_', 'run_disk_')):
			told[key[:-2] + 's'] = round(told.pop(key) / 1e6, 3)
		else:
			told[key[:-2] + 'ms'] = round(told.pop(key) / 1e3, 3)
	if 'read_ms' in told:
		told['ratio'] = round(told['resume_ms'] / told['read_ms'], 3)
	if 'drain_ms' in told:
		told['drain_s'] = round(told['drain_ms'] / 1e3, 2)
		told['until_clean_s'] = round((told['drain_ms'] + told.get('ms', 0)) / 1e3, 2)
	if 'ssd_bytes' in told and 'user_bytes' in told:
		told['ssd_bytes_per_user_byte'] = round(told['ssd_bytes'] / told['user_bytes'], 3)
		told['ssd_writes_per_user_write'] = round(told['ssd_writes'] / told['ops'], 4)
	return told


def applies(row, target):
	"""Whether there is anything to measure. `run` asks it, too."""
	if row == 'scaling':
		return target not in NO_CACHE
	if row in STARTS:
		return target == 'writeboost'
	if row == 'ssd-requests':
		return target not in ('zero', 'raw-disk')
	if row.startswith('ssd-flush'):
		return target not in ('zero', 'raw-disk')
	if row.startswith(('drain-', 'full-')):
		return target not in ('zero', 'raw-ssd', 'linear')
	if row == 'r4k-migrating':
		return target not in NO_CACHE
	return True


# --- Tables -----------------------------------------------------------------------------------------------------------

def number(value):
	if isinstance(value, float):
		return f'{value:.4g}' if value < 1000 else f'{value:,.0f}'.replace(',', ' ')
	return f'{value:,}'.replace(',', ' ')


def cell(results, row, target, figure):
	if not applies(row, target):
		return '-'
	told = results['rows'].get(row, {}).get(target)
	if told is None:
		return 'missing'
	if 'refused' in told:
		return f'refused ({told["refused"]})'
	if figure.startswith('ssd_') and target in ('zero', 'raw-disk'):
		return '-'
	return number(told[figure]) if figure in told else '-'


def table(results, head, lines):
	"""head: titles of the columns before the targets'; lines: (titles, row, figure)."""
	targets = results['targets']
	out = ['| ' + ' | '.join(head + targets) + ' |', '|' + '---|' * (len(head) + len(targets))]
	for titles, row, figure in lines:
		out.append('| ' + ' | '.join(titles + [cell(results, row, target, figure) for target in targets]) + ' |')
	return '\n'.join(out)


def tables(results):
	rows = results['rows']
	out = []
	lines = [([f'`{row}`', IOPS[row]], row, 'iops') for row in rows if row in IOPS]
	if 'ssd-requests' in rows:
		lines.append((['`ssd-requests`', 'requests to the SSD for 16 384 4K writes (fewer are better)'],
			      'ssd-requests', 'ssd_requests'))
	if lines:
		out.append('**Requests per second** (more are better)\n\n' + table(results, ['row', 'workload'], lines))
	lines = [([f'`{row}`', title], row, figure)
		 for row in rows if row in ('w4k-qd1', 'w4k-qd32', 'w4k-fsync', 'w4k-fsync-4jobs', 'w4k-fsync-16jobs', 'w64k-qd8')
		 for figure, title in (('ssd_bytes_per_user_byte', 'bytes per byte'),
				       ('ssd_writes_per_user_write', 'requests per request'))]
	if lines:
		out.append('**Written to the SSD for what the user writes** (less is better)\n\n' +
			   table(results, ['row', 'figure'], lines))
	for kind, title, figures in (
		('drain', '**Draining 64 MB** to a disk that seeks: from the first write until all is on the disk '
			  '(less is better)',
		 (('disk_requests', 'requests to the disk'), ('disk_s', 'time the disk worked, s'),
		  ('disk_seek_s', 'of that in seeks and turns, s'), ('until_clean_s', 'until all is there, s'))),
		('full', '**A full cache of 256 MiB** on a disk that seeks: 4K writes, QD32, and then a drain '
		 '(of latencies less is better)',
		 (('iops', 'writes per second (more are better)'), ('p50_ms', 'latency, median, ms'),
		  ('p99_ms', 'latency, 99 %, ms'), ('p999_ms', 'latency, 99.9 %, ms'),
		  ('max_ms', 'latency, worst, ms'),
		  ('run_disk_requests', 'requests to the disk meanwhile'),
		  ('run_disk_seek_s', 'seeks and turns meanwhile, s'),
		  ('drain_s', 'then: time to drain, s'),
		  ('disk_requests', 'requests to the disk in that time'),
		  ('disk_seek_s', 'seeks and turns in that time, s')))):
		lines = [([f'`{kind}-{load}`', text], f'{kind}-{load}', figure) for load in LOADS
			 if f'{kind}-{load}' in rows for figure, text in figures]
		if lines:
			out.append(title + '\n\n' + table(results, ['row', 'figure'], lines))
	lines = [[f'`{row}`', title] + [cell(results, row, 'writeboost', figure) for figure in
					 ('headers', 'requests', 'kib', 'load_ms', 'resume_ms', 'read_ms', 'ratio')]
		 for row, title in STARTS.items() if row in rows and 'writeboost' in results['targets']]
	if lines:
		head = ['row', 'what is dirty', 'headers', 'requests to the SSD', 'KiB read', 'table loaded, ms', 'resumed, ms',
			'fio reads the headers, ms', 'resume / fio']
		out.append('**A start**: 64 GiB of cache (less is better)\n\n| ' + ' | '.join(head) + ' |\n|' + '---|' * len(head) +
			   '\n' + '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines))
	if 'scaling' in rows:
		lines = [(['`scaling`', title], 'scaling', figure) for figure, title in (
			('ratio', 'throughput of 2 jobs, of that of 1'), ('zero_ratio', 'the same of dm-zero, in the same boot'))]
		out.append('**Two CPUs** (real time, medians): 4K random writes, psync (more is better)\n\n' +
			   table(results, ['row', 'figure'], lines))
	return '\n\n'.join(out)


def musts(results):
	"""(row, what must be, what is, whether that holds or None where it was not measured) of each."""
	def ours(row, figure):
		return results['rows'].get(row, {}).get('writeboost', {}).get(figure)

	for row, figure, sense, bound in MUSTS:
		value = ours(row, figure)
		holds = None if value is None else value >= bound if sense == '>=' else value <= bound
		yield row, figure, f'{sense} {number(bound)}', value, holds
	for row, figure, factor in MUSTS_OF_BEST:
		value = ours(row, figure)
		rivals = [(results['rows'].get(row, {}).get(rival, {}).get(figure), rival) for rival in RIVALS]
		what = f'<= {factor} x best rival'
		if value is None or any(rival is None for rival, _ in rivals):
			yield row, figure, what, value, None
		else:
			best, name = min(rivals)
			bound, what = factor * best, f'{what} ({name}: {number(best)})'
			floor, why = FLOORS.get(figure, (0, ''))
			if bound < floor:
				bound, what = floor, f'{what}, or {floor:.3f}: {why}'
			yield row, figure, what, value, value <= bound
	value, zero = ours('scaling', 'ratio'), ours('scaling', 'zero_ratio')
	yield ('scaling', 'ratio', f'>= {MUST_SCALE} x dm-zero' + (f' ({zero})' if zero else ''), value,
	       None if value is None or zero < IDLE_SCALE else value >= MUST_SCALE * zero)


def report(results):
	"""The report, and whether nothing is amiss."""
	text = [f'Kernel {results["kernel"]}, virtual time (1 instruction = 1 ns, one CPU)', tables(results)]
	amiss = [f'missing: {row} of {target}' for row, told in results['rows'].items()
		 for target in results['targets'] if applies(row, target) and target not in told]
	amiss += [f'{target} failed: {reason}' for target, reason in results['failed'].items()]
	amiss += [f'scaling of {target}: dm-zero itself gains {told["zero_ratio"]}: the machine is too busy to tell'
		  for target, told in results['rows'].get('scaling', {}).items() if told['zero_ratio'] < IDLE_SCALE]
	lines = []
	for must in results['musts'] if 'writeboost' in results['targets'] else []:
		row, figure, what, value, holds = (must[key] for key in ('row', 'figure', 'must_be', 'is', 'holds'))
		verdict = 'not judged' if holds is None else 'holds' if holds else 'MISSED'
		shown = '-' if value is None else number(value)
		lines.append(f'| `{row}` | {figure} | {what} | {shown} | {verdict} |')
		if holds is False:
			amiss.append(f'missed: {row}: {figure} is {shown}, must be {what}')
	if lines:
		text.append('**What must hold**\n\n| row | figure | must be | is | |\n|---|---|---|---|---|\n' + '\n'.join(lines))
	return '\n\n'.join(text + (['\n'.join(amiss)] if amiss else [])) + '\n', not amiss


# --- Plots ------------------------------------------------------------------------------------------------------------

def bars(panel, results):
	"""gnuplot's commands for one panel: a bar for each target, with its figure beside it."""
	title, axis, row, figure, log = panel
	told = results['rows'].get(row, {})
	shown = [(target, told[target][figure]) for target in results['targets']
		 if target in told and figure in told[target] and
		 not (figure.startswith('ssd_') and target in ('zero', 'raw-disk'))]
	if not shown:
		return None
	top = max(value for _, value in shown) or 1
	low = min(value for _, value in shown if value > 0) if log and top > 1 else 0
	n = len(shown)
	data = []
	for i, (target, value) in enumerate(shown):
		data.append(f'{value} {n - i} {int(COLOURS[target][1:], 16)} "{number(value)}"')
	tics = ', '.join(f'"{NAMES[target]}" {n - i}' for i, (target, _) in enumerate(shown))
	if log:
		first = 10 ** (len(str(int(low))) - 1) / 10 if low >= 1 else 0.001
		scale = (f'set logscale x\nset xrange [{first}:{top * 20}]\nset format x "%g"\n'
			 f'set xtics {first},{10 if top / first < 1e5 else 100}\n')
	else:
		first, step = 0, 10 ** (len(f'{top:.0f}') - 1)
		while top / step < 2.5:
			step /= 2 if top / step > 1.5 else 5
		scale = f'unset logscale\nset xrange [0:{top * 1.3}]\nset format x "%g"\nset xtics 0,{step}\n'
	escaped = title.replace('"', '')
	return (f'$data << EOD\n' + '\n'.join(data) + '\nEOD\n' + scale +
		f'set title "{escaped}"\nset xlabel "{axis}"\nset yrange [0.4:{n}.6]\nset ytics ({tics})\n'
		f'plot $data using ({first}):2:({first}):1:($2-0.38):($2+0.38):3 with boxxyerror lc rgb variable, '
		f'"" using 1:2:4 with labels left offset 0.5,0\n')


def panels_of(results):
	"""The plots: name, title, panels of (title, axis, row, figure, logarithmic)."""
	rows = results['rows']
	first = [row for row in IOPS if row in rows and row not in ('w4k-fsync-16jobs', 'r4k-migrating') and
		 not row.startswith('ssd-flush')]
	yield ('throughput', 'Requests per second (longer bars are better)',
	       [(IOPS[row], 'requests per second', row, 'iops', False) for row in first])
	yield ('fsync', 'Writers that wait for an fsync after each 4 KiB (longer bars are better)',
	       [(f'{jobs}, {ssd}', 'writes per second', row, 'iops', False)
		for ssd, kind in (('SSD without a volatile cache', 'w4k-fsync{}'),
				  ('SSD whose flush costs 100 us', 'ssd-flush{}'))
		for jobs, row in (('1 writer', kind.format('' if kind[0] == 'w' else '-1job')),
				  ('4 writers', kind.format('-4jobs')), ('16 writers', kind.format('-16jobs')))])
	yield ('ssd-writes', 'Written to the SSD for what the user writes (shorter bars are better)',
	       [(f'bytes per byte: {IOPS[row]}', 'bytes to the SSD per byte written', row, 'ssd_bytes_per_user_byte', False)
		for row in ('w4k-qd32', 'w4k-fsync', 'w4k-fsync-4jobs')] +
	       [(f'requests per write: {IOPS[row]}', 'requests to the SSD per write', row, 'ssd_writes_per_user_write', False)
		for row in ('w4k-qd32', 'w4k-fsync', 'w4k-fsync-4jobs')])
	yield ('drain', '64 MB written, until all is on a disk that seeks (shorter bars are better)',
	       [(f'{title}: {what}', axis, f'drain-{load}', figure, False)
		for what, axis, figure in (('requests to the disk', 'requests', 'disk_requests'),
					   ('time the disk works', 's', 'disk_s'))
		for load, title in LOADS.items()])
	yield ('full', 'A full cache in front of a disk that seeks: 4 KiB writes, 32 at a time',
	       [(f'{title}: writes per second (longer is better)', 'writes per second', f'full-{load}', 'iops', True)
		for load, title in LOADS.items()] +
	       [(f'{title}: {percent} of the writes are quicker than this (shorter is better)', 'latency, ms', f'full-{load}', figure,
		 True) for percent, figure in (('99 %', 'p99_ms'), ('99.9 %', 'p999_ms'))
		for load, title in LOADS.items()])
	yield ('migrating', 'Reads of the cache while it is written back to the disk',
	       [('4K random reads, QD32 (longer is better)', 'reads per second', 'r4k-migrating', 'iops', False),
		('99 % are quicker than (shorter is better)', 'latency, ms', 'r4k-migrating', 'p99_ms', False)])


def plots(directory, results):
	for name, title, panels in panels_of(results):
		drawn = [commands for commands in (bars(panel, results) for panel in panels) if commands]
		if not drawn:
			continue
		columns = min(3, len(drawn))
		lines = -(-len(drawn) // columns)
		script = (f'set terminal pngcairo size {640 * columns},{300 * lines + 50} font "DejaVu Sans,10"\n'
			  f'set output "{os.path.join(directory, name + ".png")}"\n'
			  f'set multiplot layout {lines},{columns} title "{title}" font "DejaVu Sans,16"\n'
			  'set style fill solid 0.9 noborder\nunset key\nset tics out nomirror\nset grid x lc rgb "#e0e0e0"\n'
			  'set border 3\nset lmargin 28\nset rmargin 4\n' + ''.join(drawn) + 'unset multiplot\n')
		subprocess.run(['gnuplot'], input=script, text=True, check=True)


def load(directory):
	with open(os.path.join(directory, 'results.json')) as file:
		return json.load(file)


def main():
	command, directory = sys.argv[1:3]
	if command == 'collect':
		kernel, rows, targets = sys.argv[3], sys.argv[4].split(), sys.argv[5].split()
		with open(os.path.join(directory, 'results.json'), 'w') as file:
			json.dump(collect(directory, kernel, rows, targets), file, indent=2)
			file.write('\n')
	elif command == 'applies':
		print(' '.join(row for row in sys.argv[3:] if applies(row, directory)))
	elif command == 'tables':
		text, good = report(load(directory))
		with open(os.path.join(directory, 'results.md'), 'w') as file:
			file.write(text)
		print(text, end='')
		sys.exit(0 if good else 1)
	elif command == 'complete':
		results = load(directory)
		lacks = [name for name in [*IOPS, *STARTS, 'ssd-requests', 'scaling'] +
			 [f'{kind}-{load}' for kind in ('drain', 'full') for load in LOADS] if name not in results['rows']]
		lacks += [name for name in NO_CACHE[:3] + ['writeboost'] + RIVALS if name not in results['targets']]
		lacks += list(results['failed'])
		if lacks:
			sys.exit('these results are no whole: make bench without ROWS and TARGETS (' + ', '.join(lacks) + ')')
	elif command == 'plots':
		plots(directory, load(directory))
	elif command == 'doc':
		results = load(directory)
		with open(sys.argv[3]) as file:
			print(re.sub('@(KERNEL|TABLES)@', lambda m: {'KERNEL': results['kernel'],
				     'TABLES': report(results)[0].strip()}[m[1]], file.read()), end='')


main()
