// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "load.h"

#define DISCARDED	0x80000000u	/* of an operation's number: it left zeros */

struct plan plan = {
	.magic = STATE_MAGIC, .seed = 1, .sectors = 8192, .writers = 4, .grain = 1, .max = MAX_IO,
	.discard = 4, .flush = 8, .fua = 6, .life = 1,
};
u32 nr_ops = 1000, reads = 30, lives = 10, toggle;
const char *name;
int fd = -1, state_fd = -1;
struct writer writers[MAX_WRITERS];
struct base *base;
u64 ops_done;
bool stop, killed, ordered = true;
bool (*load_cut)(void);
struct stable stable;

static u32 *issued, *acked;		/* of each sector: number of the operation, DISCARDED */
static struct base *forced;		/* of each sector: the last FUA write, which vouches at least for itself */
static u32 acked_ops[MAX_WRITERS];
static u32 ops_wanted;
static pthread_mutex_t stable_lock = PTHREAD_MUTEX_INITIALIZER;

static bool errors_expected(void)
{
	return load(&killed) || (load_cut && load_cut());
}

/* ---------------------------------------------------------------- the plan */

static u32 stripe(void)
{
	return 3 * plan.grain;
}

/* Length of each writer's own area; behind them is the area of all. */
static u64 own_area(void)
{
	u64 n = plan.sectors / 2 / plan.writers;

	return n - n % plan.grain;
}

static u32 owner(u64 sector)
{
	u64 all = own_area() * plan.writers;

	if (sector < all)
		return sector / own_area();
	return (sector - all) / stripe() % plan.writers;
}

static u32 length(u64 *rng, u32 most)
{
	u32 n = 1u << random_below(rng, 12);

	if (random_below(rng, 2))
		n = 1 + random_below(rng, n);
	n *= plan.grain;
	if (n > plan.max)
		n = plan.max;
	return n < most ? n : most;
}

/* The @k'th operation of writer @w, from 0. */
static struct op nth_op(u32 life, u32 w, u32 k)
{
	u64 rng = mix(plan.seed + 1) ^ mix(((u64)life << 32 | w) + 2) ^ mix(k + 3);
	u64 area = own_area(), all = area * plan.writers, stripes, at;
	u32 dice = random_below(&rng, 100);
	struct op op = { .kind = WRITE };

	if (dice < plan.flush)
		op.kind = FLUSH;
	else if (dice < plan.flush + plan.fua)
		op.kind = FUA;
	else if (dice < plan.flush + plan.fua + plan.discard)
		op.kind = DISCARD;
	if (op.kind == FLUSH)
		return op;
	if (random_below(&rng, 3)) {
		at = random_below(&rng, area / plan.grain) * plan.grain;
		if (op.kind == DISCARD || random_below(&rng, 2))
			at -= at % BLOCK_SECTORS;
		/* Half of it in a small part: overwrites make the interesting cases. */
		if (random_below(&rng, 2))
			at %= 64 * plan.grain;
		op.sector = w * area + at;
		op.nr = length(&rng, area - at);
	} else {
		stripes = (plan.sectors - all) / stripe() / plan.writers;
		at = random_below(&rng, stripe() / plan.grain) * plan.grain;
		op.sector = all + (random_below(&rng, stripes) * plan.writers + w) * stripe() + at;
		op.nr = length(&rng, stripe() - at);
	}
	if (op.kind == DISCARD) {
		/* Only whole blocks are sure to be gone. */
		at = (op.sector + BLOCK_SECTORS - 1) / BLOCK_SECTORS * BLOCK_SECTORS;
		if (op.sector + op.nr < at + BLOCK_SECTORS) {
			op.kind = WRITE;
			return op;
		}
		op.nr = (op.sector + op.nr - at) / BLOCK_SECTORS * BLOCK_SECTORS;
		op.sector = at;
	}
	return op;
}

/* ---------------------------------------------------------------- writers */

