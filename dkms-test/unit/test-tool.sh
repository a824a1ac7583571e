#!/bin/bash
# writeboost-ctl's offline verbs on image files: format, check, dump, repair; the command line; exit codes.
#
# Both builds are used: the sanitized one for all but what a preloaded library cannot be mixed with. Logs
# come from mklog. TOOL=PATH tests another build, SEED=N other random damage, FUZZ=N so many rounds of it.
set -u
export LC_ALL=C ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:exitcode=99 UBSAN_OPTIONS=halt_on_error=1:exitcode=99
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
out=$root/build/unit
mkdir -p "$out"
work=$(mktemp -d "$out/tool.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
cd "$work" || exit 1

plain=$root/build/tools/writeboost-ctl
if [ -z "${TOOL-}" ]; then
	make -s -C "$root/tools" >make.log 2>&1 && make -s -C "$root/tools" SANITIZE=1 >>make.log 2>&1 ||
		{ cat make.log; echo "not ok - tool: it does not build"; exit 1; }
	TOOL=$root/build/tools-sanitize/writeboost-ctl
fi
gcc -std=gnu11 -g -O1 -Wall -Wextra -Wno-unused-parameter -Werror -fsanitize=address,undefined \
	-fno-sanitize-recover=all -I"$root/src/segment" -o mklog "$here/mklog.c" \
	"$root/src/segment/encode.c" "$root/tools/crc32c.c" || { echo "not ok - tool: mklog does not build"; exit 1; }
wb() { "$TOOL" "$@" </dev/null; }

passed=0 failed=0 name='' bad=''

# test NAME: begins one; what does not hold in it is said with `no`. result ends it.
test_case() { result; name=$1 bad=''; }
no() { [ -n "$bad" ] || bad="$*"; }
result()
{
	[ -n "$name" ] || return 0
	if [ -z "$bad" ]; then
		echo "ok - tool: $name"; passed=$((passed + 1))
	else
		echo "not ok - tool: $name: $bad"; failed=$((failed + 1))
	fi
	name=''
}

# code N COMMAND...: must end with N; leaves its output in ./out and ./err.
code()
{
	local want=$1 got
	shift
	"$@" >out 2>err
	got=$?
	[ $got -eq "$want" ] || no "'${*/#$TOOL/writeboost-ctl}' ended with $got, not $want: $(head -c 300 err)"
	# An error says something, and only on stderr may it be alone.
	[ "$want" -eq 0 ] || [ -s err ] || [ -s out ] || no "'$*' failed in silence"
}
has() { grep -qE -e "$2" "$1" || no "no '$2' in the output: $(head -c 400 "$1")"; }
hasnt() { ! grep -qE -e "$2" "$1" || no "'$2' is in the output, and should not be"; }
same() { [ "$(md5sum <"$1")" = "$(cat "$2")" ] || no "$1 was changed"; }
sum() { md5sum <"$1"; }

# blank [SIZE]: new images c and b, nothing on them. fresh: formatted, 64 KiB segments, 32 slots.
blank() { rm -f c b; truncate -s "${1-3M}" c; truncate -s 64M b; }
format=(format c --backing b --segment-size 64K)
fresh() { blank; wb "${format[@]}" >/dev/null || no "format failed"; }
log() { ./mklog "${1-c}" || no "mklog failed"; }
json_ok()
{
	if command -v python3 >/dev/null; then
		python3 -m json.tool <out >/dev/null 2>&1 || no "not JSON: $(head -c 200 out)"
	else
		[ "$(head -c1 out)" = '{' ] && [ "$(tail -n1 out)" = '}' ] || no "not JSON: $(head -c 200 out)"
	fi
}
# state CODE WORD: what check says, both ways.
state()
{
	code "$1" wb check c; has out "^c: $2\$"
	code "$1" wb check --json c; has out "\"state\":\"$2\""; json_ok
}
# sector FILE BLOCK SECTOR: "VERSION" of what is there, "-" for zeros.
sector()
{
	local text
	text=$(dd if="$1" bs=512 skip=$(($2 * 8 + $3)) count=1 2>/dev/null | tr -d '\0' | head -n1)
	case $text in
	"block $2 sector $3 version "*) echo "${text##* }" ;;
	'') echo - ;;
	*) echo "?" ;;
	esac
}
on_backing() { [ "$(sector b "$1" "${3-0}")" = "$2" ] || no "block $1 on the backing device is version $(sector b "$1" "${3-0}"), not $2"; }

