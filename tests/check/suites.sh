# shellcheck shell=bash
# Made-up suites for tests/check/run. FAKE: a folder of this run's; what a suite does the second time it finds there.
# shellcheck disable=SC2034 # for ./check
SUITES="
good||no|no|20|counts in three ways
needs-good|good|no|no|20|after it
flaky||yes|yes|20|fails once
files||yes|yes|20|one file fails once
broken||yes|yes|20|fails twice
sanitizer||yes|yes|20|a sanitizer reports, the first time only
once||no|no|20|fails, and has no second try
hangs||no|no|1|passes its time bound
needs-broken|broken|no|no|20|never
silent||no|no|20|counts nothing
busy||no|no|20|takes a place
wait-a||no|waits|20|takes none
wait-b||no|waits|20|nor does this
"

log() {
	echo "$1" >>"$FAKE/order"
}

first() { # NAME
	[ ! -e "$FAKE/$1" ] && touch "$FAKE/$1"
}

suite_good() {
	log good
	printf '%s\n' '[       OK ] one' '[  PASSED  ] 1 test(s).' 'ok - two' 'ok 3 - three # SKIP no reason' 'TAP version 13' \
		'# Subtest: four' 'ok 1 - four' '# pass 2' '# fail 0' '# cancelled 0' '# skipped 1' '# todo 0' '# duration_ms 5'
}

suite_needs_good() {
	log needs-good
	echo "ok - built:$BERTH_CHECK_BUILT"
}

suite_flaky() {
	log flaky
	if first flaky; then
		printf '%s\n' 'ok - this' 'not ok - that' 'the reason why'
		return 1
	fi
	printf '%s\n' 'ok - this' 'ok - that'
}

files_files() {
	printf '%s\n' a b c
}

suite_files() {
	log "files:$1"
	if [ "$1" = b ] && first b; then return 1; fi
	printf '%s\n' "TAP version 13" '# pass 10' '# fail 0' '# cancelled 0' '# skipped 0' '# todo 0' '# duration_ms 5'
}

suite_broken() {
	printf '%s\n' 'TAP version 13' 'not ok 1 - x' '# pass 3' '# fail 2' '# cancelled 0' '# skipped 0' '# todo 0' '# duration_ms 5'
	return 1
}

suite_sanitizer() {
	first sanitizer || { echo 'ok - now'; return; }
	printf '%s\n' 'ok - all' 'not ok - sanitizers: log.1, in x'
	return 1
}

suite_once() {
	first once || { echo 'ok - now'; return; }
	exit 1
}

suite_hangs() {
	sleep 60
}

suite_needs_broken() {
	log needs-broken
}

suite_silent() {
	true
}

# The most of a kind that were seen to run at once.
at_once() { # KIND
	touch "$FAKE/$1.$BASHPID"
	sleep 0.5
	compgen -G "$FAKE/$1.*" | wc -l >>"$FAKE/at-once"
	sleep 0.5
	rm "$FAKE/$1.$BASHPID"
	echo 'ok - at once'
}

suite_busy() {
	at_once all
}

suite_wait_a() {
	at_once all
}

suite_wait_b() {
	at_once all
}
