# shellcheck shell=bash
# What ./check runs: one function a suite, each in a process of its own, from the top folder.
set -uo pipefail

# Staged installation of a build: build/check/NAME is the build folder, build/check/NAME/root its prefix.
# One at a time: a suite may run beside the others.
build() { # NAME [MESON OPTION]...
	local dir=build/check/$1
	shift
	mkdir -p build/check
	(
		flock 9
		[ -f "$dir/build.ninja" ] || meson setup "$dir" --prefix "$PWD/$dir/root" "$@" || exit
		ninja -C "$dir" || exit
		meson install -C "$dir" --no-rebuild --quiet
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

unit_tests() { # NAME
	local status=0
	meson test -C "build/check/$1" --no-rebuild --num-processes 2 --timeout-multiplier 3 --quiet >/dev/null || status=$?
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
folder_tests() { # DIR PREFIX
	local status=0 files
	export BERTH_PREFIX=$2 BERTH_BUILD=${2%/root}
	export BERTH_TEST_IMAGES=${BERTH_TEST_IMAGES:-$PWD/build/images}
	# Any image will do where a test wants a real guest; without one (--quick) it says that it is skipped.
	BERTH_IMAGE=$(find "$BERTH_TEST_IMAGES" -mindepth 2 -maxdepth 2 -name manifest.json -printf '%h\n' 2>/dev/null | head -n 1)
	export BERTH_IMAGE=${BERTH_IMAGE:-$BERTH_TEST_IMAGES/none}
	for script in "$1"/run*; do
		[ -x "$script" ] || continue
		"$script" || status=1
	done
	files=$(find "$1" -maxdepth 1 -name '*.test.mjs' | sort)
	[ -n "$files" ] || return $status
	npm_packages || return
	# shellcheck disable=SC2086
	node --test --test-reporter=tap --test-concurrency=1 $files || status=1
	return $status
}

npm_packages() {
	[ -d tests/e2e/node_modules/playwright-core ] && return
	npm ci --prefix tests/e2e --no-audit --no-fund --ignore-scripts
}

suite_gcc() {
	build gcc
}

suite_unit() {
	build gcc && unit_tests gcc
}

suite_clang() {
	CC=clang build clang
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
	CC=clang build fuzz -Dfuzz=true -Dtests=false -Db_sanitize=address,undefined -Db_lundef=false || return
	for t in build/check/fuzz/tests/fuzz/*/fuzz_*; do
		if [ ! -f "$t" ] || [ ! -x "$t" ]; then
			continue
		fi
		name=${t##*/fuzz_}
		corpus=tests/fuzz/$(basename "$(dirname "$t")")/corpus-$name
		mkdir -p "build/check/corpus/$name"
		if "$t" -max_total_time="${BERTH_FUZZ_SECONDS:-8}" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
			"build/check/corpus/$name" "$corpus"; then
			echo "ok - fuzz $name"
		else
			echo "not ok - fuzz $name"
			status=1
		fi
	done
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

suite_gateway_asan() {
	local status=0
	sanitize_options && build_asan && folder_tests tests/gateway "$PWD/build/check/asan/root" || status=1
	sanitizer_reports tests/gateway || status=1
	return $status
}

suite_cli() {
	build gcc && folder_tests tests/cli "$PWD/build/check/gcc/root"
}

suite_guest_image() {
	build gcc && folder_tests tests/guest-image "$PWD/build/check/gcc/root"
}

suite_vm() {
	build gcc && folder_tests tests/vm "$PWD/build/check/gcc/root"
}

# The image of the end-to-end tests: it trusts the test CA. Built where the mirrors can be reached, used where they cannot.
e2e_image() { # PREFIX
	export BERTH_TEST_IMAGES=${BERTH_TEST_IMAGES:-$PWD/build/e2e-images}
	tests/lib/make-ca "$PWD/build/test-ca" || return
	BERTH_TEST_IMAGE=$("$1/libexec/berth/berth-image-build" --out "$BERTH_TEST_IMAGES" --no-update \
		--ca "$PWD/build/test-ca/ca.crt" | tail -n 1) || return
	export BERTH_TEST_IMAGE
}

# Each file in a world of its own, so that nothing of one reaches the next. BERTH_E2E: run these files only.
e2e_tests() { # PREFIX FILE...
	local status=0 name started
	npm_packages || return
	export BERTH_PREFIX=$1
	shift
	for name in "$@"; do
		case " ${BERTH_E2E-$name} " in *" $name "*) ;; *) continue ;; esac
		started=$SECONDS
		timeout --kill-after=20 900 tests/lib/world node --test --test-reporter=tap "tests/e2e/$name.test.mjs" || status=1
		[ -z "${sanitizer_logs-}" ] || sanitizer_reports "$name.test.mjs" || status=1
		echo "# e2e: $name.test.mjs took $((SECONDS - started)) s"
	done
	return $status
}

# The host's programs with sanitizers. The guest's part is static and the same in both: the image of the plain build serves.
suite_e2e() {
	sanitize_options && build gcc && build_asan && e2e_image "$PWD/build/check/gcc/root" || return
	# shellcheck disable=SC2046
	e2e_tests "$PWD/build/check/asan/root" $(e2e_files | grep -vx quickstart)
}

# As it is installed, with what sanitizers do not go with (system call filters, no dumps); quickstart builds for itself.
suite_e2e_plain() {
	build gcc && e2e_image "$PWD/build/check/gcc/root" && e2e_tests "$PWD/build/check/gcc/root" quickstart
}

e2e_files() {
	find tests/e2e -maxdepth 1 -name '*.test.mjs' -printf '%f\n' | sed 's/\.test\.mjs$//' | sort
}
