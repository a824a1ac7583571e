// SPDX-License-Identifier: GPL-2.0
/*
 * Defects on demand: each is what one of the sanitizer kernels is there to notice. Writing a name to
 * /sys/module/planted/parameters/defect commits it.
 */
#include <linux/delay.h>
#include <linux/interrupt.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/vmalloc.h>

static void use_after_free(void)
{
	char *p = kmalloc(64, GFP_KERNEL);

	kfree(p);
	OPTIMIZER_HIDE_VAR(p);
	WRITE_ONCE(p[8], 1);
}

static void overrun(void)
{
	char *p = kmalloc(61, GFP_KERNEL);

	OPTIMIZER_HIDE_VAR(p);
	WRITE_ONCE(p[61], 1);
	kfree(p);
}

static void vmalloc_overrun(void)
{
	char *p = vmalloc(100);

	OPTIMIZER_HIDE_VAR(p);
	WRITE_ONCE(p[104], 1);
	vfree(p);
}

static void leak(void)
{
	char *p = kmalloc(100, GFP_KERNEL);

	OPTIMIZER_HIDE_VAR(p);
	WRITE_ONCE(p[0], 1);
}

static int nr_bits = 40;

static void shift(void)
{
	pr_info("%d\n", 1 << READ_ONCE(nr_bits));
}

static DEFINE_MUTEX(first);
static DEFINE_MUTEX(second);

static void inversion(void)
{
	mutex_lock(&first);
	mutex_lock(&second);
	mutex_unlock(&second);
	mutex_unlock(&first);
	mutex_lock(&second);
	mutex_lock(&first);
	mutex_unlock(&first);
	mutex_unlock(&second);
}

static DEFINE_SPINLOCK(lock);

static void in_interrupt_too(struct timer_list *t)
{
	spin_lock(&lock);
	spin_unlock(&lock);
}

static DEFINE_TIMER(timer, in_interrupt_too);

static void interrupt_inversion(void)
{
	spin_lock(&lock);
	spin_unlock(&lock);
	mod_timer(&timer, jiffies);
	msleep(100);
}

static int __rcu *pointer;

static void unprotected_rcu(void)
{
	pr_info("%p\n", rcu_dereference(pointer));
}

struct with_timer {
	struct timer_list timer;
};

static void free_active(void)
{
	struct with_timer *t = kzalloc(sizeof(*t), GFP_KERNEL);

	timer_setup(&t->timer, in_interrupt_too, 0);
	mod_timer(&t->timer, jiffies + 3600 * HZ);
	kfree(t);
}

static void sleep_in_atomic(void)
{
	spin_lock(&lock);
	usleep_range(100, 200);
	spin_unlock(&lock);
}

static unsigned long counter;

static int count(void *unused)
{
	while (!kthread_should_stop()) {
		counter++;
		cond_resched();
	}
	return 0;
}

static void race(void)
{
	struct task_struct *other = kthread_run(count, NULL, "planted");
	unsigned long end = jiffies + 20 * HZ;

	if (IS_ERR(other))
		return;
	/* Whether a watchpoint meets the other CPU is chance; one report is enough. */
	while (time_before(jiffies, end)) {
		counter++;
		cond_resched();
	}
	kthread_stop(other);
}

static const struct {
	const char *name;
	void (*commit)(void);
} defects[] = {
	{ "use-freed",		 use_after_free },
	{ "overrun",		 overrun },
	{ "vmalloc-overrun",	 vmalloc_overrun },
	{ "leak",		 leak },
	{ "shift",		 shift },
	{ "inversion",		 inversion },
	{ "interrupt-inversion", interrupt_inversion },
	{ "unprotected-rcu",	 unprotected_rcu },
	{ "free-active",	 free_active },
	{ "sleep-in-atomic",	 sleep_in_atomic },
	{ "race",		 race },
};

static int set_defect(const char *text, const struct kernel_param *kp)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(defects); i++)
		if (sysfs_streq(text, defects[i].name)) {
			defects[i].commit();
			return 0;
		}
	return -EINVAL;
}

static const struct kernel_param_ops ops = { .set = set_defect };

module_param_cb(defect, &ops, NULL, 0200);

static int __init planted_init(void)
{
	return 0;
}
module_init(planted_init);

static void __exit planted_exit(void)
{
}
module_exit(planted_exit);

MODULE_DESCRIPTION("defects on demand");
MODULE_LICENSE("GPL");
