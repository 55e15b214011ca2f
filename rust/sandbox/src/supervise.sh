#!/bin/sh
# Runs one machine of a sandbox until it powers off, restarting it after each reboot. Written by
# machinist. usage: supervise DIRECTORY LAUNCH|boot
set -eu
umask 022
cd "$1"
. ./settings

# The second stage, in its own mount namespace: its mounts disappear with the machine's last
# process.
if [ "$2" = boot ]; then
  mount -t cgroup2 none /sys/fs/cgroup
  mount -t overlay overlay -o "lowerdir=$root,upperdir=$PWD/upper,workdir=$PWD/work" "$PWD/merged"
  # The separate disk that `fault disk` created; it is full while that fault lasts.
  if [ -e nix.img ]; then mount -o loop nix.img nix; fi
  if ! [ -e faults/disk ]; then rm -f nix/.machinist-fault; fi
  init=/usr/lib/machinist/init
  if [ -n "$store" ]; then
    # This computer's store beneath the machine's own. A root without our init boots the system of
    # its profile.
    mount -t overlay overlay -o "lowerdir=$store,upperdir=$PWD/store,workdir=$PWD/store-work" "$PWD/nix/store"
    generation=$(readlink nix/var/nix/profiles/system)
    if ! [ -x "merged$init" ]; then init=$(readlink "nix/var/nix/profiles/$generation")/init; fi
  fi
  # For tunnels of programs, such as tinc's.
  if [ -c /dev/net/tun ]; then set -- "$@" --bind=/dev/net/tun; fi
  shift 2
  # Without these, nspawn uses the host's cgroup layout, and leaves a lock file behind when it is
  # killed.
  export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 SYSTEMD_NSPAWN_LOCK=0
  # Pods need routing, and kube-proxy sets more of the machine's own network.
  if [ -n "$starter" ]; then export SYSTEMD_NSPAWN_API_VFS_WRITABLE=network; fi
  # shellcheck disable=SC2086,SC2154 # Word splitting is intended.
  exec systemd-nspawn $options --quiet --directory="$PWD/merged" --machine="$container" --hostname="$hostname" --uuid="$machine_id" \
    --network-namespace-path="/run/netns/$namespace" --bind="$PWD/nix:/nix" --console=pipe --kill-signal=SIGRTMIN+3 \
    --capability=CAP_NET_ADMIN,CAP_NET_RAW,CAP_SYS_ADMIN --register=no --keep-unit --resolv-conf=off --timezone=off \
    --link-journal=no "$@" $starter "$init"
fi

# Fails if the group does not exist: then the sandbox was removed during this start, and the machine
# must not run.
echo $$ > "$cgroup/cgroup.procs"
# The process that started this may have been killed, and another one may have started the machine
# meanwhile.
if [ "$(cat launch)" != "$2" ]; then exit 0; fi
trap 'echo $? > exit' EXIT
stat=$(cat "/proc/$$/stat")
set -- "$1" ${stat##*) }
shift 20
# Field 22 of proc(5): with the start time, a reused process id is not mistaken for this process.
echo "$$ $1" > supervisor.new
mv supervisor.new supervisor

while :; do
  # A reboot starts with an empty network, as on a real computer: no firewall rule, tunnel or
  # address of the last run.
  umount -l "/run/netns/$namespace" 2>/dev/null || true
  rm -f "/run/netns/$namespace"
  ip -n "$switch" link delete "$port" 2>/dev/null || true
  ip -batch network
  ip -n "$switch" -batch network-switch
  if [ -e link-down ]; then ip -n "$switch" link set "$port" down; fi
  # shellcheck disable=SC2046 # Word splitting is intended.
  if [ -e faults/bandwidth ]; then tc -n "$switch" qdisc replace dev "$port" root tbf $(cat faults/bandwidth); fi
  rm -f faults/ssh faults/unit-*
  ip -n "$namespace" -batch network-machine
  : > connected
  status=0
  unshare --mount --propagation private "$supervise" "$PWD" boot || status=$?
  # nspawn's exit status for a reboot request, given with --keep-unit.
  if [ "$status" != 133 ]; then exit "$status"; fi
done
