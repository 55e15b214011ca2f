# Contents of packages by name. `version` is nominal (the machine's own program decides), `pname` the
# package's own name if it is another one, `main` the main program if it is not named like the
# package, `search` additional directories to search, `files` its contents besides programs.
let
  one = version: { inherit version; };
in
{
  age = {
    version = "1.2";
    programs = [ "age" "age-keygen" ];
  };
  bash = {
    version = "5.2";
    programs = [ "bash" "sh" ];
    shell = "bash";
  };
  bird2 = {
    version = "2.17";
    main = "bird";
    programs = [ "bird" "birdc" ];
  };
  bird3 = {
    version = "3.1";
    main = "bird";
    programs = [ "bird" "birdc" ];
  };
  busybox = one "1.36";
  cargo = one "1.95";
  cargo-deny = one "0.18";
  clippy = {
    version = "1.95";
    main = "cargo-clippy";
    programs = [ "cargo-clippy" "clippy-driver" ];
  };
  cni-plugin-flannel = {
    version = "1.9";
    main = "flannel";
    search = [ "/opt/cni/plugins" "/usr/lib/cni" ];
  };
  cni-plugins = {
    version = "1.9";
    main = "bridge";
    programs = [ "bridge" "host-local" "loopback" "portmap" ];
    search = [ "/opt/cni/plugins" "/usr/lib/cni" ];
  };
  conntrack-tools = {
    version = "1.4";
    main = "conntrack";
  };
  containerd = {
    version = "2.0";
    programs = [ "containerd" "ctr" ];
  };
  coreutils = {
    version = "9.7";
    main = "ls";
    programs = [
      "[" "b2sum" "base32" "base64" "basename" "basenc" "cat" "chgrp" "chmod" "chown" "chroot" "cksum" "comm" "cp" "csplit"
      "cut" "date" "dd" "df" "dir" "dircolors" "dirname" "du" "echo" "env" "expand" "expr" "factor" "false" "fmt" "fold"
      "groups" "head" "hostid" "id" "install" "join" "kill" "link" "ln" "logname" "ls" "md5sum" "mkdir" "mkfifo" "mknod"
      "mktemp" "mv" "nice" "nl" "nohup" "nproc" "numfmt" "od" "paste" "pathchk" "pinky" "pr" "printenv" "printf" "ptx" "pwd"
      "readlink" "realpath" "rm" "rmdir" "runcon" "seq" "sha1sum" "sha224sum" "sha256sum" "sha384sum" "sha512sum" "shred"
      "shuf" "sleep" "sort" "split" "stat" "stdbuf" "stty" "sum" "sync" "tac" "tail" "tee" "test" "timeout" "touch" "tr"
      "true" "truncate" "tsort" "tty" "uname" "unexpand" "uniq" "unlink" "users" "vdir" "wc" "who" "whoami" "yes"
    ];
  };
  curl = one "8.14";
  diffutils = {
    version = "3.10";
    main = "diff";
    programs = [ "cmp" "diff" "diff3" "sdiff" ];
  };
  # By Debian's name of the program.
  distribution = {
    version = "2.8";
    main = "docker-registry";
  };
  dnsutils = {
    version = "9.20";
    main = "dig";
    programs = [ "dig" "host" "nslookup" ];
  };
  doctl = one "1.120";
  etcd = {
    version = "3.5.16";
    programs = [ "etcd" "etcdctl" "etcdutl" ];
  };
  findutils = {
    version = "4.10";
    main = "find";
    programs = [ "find" "xargs" ];
  };
  # The name in the ExecStart of NixOS' unit.
  flannel = one "0.28";
  frr = {
    version = "10.2";
    main = "vtysh";
    search = [ "/usr/lib/frr" ];
  };
  gawk = {
    version = "5.2";
    main = "awk";
    programs = [ "awk" "gawk" ];
  };
  getent = one "2.41";
  git = one "2.47";
  gnugrep = {
    version = "3.11";
    main = "grep";
    programs = [ "egrep" "fgrep" "grep" ];
  };
  gnumake = {
    version = "4.4";
    main = "make";
  };
  gnused = {
    version = "4.9";
    main = "sed";
  };
  gnutar = {
    version = "1.35";
    main = "tar";
  };
  gzip = {
    version = "1.13";
    programs = [ "gunzip" "gzip" "zcat" ];
  };
  haproxy = one "3.0.11";
  hcloud = one "1.51";
  hostname = one "3.25";
  htop = one "3.4";
  inetutils = {
    version = "2.6";
    main = "hostname";
  };
  iproute2 = {
    version = "6.15";
    main = "ip";
    programs = [ "bridge" "ip" "ss" "tc" ];
  };
  iptables = {
    version = "1.8";
    programs = [ "ip6tables" "ip6tables-restore" "ip6tables-save" "iptables" "iptables-restore" "iptables-save" ];
  };
  iputils = {
    version = "20240905";
    main = "ping";
    programs = [ "arping" "ping" "tracepath" ];
  };
  jq = one "1.7";
  kmod = {
    version = "34";
    programs = [ "depmod" "insmod" "kmod" "lsmod" "modinfo" "modprobe" "rmmod" ];
  };
  kubectl = one "1.36";
  k3s = one "1.36.3";
  kubernetes = {
    version = "1.36.3";
    main = "kubelet";
    programs = [
      "kube-apiserver" "kube-controller-manager" "kube-proxy" "kube-scheduler" "kubectl" "kubelet"
    ];
  };
  kubernetes-helm = {
    version = "3.18";
    main = "helm";
  };
  lego = one "4.9";
  less = one "668";
  mariadb = {
    version = "11.8";
    main = "mariadbd";
    programs = [
      "mariabackup" "mariadb" "mariadb-admin" "mariadb-backup" "mariadb-dump" "mariadb-install-db" "mariadbd" "mbstream"
      "my_print_defaults" "mysql" "mysqld" "wsrep_sst_common" "wsrep_sst_mariabackup" "wsrep_sst_rsync"
    ];
  };
  nano = one "8.4";
  nftables = {
    version = "1.1.3";
    main = "nft";
  };
  nix = {
    version = "2.26.3";
    programs = [
      "nix" "nix-build" "nix-channel" "nix-collect-garbage" "nix-copy-closure" "nix-daemon" "nix-env" "nix-hash"
      "nix-instantiate" "nix-prefetch-url" "nix-shell" "nix-store"
    ];
  };
  nginx = {
    version = "1.26";
    files."conf/mime.types" = "types { text/html html; text/css css; application/javascript js; image/png png; }";
  };
  nixfmt = one "1.0";
  nixos-anywhere = one "1.11";
  openssh = {
    version = "10.0p1";
    main = "ssh";
    programs = [ "scp" "sftp" "ssh" "ssh-add" "ssh-agent" "ssh-copy-id" "ssh-keygen" "ssh-keyscan" "sshd" ];
    libexec = [ "sftp-server" ];
    search = [ "/usr/lib/openssh" ];
    passthru.withKerberos = true;
  };
  openssl = one "3.5";
  perl = one "5.40";
  pkg-config = one "1.8";
  podman = one "5.4";
  postgresql = {
    version = "17.6";
    main = "postgres";
    programs = [ "initdb" "pg_isready" "postgres" "psql" ];
    search = [ "/usr/lib/postgresql/17/bin" ];
  };
  procps = {
    version = "4.0";
    main = "ps";
    programs = [ "free" "pgrep" "pidof" "pkill" "ps" "sysctl" "top" "uptime" "vmstat" "watch" ];
  };
  protobuf = {
    version = "33.1";
    main = "protoc";
  };
  python3 = {
    version = "3.13";
    main = "python3";
  };
  ripgrep = {
    version = "14.1";
    main = "rg";
  };
  redis = {
    version = "8.0";
    main = "redis-server";
    programs = [ "redis-cli" "redis-server" ];
  };
  rsync = one "3.4";
  runc = one "1.3";
  rust-analyzer = one "2026-05-01";
  rustc = one "1.95";
  rustfmt = {
    version = "1.95";
    programs = [ "cargo-fmt" "rustfmt" ];
  };
  shadow = {
    version = "4.17";
    main = "useradd";
    programs = [ "chage" "chpasswd" "groupadd" "groupdel" "groupmod" "login" "newgrp" "nologin" "passwd" "su" "useradd" "userdel" "usermod" ];
  };
  shellcheck = one "0.10";
  skopeo = one "1.18";
  socat = one "1.8";
  sops = one "3.11";
  ssh-to-age = one "1.2";
  sudo = one "1.9";
  systemd = {
    version = "257";
    main = "systemctl";
    programs = [
      "busctl" "coredumpctl" "hostnamectl" "journalctl" "localectl" "loginctl" "networkctl" "resolvectl" "systemctl"
      "systemd-analyze" "systemd-cat" "systemd-cgls" "systemd-creds" "systemd-detect-virt" "systemd-escape" "systemd-id128"
      "systemd-inhibit" "systemd-mount" "systemd-notify" "systemd-nspawn" "systemd-path" "systemd-run" "systemd-socket-activate"
      "systemd-sysusers" "systemd-tmpfiles" "timedatectl" "udevadm"
    ];
  };
  taplo = one "0.9";
  tcpdump = one "4.99";
  tinc = {
    version = "1.0.36";
    main = "tincd";
  };
  tinc_pre = {
    pname = "tinc";
    version = "1.1pre18";
    main = "tincd";
    programs = [ "tinc" "tincd" ];
  };
  tmux = one "3.5";
  util-linux = {
    version = "2.41";
    main = "lsblk";
    programs = [
      "blkid" "blockdev" "dmesg" "fallocate" "findmnt" "flock" "fsck" "getopt" "hexdump" "ionice" "logger" "losetup" "lsblk"
      "lscpu" "mkfs" "mkswap" "mount" "mountpoint" "nsenter" "prlimit" "runuser" "setpriv" "setsid" "swapoff" "swapon"
      "taskset" "umount" "unshare" "uuidgen" "wipefs"
    ];
  };
  vim = one "9.1";
  which = one "2.23";
  wireguard-tools = {
    version = "1.0";
    main = "wg";
    programs = [ "wg" "wg-quick" ];
  };
  xz = one "5.8";
  yq-go = {
    version = "4.47";
    main = "yq";
  };
  zstd = one "1.5";
}
