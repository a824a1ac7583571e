// SPDX-License-Identifier: GPL-2.0
/*
 * sim [--seed N|random] [--count N] [--seconds S] [--trace] [--first]
 *
 * Run simulated caches, one for each seed from N on: --count of them, for --seconds at most.
 * Each seed chooses a geometry, devices, and a plan of what users and administrators do; a scheduler
 * lets everything that is under way take steps in a random order; and after every device operation
 * the machine dies in several ways, on copies.
 *
 * A seed that fails is run again with less and less of its plan for as long as it fails; what is left
 * is printed, with the steps. With --first nothing of this is done, and the first failure is the end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>

#include "sim.h"

/* Sanitizers: no leaks are looked for, for a failed run is left where it failed. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "quarantine_size_mb=4:thread_local_quarantine_size_kb=16:detect_leaks=0:"
	       "allocator_release_to_os_interval_ms=-1";
}

static const struct world worlds[] = {
	{ "4 slots of 16 KiB", 4, 16 << 10, 16, 0 },
	{ "6 slots of 16 KiB", 6, 16 << 10, 12, 5 },
	{ "9 slots of 16 KiB", 9, 16 << 10, 24, 0 },
	{ "5 slots of 32 KiB", 5, 32 << 10, 20, 3 },
	{ "12 slots of 32 KiB", 12, 32 << 10, 56, 0 },
};

#define NR_WORLDS ARRAY_SIZE(worlds)

/* ---------------------------------------------------------------- failing */

bool tracing;
static jmp_buf failed_here;
static char failure[400];
enum { PASSED, GAVE_UP, FAILED };

void sim_fail(const char *file, int line, const char *fmt, ...)
{
	va_list ap;
	int n;

	n = snprintf(failure, sizeof(failure), "%s:%d: ",
		     strrchr(file, '/') ? strrchr(file, '/') + 1 : file, line);
	va_start(ap, fmt);
	vsnprintf(failure + n, sizeof(failure) - (size_t)n, fmt, ap);
	va_end(ap);
	longjmp(failed_here, FAILED);
}

void sim_give_up(const char *why)
{
	trace("given up: %s", why);
	longjmp(failed_here, GAVE_UP);
}

/*
 * What is tried on copies is only of interest if it fails: its lines are kept until the next try
 * begins, and shown by a failure.
 */
static char tried[64][160];
static u32 nr_tried;
static bool trying;

static void show_tried(void)
{
	u32 i;

	for (i = 0; i < nr_tried; i++)
		printf("        %s\n", tried[i]);
	nr_tried = 0;
}

void trace_try(bool begins)
{
	trying = begins;
	nr_tried = 0;
}

void trace_line(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (trying && nr_tried < ARRAY_SIZE(tried)) {
		vsnprintf(tried[nr_tried++], sizeof(tried[0]), fmt, ap);
	} else if (!trying) {
		printf("    ");
		vprintf(fmt, ap);
		putchar('\n');
	}
	va_end(ap);
}

/* ---------------------------------------------------------------- what users do */

enum act {
	DO_WRITE, DO_READ, DO_FLUSH, DO_DISCARD, DO_WAIT, DO_CRASH, DO_STOP, DO_DRAIN, DO_UNDRAIN,
	DO_FAULT, NR_ACTS
};

#define MAX_PLAN 160u

struct plan {
	u64 seed;
	u32 nr;
	u32 variation;	/* of the scheduler */
	struct {
		u8 act;
		bool off;
		u64 chance;
	} item[MAX_PLAN];
};

static u8 choose(const u32 *weight, u32 nr, u32 sum, struct rng *r)
{
	u32 x = rng_below(r, sum), i;

	for (i = 0; i + 1 < nr && x >= weight[i]; i++)
		x -= weight[i];
	return (u8)i;
}

