#!/bin/sh
# Says that there is too little room before anything is unpacked; a disk that fills later, dpkg goes back from.
set -e

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

@GUARD@

case $1 in
install | upgrade)
    place=/opt
    [ -d "$place" ] || place=/
    enough_room "$place" @KIB@ "free some space, then install it again: nothing was changed."
    ;;
esac
