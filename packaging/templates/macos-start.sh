#!/bin/sh
# Opens Pareto Studio; on the first start the window's environment is made from the wheels in this app.
set -eu
resources=$(cd "$(dirname "$0")/../Resources" && pwd -P)
base="$HOME/Library/Application Support/pareto-studio"
window="$base/window-@VERSION@"
say() { osascript -e "display alert \"Pareto Studio\" message \"$1\"" >/dev/null 2>&1 || echo "$1" >&2; }
if [ ! -f "$window/ready" ]; then
    mkdir -p "$base" || { say "$base cannot be written; check its rights and open Pareto Studio again."; exit 1; }
    export UV_CACHE_DIR="$base/window-downloads" UV_PYTHON_INSTALL_DIR="$base/window-python"
    uv="$resources/backend/uv"
    if ! { "$uv" venv --quiet --no-project --clear --python 3.12 "$window" &&
        "$uv" pip install --quiet --python "$window" --offline --no-index --find-links "$resources/wheels" \
            --require-hashes --no-deps -r "$resources/window.lock" &&
        "$uv" pip install --quiet --python "$window" --offline --no-deps "$resources"/backend/pareto_studio-*.whl; } \
        >"$base/window.log" 2>&1; then
        say "The window could not be prepared; connect to the network (Python 3.12 is fetched once) and open it again."
        exit 1
    fi
    rm -rf "$UV_CACHE_DIR"
    : >"$window/ready"
    for old in "$base"/window-[0-9]*; do
        [ "$old" = "$window" ] || rm -rf "$old"
    done
fi
export PARETO_STUDIO_BUNDLE="$resources/backend"
exec "$window/bin/python" -m studio.ui.bundled "$@"
