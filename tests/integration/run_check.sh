#!/usr/bin/env bash
# Goal: the command the README gives to a newcomer works, from the programs of this build.
# Method: scripts/run --check in a temporary directory.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin_test
succeeds 'scripts/run --check' "$root/scripts/run" --check --build "$stele_bin" --dir "$work/demo"
finish_test
