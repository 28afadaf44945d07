#!/bin/sh
# Says that there is too little room before anything is unpacked; a disk that fills later, dpkg goes back from.
set -e
kib=@KIB@
case $1 in
install | upgrade)
    place=/opt
    [ -d "$place" ] || place=/
    free=$(df -Pk "$place" | awk 'NR == 2 { print $4 }')
    [ "$free" -gt "$((kib + 10240))" ] || {
        echo "Pareto Studio takes $((kib / 1024)) MiB and $place has $((free / 1024)) MiB free; free some space, then install it again: nothing was changed." >&2
        exit 1
    }
    ;;
esac
