#!/bin/sh
# install.sh PYTHON NAME FINGERPRINT ARGUMENT...: passes the arguments to `pip install` in the virtual
# environment .demo/NAME, unless that has this fingerprint already.
set -eu
python=$1 name=$2 fingerprint=$3
shift 3
folder=.demo/$name
[ "$(cat "$folder/.installed" 2>/dev/null)" != "$fingerprint" ] || exit 0
version=$("$python" -c 'import sys; print(sys.version)')
if [ "$(cat "$folder/.made" 2>/dev/null)" != "$version" ]; then
    "$python" -m venv --clear "$folder"
    echo "$version" >"$folder/.made"
fi
# --no-compile: most of what is installed is never imported
"$folder/bin/python" -m pip install --no-input --no-compile --progress-bar off "$@"
echo "$fingerprint" >"$folder/.installed"
