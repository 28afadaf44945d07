#!/bin/sh
# Removing the program removes what it made on its first run, and leaves every user's runs. Each home is
# cleared by the program itself as that user, never as root.
set -e
program=/opt/pareto-studio/window/pareto-studio
if [ "$1" = remove ] && [ -x "$program" ]; then
    getent passwd | while IFS=: read -r user _ _ _ _ home _; do
        # Who only opened the window has settings there, too, and a cache.
        mine=$home/.local/share/pareto-studio
        [ -d "$mine" ] || mine=$home/.cache/pareto-studio
        [ -d "$mine" ] && [ "$(stat -c %U "$mine")" = "$user" ] || continue
        HOME="$home" runuser -u "$user" -- env -u XDG_DATA_HOME -u XDG_CACHE_HOME HOME="$home" \
            "$program" setup --remove </dev/null ||
            echo "The engines and settings of $user could not be removed; they are in $mine." >&2
    done
fi