# ---------------------------------------------------------------- the command line

test_case "command line"
code 1 wb; code 1 wb frobnicate; code 1 wb --frobnicate; code 1 wb check; code 1 wb check a b
code 1 wb check c --force; code 1 wb list --timeout 3; code 1 wb drain x --timeout 0; code 1 wb drain x --timeout soon
code 1 wb create a b; code 1 wb create n b c --option nonsense; code 1 wb create n b c --option colour=3
code 1 wb create n b c --option migrate_threshold=101; has err '0 to 100'
code 1 wb set x migrate_threshold=-1; code 1 wb set x migrate_threshold; code 1 wb set x a b
code 1 wb remove x --timeout 3; code 1 wb repair c --skip; code 1 wb repair c --cut --skip --backing b
code 1 wb repair c --backing b; code 1 wb format c
code 0 wb --help; has out 'Exit codes: 0 ok'; code 0 wb --version; has out '^writeboost-ctl [0-9]'
for verb in format create remove drain undrain status list get set check dump repair; do
	code 0 wb $verb --help; has out "^Usage: writeboost-ctl $verb"
	code 0 wb --help; has out "^  $verb "
done

test_case "output that cannot be written"
fresh
wb check c >/dev/full 2>err; [ $? -eq 4 ] || no "a full disk was not noticed"
wb check --json c >/dev/full 2>err; [ $? -eq 4 ] || no "a full disk was not noticed (JSON)"
log <<<'flipbyte 100'
m=$(sum c); wb repair c >&- 2>&-; [ "$(sum c)" = "$m" ] || no "closed descriptors: the device was written to"
m=$(sum c); wb check c >&- 2>&- <&-; [ "$(sum c)" = "$m" ] || no "closed descriptors: the device was written to"

# ---------------------------------------------------------------- format

test_case "format: a blank device, no question"
blank; m=$(sum b)
code 0 wb "${format[@]}"; has out '^c is now a cache of b'; state 0 clean
[ "$(sum b)" = "$m" ] || no "the backing device was written to"

test_case "format: segment sizes"
for s in 16K 64KiB 131072 1M 1MiB; do blank 9M; code 0 wb format c --backing b --segment-size $s; done
for s in 8K 2M 100K 0 x 16Q 1e6 -16K 99999999999999999999; do code 1 wb format c --backing b "--segment-size=$s"; done

test_case "format: wrong devices"
blank
code 4 wb format nothere --backing b; code 4 wb format c --backing nothere; code 4 wb format . --backing b
code 4 wb format /dev/null --backing b; code 4 wb format c --backing c; has err 'same device'
ln c c2; code 4 wb format c --backing c2; has err 'same device'; rm c2
truncate -s 1M c; code 4 wb format c --backing b; has err 'too small'
truncate -s 3M c; code 4 wb format c --backing b --segment-size 1M; has err 'too small'
truncate -s 0 b; code 4 wb format c --backing b --segment-size 16K; has err 'empty'

test_case "format: a device in use"
blank
code 5 flock c "$TOOL" format c --backing b --force --yes </dev/null; has err 'in use'
code 5 flock b "$TOOL" format c --backing b --force --yes </dev/null; has err 'in use'

test_case "format: foreign signature"
for kind in ext4 swap; do
	blank
	case $kind in
	ext4) mkfs.ext4 -q -F -L precious c ;;
	swap) mkswap c >/dev/null 2>&1 ;;
	esac
	m=$(sum c)
	code 6 wb "${format[@]}"; has err "$kind"; has err 'force'
	code 6 wb "${format[@]}" --yes; code 6 wb "${format[@]}" --force; has err 'add --yes'
	[ "$(sum c)" = "$m" ] || no "a refused format wrote"
	code 0 wb "${format[@]}" --force --yes; state 0 clean
	[ -z "$(blkid -p -o value -s TYPE c)" ] || no "the signature of $kind is still there"