static void make_plan(struct plan *p, u64 seed)
{
	struct rng r = rng_init(seed * 2 + 1);
	u32 weight[NR_ACTS] = {
		[DO_WRITE] = 20 + rng_below(&r, 60),
		[DO_READ] = rng_below(&r, 20),
		[DO_FLUSH] = rng_below(&r, 20),
		[DO_DISCARD] = rng_one_in(&r, 2) ? 0 : rng_below(&r, 12),
		[DO_WAIT] = rng_below(&r, 6),
		[DO_CRASH] = 1 + rng_below(&r, 6),
		[DO_STOP] = rng_below(&r, 4),
		[DO_DRAIN] = rng_one_in(&r, 2) ? 0 : 3,
		[DO_FAULT] = rng_one_in(&r, 3) ? 2 : 0,
	}, sum = 0, i;

	weight[DO_UNDRAIN] = weight[DO_DRAIN];
	if (rng_one_in(&r, 5))
		weight[DO_STOP] = 15;
	for (i = 0; i < NR_ACTS; i++)
		sum += weight[i];
	*p = (struct plan){ .seed = seed, .nr = 20 + rng_below(&r, MAX_PLAN - 20) };
	for (i = 0; i < p->nr; i++) {
		p->item[i].act = choose(weight, NR_ACTS, sum, &r);
		p->item[i].chance = rng_u64(&r);
	}
}

static void make_manners(struct sim *s, const struct plan *p)
{
	struct rng r = rng_init(p->seed * 2);
	u32 i;

	s->manners = (struct manners){
		.backing_tears = true,
		.nr_bufs = rng_one_in(&r, 2) ? MAX_BUFS : 2 + rng_below(&r, 3),
		.max_ops = 1 + rng_below(&r, MAX_OPS),
		.batch = 1 + rng_below(&r, s->world->slots),
		.settle = 1 + rng_below(&r, 4),
		.window = WB_SWEEP_RUN + rng_below(&r, WINDOW - WB_SWEEP_RUN + 1),
		.runs = 1 + rng_below(&r, rng_one_in(&r, 2) ? 2 : WINDOW),
		.depth = 1 + rng_below(&r, rng_one_in(&r, 2) ? 3 : MAX_IOS / 2),
		.disk = rng_one_in(&r, 2) ? 1 : 1 + rng_below(&r, 40),
		.reading = rng_one_in(&r, 2) ? 1 : 1 + rng_below(&r, 20),
		.discards = rng_one_in(&r, 2) ? 0 : rng_below(&r, 4),
		.overlap = true,
		.bypass = p->seed % 5 == 0,
	};
	/* Which of two writes that overlap and may go two ways is the newer, nobody says. */
	s->manners.overlap &= !s->manners.bypass;
	for (i = 0; i < p->nr; i++) {
		if (p->item[i].act == DO_DRAIN)
			s->manners.overlap = false;
		else if (p->item[i].act == DO_DISCARD)
			s->manners.backing_tears &= !s->manners.discards;
	}
}

static void new_weights(struct sim *s, struct rng *r)
{
	u32 i;

	for (i = 0; i < NR_WEIGHTS; i++)
		s->manners.weight[i] = 1 + rng_below(r, rng_one_in(r, 3) ? 2 : 12);
}

static bool overlaps(const struct sim *s, u32 sector, u32 nr)
{
	const struct op *op;

	for (op = s->op; op < s->op + MAX_OPS; op++)
		if (op->state != S_FREE && (op->kind == OP_WRITE || op->kind == OP_DISCARD) &&
		    sector < op->sector + op->nr && op->sector < sector + nr)
			return true;
	return false;
}

