#!/usr/bin/env bash
# Runs every test of mesh: unit, property and simulator tests first, then the outside-in tests on a testbed of namespaces
# and Docker engines. The last line is `N passed, N failed`; the exit status is 1 if a test failed.
#
#   tests/run.sh            all
#   tests/run.sh unit       without the testbed; needs no root
set -uo pipefail
cd "$(dirname "$0")/.."
export PATH=$HOME/.cargo/bin:$PATH:/usr/sbin:/sbin
layers=${1:-all}
outside=(netns docker)               # test targets that need root and a testbed
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Two processes of these tests fit two cores; more would measure the machine rather than mesh.
threads=2
failed_runs=0

# One build serves every run below; a test that does not compile is one failure, since nothing of it ran.
cargo build --workspace --bins --tests 2>&1 | tee -a "$log"
built=${PIPESTATUS[0]}

run() {
    cargo test --quiet "$@" 2>&1 | tee -a "$log"
    return "${PIPESTATUS[0]}"
}

# A run that fails without naming a failed test (it crashed, or did not compile) still counts as one.
count_run() {
    local before after
    before=$(failures)
    run "$@" && return
    after=$(failures)
    [ "$after" -gt "$before" ] || { echo "run.sh: cargo test $* ended badly" | tee -a "$log"; failed_runs=$((failed_runs + 1)); }
}

# Test targets of the tests crate that need no testbed: `tests/x.rs` and `tests/x/main.rs`.
other_targets() {
    local file
    for file in tests/tests/*.rs tests/tests/*/main.rs; do
        [ -e "$file" ] || continue
        file=${file%/main.rs}
        basename -s .rs "$file"
    done | grep -vxF "$(printf '%s\n' "${outside[@]}")"
}

sum()      { grep -aoE "^test result: .*" "$log" | grep -oE "[0-9]+ $1" | awk '{ n += $1 } END { print n + 0 }'; }
failures() { sum failed; }

if [ "$built" != 0 ]; then
    failed_runs=1
else
    others=$(other_targets)
    # shellcheck disable=SC2046,SC2086  # words
    count_run --workspace --exclude mesh-tests --no-fail-fast
    # shellcheck disable=SC2046
    count_run -p mesh-tests --lib --bins $(printf -- '--test %s ' $others) --no-fail-fast
    if [ "$layers" = all ]; then
        tests/testbed/testbed.sh sweep
        for target in "${outside[@]}"; do
            count_run -p mesh-tests --test "$target" -- --test-threads "$threads"
        done
    fi
fi

names=$(grep -aoE '^test .* \.\.\. FAILED|^    [a-z_0-9:]+$' "$log" | sed -E 's/^test (.*) \.\.\. FAILED/\1/; s/^ +//' | sort -u)
[ -z "$names" ] || printf 'failed:\n%s\n' "$(sed 's/^/  /' <<<"$names")"
failed=$(($(failures) + failed_runs))
echo "$(sum passed) passed, $failed failed"
[ "$failed" = 0 ]