done

test_case "format: a partition table, also its copy at the end"
if command -v sfdisk >/dev/null; then
	blank; printf 'label: gpt\n1M,1M\n' | sfdisk -q c >/dev/null 2>&1
	code 6 wb "${format[@]}"; has err 'gpt partition table'
	code 0 wb "${format[@]}" --force --yes
	[ -z "$(wipefs c 2>/dev/null)" ] || no "something is left: $(wipefs c)"
	state 0 clean
fi

test_case "format: a signature that our own blocks do not cover"
reiser4() { printf 'ReIsEr4' | dd of=c bs=1 seek=65536 conv=notrunc 2>/dev/null; }
blank; reiser4; code 6 wb "${format[@]}"; has err 'reiser4 file system \(at byte 65536\)'
code 0 wb "${format[@]}" --force --yes; [ -z "$(blkid -p -o value -s TYPE c)" ] || no "it is still there"
fresh; reiser4; code 6 wb "${format[@]}" --yes; has err reiser4
fresh; mkfs.ext4 -q -F c 2>/dev/null; code 6 wb "${format[@]}" --yes; has err ext4

test_case "format: what looks like a signature inside the log is none"
fresh; printf '\015\320\001\300' | dd of=c bs=1 seek=1048576 conv=notrunc 2>/dev/null
code 0 wb "${format[@]}" --yes

test_case "format: a cache of dm-writeboost 2.x"
blank; printf '\164\163\102\127' | dd of=c conv=notrunc 2>/dev/null; m=$(sum c)
code 6 wb "${format[@]}" --yes; has err '2\.x'
code 4 wb check c; has err '2\.x'; code 4 wb dump c; code 4 wb repair c --yes
[ "$(sum c)" = "$m" ] || no "a refused format wrote"
code 6 wb "${format[@]}" --force; code 0 wb "${format[@]}" --force --yes; state 0 clean

test_case "format: a clean cache"
fresh; m=$(sum c)
code 6 wb "${format[@]}"; [ "$(sum c)" = "$m" ] || no "a refused format wrote"
code 0 wb "${format[@]}" --yes; [ "$(sum c)" != "$m" ] || no "not formatted again"

test_case "format: a question on a terminal"
if command -v script >/dev/null; then
	answer() { echo "$1" | script -qec "$plain format c --backing b --segment-size 64K" /dev/null; }
	fresh; m=$(sum c)
	code 6 answer n; code 6 answer ''; has out 'Format it again\? \[y/N\]'; [ "$(sum c)" = "$m" ] || no "it wrote"
	code 0 answer y; [ "$(sum c)" != "$m" ] || no "not formatted again"
fi

test_case "format: a cache with dirty data"
fresh; log <<<'chunk 0-3
chunk 3 9/0f'
m=$(sum c)
code 6 wb "${format[@]}" --yes; has err '5 blocks'; has err '18\.0 KiB'
[ "$(sum c)" = "$m" ] || no "a refused format wrote"
code 6 wb "${format[@]}" --force
code 0 wb "${format[@]}" --force --yes; state 0 clean

test_case "format: what is migrated is not dirty"
fresh; log <<<'chunk 0-3
segment 2
chunk 9
record both migrated=2 durable=2.0'
state 0 clean; code 0 wb "${format[@]}" --yes

test_case "format: a damaged cache"
fresh; log <<<'chunk 0-3
segment 2
durable 1 0
chunk 9
flip 1 0'
code 6 wb "${format[@]}" --yes; has err damaged
fresh; log <<<'flipbyte 131090
flipbyte 393234'
code 6 wb "${format[@]}" --yes; has err damaged
fresh; log <<<'flipbyte 100
flipbyte 262244'
code 6 wb "${format[@]}" --yes

test_case "what a later version made is left alone"
fresh; log <<<'chunk 0-3
incompat 1'
m=$(sum c)
code 6 wb "${format[@]}" --yes; has err 'feature'
code 4 wb check c; has err newer; code 4 wb repair c --yes; code 0 wb dump c; has out 'incompatible feature'
[ "$(sum c)" = "$m" ] || no "it was written to"

