#!/bin/sh
# make demo: install what the demo needs into .demo/, then run demo/run.py with the arguments.
# PYTHON names the interpreter, 3.10 to 3.13 (default: python3).
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
export PIP_DISABLE_PIP_VERSION_CHECK=1
unset PYTHONPATH PYTHONHOME

fail() {
    echo "demo: $*" >&2
    exit 1
}

command -v "$PYTHON" >/dev/null ||
    fail "cannot find $PYTHON. Install Python 3.10 to 3.13, or name one: make demo PYTHON=python3.11"
"$PYTHON" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' ||
    fail "the demo needs Python 3.10 to 3.13, but $PYTHON is $("$PYTHON" -V 2>&1). Name another: make demo PYTHON=python3.11"
"$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$PYTHON cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv"

mkdir -p .demo
groups=
# Each installation is its own process group, so that stopping the demo stops all of it.
group='import os, sys; os.setpgid(0, 0); os.execvp("sh", ["sh", *sys.argv[1:]])'
trap 'for id in $groups; do kill -- "-$id" 2>/dev/null || kill "$id" 2>/dev/null || true; done' EXIT
trap 'exit 130' INT
trap 'exit 143' HUP TERM

# fingerprint FILE...: changes with the files, the interpreter and the location of the checkout
fingerprint() {
    { pwd; "$PYTHON" -c 'import sys; print(sys.executable, sys.version)'; cat "$@"; } | cksum
}

installed() {
    [ "$(cat ".demo/$1/.installed" 2>/dev/null)" = "$2" ]
}

# install NAME FINGERPRINT ARGUMENT...: runs in the background, and logs to .demo/NAME.log
install() {
    "$PYTHON" -c "$group" demo/install.sh "$PYTHON" "$@" >".demo/$1.log" 2>&1 &
    groups="$groups $!"
}

# progress NAME ID: prints how far an installation is
progress() {
    if ! kill -0 "$2" 2>/dev/null; then
        echo "done"
    elif grep -q '^Installing collected' ".demo/$1.log"; then
        echo "unpacking"
    elif grep -q '^Collecting' ".demo/$1.log"; then
        echo "fetching package $(grep -c '^Collecting' ".demo/$1.log")"
    else
        echo "preparing"
    fi
}

# Two environments, as on a platform: a connector and its client do not share libraries.
# --ignore-requires-python, because PyAirbyte does not declare 3.13 but works there. --no-deps,
# because the list is complete.
connector=$(fingerprint setup.py $(find source_meetings schemas -name '*.py' -o -name '*.json' \
    -o -name '*.yaml' | LC_ALL=C sort))
client=$(fingerprint demo/pyairbyte.txt dbt/requirements.txt)
if ! installed connector "$connector" || ! installed pyairbyte "$client"; then
    echo "Installing into .demo/ with $("$PYTHON" -V): the connector, its client PyAirbyte, and dbt."
    echo "The first time, this takes a few minutes (one or two on an idle machine) and 0.9 GB of disk."
    install connector "$connector" '.[sandbox]'
    connector_id=$!
    install pyairbyte "$client" --no-deps --ignore-requires-python \
        -r demo/pyairbyte.txt -r dbt/requirements.txt
    client_id=$!
    seconds=0
    while kill -0 $connector_id 2>/dev/null || kill -0 $client_id 2>/dev/null; do
        sleep 1
        seconds=$((seconds + 1))
        line="  $seconds s   connector: $(progress connector $connector_id)"
        line="$line   PyAirbyte and dbt: $(progress pyairbyte $client_id)"
        if [ -t 1 ]; then
            printf '\r%-78s' "$line"
        elif [ $((seconds % 10)) -eq 0 ]; then
            echo "$line"
        fi
    done
    [ ! -t 1 ] || printf '\r%78s\r' ''
    groups=
    for name in connector pyairbyte; do
        if [ $name = connector ]; then print=$connector; else print=$client; fi
        installed $name "$print" || {
            grep -v '^WARNING' ".demo/$name.log" | tail -n 8 >&2
            fail "could not install $name. The full output of pip is in .demo/$name.log"
        }
    done
fi
trap - EXIT HUP INT TERM
exec .demo/pyairbyte/bin/python demo/run.py "$@"