/* Few blocks are hot; a write may be of several blocks; others are of a few sectors. */
static void choose_range(const struct sim *s, struct op *op, struct rng *r)
{
	u32 total = s->m->nr_sectors, hot = total < 48 ? total : 48;

	op->sector = rng_below(r, rng_one_in(r, 3) ? total : hot);
	op->nr = 1 + rng_below(r, WB_BLOCK_SECTORS);
	if (rng_one_in(r, 2)) {
		op->sector &= ~(WB_BLOCK_SECTORS - 1);
		op->nr = WB_BLOCK_SECTORS;
	}
	if (op->kind == OP_DISCARD || (op->kind == OP_WRITE && rng_one_in(r, 4)))
		op->nr += rng_below(r, 5) * WB_BLOCK_SECTORS;
	if (op->kind == OP_READ && op->sector % WB_BLOCK_SECTORS + op->nr > WB_BLOCK_SECTORS)
		op->nr = WB_BLOCK_SECTORS - op->sector % WB_BLOCK_SECTORS;
	if (op->sector + op->nr > total)
		op->nr = total - op->sector;
}

/* Return: false if it has to wait. */
static bool begin_op(struct sim *s, enum op_kind kind, u64 chance)
{
	struct rng r = rng_init(chance);
	struct op *op, new = { .kind = (u8)kind, .state = S_NEW };
	u32 busy = 0, i;

	choose_range(s, &new, &r);
	new.fua = kind == OP_WRITE && rng_one_in(&r, 6);
	new.slow = kind == OP_READ && rng_one_in(&r, 3);
	new.bypass = kind == OP_WRITE && s->manners.bypass && chance % 2;
	for (op = s->op; op < s->op + MAX_OPS; op++)
		busy += op->state != S_FREE;
	if (busy >= s->manners.max_ops ||
	    ((kind == OP_WRITE || kind == OP_DISCARD) && !s->manners.overlap &&
	     overlaps(s, new.sector, new.nr)))
		return false;
	if (kind == OP_WRITE && !model_has_room(s->m, new.sector, new.nr)) {
		for (op = s->op; op < s->op + MAX_OPS; op++)
			if (op->state != S_FREE && op->kind == OP_READ)
				return false;
		model_compact(s->m, s->m->must > s->base_chunk + (u32)s->order.first ? s->m->must :
			      s->base_chunk + (u32)s->order.first - 1);
		if (!model_has_room(s->m, new.sector, new.nr))
			return true;	/* leave it out */
	}
	for (op = s->op; op->state != S_FREE; op++)
		;
	new.issued = s->m->now;
	new.nr_op = (u32)++figures.ops;
	new.acked_chunk = s->m->acked_chunk;
	if (kind == OP_WRITE) {
		new.stamp = ++s->m->stamp;
		new.value = new.stamp;
		/* The same bytes once more? */
		i = s->m->s[new.sector].nr - 1;
		if (rng_one_in(&r, 6) && s->m->s[new.sector].v[i].value)
			new.value = s->m->s[new.sector].v[i].value;
		trace("write %u: sectors %u to %u, value %llu%s", new.nr_op, new.sector,
		      new.sector + new.nr - 1, ULL(new.value), new.fua ? ", FUA" : "");
	} else {
		trace("%s %u: sectors %u to %u",
		      kind == OP_READ ? "read" : kind == OP_FLUSH ? "flush" : "discard", new.nr_op,
		      new.sector, new.sector + new.nr - 1);
	}
	*op = new;
	return true;
}

static bool any_op(const struct sim *s)
{
	const struct op *op;

	for (op = s->op; op < s->op + MAX_OPS; op++)
		if (op->state != S_FREE)
			return true;
	return false;
}

static void new_life(struct sim *s, u32 last)
{
	adopt_recovered(s, last);
	begin_life(s);
	memset(s->image, 0, sizeof(s->image));
	new_weights(s, &s->rng);
	s->fault_count = 0;
	figures.lives++;
	trace("life %llu begins with segment %llu", ULL(s->epoch), ULL(s->record.life_start));
}