fresh; log <<<'chunk 0-3
ro_compat 1
flipbyte 131090'
code 7 wb check c; code 4 wb repair c --yes; has err newer

test_case "format: cut off at every write"
cat >cut.c <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>
static int left = -1;
ssize_t pwrite64(int fd, const void *buf, size_t len, off_t at)
{
	static ssize_t (*real)(int, const void *, size_t, off_t);
	if (!real) {
		real = (ssize_t (*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite64");
		left = atoi(getenv("WRITES"));
	}
	if (left-- == 0) {
		real(fd, buf, getenv("TORN") ? len / 2 : 0, at);
		_exit(77);
	}
	return real(fd, buf, len, at);
}
END
gcc -shared -fPIC -o cut.so cut.c -ldl || no "cut.so does not build"
fresh; log <<<'chunk 0-3'
cp c dirty; old=$(wb check c | grep uuid)
for torn in '' 1; do
	for n in 0 1 2 3 4 5 6 7; do
		cp dirty c
		WRITES=$n ${torn:+env TORN=1} env LD_PRELOAD="$work/cut.so" "$plain" format c --backing b \
			--segment-size 64K --force --yes </dev/null >/dev/null 2>&1
		rc=$?
		wb check c >out 2>err; got=$?
		case $rc:$got in
		77:0) # the old one whole, or the new one: half of its first superblock is all that counts
			if [ "$(grep uuid out)" = "$old" ]; then [ "$n" -eq 0 ]; else [ "$n" -eq 5 ] && [ "$torn" ]; fi ||
				no "cut at write $n: passes as good" ;;
		77:4|77:7) ;;
		0:0) [ "$n" -ge 6 ] || no "ended well at write $n" ;;
		*) no "cut at write $n: format $rc, check $got" ;;
		esac
		# Whatever it is, old blocks must not be dirty data of a new cache.
		grep -q 'dirty  *16' out && [ "$(grep uuid out)" != "$old" ] && no "cut at write $n: old data in a new cache"
	done
done

# ---------------------------------------------------------------- check

test_case "check: clean, dirty"
fresh; state 0 clean
log <<<'chunk 0-3
chunk 100/0f
segment 2
durable 1 1
chunk 1 200-204'
state 0 dirty; has out '"dirty_blocks":10'; has out '"dirty_bytes":38912'; has out '"chunks":3'

test_case "check: discarded blocks are not dirty"
fresh; log <<<'chunk 0-3
chunk 1+2
chunk 2'
state 0 dirty; has out '"dirty_blocks":3'

test_case "check: torn tails"
fresh; log <<<'chunk 0-3
torn 4-6'; state 0 'torn tail'; has out '"dirty_blocks":4'
fresh; log <<<'chunk 0-3
chunk 4-6
flip 1 5'; state 0 'torn tail'; has out '"dirty_blocks":4'
fresh; log <<<'chunk 0-3
torn 4-6
segment 2
chunk 9'; state 0 'torn tail'; has out '"dirty_blocks":4'

test_case "check: rotten data of a durable chunk"
fresh; log <<<'chunk 0-3
rotten 4-6
segment 2
durable 1 1
chunk 9'
state 7 damaged; has out '"chunks_with_bad_data":1'; has out '"first_sector":48'; has out '"sectors":8'
# It does not matter to the data that comes after, and counts as dirty still.
has out '"dirty_blocks":8'

