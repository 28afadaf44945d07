#!/bin/sh
# Removing the program removes what it made on its first run, and leaves every user's runs. Each home is
# cleared by the program itself as that user, never as root.
set -e
program=/opt/pareto-studio/window/pareto-studio
if [ "$1" = remove ] && [ -x "$program" ]; then
    getent passwd | while IFS=: read -r user _ _ _ _ home _; do
        [ -f "$home/.local/share/pareto-studio/backend.json" ] || continue
        [ "$(stat -c %U "$home/.local/share/pareto-studio/backend.json")" = "$user" ] || continue
        HOME="$home" runuser -u "$user" -- env -u XDG_DATA_HOME -u XDG_CACHE_HOME HOME="$home" \
            "$program" setup --remove </dev/null ||
            echo "The engines of $user could not be removed; they are named in $home/.local/share/pareto-studio/backend.json." >&2
    done
fi
