// SPDX-License-Identifier: GPL-2.0
#include "company.h"

/* After the n-th time in vain 2^(n + 1) commits do not wait. */
#define MAX_VAIN	7u

void wb_company_init(struct wb_company *c)
{
	*c = (struct wb_company){ .patience = WB_COMPANY_MIN_WAIT };
}

static void comes(struct wb_company *c, u32 mark)
{
	c->away &= ~(1ull << mark);
}

/* Half of all who are known; of three, one. */
static bool is_enough(const struct wb_company *c)
{
	u32 others = c->under_way + (c->alone ? 0 : hweight64(c->away));

	return c->waiting + 1 >= others;
}

bool wb_company_arrives(struct wb_company *c, u32 mark, u64 now)
{
	comes(c, mark);
	if (now - c->seen > c->patience)
		c->away = 0;
	c->seen = now;
	if (!c->waiting++)
		c->first = now;
	return is_enough(c) || (!c->under_way && now - c->first >= c->patience);
}

void wb_company_joins(struct wb_company *c, u32 mark)
{
	comes(c, mark);
	c->under_way++;
}

void wb_company_sealed(struct wb_company *c)
{
	if (!c->waiting)
		return;
	if (c->alone)
		c->alone--;
	else if (c->away && c->vain)
		c->vain--;
	c->away &= ~c->away_long;
	c->away_long = c->away;
	if (!c->under_way)
		c->began = c->seen;
	c->under_way += c->waiting;
	c->waiting = 0;
}

void wb_company_leaves(struct wb_company *c, u32 mark)
{
	/* Those who wait for the open chunk leave only when the log has failed. */
	if (c->under_way)
		c->under_way--;
	else if (c->waiting)
		c->waiting--;
	c->away |= 1ull << mark;
	c->away_long &= ~(1ull << mark);
}

void wb_company_released(struct wb_company *c, u64 now)
{
	u64 wait = 2 * (now - c->began);

	if (wait > WB_COMPANY_MAX_WAIT)
		wait = WB_COMPANY_MAX_WAIT;
	if (wait > c->patience)
		c->patience = wait;
	else if (c->patience > WB_COMPANY_MIN_WAIT)
		c->patience -= (c->patience - wait) / 8;
	if (c->patience < WB_COMPANY_MIN_WAIT)
		c->patience = WB_COMPANY_MIN_WAIT;
	c->seen = now;
	c->began = now;
}

bool wb_company_needs_timer(const struct wb_company *c)
{
	return c->waiting && !c->under_way;
}

u64 wb_company_expired(struct wb_company *c, u64 now)
{
	u64 waited = now - c->first;

	if (waited < c->patience)
		return wb_company_timeout(c) - waited;
	c->away = 0;
	if (c->vain < MAX_VAIN)
		c->vain++;
	c->alone = 2u << c->vain;
	return 0;
}
