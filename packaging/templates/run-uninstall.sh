#!/bin/sh
# Removes Pareto Studio and what it fetched on first run; your runs and packages stay.
set -eu
target=$(cd "$(dirname "$0")" && pwd -P)
prefix=$(dirname "$(dirname "$target")")
[ -x "$target/window/pareto-studio" ] && [ "$(basename "$target")" = pareto-studio ] ||
    { echo "This is no installation of Pareto Studio: $target" >&2; exit 1; }
"$target/window/pareto-studio" setup --remove
(cd "$target/share" && find . -type f) | while IFS= read -r one; do
    rm -f "$prefix/share/$one"
done
[ "$(readlink "$prefix/bin/pareto-studio" 2>/dev/null)" != "$target/window/pareto-studio" ] || rm -f "$prefix/bin/pareto-studio"
for one in update-desktop-database:applications update-mime-database:mime; do
    command -v "${one%%:*}" >/dev/null 2>&1 && "${one%%:*}" "$prefix/share/${one#*:}" >/dev/null 2>&1 || true
done
# What was only made from our file goes with it; others' entries keep theirs.
[ -n "$(ls -A "$prefix/share/mime/packages" 2>/dev/null)" ] || rm -rf "$prefix/share/mime"
ls "$prefix"/share/applications/*.desktop >/dev/null 2>&1 || rm -f "$prefix/share/applications/mimeinfo.cache"
(cd "$target/share" && find . -depth -type d) | while IFS= read -r one; do
    rmdir "$prefix/share/$one" 2>/dev/null || true
done
rm -rf "$target"
echo "Pareto Studio was removed; runs stay in ${PARETO_STUDIO_HOME:-${XDG_DATA_HOME:-$HOME/.local/share}/pareto-studio}/runs"
