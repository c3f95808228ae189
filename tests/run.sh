#!/usr/bin/env bash
# Runs every test of mesh: unit, property and simulator tests first, then the external tests on a testbed of namespaces
# and Docker engines. The last line is `N passed, N failed`; the exit status is 1 if a test failed.
#
#   tests/run.sh            all tests (uses sudo where the testbed needs root)
#   tests/run.sh unit       without the testbed; needs no root
set -uo pipefail
cd "$(dirname "$0")/.."
export PATH=$HOME/.cargo/bin:$PATH:/usr/sbin:/sbin
export RUST_BACKTRACE=0              # the error names the failure; long backtraces would hide it
layers=${1:-all}
outside=(harness netns docker)       # test targets that need root and a testbed
threads=3                            # parallel testbeds: they mostly wait; with more, CPU load distorts timings
ended_badly=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'exit 130' INT TERM

# Names of the other test targets: `tests/x.rs` and `tests/x/main.rs` of each crate.
inside_targets() {
    local file
    for file in {proto,proto/*,router,router/sys,cli,tests,benches,examples}/tests/{*.rs,*/main.rs}; do
        [ -e "$file" ] && basename -s .rs "${file%/main.rs}"
    done | grep -vxF "$(printf '%s\n' "${outside[@]}")"
}

# Always the whole workspace with a choice of targets: another choice of packages would rebuild dependencies.
tests=(cargo test --quiet --workspace --no-fail-fast)

run() {
    local before status
    before=$(sum failed)
    "${tests[@]}" "$@" 2>&1 | tee -a "$log"
    status=${PIPESTATUS[0]}
    # A run that failed counts as a failure itself, unless it named its failed tests.
    [ "$status" = 0 ] || [ "$(sum failed)" -gt "$before" ] || badly "cargo test $*"
}

# A run that fails without naming a failed test crashed or did not compile; it counts as one failure.
badly() { echo "run.sh: ended badly: $1"; ended_badly=$((ended_badly + 1)); }

sum() { grep -aE '^test result: ' "$log" | grep -oE "[0-9]+ $1" | awk '{ n += $1 } END { print n + 0 }'; }

run_inside() {
    local targets=() name
    for name in $(inside_targets); do targets+=(--test "$name"); done
    run --lib --bins --examples "${targets[@]}"
    run --doc
}

# Keeps the disks of the testbeds in memory where there is plenty: beside a build each fsync on a disk can take a minute.
choose_disks() {
    local available
    available=$(awk '/^MemAvailable:/ { print int($2 / 1048576) }' /proc/meminfo)
    if [ -z "${TESTBED_ROOT:-}" ] && [ "${available:-0}" -ge 8 ] && [ "$(stat -f -c %T /dev/shm 2>/dev/null)" = tmpfs ] &&
        [ $(($(stat -f -c '%S * %a' /dev/shm))) -ge $((4 << 30)) ]; then
        export TESTBED_ROOT=/dev/shm/mesh-testbed
    fi
}

run_outside() {
    local target triple
    choose_disks
    if [ "$(id -u)" != 0 ]; then
        triple=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
        export "CARGO_TARGET_${triple}_RUNNER=sudo -E"
    fi
    for target in "${outside[@]}"; do run --test "$target" -- --test-threads "$threads"; done
}

if cargo build --workspace --bins --tests 2>&1 | tee -a "$log"; then
    # One after the other. The simulator beside the external tests, with the lowest priority, made everything else stand
    # still for a minute now and then: Linux gives each session its share (autogroup), whatever the priority of its tasks.
    run_inside
    [ "$layers" != all ] || run_outside
else
    badly 'cargo build'
fi

# Names and reasons of failed tests at the end: the tail of a long log is read first, and may be all that is kept.
awk '/^---- .* stdout ----$/          { print "failed: " $2; left = 0 }
     /^Error: |panicked at /          { left = 12 }
     /^failures:$|^test result:/      { left = 0 }
     left > 0                         { print "    " substr($0, 1, 300); left-- }' "$log"
failed=$(($(sum failed) + ended_badly))
echo "$(sum passed) passed, $failed failed"
[ "$failed" = 0 ]