static void crash_now(struct sim *s, struct rng *r)
{
	enum crash how;
	u32 last = 0;

	for (;;) {
		how = (enum crash)rng_below(r, NR_CRASHES);
		trace("CRASH: %s", crash_name[how]);
		device_crash(&s->cache, how, r);
		device_crash(&s->backing, how, r);
		if (recover(s, rng_one_in(r, 2) ? NEVER : rng_below(r, 12), &last) == RECOVERED)
			break;
	}
	check_recovered(s, last);
	new_life(s, last);
}

/* Others write to the backing device meanwhile, as `linear` would. */
static void write_past_us(struct sim *s, struct rng *r)
{
	struct version v = { .stamp = ++s->m->stamp, .value = s->m->stamp, .issued = s->m->now,
			     .chunk = s->m->next_chunk - 1, .place = NEVER, .acked = s->m->now,
			     .past_log = true };
	u32 sector = rng_below(r, s->m->nr_sectors);
	u8 bytes[WB_SECTOR_SIZE];

	if (!model_has_room(s->m, sector, 1))
		return;
	model_fill(sector, v.value, bytes);
	model_publish(s->m, sector, &v);
	device_written(&s->backing, device_write(&s->backing, sector, 1, bytes, W_WHOLE));
	trace("somebody else writes %llu to sector %u", ULL(v.value), sector);
}

/* Stopped: go on with this life, or begin another one without any crash. */
static void start_again(struct sim *s, struct rng *r)
{
	bool orderly = s->record.clean && !s->failed;
	u32 last = 0, i;

	CHECK(!s->nr_ios);
	if (rng_one_in(r, 2)) {
		sim_resume(s);
		return;
	}
	if (s->mode == DRAINED)
		for (i = rng_below(r, 4); i; i--)
			write_past_us(s, r);
	trace("RESTART");
	/*
	 * What a failed flush covered and the device still gives to readers is as good as any other
	 * write now, here: a device may do worse, and nobody could tell by reading.
	 */
	device_crash(&s->cache, PANIC, r);
	device_crash(&s->backing, PANIC, r);
	CHECK(recover(s, NEVER, &last) == RECOVERED);
	CHECKF(!orderly || last == s->m->next_chunk - 1,
	       "stopped in order with chunk %u, and chunk %u is the last", s->m->next_chunk - 1, last);
	check_recovered(s, last);
	new_life(s, last);
}

static void new_fault(struct sim *s, struct rng *r)
{
	static const u8 kinds[] = {
		IO_CHUNK, IO_LOG_FLUSH, IO_RECORD, IO_MOVE, IO_MOVE_FLUSH, IO_UNDRAIN_FLUSH,
		IO_THROUGH, IO_FLUSH, IO_DISCARD_FLUSH,
	};

	s->fault_kind = kinds[rng_below(r, ARRAY_SIZE(kinds))];
	/* What happens rarely by itself. */
	if (rng_one_in(r, 3))
		s->fault_kind = rng_one_in(r, 2) ? IO_MOVE_FLUSH : IO_DISCARD_FLUSH;
	if (!s->manners.overlap && rng_one_in(r, 3))
		s->fault_kind = IO_UNDRAIN_FLUSH;
	if (s->manners.bypass && rng_one_in(r, 3))
		s->fault_kind = IO_BYPASS;
	s->fault_after = rng_below(r, s->fault_kind == IO_UNDRAIN_FLUSH ? 1 : 6);
	s->fault_count = 1 + rng_below(r, 3);
}

/* Return: false if the next thing in the plan has to wait. */
static bool act(struct sim *s, u8 what, u64 chance)
{
	struct rng r = rng_init(chance);

	if (what == DO_CRASH) {
		crash_now(s, &r);
		return true;
	}
	if (s->phase == STOPPED)
		start_again(s, &r);
	if (s->phase != RUNS)
		return false;
	switch (what) {
	case DO_WAIT:
		return !any_op(s);
	case DO_STOP:
		if (any_op(s))
			return false;
		sim_stop(s);
		return true;
	case DO_DRAIN:
		trace("drain");
		s->undrain = false;
		s->draining = s->mode != DRAINED;
		return true;
	case DO_UNDRAIN:
		trace("undrain");
		s->draining = false;
		s->undrain = true;
		return true;
	case DO_FAULT:
		new_fault(s, &r);
		return true;
	default:
		return begin_op(s, (enum op_kind)what, chance);
	}
}

