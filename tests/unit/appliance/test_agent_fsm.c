/* The life cycle's table: what may follow what, cell by cell and in random walks against a model of
 * the resources. */
#include "scratch.h"

#include "agent_fsm.h"

#include <stdlib.h>

/* What an agent holds, as the actions change it. */
struct model {
	enum agent_phase phase;
	bool vm, policy, disk, record, ending;
};

static bool is_ended(enum agent_input i)
{
	return i >= INPUT_ENDED_OFF && i <= INPUT_ENDED_SAVED;
}

/* Could that happen now? People may ask anything; the rest only where something is under way. */
static bool possible(const struct model *m, enum agent_input i)
{
	if (i < N_ASKS)
		return true;
	switch ((int)i) {
	case INPUT_PREPARED:
		return m->phase == PHASE_PREPARE;
	case INPUT_POLICY_READY:
		return m->phase == PHASE_POLICY;
	case INPUT_READY:
		return m->phase == PHASE_BOOT;
	case INPUT_BROWSER_UP:
		return m->vm;
	case INPUT_BROWSER_LATE:
		return m->phase == PHASE_BROWSER;
	case INPUT_ERROR:
	case INPUT_ERROR_NEW:
		return m->phase == PHASE_PREPARE || m->phase == PHASE_POLICY ||
		       (m->phase == PHASE_SUSPENDING && i == INPUT_ERROR);
	case INPUT_SAVE:
		return m->phase == PHASE_RUNNING;
	case INPUT_SAVED:
		return m->phase == PHASE_SAVING;
	case INPUT_ENDED_SAVED:
		return m->phase == PHASE_SUSPENDING;
	case INPUT_UNWARM:
		return m->phase == PHASE_PREPARE || m->phase == PHASE_BOOT;
	case INPUT_TIMER:
		return m->phase == PHASE_BACKOFF;
	default:
		return m->vm; /* it ended */
	}
}

/* Does to the model what the action stands for, and checks that it makes sense there. */
static void apply(struct model *m, enum agent_input input, struct agent_step step)
{
	if (input == INPUT_UNWARM)
		m->vm = false;
	if (is_ended(input)) {
		assert_true(m->vm);
		m->vm = false;
	}
	switch (step.action) {
	case ACTION_REFUSE:
		/* only asks and late reports may be refused, never the end of a VM */
		assert_false(is_ended(input));
		assert_int_equal(step.next, m->phase);
		break;
	case ACTION_DONE:
	case ACTION_JOIN:
		assert_true(input < N_ASKS);
		break;
	case ACTION_PREPARE:
	case ACTION_AGAIN:
		assert_false(m->vm);
		m->disk = true;
		break;
	case ACTION_POLICY:
		assert_true(m->disk);
		m->policy = true;
		break;
	case ACTION_VM:
		/* no guest runs before its policy is in force, and never two */
		assert_true(m->policy);
		assert_false(m->vm);
		m->vm = true;
		m->ending = false;
		break;
	case ACTION_READY:
	case ACTION_UP:
	case ACTION_UP_LATE:
		assert_true(m->vm && m->policy);
		break;
	case ACTION_SHUTDOWN:
	case ACTION_KILL:
		assert_true(m->vm);
		m->ending = true;
		break;
	case ACTION_CLEAN:
	case ACTION_CLEAN_CRASH:
	case ACTION_FAIL:
		assert_false(m->vm);
		m->policy = false;
		break;
	case ACTION_BACKOFF:
		assert_false(m->vm);
		break;
	case ACTION_SUSPEND:
	case ACTION_AWAKE:
	case ACTION_NOTHING:
		assert_true(m->vm && m->policy);
		break;
	case ACTION_ASLEEP:
	case ACTION_FORGET:
		assert_false(m->vm);
		m->policy = false;
		break;
	case ACTION_REWIND:
		assert_false(m->vm);
		m->policy = false;
		m->disk = true;
		break;
	case ACTION_DELETE:
		assert_false(m->vm);
		m->policy = m->disk = m->record = false;
		break;
	}
	m->phase = step.next;
}

static void check(const struct model *m)
{
	assert_int_equal(m->vm, agent_phase_has_vm(m->phase));
	assert_int_equal(m->record, m->phase != PHASE_REMOVED);
	if (m->phase == PHASE_STOPPED || m->phase == PHASE_FAILED || m->phase == PHASE_SUSPENDED)
		assert_false(m->policy || m->vm);
	if (m->phase == PHASE_STOPPING || m->phase == PHASE_RESTARTING ||
		m->phase == PHASE_REMOVING)
		assert_true(m->ending);
}