test_case "check: a bad header before the durable point, by a header before it"
fresh; log <<<'chunk 0-3
chunk 4
segment 2
durable 1 1
chunk 5
chunk 6
flip 1 5'; state 7 damaged
test_case "check: a bad header before the durable point, by the record"
fresh; log <<<'chunk 0-3
chunk 4
record both durable=1.1
flip 1 5'; state 7 damaged; has out '"end_block":5'
test_case "check: a bad header before the durable point, by a later header in the slot"
fresh; log <<<'chunk 0
chunk 1
durable 1 1
chunk 2
flip 1 2'; state 7 damaged
test_case "check: rotten data before a chain that is broken, too"
fresh; log <<<'rotten 0-3
chunk 4
chunk 5
durable 1 2
chunk 6'; state 7 damaged; code 7 wb check c; has out 'The target starts with this'
log <<<'flip 1 5'; state 7 damaged; code 7 wb check c; has out 'refuses to start'; has out 'with bad data|damaged data'
test_case "check: a bad first header"
fresh; log <<<'chunk 0
durable 1 0
chunk 2
zero 1 0'; state 7 damaged

test_case "check: bad superblocks"
fresh; log <<<'flipbyte 100'; state 7 damaged; has out '"verdict":"checksum mismatch"'
fresh; log <<<'flipbyte 262244'; state 7 damaged
fresh; log <<<'flipbyte 100
flipbyte 262244'; code 7 wb check c; code 7 wb check --json c; [ ! -s out ] || no "JSON on an error"
test_case "check: bad records"
for i in 0 1; do
	fresh; log <<<"chunk 0-3
record both seq=7
flipbyte $((131090 + i * 262144))"; state 7 damaged; has out '"dirty_blocks":4'
done
fresh; log <<<'flipbyte 131090
flipbyte 393234'; state 7 damaged; code 7 wb check c; has out 'refuses to start'; hasnt out 'repair c'

test_case "check: what is no cache"
blank; code 4 wb check c; has err 'not formatted'; has err 'writeboost-ctl format c'
code 4 wb check nothere; code 4 wb check .; fresh; truncate -s 2M c; code 4 wb check c; has err 'sectors'
truncate -s 10K c; code 4 wb check c; : >c; code 4 wb check c; has err 'too small'
fresh; code 5 flock c "$TOOL" check c

# The chunk of life 1 that was torn at 1.1, what came behind it, and a life 2 that began at segment 2.
two_lives='chunk 0-3
keep
torn 4
chunk 5
segment 2
chunk 6
back
zero 1 5
record both epoch=2 life_start=2 link=last durable=1.0
epoch 2
version 2
segment 2
durable 1 0
chunk 3 7'
test_case "check: several lives, and leftovers of cut ones"
fresh; log <<<"$two_lives"
state 0 dirty; has out '"dirty_blocks":5'; has out '"chunks":2'
log <<<'flip 1 0'; state 7 damaged

test_case "check: leftovers of an earlier lap"
fresh
{
	for i in $(seq 1 32); do printf 'segment %d\nchunk %d\nchunk %d\n' "$i" "$i" $((100 + i)); done
	echo 'record both migrated=32 durable=32.1'
	printf 'segment 33\nversion 2\ndurable 32 1\nchunk 40-50\n'
} | log
state 0 dirty; has out '"dirty_blocks":11'; has out '"chunks":1'

# ---------------------------------------------------------------- dump

test_case "dump: text and JSON, good and damaged"
fresh; log <<<"$two_lives"
code 0 wb dump c; has out 'segment 2 in slot 1, lap 1'; has out 'chunk 0 at block 0: 2 blocks, epoch 2'
has out 'superblock 1 at byte 262144: good'; hasnt out 'backing block'
code 0 wb dump --entries c; has out 'backing block 7, sectors ff'
code 0 wb dump --json --entries c; json_ok; has out '"backing_block":7'; has out '"schema_version":1'
code 0 wb dump --all c
log <<<'flip 2 0
flip 1 1 200'; code 0 wb dump c; has out 'DATA BAD in 1 block'; has out 'not good: checksum mismatch'
log <<<'flipbyte 131090
flipbyte 393234'; code 0 wb dump c; has out 'all slots'; has out 'segment 1 in slot 0'
code 0 wb dump --json c; json_ok
printf 'X' | dd of=c bs=1 seek=100 conv=notrunc 2>/dev/null; code 0 wb dump c; has out 'superblock 0.*mismatch'
printf 'X' | dd of=c bs=1 seek=262244 conv=notrunc 2>/dev/null; code 0 wb dump c; code 0 wb dump --json c; json_ok
blank; code 4 wb dump c

