#!/bin/sh
# config.sh ROOT HOTSET - config/hotset.conf is what the option tables say.
set -eu
if ! "$2" serve --print-reference | diff -u "$1/config/hotset.conf" -; then
    echo "config/hotset.conf is out of date: hotset serve --print-reference > config/hotset.conf"
    exit 1
fi
