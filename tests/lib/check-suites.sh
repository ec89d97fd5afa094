# shellcheck shell=bash
# What ./check runs: one function a suite (or a file of it, where there is a files_SUITE), each in a process of its own, from
# the top folder. BERTH_CHECK_BUILT: what this ./check has passed already.
set -uo pipefail

# name | what must have passed before | run again when it failed | boots machines, or mostly waits | seconds at most | what it is
# shellcheck disable=SC2034 # for ./check
SUITES="
gcc||no|no|600|everything with gcc, warnings are errors
lint||no|no|400|format, shell scripts, sizes, static analysis
check||no|no|300|./check itself, with made-up suites
image|gcc|yes|yes|900|the image that the suites boot, which trusts the test CA
asan|gcc|no|no|900|everything with AddressSanitizer and UBSan
e2e|image asan|yes|yes|1200|the whole appliance in a test internet, host programs with sanitizers
guest-image|gcc|yes|waits|1500|the image that people get, built twice
guest-boot|guest-image|yes|yes|1200|that image, booted
e2e-plain|guest-image|yes|yes|1200|quickstart, as people run it: without sanitizers
vm|image|yes|yes|900|one machine: start, adopt, crash, hang
asan-unit|asan|no|no|1500|unit tests under AddressSanitizer and UBSan
unit|gcc|no|no|900|unit tests
clang|gcc|no|no|600|everything with clang, warnings are errors
fuzz|clang|no|no|700|every fuzzer over its corpus, and a while beyond
policy|gcc|yes|waits|900|berth-policy against a test internet
policy-asan|asan|yes|waits|1200|the same with sanitizers
gateway|gcc|yes|waits|500|the gateway with native upstreams
gateway-asan|asan|yes|waits|600|the same with sanitizers
computer-use|asan|yes|no|900|computer use and pictures by the gateway and a native Chromium, with sanitizers
gateway-guest|image asan|yes|yes|500|both against a real guest
cli|gcc|no|no|300|the command line
"

# Staged installation of a build: build/check/NAME is the build folder, build/check/NAME/root its prefix.
# One at a time: a suite may run beside the others.
build() { # NAME [MESON OPTION]...
	local dir=build/check/$1
	[[ ${BERTH_CHECK_BUILT-} != *" $1 "* ]] || return 0
	shift
	mkdir -p build/check
	(
		flock 9
		[ -f "$dir/build.ninja" ] || meson setup "$dir" --prefix "$PWD/$dir/root" "$@" || exit
		ninja -C "$dir" || exit
		meson install -C "$dir" --no-rebuild --only-changed --quiet
	) 9>"build/check/.$(basename "$dir").lock"
}

# For a suite that runs sanitizer builds: what the programs find goes to files, whoever they run as and wherever their
# stderr goes. A folder below TMPDIR, as uids of the appliance's user namespace must reach it.
sanitize_options() {
	sanitizer_logs=$(mktemp -d "${TMPDIR:-/tmp}/berth-sanitizers.XXXXXX") || return
	chmod 1777 "$sanitizer_logs"
	trap 'rm -rf "$sanitizer_logs"' EXIT
	export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:exitcode=99:log_path=$sanitizer_logs/log
	export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1:log_path=$sanitizer_logs/log
}

# Prints what sanitizers have found since the last call; any report is a failure.
sanitizer_reports() { # WHAT
	local file status=0
	for file in "$sanitizer_logs"/log.*; do
		[ -f "$file" ] || continue
		echo "not ok - sanitizers: ${file##*/}, in $1"
		head -n 80 "$file"
		rm "$file"
		status=1
	done
	return $status
}

build_asan() {
	build asan -Db_sanitize=address,undefined -Db_lundef=false -Doptimization=1
}

unit_tests() { # NAME [MESON OPTION]...
	local status=0
	meson test -C "build/check/$1" "${@:2}" --no-rebuild --num-processes 2 --timeout-multiplier 10 --quiet >/dev/null || status=$?
	# Every program's own lines are counted; a program that ended badly without naming a test counts as one.
	cat "build/check/$1/meson-logs/testlog.txt"
	python3 - "build/check/$1/meson-logs/testlog.json" <<-'P'
		import json, sys
		for line in open(sys.argv[1]):
		    t = json.loads(line)
		    if t['result'] in ('FAIL', 'ERROR', 'TIMEOUT', 'INTERRUPT') and '[  FAILED  ]' not in t.get('stdout', ''):
		        print('not ok -', t['name'], t['result'])
	P
	return $status
}