static void test_random_walks(void **state)
{
	unsigned reached[N_PHASES] = {0};

	for (unsigned seed = 1; seed <= 3000; seed++) {
		struct model m = {.phase = PHASE_STOPPED, .record = true};

		srand(seed);
		for (int n = 0; n < 300 && m.phase != PHASE_REMOVED;) {
			enum agent_input input = (enum agent_input)(rand() % N_INPUTS);

			/* removal is rarer than life, so that walks are long */
			if ((input == INPUT_REMOVE || input == INPUT_ERROR_NEW) && rand() % 20)
				continue;
			/* and so is asking, so that things get done */
			if (!possible(&m, input) || (input < N_ASKS && rand() % 4))
				continue;
			n++;
			apply(&m, input, agent_fsm(m.phase, input));
			check(&m);
			reached[m.phase]++;
		}
	}
	for (int p = 0; p < N_PHASES; p++) {
		if (!reached[p])
			print_message("never %s\n", agent_phase_name((enum agent_phase)p));
		assert_true(reached[p] > 0);
	}
}

/* From every phase, asking to remove and letting things end comes to REMOVED; the same for stop. */
static void test_always_a_way_out(void **state)
{
	for (int p = 0; p < PHASE_REMOVED; p++) {
		struct agent_step s = agent_fsm((enum agent_phase)p, INPUT_REMOVE);

		assert_int_not_equal(s.action, ACTION_REFUSE);
		if (agent_phase_has_vm(s.next))
			s = agent_fsm(s.next, INPUT_ENDED_OFF);
		assert_int_equal(s.next, PHASE_REMOVED);
		if (p == PHASE_REMOVING)
			continue;
		s = agent_fsm((enum agent_phase)p, INPUT_KILL);
		assert_int_not_equal(s.action, ACTION_REFUSE);
		if (agent_phase_has_vm(s.next))
			s = agent_fsm(s.next, INPUT_ENDED_RETRY);
		assert_int_equal(s.next, PHASE_STOPPED);
	}
}

static void test_refusals(void **state)
{
	static const struct {
		enum agent_phase phase;
		enum agent_input ask;
	} refused[] = {
		{PHASE_STOPPING, INPUT_START},
		{PHASE_STOPPING, INPUT_RESTART},
		{PHASE_REMOVING, INPUT_START},
		{PHASE_REMOVING, INPUT_STOP},
		{PHASE_REMOVING, INPUT_KILL},
		{PHASE_REMOVING, INPUT_RESTART},
		{PHASE_RESTARTING, INPUT_START},
		{PHASE_PREPARE, INPUT_RESTART},
		{PHASE_POLICY, INPUT_RESTART},
		{PHASE_BOOT, INPUT_RESTART},
		{PHASE_STOPPED, INPUT_SUSPEND},
		{PHASE_FAILED, INPUT_SUSPEND},
		{PHASE_PREPARE, INPUT_SUSPEND},
		{PHASE_PREPARE, INPUT_REWIND},
		{PHASE_POLICY, INPUT_SUSPEND},
		{PHASE_POLICY, INPUT_REWIND},
		{PHASE_BOOT, INPUT_SUSPEND},
		{PHASE_BROWSER, INPUT_SUSPEND},
		{PHASE_STOPPING, INPUT_SUSPEND},
		{PHASE_STOPPING, INPUT_REWIND},
		{PHASE_RESTARTING, INPUT_SUSPEND},
		{PHASE_RESTARTING, INPUT_REWIND},
		{PHASE_REMOVING, INPUT_SUSPEND},
		{PHASE_REMOVING, INPUT_REWIND},
		{PHASE_BACKOFF, INPUT_SUSPEND},
		{PHASE_SUSPENDING, INPUT_STOP},
		{PHASE_SUSPENDING, INPUT_RESTART},
		{PHASE_SAVING, INPUT_STOP},
		{PHASE_SAVING, INPUT_RESTART},
		{PHASE_SAVING, INPUT_SUSPEND},
		{PHASE_REWINDING, INPUT_START},
		{PHASE_REWINDING, INPUT_STOP},
		{PHASE_REWINDING, INPUT_RESTART},
		{PHASE_REWINDING, INPUT_SUSPEND},
	};
	unsigned n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		assert_int_equal(agent_fsm(refused[i].phase, refused[i].ask).action, ACTION_REFUSE);
	for (int p = 0; p < PHASE_REMOVED; p++)
		for (int ask = 0; ask < N_ASKS; ask++)
			n += agent_fsm((enum agent_phase)p, (enum agent_input)ask).action ==
			     ACTION_REFUSE;
	assert_int_equal(n, ARRAY_SIZE(refused)); /* and nothing else is */
}

static void test_crash_count(void **state)
{
	struct crash_count c = {0};

	assert_int_equal(crash_count_add(&c, 1000), 1000);
	assert_int_equal(crash_count_add(&c, 2000), 2000);
	assert_int_equal(crash_count_add(&c, 3000), 4000);
	assert_int_equal(crash_count_add(&c, 4000), 8000);
	assert_int_equal(crash_count_add(&c, 5000), -1);
	/* they are forgotten one by one */
	assert_int_equal(crash_count_add(&c, 1000 + CRASH_WINDOW_MS), 8000);
	assert_int_equal(crash_count_add(&c, 1001 + CRASH_WINDOW_MS), -1);
	assert_int_equal(crash_count_add(&c, 4001 + 2 * CRASH_WINDOW_MS), 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_walks),
		cmocka_unit_test(test_always_a_way_out),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_crash_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