void write_state(const void *data, u64 at, size_t len)
{
	static u8 *block;

	if (state_fd < 0)
		return;
	if (!block)
		block = io_alloc(4096);
	for (; len; data = (const u8 *)data + 4096, at += 4096, len -= len < 4096 ? len : 4096) {
		memset(block, 0, 4096);
		memcpy(block, data, len < 4096 ? len : 4096);
		if (write_sectors(state_fd, block, at / SECTOR, 8, false))
			die("cannot write the state device");
	}
}

u64 stable_sum(const struct stable *s)
{
	u64 sum = mix(s->seq ^ (u64)s->life << 32);
	u32 i;

	for (i = 0; i < MAX_WRITERS; i++)
		sum = mix(sum ^ s->op[i]);
	return sum;
}

/* These operations are durable. Two places in turn: one of them is always whole. */
void now_stable(const u32 *ops)
{
	bool more = false;
	u32 i;

	pthread_mutex_lock(&stable_lock);
	for (i = 0; i < plan.writers; i++) {
		if (ops[i] > stable.op[i]) {
			stable.op[i] = ops[i];
			more = true;
		}
	}
	if (more) {
		stable.seq++;
		stable.life = plan.life;
		stable.sum = stable_sum(&stable);
		write_state(&stable, STATE_VERSIONS * (1 + stable.seq % 2), sizeof(stable));
	}
	pthread_mutex_unlock(&stable_lock);
}

static void snapshot(u32 *ops)
{
	u32 i;

	memset(ops, 0, MAX_WRITERS * sizeof(*ops));
	for (i = 0; i < plan.writers; i++)
		ops[i] = load(&acked_ops[i]);
}

/* Is a discard of sector @at among its owner's operations from number @first to @last? */
static bool discards(u64 at, u32 first, u32 last)
{
	struct op op;
	u32 i;

	for (i = first; i <= last; i++) {
		op = nth_op(plan.life, owner(at), i - 1);
		if (op.kind == DISCARD && at >= op.sector && at < op.sector + op.nr)
			return true;
	}
	return false;
}

/*
 * May sector @at, read as @s, be that, if what was acknowledged before was @lo and issued after @hi? What a range
 * holds that is being discarded nobody knows.
 */
static const char *judge_read(const struct stamp *s, u64 at, u32 lo, u32 hi)
{
	u32 lo_op = lo & ~DISCARDED, hi_op = hi & ~DISCARDED;

	if (lo != hi && plan.discard && discards(at, lo_op + 1, hi_op))
		return NULL;
	if (s->life == plan.life && s->op) {
		if (s->op < lo_op || (s->op == lo_op && (lo & DISCARDED)))
			return "a version that was overwritten";
		return s->op > hi_op ? "a version that was not issued yet" : NULL;
	}
	if (s->op) {
		if (s->life != base[at].life || s->op != base[at].op)
			return "a version of an earlier life that had not survived it";
		return lo ? "the version of an earlier life, overwritten since" : NULL;
	}
	if (lo & DISCARDED || (!lo && !base[at].op))
		return NULL;
	return "zeros";
}

static void read_and_check(struct writer *w)
{
	u64 at, grains = plan.sectors / plan.grain;
	u32 nr = length(&w->rng, 256 * plan.grain < MAX_IO ? 256 * plan.grain : MAX_IO), i;
	struct stamp s;
	const char *bad;
	int err;

	at = random_below(&w->rng, grains) * plan.grain;
	/* Half of them where this writer writes most. */
	if (random_below(&w->rng, 2))
		at = w->number * own_area() + at % (64 * plan.grain);
	if (at + nr > plan.sectors)
		nr = plan.sectors - at;
	for (i = 0; i < nr; i++)
		w->before[i] = load(&acked[at + i]);
	err = read_sectors(fd, w->in, at, nr);
	if (err && errors_expected())
		return;
	if (err)
		die("reading %u sectors at %llu: %s", nr, (unsigned long long)at, strerror(err));
	for (i = 0; i < nr; i++) {
		bad = stamp_read(w->in + i * SECTOR, at + i, &s);
		if (!bad)
			bad = judge_read(&s, at + i, w->before[i], load(&issued[at + i]));
		if (bad)
			die("sector %llu reads as %s: life %u, operation %u of writer %u; acknowledged before was %u, issued by now %u (of life %u)%s",
			    (unsigned long long)(at + i), bad, s.life, s.op, owner(at + i),
			    w->before[i] & ~DISCARDED, load(&issued[at + i]) & ~DISCARDED, plan.life,
			    load(&killed) ? ", after the kill" : "");
	}
}

