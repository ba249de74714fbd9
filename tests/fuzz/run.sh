#!/usr/bin/env bash
# Runs every fuzz target for a while, then keeps of the corpus what covers something of its own.
#
#     tests/fuzz/run.sh [SECONDS for each target] [TARGET...]
#
# Needs a nightly toolchain, a C++ compiler and cargo-fuzz. What crashes lies in tests/fuzz/artifacts: it becomes a
# file in tests/fuzz/regressions and is mended in the same commit.
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds="${1:-450}"
shift || true
targets=("$@")
[[ ${#targets[@]} -gt 0 ]] || mapfile -t targets < <(cargo +nightly fuzz list --fuzz-dir tests/fuzz)

# Rust's own checks, overflow and assertions are on; no sanitizer, because the code under test has no `unsafe`.
options=(--fuzz-dir tests/fuzz --sanitizer none --release)
for target in "${targets[@]}"; do
    mkdir -p "tests/fuzz/corpus/$target"
    nice -n 19 cargo +nightly fuzz run "${options[@]}" "$target" "tests/fuzz/corpus/$target" "tests/fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -timeout=25 -max_len=4096 -print_final_stats=1
    nice -n 19 cargo +nightly fuzz cmin "${options[@]}" "$target" "tests/fuzz/corpus/$target"
done
