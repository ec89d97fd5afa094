/* What an agent's machine tells, and how it is started: the side of the agent's life that faces the
 * vm. */
#include "agent_priv.h"
#include "json.h"
#include "log.h"
#include "paths.h"
#include "policy.h"
#include "process.h"
#include "util.h"

#include <errno.h>
#include <string.h>

static void on_policy_after_wake(void *data, const struct err *err)
{
	struct agent *a = data;

	if (err)
		log_warning("%s: its policy is not in force yet: %s", a->rec.name, err->msg);
	agent_feed(a, INPUT_READY);
}

static void on_vm_ready(void *data, const struct guest_ready *ready)
{
	struct agent *a = data;

	a->ready = *ready;
	if (a->woke && a->link) {
		cJSON *policy = policy_to_send(a->policy);

		policy_link_set(a->link, policy, on_policy_after_wake, a);
		cJSON_Delete(policy);
		return;
	}
	log_info("%s: the guest is ready, kernel %.40s, %u ms to its init, %u ms to its channel",
		a->rec.name, ready->kernel, ready->kernel_ms, ready->init_ms);
	agent_feed(a, INPUT_READY);
}

/* What a guest says before it has started its browser for the first time: it is down, but it never
 * ended. No news. */
static bool not_started(const struct agent *a, const struct guest_browser *b)
{
	return a->browser == GUEST_BROWSER_STARTING && b->state == GUEST_BROWSER_DOWN &&
	       b->restarts == 0 && b->exit_status == 0 && b->signal == 0;
}

static void on_vm_browser(void *data, const struct guest_browser *browser)
{
	static const char *const types[] = {NULL, "browser.up", "browser.down", "browser.gave-up"};
	struct agent *a = data;
	int was = a->browser;

	if (browser->state == GUEST_BROWSER_STARTING)
		a->browser_begun = now_ms();

	if (browser->state >= ARRAY_SIZE(types) || not_started(a, browser))
		return;
	a->browser = (int)browser->state;
	a->browser_restarts = browser->restarts % 1000000;
	/* What an adopted guest says first is no news. */
	if (was != a->browser && types[a->browser] &&
		!(a->browser_known && a->browser == GUEST_BROWSER_UP)) {
		cJSON *o = cJSON_CreateObject();

		cJSON_AddNumberToObject(o, "restarts", browser->restarts);
		if (a->browser == GUEST_BROWSER_UP && a->browser_begun)
			cJSON_AddNumberToObject(
				o, "start_ms", (double)(now_ms() - a->browser_begun));
		agent_event(a, types[a->browser], o, "%s", "");
	}
	a->browser_known = false;
	if (a->browser == GUEST_BROWSER_UP && a->phase == PHASE_RUNNING && a->rec.detail[0])
		agent_set_state(a, "running", "");
	if (a->browser == GUEST_BROWSER_UP)
		agent_feed(a, INPUT_BROWSER_UP);
}

/* True if another line of the guest may be kept now. */
static bool log_allowed(struct agent *a)
{
	uint64_t now = now_ms();

	a->log_tokens += (double)(now - a->log_at) * LOG_RATE / 1000;
	a->log_at = now;
	if (a->log_tokens > LOG_BURST)
		a->log_tokens = LOG_BURST;
	if (a->log_tokens < 1) {
		a->log_dropped++;
		return false;
	}
	a->log_tokens -= 1;
	return true;
}

static void on_vm_log(void *data, unsigned source, const char *line)
{
	struct agent *a = data;
	cJSON *o;

	if (!log_allowed(a))
		return;
	o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "source", source == 0 ? "init" : "browser");
	if (a->log_dropped)
		cJSON_AddNumberToObject(o, "dropped_before", (double)a->log_dropped);
	a->log_dropped = 0;
	agent_event(a, "guest.log", o, "%s", line);
}

static void on_vm_stalled(void *data, const char *why)
{
	struct agent *a = data;

	agent_event(a, why ? "agent.paused" : "agent.resumed", NULL, "%s", why ? why : "");
	if (a->phase == PHASE_RUNNING)
		agent_set_state(a, "running", why ? why : "");
}

/* A crash or hang: is another try due, and when? */
static enum agent_input verdict(struct agent *a)
{
	int wait;

	if (!streq(a->rec.on_crash, "restart"))
		return INPUT_ENDED_STAY;
	wait = crash_count_add(&a->crashes, now_ms());
	if (wait < 0)
		return INPUT_ENDED_GIVE_UP;
	watch_timer_start(a->timer, (uint64_t)wait);
	return INPUT_ENDED_RETRY;
}

/* Its memory is back: with the next instruction what it slept with is old. */
static void on_vm_loaded(void *data)
{
	struct agent *a = data;

	if (agent_sleep_consume(a, &a->err) < 0) {
		err_context(&a->err, "agent '%s' cannot be woken", a->rec.name);
		a->still_asleep = true;
		vm_kill(a->vm);
		return;
	}
	vm_continue(a->vm);
}

