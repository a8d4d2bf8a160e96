#!/bin/sh
# make demo: install what the demo needs below .demo/, then run demo/run.py.
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
    fail "there is no $PYTHON here. Install Python 3.10 to 3.13, or name one: make demo PYTHON=python3.11"
"$PYTHON" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' ||
    fail "this needs Python 3.10 to 3.13, and $PYTHON is $("$PYTHON" -V 2>&1). Name another: make demo PYTHON=python3.11"
"$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$PYTHON cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv"

mkdir -p .demo
pids=
trap 'kill $pids 2>/dev/null || true' EXIT
trap 'exit 130' INT
trap 'exit 143' HUP TERM

version='import sys, venv, ensurepip; print(sys.version)'

# fingerprint FILE...: changes with the files, the interpreter and the place of the checkout
fingerprint() {
    { pwd; "$PYTHON" -c "$version"; cat "$@"; } | cksum
}

# install NAME FINGERPRINT ARGUMENT...: .demo/NAME becomes a virtual environment with what pip
# makes of the arguments; log in .demo/NAME.log
install() (
    name=$1 print=$2
    shift 2
    if [ "$(cat ".demo/$name/.installed" 2>/dev/null)" != "$print" ]; then
        here=$(".demo/$name/bin/python" -c "import pip; $version" 2>/dev/null || true)
        [ "$here" = "$("$PYTHON" -c "$version")" ] || "$PYTHON" -m venv --clear ".demo/$name"
        # exec: a stopped demo then stops pip, not only the shell around it
        exec ".demo/$name/bin/python" -m pip install --no-input --progress-bar off "$@"
    fi
) >".demo/$1.log" 2>&1

# progress NAME: where its installation is
progress() {
    if ! kill -0 "$2" 2>/dev/null; then
        echo "done"
    elif grep -q '^Installing collected' ".demo/$1.log"; then
        echo "unpacking"
    else
        echo "fetching package $(grep -c '^Collecting' ".demo/$1.log" || true)"
    fi
}

# Two environments, as on a platform: a connector and its client do not share libraries.
# PyAirbyte says that it does not know 3.13, but works there: hence --ignore-requires-python, and
# --no-deps, for the list is complete.
connector=$(fingerprint setup.py $(find source_meetings schemas -name '*.py' -o -name '*.json' \
    -o -name '*.yaml' | LC_ALL=C sort))
client=$(fingerprint demo/pyairbyte.txt)
if [ "$(cat .demo/connector/.installed 2>/dev/null)" != "$connector" ] ||
    [ "$(cat .demo/pyairbyte/.installed 2>/dev/null)" != "$client" ]; then
    echo "Installing below .demo/ with $("$PYTHON" -V): the connector, and PyAirbyte as its client."
    echo "The first time takes one or two minutes, and 0.7 GB of disk."
fi
install connector "$connector" '.[sandbox]' & connector_pid=$!
install pyairbyte "$client" --no-deps --ignore-requires-python -r demo/pyairbyte.txt & client_pid=$!
pids="$connector_pid $client_pid"
seconds=0
while kill -0 $connector_pid 2>/dev/null || kill -0 $client_pid 2>/dev/null; do
    sleep 1
    seconds=$((seconds + 1))
    line="  $seconds s   connector: $(progress connector $connector_pid)   PyAirbyte: $(progress pyairbyte $client_pid)"
    if [ -t 1 ]; then
        printf '\r%-78s' "$line"
    elif [ $((seconds % 10)) -eq 0 ]; then
        echo "$line"
    fi
done
[ ! -t 1 ] || printf '\r%78s\r' ''
for name in connector pyairbyte; do
    if [ $name = connector ]; then pid=$connector_pid; else pid=$client_pid; fi
    wait $pid || {
        grep -v '^WARNING' ".demo/$name.log" | tail -n 8 >&2
        fail "installing the $name failed; all of pip's words: .demo/$name.log"
    }
done
pids=
echo "$connector" >.demo/connector/.installed
echo "$client" >.demo/pyairbyte/.installed
trap - EXIT HUP INT TERM
exec .demo/pyairbyte/bin/python demo/run.py