# Runs every test of a folder: executables named run*, then *.test.mjs through node.
folder_tests() { # DIR PREFIX [FILE-NAME-PATTERN]
	local status=0 files options=(--test --test-reporter=tap --test-concurrency=1)
	# A test that hangs is named; Debian 12's Node.js cannot.
	! node --help | grep -e --test-timeout >/dev/null || options+=(--test-timeout=240000)
	export BERTH_PREFIX=$2 BERTH_BUILD=${2%/root}
	for script in "$1"/run*; do
		[ -x "$script" ] || continue
		"$script" || status=1
	done
	files=$(find "$1" -maxdepth 1 -name "${3-*}.test.mjs" | sort)
	[ -n "$files" ] || return $status
	npm_packages || return
	# shellcheck disable=SC2086
	node "${options[@]}" $files || status=1
	return $status
}

# Again when the lock file is newer than what npm installed by it.
npm_packages() {
	mkdir -p build/check
	(
		flock 9
		cd tests/e2e || exit
		[ ! node_modules/.package-lock.json -nt package-lock.json ] || exit 0
		npm ci --include=dev --no-audit --no-fund --ignore-scripts
	) 9>build/check/.npm.lock
}

suite_gcc() {
	build gcc
}

# What tries a deed again for each of its steps takes long, and finds most with sanitizers: there alone.
suite_unit() {
	build gcc && unit_tests gcc --no-suite each-step
}

# With fuzzers and sanitizers, so that the fuzzers need no build of their own.
build_clang() {
	CC=clang build clang-fuzz -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false
}

suite_clang() {
	build_clang
}

suite_asan() {
	build_asan
}

suite_check() {
	tests/check/run
}

suite_asan_unit() {
	local status=0
	sanitize_options && build_asan && unit_tests asan || status=1
	sanitizer_reports "the unit tests" || status=1
	return $status
}

suite_lint() {
	local status=0 f
	git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror || { echo "not ok - clang-format"; status=1; }
	git ls-files | while read -r f; do
		[ -f "$f" ] && head -c 64 "$f" | grep -aqE '^#!.*(bash|/sh)' && echo "$f"
	done | xargs -r shellcheck -x || { echo "not ok - shellcheck"; status=1; }
	cppcheck --quiet --error-exitcode=1 --inline-suppr --enable=warning,portability --std=c11 \
		--suppress=missingIncludeSystem --suppress=normalCheckLevelMaxBranches --suppress=resourceLeak \
		--suppress=autoVariables -I appliance/base -D_GNU_SOURCE \
		--include=tests/lib/cppcheck.h \
		appliance cdp-proxy policy guest-image || { echo "not ok - cppcheck"; status=1; }
	scripts/api-md | diff docs/api.md - || { echo "not ok - docs/api.md is not what scripts/api-md makes of docs/openapi.json"; status=1; }
	tests/lib/sizes || { echo "not ok - sizes"; status=1; }
	[ $status = 0 ] && echo "ok - format, shell, analysis, sizes"
	return $status
}

suite_fuzz() {
	local status=0 t name corpus
	build_clang || return
	for t in build/check/clang-fuzz/tests/fuzz/*/fuzz_*; do
		if [ ! -f "$t" ] || [ ! -x "$t" ]; then
			continue
		fi
		name=${t##*/fuzz_}
		corpus=tests/fuzz/$(basename "$(dirname "$t")")/corpus-$name
		mkdir -p "build/check/corpus/$name"
		if "$t" -max_total_time="${BERTH_FUZZ_SECONDS:-5}" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
			"build/check/corpus/$name" "$corpus"; then
			echo "ok - fuzz $name"
		else
			echo "not ok - fuzz $name"
			status=1
		fi
	done
	ls build/check/clang-fuzz/tests/fuzz/*/fuzz_* >/dev/null || { echo "not ok - there is no fuzzer"; status=1; }
	return $status
}

suite_policy() {
	build gcc && folder_tests tests/policy "$PWD/build/check/gcc/root"
}

suite_policy_asan() {
	local status=0
	sanitize_options && build_asan && folder_tests tests/policy "$PWD/build/check/asan/root" || status=1
	sanitizer_reports tests/policy || status=1
	return $status
}

suite_gateway() {
	build gcc && folder_tests tests/gateway "$PWD/build/check/gcc/root"
}

# One guest for both builds.
suite_gateway_guest() {
	local status=0
	sanitize_options && build gcc && build_asan && npm_packages && test_image || return
	export BERTH_BUILDS="$PWD/build/check/gcc $PWD/build/check/asan"
	node --test --test-reporter=tap tests/gateway/real.mjs || status=1
	sanitizer_reports tests/gateway/real.mjs || status=1
	return $status
}

suite_gateway_asan() {
	local status=0
	sanitize_options && build_asan && folder_tests tests/gateway "$PWD/build/check/asan/root" || status=1
	sanitizer_reports tests/gateway || status=1
	return $status
}

files_computer_use() {
	find tests/computer-use -name '*.test.mjs' -printf '%f\n' | sed 's/\.test\.mjs$//' | sort
}

suite_computer_use() { # NAME
	local status=0
	sanitize_options && build_asan && folder_tests tests/computer-use "$PWD/build/check/asan/root" "$1" || status=1
	sanitizer_reports "$1.test.mjs" || status=1
	return $status
}

# From a copy that every user gets to: the checkout may lie below a private folder, as /root is.
suite_cli() {
	local copy status=0
	build gcc && copy=$(mktemp -d "${TMPDIR:-/tmp}/berth-cli-root.XXXXXX") || return
	chmod 755 "$copy"
	cp -a build/check/gcc/root "$copy/" && folder_tests tests/cli "$copy/root" || status=1
	rm -rf "$copy"
	return $status
}

suite_guest_image() {
	export BERTH_TEST_IMAGES=${BERTH_TEST_IMAGES:-$PWD/build/images}
	build gcc && folder_tests tests/guest-image "$PWD/build/check/gcc/root"
}

suite_guest_boot() {
	local image status=0
	for image in "${BERTH_TEST_IMAGES:-$PWD/build/images}"/*/manifest.json; do
		tests/guest-image/boot.py "${image%/manifest.json}" || status=1
	done
	return $status
}

