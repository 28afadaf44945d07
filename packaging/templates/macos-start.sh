#!/bin/sh
# Opens Pareto Studio; on the first start the window's environment is made from the wheels in this app.
set -eu
resources=$(cd "$(dirname "$0")/../Resources" && pwd -P)
base="$HOME/Library/Application Support/pareto-studio"
window="$base/window-@VERSION@"
lock="$base/window.making"

fail() {
    # As an argument: quotes in a folder's name end no string of the script.
    osascript -e 'on run said' -e 'display alert "Pareto Studio" message (item 1 of said)' -e 'end run' "$1" \
        >/dev/null 2>&1 || printf '%s\n' "$1" >&2
    exit 1
}

@GUARD@

make_window() {
    export UV_CACHE_DIR="$base/window-downloads" UV_PYTHON_INSTALL_DIR="$base/window-python"
    uv="$resources/backend/uv"
    "$uv" venv --quiet --no-project --clear --python 3.12 "$window" &&
        "$uv" pip install --quiet --python "$window" --offline --no-index --find-links "$resources/wheels" \
            --require-hashes --no-deps -r "$resources/window.lock" &&
        "$uv" pip install --quiet --python "$window" --offline --no-deps "$resources"/backend/pareto_studio-*.whl
}

unset PYTHONPATH PYTHONHOME VIRTUAL_ENV
if [ ! -f "$window/ready" ]; then
    mkdir -p "$base" 2>/dev/null || fail "$base cannot be written; check its rights and open Pareto Studio again."
    only_one "$lock" "is being prepared"
    trap 'rm -f "$lock"' EXIT
    trap 'exit 1' INT TERM HUP
    enough_room "$base" @KIB@ "free some space and open Pareto Studio again."
    if ! make_window >"$base/window.log" 2>&1; then
        ! grep -qi 'no space left' "$base/window.log" ||
            fail "The disk of $base is full; free some space and open Pareto Studio again."
        fail "The window could not be prepared; connect to the network (Python 3.12 is fetched once) and open it again."
    fi
    rm -rf "$base/window-downloads"
    : >"$window/ready"
    for old in "$base"/window-[0-9]*; do
        [ "$old" = "$window" ] || rm -rf "$old"
    done
    # What replaces this shell runs no trap of it.
    rm -f "$lock"
fi
# `-P`: a folder named `studio` where the program was started must not be taken for ours.
export PARETO_STUDIO_BUNDLE="$resources/backend"
exec "$window/bin/python" -P -m studio.ui.bundled "$@"