test_case "dump: a truncated image"
fresh; log <<<'chunk 0-3'; truncate -s 1100000 c; code 0 wb dump c; code 0 wb dump --all --json --entries c; json_ok

# ---------------------------------------------------------------- repair

test_case "repair: nothing to do"
fresh; m=$(sum c); code 0 wb repair c; has out 'nothing to repair: clean'; [ "$(sum c)" = "$m" ] || no "it wrote"
log <<<'chunk 1
torn 2-3'; m=$(sum c); code 0 wb repair c --yes; has out 'torn tail'; [ "$(sum c)" = "$m" ] || no "it wrote"

test_case "repair: superblocks and records"
for at in 100 262244 131090 393234; do
	fresh; log <<<"chunk 0-3
record both seq=7
flipbyte $at"
	m=$(sum c); code 6 wb repair c; has out 'rewritten from the other one'; [ "$(sum c)" = "$m" ] || no "it wrote unasked"
	code 0 wb repair c --yes; state 0 dirty; has out '"dirty_blocks":4'
done
fresh; log <<<'chunk 0-3
flipbyte 100
flipbyte 131090'; code 0 wb repair c --yes; state 0 dirty
fresh; log <<<'flipbyte 100
flipbyte 262244'; m=$(sum c); code 7 wb repair c --yes; [ "$(sum c)" = "$m" ] || no "it wrote"
fresh; log <<<'flipbyte 131090
flipbyte 393234'; m=$(sum c); code 7 wb repair c --yes; [ "$(sum c)" = "$m" ] || no "it wrote"
blank; code 4 wb repair c --yes

test_case "repair: a device that was given to something else"
fresh; log <<<'chunk 0-3'; mkfs.ext4 -q -F c 2>/dev/null; m=$(sum c)
code 4 wb check c; code 4 wb repair c --yes; has err 'something else'; [ "$(sum c)" = "$m" ] || no "it wrote"
fresh; log <<<'chunk 0-3'; dd if=/dev/zero of=c bs=4096 count=1 conv=notrunc 2>/dev/null; reiser4; m=$(sum c)
code 7 wb check c
code 6 wb repair c --yes; has err reiser4; [ "$(sum c)" = "$m" ] || no "it wrote"
code 0 wb repair c --yes --force; code 4 wb check c; wipefs -q --offset 65536 c; state 0 dirty
fresh; log <<<'chunk 0-3'; reiser4; m=$(sum c)
code 4 wb check c; has out dirty; has err reiser4
flipped() { log <<<'flipbyte 131090'; m=$(sum c); }
flipped; code 7 wb check c; has out 'given to something else'; hasnt out 'What can be done'
code 6 wb repair c --yes; has err reiser4; [ "$(sum c)" = "$m" ] || no "it wrote"
if command -v sfdisk >/dev/null; then
	# It leaves our magic, and both records, and the second superblock.
	fresh; log <<<'chunk 0-3'; printf 'label: gpt\n1M,1M\n' | sfdisk -q --wipe never c >/dev/null 2>&1; m=$(sum c)
	[ "$(head -c 15 c)" = dmWriteboostLog ] || no "sfdisk overwrote the magic: this test is of no use"
	code 4 wb check c; has err 'something else'; has err 'with zeros'
	code 4 wb repair c --yes; code 4 wb repair c --yes --force; code 6 wb format c --backing b --yes
	[ "$(sum c)" = "$m" ] || no "it wrote"
	dd if=/dev/zero of=c bs=4096 count=1 conv=notrunc 2>/dev/null; code 0 wb repair c --yes; state 0 dirty; has out '"dirty_blocks":4'
fi