static bool plan_step(struct sim *s, const struct plan *p, u32 *next)
{
	while (*next < p->nr && p->item[*next].off)
		++*next;
	if (*next == p->nr || !act(s, p->item[*next].act, p->item[*next].chance))
		return false;
	++*next;
	return true;
}

/* ---------------------------------------------------------------- the scheduler */

static bool some_op_step(struct sim *s)
{
	struct op *op = &s->op[rng_below(&s->rng, MAX_OPS)];
	u32 i;

	for (i = 0; i < MAX_OPS; i++, op = op + 1 < s->op + MAX_OPS ? op + 1 : s->op)
		if (op->state != S_FREE && op->state != S_HELD && op_step(s, op))
			return true;
	return false;
}

static bool step(struct sim *s, const struct plan *p, u32 *next)
{
	u32 sum = 0, i;

	for (i = 0; i < NR_WEIGHTS; i++)
		sum += s->manners.weight[i];
	switch (choose(s->manners.weight, NR_WEIGHTS, sum, &s->rng)) {
	case BY_USER:
		return some_op_step(s);
	case BY_NEW_OP:
		return plan_step(s, p, next);
	case BY_COMPLETION:
		return completion_step(s);
	case BY_PUSH:
		return s->phase <= STOPS_LOG && push_step(s);
	case BY_PREPARE:
		return s->phase <= STOPS_LOG && prepare_step(s);
	case BY_HELD:
		return s->nr_held && held_step(s);
	case BY_MIGRATE:
		return migrate_step(s);
	case BY_RECORD:
		return record_step(s) || stop_step(s);
	default:
		return sync_step(s);
	}
}

#define PATIENCE 60000u	/* steps; a request that takes more will never end */

/* By then the slowest of devices has done what it was asked to. */
static void hurry(struct sim *s)
{
	struct op *op;

	for (op = s->op; op < s->op + MAX_OPS; op++)
		op->slow = false;
}

static void live(struct sim *s, const struct plan *p)
{
	u32 next = 0, seen = 0, quiet = 0, before = 0, after = 0;

	while (next < p->nr || any_op(s) || after++ < 40) {
		s->m->now++;
		step(s, p, &next);
		quiet = next != before || !(any_op(s) || next < p->nr) ? 0 : quiet + 1;
		before = next;
		if (quiet == PATIENCE / 2)
			hurry(s);
		CHECKF(quiet < PATIENCE, "a request does not end");
		if (s->device_ops != seen) {
			seen = s->device_ops;
			crash_here(s, p->seed);
		}
	}
}

/* ---------------------------------------------------------------- a run */

static struct model model;
static struct sim sims[3];	/* this one is large */
struct sim *const sim_copies[2] = { &sims[1], &sims[2] };

void sim_copy_devices(struct sim *to, const struct sim *from)
{
	device_copy(&to->cache, &from->cache);
	device_copy(&to->backing, &from->backing);
	to->m = from->m;
	to->rot = from->rot;
}