static int write_op(struct writer *w, const struct op *op, u32 number)
{
	struct stamp s = { .life = plan.life, .op = number };
	u32 i, mark = number | (op->kind == DISCARD ? DISCARDED : 0), fua[MAX_WRITERS] = { 0 };
	bool in_order = load(&ordered);
	int err;

	if (in_order)
		snapshot(s.dep);
	for (i = 0; i < op->nr; i++) {
		store(&issued[op->sector + i], mark);
		s.sector = op->sector + i;
		if (op->kind != DISCARD)
			stamp_write(w->buf + i * SECTOR, &s);
	}
	if (op->kind == DISCARD) {
		err = discard_sectors(fd, op->sector, op->nr);
		/* What takes the place of a disk that is cut off knows no discards, and the kernel says success then. */
		if (!err && load(&killed))
			err = EIO;
	} else {
		err = write_sectors(fd, w->buf, op->sector, op->nr, op->kind == FUA);
	}
	if (err)
		return err;
	for (i = 0; i < op->nr; i++)
		store(&acked[op->sector + i], mark);
	if (op->kind == FUA && in_order) {
		fua[w->number] = number;
		now_stable(fua);
	}
	/* Written through, what came before it may still be in the disk's own cache. */
	for (i = 0; op->kind == FUA && i < op->nr; i++)
		forced[op->sector + i] = (struct base){ plan.life, number };
	return 0;
}

