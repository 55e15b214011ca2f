# Accounts and /etc in a root of their own.
root=$work/root
tree() { # NAME FILE=TEXT...
  local name=$1 entry
  shift
  rm -rf "${work:?}/$name"
  for entry in "$@"; do
    mkdir -p "$work/$name/$(dirname "${entry%%=*}")"
    printf '%s\n' "${entry#*=}" > "$work/$name/${entry%%=*}"
  done
}
setup_etc() { NIXOS_LITE_ROOT=$root perl "$top/activation/setup-etc.pl" "$work/$1" 2>&1; }
where() { readlink "$root/etc/$1" 2> /dev/null || { [ -e "$root/etc/$1" ] && echo file; } || echo none; }

mkdir -p "$root/etc/systemd/system"
ln -s /dev/null "$root/etc/systemd/system/masked.service"
echo foreign > "$root/etc/foreign"
echo theirs > "$root/etc/ours"
tree first ours=1 d/e/f=2 copy=3 copy.mode=0600 copy.uid=+0 copy.gid=+0 systemd/system/masked.service=unit
ln -s ../ours "$work/first/d/link"
setup_etc first
same "etc: an entry is a link through /etc/static" "/etc/static/ours /etc/static/d/e/f" "$(where ours) $(where d/e/f)"
same "etc: a link within stays as it is" "../ours" "$(where d/link)"
same "etc: a mode makes a copy" "file 3 600" "$(where copy) $(cat "$root/etc/copy") $(stat -c %a "$root/etc/copy")"
same "etc: what is not ours stays" "foreign" "$(cat "$root/etc/foreign")"
same "etc: a masked unit gives way" "/etc/static/systemd/system/masked.service" "$(where systemd/system/masked.service)"
same "etc: /etc/static is the tree" "$work/first" "$(where static)"
tree second new=1 copy=changed copy.mode=0640 copy.uid=+0 copy.gid=+0
setup_etc second
same "etc: a stale entry goes with its folder" "none none" "$(where ours) $(ls -d "$root/etc/d" 2> /dev/null || echo none)"
same "etc: a masked unit is masked again" "/dev/null" "$(where systemd/system/masked.service)"
same "etc: a copy is brought up to date" "changed 640" "$(cat "$root/etc/copy") $(stat -c %a "$root/etc/copy")"
# An interruption: links of the third tree exist, its record does not say that it is done.
tree third a=1
printf 'new\ncopy\na\n' > "$root/var/lib/nixos/etc-manifest"
ln -s /etc/static/a "$root/etc/a"
setup_etc third
same "etc: a run after an interruption finishes" "/etc/static/a none none" "$(where a) $(where new) $(where copy)"
mkdir "$root/etc/b"
tree fourth b=1
holds "etc: a folder in the way is left alone and said" "$(setup_etc fourth; echo "status $?")" "is a folder and is left alone" "status 1"

# Accounts.
accounts() { # LINE...
  printf '%s\n' "$@" > "$work/spec"
  NIXOS_LITE_ROOT=$root perl "$top/activation/update-users.pl" "$work/spec" 2>&1
}
user() { # NAME UID GROUP HOME HOMEMODE CREATEHOME SYSTEM SHELL HASH
  printf 'user\t=%s\t%s\t=%s\t=\t=%s\t=%s\t%s\t%s\t=%s\t-\t%s\t-\t-\t-\t-\t=\t=' "$1" "$2" "$3" "$4" "$5" "$6" "$7" "$8" "$9"
}
printf 'root:x:0:0::/root:/bin/bash\n_apt:x:42:65534::/none:/bin/false\nold:x:101:101::/x:/bin/false\n' > "$root/etc/passwd"
printf 'root:x:0:\nold:x:101:\nadm:x:4:syslog\n' > "$root/etc/group"
printf 'root:*:1::::::\n' > "$root/etc/shadow"
row() { grep "^$2:" "$root/etc/$1"; }
group_root=$(printf 'group\t=root\t=0\t=')
accounts "$(printf 'mutable\t1')" "$group_root" "$(printf 'group\t=old\t-\t=')" "$(printf 'group\t=etcd\t-\t=')" "$(printf 'group\t=adm\t=4\t=ann')" \
  "$(user root =0 root /root 700 0 0 /bin/bash -)" "$(user old - old /var/old 700 0 1 /bin/sh -)" "$(user etcd - etcd /var/lib/etcd 700 0 1 /bin/false -)" \
  "$(user ann - root /home/ann 750 1 0 /bin/bash '=$6$hash')"
same "accounts: a system account gets an id below 1000" "etcd:x:999:999::/var/lib/etcd:/bin/false" "$(row passwd etcd)"
same "accounts: a person gets an id from 1000" "ann:x:1000:0::/home/ann:/bin/bash" "$(row passwd ann)"
same "accounts: a known account keeps its id" "old:x:101:101::/var/old:/bin/sh" "$(row passwd old)"
same "accounts: others' accounts stay" "_apt:x:42:65534::/none:/bin/false" "$(row passwd _apt)"
same "accounts: members are added to those of the machine" "adm:x:4:ann,syslog" "$(row group adm)"
same "accounts: the password is set" 'ann:$6$hash:1::::::' "$(row shadow ann)"
same "accounts: the home has its mode" "750" "$(stat -c %a "$root/home/ann")"
sed -i 's/^ann:[^:]*/ann:changed/' "$root/etc/shadow"
accounts "$(printf 'mutable\t1')" "$group_root" "$(user root =0 root /root 700 0 0 /bin/bash -)" "$(user ann - root /home/ann 750 1 0 /bin/bash '=$6$hash')" > "$work/accounts.out"
same "accounts: an account of the machine stays when it is no longer declared" "old:x:101:101::/var/old:/bin/sh" "$(row passwd old)"
same "accounts: a removed account goes, with its group" "none none" "$(row passwd etcd || echo none) $(row group etcd || echo none)"
same "accounts: a changed password stays where it may be changed" "ann:changed:1::::::" "$(row shadow ann)"
accounts "$(printf 'mutable\t0')" "$group_root" "$(user root =0 root /root 700 0 0 /bin/bash -)" "$(user ann - root /home/ann 750 1 0 /bin/bash '=$6$hash')"
same "accounts: a changed password is reset where it may not" 'ann:$6$hash:1::::::' "$(row shadow ann)"
accounts "$(printf 'mutable\t0')" "$group_root" "$(printf 'group\t=new\t-\t=')" "$(printf 'group\t=etcd\t-\t=')" "$(user root =0 root /root 700 0 0 /bin/bash -)" \
  "$(user new - new /var/new 700 0 1 /bin/false -)" "$(user etcd - etcd /var/lib/etcd 700 0 1 /bin/false -)" "$(user ann - root /home/ann 750 1 0 /bin/bash '=$6$hash')"
same "accounts: an account that comes back has the id that it had" "etcd:x:999:999::/var/lib/etcd:/bin/false" "$(row passwd etcd)"
accounts "$(printf 'mutable\t0')" "$group_root" "$(user root =0 root /root 700 0 0 /bin/bash -)" "$(user ann - root /home/ann 750 1 0 /bin/bash '=$6$hash')" > "$work/accounts.out"
before=$(stat -c %Y.%i "$root/etc/passwd")
accounts "$(printf 'mutable\t0')" "$group_root" "$(user root =0 root /root 700 0 0 /bin/bash -)" "$(user ann - root /home/ann 750 1 0 /bin/bash '=$6$hash')"
same "accounts: a second run writes nothing" "$before" "$(stat -c %Y.%i "$root/etc/passwd")"