# Segments 1 to 4; 2.1 (block 20) will be damaged. Block 1 is newer behind it, 10 only before it.
damaged='chunk 1 10
segment 2
chunk 2
chunk 20
chunk 21
segment 3
durable 2 2
version 2
chunk 1 30/f0
segment 4
durable 3 0
chunk 40-42 2/01'
test_case "repair: cut"
fresh; log <<<"$damaged
flip 2 2"; m=$(sum c)
state 7 damaged
code 6 wb repair c; [ "$(sum c)" = "$m" ] || no "it wrote unasked"
has out 'sectors 8 to 16 '; has out 'sectors 168 to 175'; has out 'sectors 244 to 247'
has out 'sectors 320 to 343'; hasnt out 'sectors 80 to'; has out 'after segment 2, block 2 are gone'
has out 'would lose 0 B of 30.0 KiB'
code 0 wb repair c --yes; has out 'c is repaired: dirty'
state 0 dirty; has out '"dirty_blocks":3'; has out '"last_id":2'; has out '"epoch":2'
# The new life goes on at segment 3, over what was cut off, of which nothing comes back.
sed -n '/"life_link"/{s/.*://;s/,//;p;q}' out >link
log <<END
epoch 2
segment 3
link $(printf '%x' "$(cat link)")
durable 2 0
chunk 50
END
state 0 dirty; has out '"dirty_blocks":4'; has out '"last_id":3'

test_case "repair: the new life outdoes every header"
fresh; log <<<"$damaged
flip 2 2
epoch 9
segment 20
chunk 9"
for way in --cut '--skip --backing b'; do
	cp c one
	# shellcheck disable=SC2086
	code 0 wb repair one $way --yes; code 0 wb check --json one; has out '"epoch":10'
done

test_case "repair: cut at the very first chunk"
fresh; log <<<'chunk 0
durable 1 0
chunk 2
zero 1 0'
code 0 wb repair c --cut --yes; state 0 clean
log <<<'epoch 2
chunk 3'
state 0 dirty; has out '"dirty_blocks":1'

test_case "repair: cut at rotten data"
fresh; log <<<'chunk 0-3
rotten 4-6
segment 2
durable 1 1
chunk 9'
code 7 wb check c; has out 'skip --backing DEV'
code 0 wb repair c --yes; has out 'check the file system'; state 0 dirty; has out '"dirty_blocks":4'

test_case "repair: what is rotten has been overwritten"
fresh; log <<<'chunk 0-3
rotten 4-6
segment 2
durable 1 1
chunk 4-6'
m=$(sum c); code 7 wb check c; has out 'nothing is lost'
code 6 wb repair c --yes; has err 'create and drain'; [ "$(sum c)" = "$m" ] || no "it wrote"
cp c one; code 0 wb repair one --cut --yes; has out 'This loses'; code 0 wb check one; has out ': dirty'
code 0 wb repair c --skip --backing b --yes; state 0 clean; on_backing 0 1; on_backing 5 1

test_case "repair: skip"
fresh; log <<<"$damaged
flip 2 2"; m=$(sum c)
code 6 wb repair c --skip --backing b; [ "$(sum c)" = "$m" ] || no "it wrote unasked"
on_backing 1 -
code 0 wb repair c --skip --backing b --yes; has out 'wrote 30.0 KiB to b'; has out 'repaired: clean'
on_backing 1 2; on_backing 10 1; on_backing 2 2 0; on_backing 2 1 1; on_backing 20 -; on_backing 21 1
on_backing 30 - 3; on_backing 30 2 4; on_backing 42 2 7
state 0 clean
log <<<'epoch 2
segment 5
chunk 3'
state 0 dirty; has out '"dirty_blocks":1'

test_case "repair: skip writes a good log back"
fresh; log <<<'chunk 0-3
version 2
chunk 2 9/0f
torn 3'
m=$(sum c); code 6 wb repair c --skip --backing b; [ "$(sum c)" = "$m" ] || no "it wrote unasked"
code 0 wb repair c --skip --backing b --yes; on_backing 0 1; on_backing 2 2; on_backing 3 1; on_backing 9 2 0; on_backing 9 - 4
state 0 clean
code 0 wb repair c --skip --backing b --yes; has out 'nothing to repair'

test_case "repair: skip over rotten data; an older copy is not written in its place"
fresh; log <<<'chunk 5 6 12
version 2
rotten 7 12/0f
rotten 5
segment 2
durable 1 2
version 3
chunk 7'
code 0 wb repair c --skip --backing b --yes; has out 'sectors 40 to 47'; has out 'sectors 96 to 99'
on_backing 12 - 0; on_backing 12 1 4
on_backing 5 -; on_backing 6 1; on_backing 7 3; state 0 clean

