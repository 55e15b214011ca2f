//! Script around a copy of a member's data: a private directory for it, with room, which does not outlive its use.

/// Puts a shell script behind the beginning of a copy: `$directory` is a new directory that only root can read, and is
/// removed at the end. Its name has the boot and the process of the script: directories that a power cut or a kill left are
/// removed first. Nothing is copied unless the disk has room for the database and 256 MiB, which etcd itself may need.
/// Input variables: endpoint (the member's URL).
macro_rules! with_copy {
    ($script:literal) => {
        concat!(
            "\
export PATH=/run/current-system/sw/bin:$PATH
umask 077
boot=$(cut -c 1-8 /proc/sys/kernel/random/boot_id)
for left in /var/lib/machinist/snapshot-*; do
  owner=${left##*/snapshot-}
  pid=${owner#*-}
  pid=${pid%%-*}
  case $owner in
    \"$boot\"-*-*) [ -d \"/proc/$pid\" ] || rm -rf \"$left\" ;;
    *-*-*) rm -rf \"$left\" ;;
    *) find \"$left\" -maxdepth 0 -mmin +1440 -exec rm -rf {} + 2>/dev/null ;;
  esac
done
size=$(machinist-etcdctl --command-timeout=10s --dial-timeout=3s --endpoints=\"$endpoint\" endpoint status --write-out=json |
  grep -o '\"dbSize\":[0-9]*' | head -n 1 | cut -d : -f 2)
free=$(df --output=avail --block-size=1 /var/lib/machinist | tail -n 1)
if [ \"$free\" -lt $((${size:-0} + (256 << 20))) ]; then
  echo \"not enough free space in /var/lib/machinist for a copy of etcd's data: $free bytes free, the database has $size\" >&2
  exit 1
fi
directory=$(mktemp -d \"/var/lib/machinist/snapshot-$boot-$$-XXXXXX\") || exit 1
trap 'rm -rf \"$directory\"' EXIT
trap 'exit 1' HUP INT TERM
",
            $script
        )
    };
}

pub(crate) use with_copy;