static void *run_writer(void *arg)
{
	struct writer *w = arg;
	u32 ops[MAX_WRITERS], k;
	struct op op;
	int err;

	for (k = 0; k < ops_wanted && !load(&stop); k++) {
		while (random_below(&w->rng, 100) < reads && !load(&stop))
			read_and_check(w);
		op = nth_op(plan.life, w->number, k);
		store(&w->issued, k + 1);
		if (op.kind == FLUSH) {
			snapshot(ops);
			err = fsync(fd) ? errno : 0;
			if (!err && load(&killed))
				err = EIO;
			if (!err)
				now_stable(ops);
		} else {
			err = write_op(w, &op, k + 1);
		}
		if (err && errors_expected())
			break;
		if (err)
			die("operation %u of writer %u (%s of %u sectors at %llu): %s", k + 1,
			    w->number, op.kind == FLUSH ? "flush" : op.kind == DISCARD ? "discard" :
			    "write", op.nr, (unsigned long long)op.sector, strerror(err));
		store(&acked_ops[w->number], k + 1);
		__atomic_add_fetch(&ops_done, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

void start_writers(u32 ops)
{
	struct writer *w;
	u32 i;

	memset(issued, 0, plan.sectors * sizeof(*issued));
	memset(acked, 0, plan.sectors * sizeof(*acked));
	memset(acked_ops, 0, sizeof(acked_ops));
	memset(stable.op, 0, sizeof(stable.op));
	ops_wanted = ops;
	ops_done = 0;
	store(&stop, false);
	store(&killed, false);
	for (i = 0; i < plan.writers; i++) {
		w = &writers[i];
		w->number = i;
		w->issued = 0;
		w->rng = mix(plan.seed ^ (u64)plan.life << 40 ^ i);
		if (!w->buf) {
			w->buf = io_alloc(MAX_IO * SECTOR);
			w->in = io_alloc(MAX_IO * SECTOR);
			w->before = calloc(MAX_IO, sizeof(*w->before));
		}
		if (!w->before || pthread_create(&w->thread, NULL, run_writer, w))
			die("cannot start a writer");
	}
}

void join_writers(void)
{
	u32 i;

	for (i = 0; i < plan.writers; i++)
		pthread_join(writers[i].thread, NULL);
}

/* ---------------------------------------------------------------- the judge */

/* Of what is there each sector, and what has to be there. */
struct verdict {
	struct base *seen;
	u32 *must;		/* number of the write of this life that must be there, or a later operation */
	u32 *discarded;		/* number of the last discard of this life, whether acknowledged or not */
	u32 need[MAX_WRITERS];	/* this many operations of each writer must be there */
	u64 witness[MAX_WRITERS]; /* the sector that says so */
	u32 flushed[MAX_WRITERS]; /* so many because of flushes and FUA writes */
	u32 known[MAX_WRITERS];	/* no more than this many were issued */
	u32 hanging[MAX_WRITERS]; /* number of the one that was not acknowledged, 0 = none */
};

/* What the owner of sector @at did to it in this life, and when it flushed. */
static void tell_operations(const struct verdict *v, u64 at)
{
	static const char *const kinds[] = { "write", "FUA write", "flush", "discard" };
	u32 w = owner(at), i;
	struct op op;

	for (i = 1; i <= v->known[w] && i < 10000; i++) {
		op = nth_op(plan.life, w, i - 1);
		if (op.kind == FLUSH || (at >= op.sector && at < op.sector + op.nr))
			printf("operation %u of writer %u: %s of %u sectors at %llu%s\n", i, w,
			       kinds[op.kind], op.nr, (unsigned long long)op.sector,
			       i == v->hanging[w] ? ", not acknowledged" : "");
	}
}

static void read_all(int dev, struct verdict *v)
{
	u8 *buf = io_alloc(MAX_IO * SECTOR);
	const char *bad;
	struct stamp s;
	u64 at;
	u32 nr, i, w;
	int err;

	for (at = 0; at < plan.sectors; at += nr) {
		nr = plan.sectors - at < MAX_IO ? plan.sectors - at : MAX_IO;
		err = read_sectors(dev, buf, at, nr);
		if (err)
			die("life %u: reading %u sectors at %llu: %s", plan.life, nr,
			    (unsigned long long)at, strerror(err));
		for (i = 0; i < nr; i++) {
			bad = stamp_read(buf + i * SECTOR, at + i, &s);
			if (bad)
				tell_operations(v, at + i);
			if (bad)
				die("life %u: sector %llu holds %s", plan.life,
				    (unsigned long long)(at + i), bad);
			v->seen[at + i] = (struct base){ s.life, s.op };
			/* What was acknowledged before this was issued. */
			for (w = 0; s.op && s.life == plan.life && w < plan.writers; w++)
				if (s.dep[w] > v->need[w]) {
					v->need[w] = s.dep[w];
					v->witness[w] = at + i;
				}
		}
	}
	free(buf);
}

static void replay(struct verdict *v)
{
	struct op op;
	u32 w, k, i;
	u64 at;

	for (w = 0; w < plan.writers; w++) {
		for (k = 0; k < v->known[w]; k++) {
			op = nth_op(plan.life, w, k);
			if (op.kind == FLUSH)
				continue;
			for (i = 0; i < op.nr; i++) {
				if (op.kind == DISCARD)
					v->discarded[op.sector + i] = k + 1;
				else if (k < v->need[w])
					v->must[op.sector + i] = k + 1;
			}
		}
	}
	for (at = 0; at < plan.sectors; at++)
		if (forced[at].life == plan.life && forced[at].op > v->must[at])
			v->must[at] = forced[at].op;
}

/* A discard may be undone, to what it discarded and to nothing older: it allows zeros, and demands nothing. */
static const char *judge(const struct verdict *v, u64 at)
{
	const struct base *s = &v->seen[at];
	struct op op;

	if (!s->op && v->discarded[at] > v->must[at])
		return NULL;
	if (s->op && s->life == plan.life) {
		if (s->op > v->known[owner(at)])
			return "was never issued";
		op = nth_op(plan.life, owner(at), s->op - 1);
		if ((op.kind != WRITE && op.kind != FUA) || at < op.sector || at >= op.sector + op.nr)
			return "was not written here";
		return s->op < v->must[at] ? "is older than what must be there" : NULL;
	}
	if (s->op != base[at].op || s->life != base[at].life)
		return s->op ? "had not survived that life" : "is zeros";
	return v->must[at] ? "is older than what must be there" : NULL;
}

/* What is wrong, sector by sector, and what was to be there. */
static void explain(const struct verdict *v, u64 at)
{
	u64 i, nr = 0, last = at, said;
	u32 w;

	for (i = at; i < plan.sectors; i++) {
		if (!judge(v, i))
			continue;
		nr++;
		last = i;
	}
	printf("%llu sectors are wrong, from %llu to %llu\n", (unsigned long long)nr,
	       (unsigned long long)at, (unsigned long long)last);
	tell_operations(v, at);
	/* Each range that is wrong alike. */
	for (i = at; i <= last; i++) {
		if (!judge(v, i))
			continue;
		if (!i || !judge(v, i - 1) || v->must[i - 1] != v->must[i] || owner(i - 1) != owner(i))
			printf("wrong from sector %llu on: operation %u of life %u, not %u of writer %u\n",
			       (unsigned long long)i, v->seen[i].op, v->seen[i].life, v->must[i],
			       owner(i));
	}
	for (w = 0; w < plan.writers; w++) {
		printf("writer %u: issued %u, acknowledged %u, flushed %u, must be there %u", w, v->known[w],
		       load(&acked_ops[w]), v->flushed[w], v->need[w]);
		if (v->need[w] == v->flushed[w]) {
			printf("\n");
			continue;
		}
		said = v->witness[w];
		printf(", for so says sector %llu (operation %u of writer %u)\n", (unsigned long long)said,
		       v->seen[said].op, owner(said));
		tell_operations(v, said);
	}
}

void verify(int dev, const u32 *need, const u32 *known, const char *when)
{
	struct verdict v = { 0 };
	u64 at, now = 0, total = 0;
	const char *bad;
	u32 w;

	v.seen = calloc(plan.sectors, sizeof(*v.seen));
	v.must = calloc(plan.sectors, sizeof(*v.must));
	v.discarded = calloc(plan.sectors, sizeof(*v.discarded));
	if (!v.seen || !v.must || !v.discarded)
		die("not enough memory");
	memcpy(v.need, need, sizeof(v.need));
	memcpy(v.flushed, need, sizeof(v.flushed));
	memcpy(v.known, known, sizeof(v.known));
	for (w = 0; w < plan.writers; w++)
		if (load(&acked_ops[w]) < load(&writers[w].issued))
			v.hanging[w] = load(&writers[w].issued);
	read_all(dev, &v);
	for (w = 0; w < plan.writers; w++)
		if (v.need[w] > v.known[w])
			die("%s: something refers to operation %u of writer %u, which issued %u", when,
			    v.need[w], w, v.known[w]);
	replay(&v);
	for (at = 0; at < plan.sectors; at++) {
		bad = judge(&v, at);
		if (bad)
			explain(&v, at);
		if (bad)
			die("%s: sector %llu (of writer %u): operation %u of life %u %s; this life is %u, operation %u must be there, it began with %u of life %u; flushed %u",
			    when, (unsigned long long)at, owner(at), v.seen[at].op,
			    v.seen[at].life, bad, plan.life, v.must[at], base[at].op,
			    base[at].life, need[owner(at)]);
		now += v.seen[at].op && v.seen[at].life == plan.life;
	}
	for (w = 0; w < plan.writers; w++)
		total += v.need[w];
	printf("%s: %llu operations must be there, and are; %llu sectors of life %u\n", when,
	       (unsigned long long)total, (unsigned long long)now, plan.life);
	fflush(stdout);
	memcpy(base, v.seen, plan.sectors * sizeof(*base));
	free(v.seen);
	free(v.must);
	free(v.discarded);
}

void issued_ops(u32 *ops)
{
	u32 i;

	memset(ops, 0, MAX_WRITERS * sizeof(*ops));
	for (i = 0; i < plan.writers; i++)
		ops[i] = load(&writers[i].issued);
}

void acknowledged_ops(u32 *ops)
{
	snapshot(ops);
}

/* ---------------------------------------------------------------- the device */

void drain(void)
{
	u64 deadline = now_ms() + HANG_MS;
	struct wb_status s;

	wb_message(name, "drain");
	for (;;) {
		wb_status(name, &s);
		if (!strcmp(s.caching, "drained"))
			return;
		if (strcmp(s.health, "ok"))
			die("draining: health is '%s'", s.health);
		if (now_ms() > deadline)
			die("not drained after %u ms: %llu blocks are dirty", HANG_MS,
			    (unsigned long long)s.n[F_DIRTY]);
		sleep_ms(5);
	}
}

void check_backing(const char *path)
{
	struct wb_status s;
	u32 ops[MAX_WRITERS];
	int dev;

	issued_ops(ops);
	drain();
	wb_status(name, &s);
	printf("%llu segments of the log were used, %llu chunks written in the last life\n",
	       (unsigned long long)s.n[F_CURRENT], (unsigned long long)s.n[F_CHUNKS]);
	verify(fd, ops, ops, "drained");
	dev = open_direct(path, false);
	verify(dev, ops, ops, "backing device alone");
	close(dev);
}
void must(int err, const char *what, const char *device)
{
	if (err)
		die("life %u: cannot %s %s: %s", plan.life, what, device, strerror(err));
}
/* ---------------------------------------------------------------- options */

void allocate(void)
{
	if (plan.writers < 1 || plan.writers > MAX_WRITERS)
		die("from 1 to %u writers", MAX_WRITERS);
	if (!plan.grain || own_area() < 64 * plan.grain)
		die("too few sectors for so many writers");
	base = calloc(plan.sectors, sizeof(*base));
	issued = calloc(plan.sectors, sizeof(*issued));
	acked = calloc(plan.sectors, sizeof(*acked));
	forced = calloc(plan.sectors, sizeof(*forced));
	if (!base || !issued || !acked || !forced)
		die("not enough memory");
}

bool yes(const char *text)
{
	if (strcmp(text, "yes") && strcmp(text, "no"))
		die("'%s' is neither yes nor no", text);
	return !strcmp(text, "yes");
}

bool plan_option(const char *key, const char *value)
{
	if (!strcmp(key, "--seed"))
		plan.seed = number(value);
	else if (!strcmp(key, "--writers"))
		plan.writers = number(value);
	else if (!strcmp(key, "--sectors"))
		plan.sectors = number(value);
	else if (!strcmp(key, "--grain"))
		plan.grain = number(value);
	else if (!strcmp(key, "--max"))
		plan.max = number(value);
	else if (!strcmp(key, "--ops"))
		nr_ops = number(value);
	else if (!strcmp(key, "--reads"))
		reads = number(value);
	else if (!strcmp(key, "--lives"))
		lives = number(value);
	else if (!strcmp(key, "--discard"))
		plan.discard = yes(value) ? 4 : 0;
	else if (!strcmp(key, "--discards"))
		plan.discard = number(value);
	else if (!strcmp(key, "--sync"))
		plan.flush = yes(value) ? 8 : 0, plan.fua = yes(value) ? 6 : 0;
	else if (!strcmp(key, "--flushes"))
		plan.flush = number(value);
	else if (!strcmp(key, "--fuas"))
		plan.fua = number(value);
	else
		return false;
	if (plan.max > MAX_IO || reads > 95 || plan.discard + plan.flush + plan.fua > 100)
		die("--max is at most %u, --reads 95, discards, flushes and FUA writes together 100", MAX_IO);
	return true;
}