# From a copy of the image that every user gets to, as suite_cli.
suite_vm() {
	local copy status=0
	build gcc && test_image && copy=$(mktemp -d "${TMPDIR:-/tmp}/berth-vm-image.XXXXXX") || return
	chmod 755 "$copy"
	cp -al "$BERTH_IMAGE" "$copy/" 2>/dev/null || { rm -rf "${copy:?}"/* && cp -a "$BERTH_IMAGE" "$copy/"; } || return
	BERTH_TEST_IMAGES=$copy folder_tests tests/vm "$PWD/build/check/gcc/root" || status=1
	rm -rf "$copy"
	return $status
}

# The image that is booted where a test does not make its own: it trusts the test CA, and has Node.js for npm. Built where the
# mirrors can be reached, used where they cannot.
test_image() {
	local build=build/check/gcc/root/libexec/berth/berth-image-build
	export BERTH_TEST_IMAGES=${BERTH_TEST_IMAGES:-$PWD/build/e2e-images} BERTH_TEST_CA=${BERTH_TEST_CA:-$PWD/build/test-ca}
	tests/lib/make-ca "$BERTH_TEST_CA" || return
	BERTH_TEST_IMAGE=$($build --out "$BERTH_TEST_IMAGES" --no-update --ca "$BERTH_TEST_CA/ca.crt" \
		--extra-packages nodejs | tail -n 1) || return
	export BERTH_TEST_IMAGE BERTH_IMAGE=$BERTH_TEST_IMAGES/$BERTH_TEST_IMAGE
}

suite_image() {
	build gcc && test_image
}

# A file in a world of its own, so that nothing of one reaches the next.
e2e_test() { # PREFIX NAME
	local status=0
	npm_packages || return
	export BERTH_PREFIX=$1
	timeout --foreground --kill-after=20 1150 tests/lib/world node --test --test-reporter=tap "tests/e2e/$2.test.mjs" || status=1
	[ -z "${sanitizer_logs-}" ] || sanitizer_reports "$2.test.mjs" || status=1
	return $status
}

# The host's programs with sanitizers. The guest's part is static and the same in both: the image of the plain build serves.
suite_e2e() { # NAME
	sanitize_options && build gcc && build_asan && test_image && e2e_test "$PWD/build/check/asan/root" "$1"
}

# The largest first, so that none of them is the last one alone. BERTH_E2E: these files only.
files_e2e() {
	local name
	for name in $(find tests/e2e -maxdepth 1 -name '*.test.mjs' ! -name 'quickstart.*' -printf '%s %f\n' | sort -rn | cut -d ' ' -f 2); do
		name=${name%.test.mjs}
		[[ " ${BERTH_E2E-$name} " != *" $name "* ]] || echo "$name"
	done
}

# As it is installed, with what sanitizers do not go with (system call filters, no dumps); quickstart builds for itself.
suite_e2e_plain() {
	build gcc && test_image && e2e_test "$PWD/build/check/gcc/root" quickstart
}