static void on_vm_ended(void *data, enum vm_end how, const char *detail)
{
	struct agent *a = data;
	bool asked = a->phase == PHASE_STOPPING || a->phase == PHASE_RESTARTING ||
		     a->phase == PHASE_REMOVING || a->phase == PHASE_REWINDING,
	     still_asleep = a->still_asleep && !asked;
	struct err gone;

	vm_free(a->vm);
	a->vm = NULL;
	a->adopted = false;
	a->browser = GUEST_BROWSER_DOWN;
	watch_timer_stop(a->timer);
	snprintf(a->end_detail, sizeof(a->end_detail), "%s", detail ? detail : "");
	err_set(&gone, ECANCELED, "the guest of '%s' ended: %s", a->rec.name, a->end_detail);
	agent_merge_drop(a);
	agent_save_abort(a, &gone);
	a->still_asleep = false;
	if (still_asleep) {
		agent_failed(a);
		return;
	}
	if (how == VM_END_SAVED && a->phase == PHASE_SUSPENDING) {
		agent_feed(a, INPUT_ENDED_SAVED);
		return;
	}
	if (how == VM_END_UNWAKEABLE && !asked) {
		agent_unwakeable(a);
		return;
	}
	if (how == VM_END_NOT_WOKEN && !asked) {
		agent_not_woken(a, -EIO);
		return;
	}
	if (asked || how == VM_END_POWEROFF) {
		agent_feed(a, INPUT_ENDED_OFF);
		return;
	}
	agent_event(
		a, how == VM_END_HANG ? "agent.hung" : "agent.crashed", NULL, "%s", a->end_detail);
	agent_feed(a, verdict(a));
}

static const struct vm_callbacks vm_callbacks = {
	.ready = on_vm_ready,
	.browser = on_vm_browser,
	.log = on_vm_log,
	.stalled = on_vm_stalled,
	.loaded = on_vm_loaded,
	.ended = on_vm_ended,
};

/* The strings are a's or among `paths`, which are the caller's to free. */
static void fill_spec(const struct agent *a, char *paths[2], struct vm_spec *ret)
{
	paths[0] = path_in(a->all->state, "images/%s", a->rec.image);
	paths[1] = path_in(a->all->state, "agents/%s/%s", a->rec.id, a->rec.base);
	*ret = (struct vm_spec){
		.state = a->all->state,
		.id = a->rec.id,
		.name = a->rec.name,
		.slot = a->rec.slot,
		.image_dir = paths[0],
		.disk = a->rec.disk,
		.memory = paths[1],
		.memory_mib = a->vm_memory_mib,
		.cpus = a->vm_cpus,
		.browser = true,
	};
	memcpy(ret->machine_id, a->rec.machine_id, sizeof(ret->machine_id));
}

static void spec_done(char *paths[2])
{
	free(paths[0]);
	free(paths[1]);
}

/* QEMU's program runs from now on. */
static void tell_booting(struct agent *a)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddNumberToObject(o, "pid", vm_pid(a->vm));
	cJSON_AddStringToObject(o, "accel", vm_accel(a->vm));
	agent_event(a, "agent.booting", o, "%s", "");
}

/* Boots it, or wakes it from m. */
int agent_start_vm(struct agent *a, const cJSON *m, struct err *err)
{
	const cJSON *memory = json_get(m, "memory");
	AUTOFREE char *folder = agent_sleep_folder(a), *device = xasprintf("%s/device", folder),
		      *pages = xasprintf("%s/pages", folder);
	struct vm_spec spec;
	char *paths[2];
	int r;

	agent_size(a, &a->vm_memory_mib, &a->vm_cpus);
	fill_spec(a, paths, &spec);
	if (m)
		spec.wake = (struct vm_wake){.device = device,
			.pages = json_bool(memory, "pages", false) ? pages : NULL,
			.device_digest = json_str(memory, "device_digest", ""),
			.pages_digest = json_str(memory, "pages_digest", ""),
			.machine = json_str(memory, "machine", "")};
	a->woke = m;
	a->browser = GUEST_BROWSER_STARTING;
	a->browser_restarts = 0;
	a->browser_begun = 0;
	a->adopted = false;
	a->browser_known = m && !a->warm;
	r = vm_start(&a->vm, a->all->o.loop, &spec, &vm_callbacks, a, err);
	if (r < 0)
		a->vm = NULL;
	else
		tell_booting(a);
	spec_done(paths);
	return r;
}

int agent_adopt_vm(struct agent *a, struct err *err)
{
	struct vm_spec spec;
	char *paths[2];
	int r;

	fill_spec(a, paths, &spec);
	spec.woken = a->woke = agent_half_awake(a);
	r = vm_adopt(&a->vm, a->all->o.loop, &spec, &vm_callbacks, a, err);
	spec_done(paths);
	if (r < 0) {
		a->vm = NULL;
		return r;
	}
	/* As qemu_args.c wrote it; the record may have been changed since. */
	a->vm_memory_mib = process_arg_number(vm_pid(a->vm), "-m", a->rec.memory_mib);
	a->vm_cpus = process_arg_number(vm_pid(a->vm), "-smp", a->rec.cpus);
	a->adopted = a->browser_known = streq(a->rec.state, "running");
	a->browser = GUEST_BROWSER_STARTING;
	a->phase = PHASE_BOOT;
	watch_timer_start(a->timer, BOOT_TIMEOUT_MS);
	return 0;
}