static void format(struct sim *s)
{
	struct wb_record record = { .seq = 1, .epoch = 1, .life_start = 1 };
	u8 block[WB_BLOCK_SIZE];
	u32 i;

	device_init(&s->cache, FIRST_SLOT + (u32)s->geom.nr_slots * s->geom.slot_blocks *
					    WB_BLOCK_SECTORS);
	device_init(&s->backing, s->m->nr_sectors);
	s->cache.tears = true;
	/* What such a disk does not discard may be torn since an earlier life: nothing is promised about it. */
	s->backing.tears = s->manners.backing_tears;
	s->m->discards_zero = !s->manners.discards;
	for (i = 0; i < s->m->nr_sectors; i++) {
		model_fill(i, 1, block);
		s->backing.stable[i] = s->backing.seen[i] = arena_get(1);
		memcpy(arena[s->backing.stable[i]], block, WB_SECTOR_SIZE);
	}
	/* Format leaves the slots alone: let stale bytes be there. */
	rng_fill(&s->rng, block, sizeof(block));
	device_written(&s->cache, device_write(&s->cache, FIRST_SLOT, WB_BLOCK_SECTORS, block, W_FUA));
	wb_record_encode(&s->geom, &record, block);
	for (i = 0; i < WB_NR_COPIES; i++)
		device_written(&s->cache, device_write(&s->cache, record_sector(i),
						       WB_BLOCK_SECTORS, block, W_FUA));
}

static void prepare_sims(const struct plan *p)
{
	const struct world *w = &worlds[mix64(p->seed) % NR_WORLDS];
	struct wb_geom g = { 0 };
	u64 cache = (WB_FIRST_SLOT_OFFSET + (u64)w->slots * w->segment_size) >> WB_SECTOR_SHIFT;
	u32 i;

	CHECK(!wb_geometry(&g, cache, w->blocks * WB_BLOCK_SECTORS -
				      (w->tail ? WB_BLOCK_SECTORS - w->tail : 0), w->segment_size));
	CHECK(g.nr_slots == w->slots && w->slots <= MAX_SLOTS && g.slot_blocks <= MAX_SLOT_BLOCKS);
	g.seed = mix64(p->seed ^ 0x5eed);
	for (i = 0; i < ARRAY_SIZE(sims); i++) {
		wb_index_exit(&sims[i].index);
		CHECK(!wb_index_init(&sims[i].index, &g));
		CHECK(sims[i].index.nr_places <= MAX_PLACES);
		sims[i].geom = g;
		sims[i].world = w;
		sims[i].m = &model;
		sims[i].rng = rng_init(p->seed + p->variation * 0x10000000ull);
		sims[i].rot = false;
		sims[i].fault_count = 0;
		sims[i].device_ops = 0;
		make_manners(&sims[i], p);
	}
	model_init(&model, (u32)g.backing_sectors);
}

static int run(const struct plan *p)
{
	int how = setjmp(failed_here);
	u32 last = 0;

	if (how)
		return how;
	trace_try(false);
	arena_used = 1;
	memset(arena[0], 0, WB_SECTOR_SIZE);
	prepare_sims(p);
	format(&sims[0]);
	CHECK(recover(&sims[0], NEVER, &last) == RECOVERED);
	new_life(&sims[0], last);
	live(&sims[0], p);
	figures.runs++;
	return PASSED;
}

/* ---------------------------------------------------------------- shrinking */

/* In the same way: at the same place. */
static bool still_fails(struct plan *p, const char *where)
{
	u32 keep = p->variation;

	for (p->variation = 0; p->variation < 6; p->variation++)
		if (run(p) == FAILED && !strncmp(failure, where, strcspn(where, " ")))
			return true;
	p->variation = keep;
	return false;
}

static void shrink(struct plan *p)
{
	static struct plan less;
	char where[sizeof(failure)];
	u32 size, i, k, n;

	memcpy(where, failure, sizeof(where));
	for (size = p->nr / 2; size; size /= 2) {
		for (i = 0; i < p->nr; i += size) {
			less = *p;
			for (k = i, n = 0; k < i + size && k < p->nr; k++) {
				n += !less.item[k].off;
				less.item[k].off = true;
			}
			if (n && still_fails(&less, where))
				*p = less;
		}
	}
}