test_case "repair: skip takes nothing from cut-off lives"
fresh; log <<<"$two_lives
flip 1 1"
code 0 wb repair c --skip --backing b --yes; hasnt out 'left out'
on_backing 0 -; on_backing 1 1; on_backing 4 -; on_backing 5 -; on_backing 6 -; on_backing 3 2; on_backing 7 2
fresh; log <<<"$two_lives
record both durable=2.0
flip 2 0"
code 7 wb check c; code 0 wb repair c --skip --backing b --yes
on_backing 1 1; on_backing 3 1; on_backing 4 -; on_backing 5 -; on_backing 6 -; on_backing 7 -

test_case "repair: skip leaves out what cannot be proved"
# Life 1: 1.0, 1.1, 1.2, 2.0; life 2 from 3 on. With 1.1 and 2.0 bad, nothing says that 1.2 belongs.
lives='chunk 1
chunk 2
chunk 3
segment 2
durable 1 2
chunk 4
record both epoch=2 life_start=3 link=last durable=3.0
epoch 2
segment 3
durable 2 0
chunk 5'
fresh; log <<<"$lives
flip 1 2"
code 0 wb repair c --skip --backing b --yes; hasnt out 'left out'
on_backing 1 1; on_backing 2 -; on_backing 3 1; on_backing 4 1; on_backing 5 1
fresh; log <<<"$lives
flip 1 2
flip 2 0"
code 0 wb repair c --skip --backing b --yes; has out '1 chunk left out'
on_backing 1 1; on_backing 3 -; on_backing 5 1

test_case "repair: skip honours discards, and a torn tail"
fresh; log <<<'chunk 1-3
rotten 4
chunk 2+2
durable 1 2
chunk 8
torn 9
chunk 10'
code 0 wb repair c --skip --backing b --yes
on_backing 1 1; on_backing 2 -; on_backing 3 -; on_backing 8 1; on_backing 9 -; on_backing 10 -; state 0 clean

test_case "repair: skip wants the right backing device"
fresh; log <<<"$damaged
flip 2 2"; m=$(sum c)
truncate -s 63M small; code 4 wb repair c --skip --backing small --yes; has err 'not that one'
code 4 wb repair c --skip --backing nothere --yes; code 4 wb repair c --skip --backing c --yes
[ "$(sum c)" = "$m" ] || no "it wrote"

# ---------------------------------------------------------------- anything at all

test_case "random damage (seed ${SEED:=1})"
RANDOM=$SEED
metadata=(0 262144 131072 393216 1048576 1069056 1114112 1122304 1130496 1179648 1245184)
for round in $(seq "${FUZZ:-25}"); do
	fresh; log <<<"$damaged"
	for _ in $(seq $((RANDOM % 4 + 1))); do
		at=$((metadata[RANDOM % ${#metadata[@]}] + RANDOM % 120))
		printf "\\x$(printf %02x $((RANDOM % 256)))" | dd of=c bs=1 seek=$at conv=notrunc 2>/dev/null
	done
	cp c case
	for verb in check dump 'dump --all --entries --json'; do
		# shellcheck disable=SC2086
		wb $verb c >out 2>err
		case $? in 0|4|7) ;; *) no "round $round: '$verb' ended badly: $(grep -m1 -E 'ERROR|error' err)"; cp case "$out/tool-fuzz-case" ;; esac
	done
	way=$((RANDOM % 2))
	if [ $way = 1 ]; then wb repair c --skip --backing b --yes; else wb repair c --cut --yes; fi >out 2>err
	rc=$?
	case $rc in
	0) wb check c >out 2>err || { no "round $round: still damaged after repair"; cp case "$out/tool-fuzz-case"; } ;;
	4|7) ;;
	*) no "round $round: repair ended with $rc: $(head -c 200 err)"; cp case "$out/tool-fuzz-case" ;;
	esac
done

result
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
