#!/bin/bash
# Walks the release checklist on a fresh clone; make release-check calls it.
#
#     bash tools/release_check.sh [INTO]
#
# INTO (release/ unless given, must not exist): gets the source distribution, the wheel, the bill of
# materials and checksums. WITHOUT_TESTS=1 leaves out `make test`, which takes most of the time.
set -euo pipefail
cd "$(dirname "$0")/.."
into=$(realpath -m "${1:-release}")
python=${PYTHON:-python3}
step() { printf '\n== %s\n' "$1"; }
fail() { echo "release check: $1" >&2; exit 1; }

step "the checkout is committed, and the changelog names the version"
[ -z "$(git status --porcelain)" ] || fail "there are uncommitted changes"
[ ! -e "$into" ] || fail "$into is already there"
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' src/cmudrn/version.py)
grep -q "^## $version" CHANGELOG.md || fail "CHANGELOG.md has no section $version"
grep -q "^version: $version$" CITATION.cff || fail "CITATION.cff names another version"
export SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git clone -q . "$work/clone"
cd "$work/clone"

step "the source distribution is the same when it is built twice"
"$python" -m venv "$work/build"
"$work/build/bin/pip" install -q --disable-pip-version-check build cyclonedx-bom
for time in first second; do
    "$work/build/bin/python" -m build --sdist --outdir "$work/$time" . > "$work/log" || { cat "$work/log"; exit 1; }
    "$python" tools/repack_sdist.py "$work/$time/cmudrn-$version.tar.gz"
done
cmp "$work"/first/*.tar.gz "$work"/second/*.tar.gz || fail "the two source distributions differ"

step "a wheel comes out of it, with weights, credits and licence"
"$work/build/bin/python" -m build --wheel --outdir "$work/first" "$work/first/cmudrn-$version.tar.gz" \
    > "$work/log" 2>&1 || tail -20 "$work/log"
wheel=$(ls "$work"/first/*.whl)
contents=$("$python" -m zipfile -l "$wheel")
for name in models/training-data.csv models/weights/weights.toml licenses/LICENSE; do
    grep -q "$name" <<< "$contents" || fail "the wheel lacks $name"
done

step "the wheel installs alone, restores the samples and names its models and photographs"
"$python" -m venv "$work/user"
"$work/user/bin/pip" install -q --disable-pip-version-check "$wheel"
"$work/user/bin/cmudrn" restore samples -o "$work/restored" -q
"$work/user/bin/cmudrn" models > /dev/null
[ "$("$work/user/bin/cmudrn" models --credits | wc -l)" -gt 400 ] || fail "photographs are not named"

step "the bill of materials"
"$work/build/bin/cyclonedx-py" environment --output-reproducible --of JSON -o "$work/first/cmudrn-$version.cdx.json" \
    "$work/user/bin/python"
grep -q '"name": "onnxruntime"' "$work/first/cmudrn-$version.cdx.json" || fail "it names no onnxruntime"

step "the studies' tables are there"
make -s .venv-test/.installed PYTHON="$python"
.venv-test/bin/cmudrn study --all --table-only > "$work/tables"
! grep -E "missing|older than" "$work/tables" || fail "a study has missing or stale cells"

step "the model cards are those of the records"
.venv-test/bin/python tools/make_cards.py --check

if [ -z "${WITHOUT_TESTS:-}" ]; then
    step "all tests"
    make test PYTHON="$python"
fi
[ -z "$(git status --porcelain)" ] || fail "the checks changed files of the clone"
(cd "$work/first" && sha256sum -- * > SHA256SUMS)
mkdir -p "$(dirname "$into")"
mv "$work/first" "$into"
step "passed: $into"