static void report(struct plan *p)
{
	u32 left = 0, i;

	printf("not ok - sim: seed %llu, %s: %s\n", ULL(p->seed), sims[0].world->name, failure);
	printf("  reproduce with: dkms-test/sim/run --seed %llu (--trace: all of its steps)\n",
	       ULL(p->seed));
	show_tried();
	fflush(stdout);
	tracing = false;
	shrink(p);
	for (i = 0; i < p->nr; i++)
		left += !p->item[i].off;
	printf("  %u of %u items of the plan are enough to fail:\n", left, p->nr);
	tracing = true;
	run(p);
	show_tried();
	tracing = false;
	printf("  %s\n", failure);
}

/* ---------------------------------------------------------------- all of it */

static struct {
	u64 seeds, failed, points, crashes;
} by_world[NR_WORLDS];

static bool one_seed(u64 seed, bool first)
{
	static struct plan p;
	u32 w = mix64(seed) % NR_WORLDS;
	struct figures before = figures;
	bool failed;

	make_plan(&p, seed);
	failed = run(&p) == FAILED;
	by_world[w].seeds++;
	by_world[w].failed += failed;
	by_world[w].points += figures.points - before.points;
	by_world[w].crashes += figures.crashes - before.crashes;
	if (failed && first)
		printf("not ok - sim: seed %llu: %s\n", ULL(seed), failure);
	else if (failed)
		report(&p);
	return !failed;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void usage(void)
{
	fprintf(stderr, "usage: sim [--seed N|random] [--count N] [--seconds S] [--trace] [--first]\n");
	exit(2);
}

int main(int argc, char **argv)
{
	u64 seed = 1, count = 0, n, failed = 0, passed = 0;
	double seconds = 0, began = now();
	bool first = false;
	u32 i;
	int a;

	for (a = 1; a < argc; a++) {
		if (!strcmp(argv[a], "--trace")) {
			tracing = true;
			continue;
		}
		if (!strcmp(argv[a], "--first")) {
			first = true;
			continue;
		}
		if (a + 1 == argc)
			usage();
		if (!strcmp(argv[a], "--seed") && !strcmp(argv[a + 1], "random")) {
			if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
				return 2;
			seed >>= 24;
		} else if (!strcmp(argv[a], "--seed")) {
			seed = strtoull(argv[a + 1], NULL, 0);
		} else if (!strcmp(argv[a], "--count")) {
			count = strtoull(argv[a + 1], NULL, 0);
		} else if (!strcmp(argv[a], "--seconds")) {
			seconds = strtod(argv[a + 1], NULL);
		} else {
			usage();
		}
		a++;
	}
	if (!count && !seconds)
		count = 1;

	for (n = 0; (!count || n < count) && (!seconds || now() - began < seconds); n++)
		if (!one_seed(seed + n, first) && (++failed == 3 || first))
			break;	/* more of the same, most likely */
	for (i = 0; i < NR_WORLDS; i++) {
		if (!by_world[i].seeds || by_world[i].failed)
			continue;
		passed++;
		printf("ok - sim: %s: %llu seeds, %llu crash points, %llu recoveries\n",
		       worlds[i].name, ULL(by_world[i].seeds), ULL(by_world[i].points),
		       ULL(by_world[i].crashes));
	}
	seconds = now() - began;
	printf("figures: seeds %llu-%llu, crash points %llu, recoveries %llu (%.0f/s), of these after a crash in recovery %llu, rot %llu (refused %llu), reads %llu, lives %llu, seconds %.0f, violations %llu\n",
	       ULL(seed), ULL(seed + n - (failed < 3)), ULL(figures.points),
	       ULL(figures.crashes), (double)figures.crashes / seconds, ULL(figures.in_recovery),
	       ULL(figures.rots), ULL(figures.refused), ULL(figures.reads), ULL(figures.lives),
	       seconds, ULL(failed));
	printf("%llu passed, %llu failed\n", ULL(passed), ULL(failed));
	return failed || !passed;
}
