#!/usr/bin/env bash
# A container engine for the tests of the image, where neither a registry nor docker is reachable.
#
#   engine.sh FOLDER        FOLDER: an empty one; everything stays below it
#
# Makes a STAND-IN for Airbyte's base image from Debian's packages (see Dockerfile beside this),
# named localhost/stand-in-base, and FOLDER/bin/docker, which is podman on a storage of its own.
# Prints "ready", serves until its standard input ends (so it also ends when its caller is killed),
# and then removes all that it made: containers, images, mounts, files.
# Needs root (or sudo without a password), podman, runc, netavark and mmdebstrap.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=$(cd "$1" && pwd)
[ "$(id -u)" = 0 ] || exec sudo -n "$here/engine.sh" "$folder"

mkdir "$folder/bin" "$folder/podman"
cat >"$folder/podman/containers.conf" <<END
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
# The host's network, so that containers reach the sandbox on loopback without an option for it.
netns = "host"
[engine]
# Not crun, which refuses hosts that have control groups of both versions.
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
END
cat >"$folder/podman/storage.conf" <<END
[storage]
driver = "overlay"
graphroot = "$folder/podman/graph"
runroot = "$folder/podman/run"
END
cat >"$folder/bin/docker" <<END
#!/bin/sh
exec ${SUDO_UID:+sudo -n }env CONTAINERS_CONF="$folder/podman/containers.conf" \\
    CONTAINERS_STORAGE_CONF="$folder/podman/storage.conf" podman "\$@"
END
chmod +x "$folder/bin/docker"
docker="$folder/bin/docker"

clean_up() {
    trap - EXIT HUP INT TERM
    "$docker" rm --force --all >/dev/null 2>&1 || true
    # The innermost first
    cut -d" " -f2 /proc/mounts | grep "^$folder/" | sort -r | xargs -r umount || true
    rm -rf --one-file-system "$folder/podman" "$folder/bin"
}
trap clean_up EXIT
trap 'exit 143' HUP INT TERM

# The package sources of this machine, for others may not be reachable.
for sources in /etc/apt/sources.list.d/{debian,ubuntu}.sources /etc/apt/sources.list; do
    [ -e "$sources" ] && break
done
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
packages=python3,python3-pip,python3-venv,python-is-python3,ca-certificates,tzdata
mmdebstrap --quiet --variant=minbase --include="$packages" "$suite" "$folder/podman/root.tar" "$sources"
"$docker" import --quiet "$folder/podman/root.tar" localhost/stand-in-debian >/dev/null
rm "$folder/podman/root.tar"
"$docker" build --quiet --pull=never --tag localhost/stand-in-base "$here" >/dev/null

echo ready
cat >/dev/null
