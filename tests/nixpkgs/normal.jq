# What two nixpkgs may differ in without a difference on the machine: hashes, digests, public keys and the ids of keys, versions and
# outputs of packages, indentation, empty lines, and where a command is continued.
def lines:
  gsub("/nix/store/[a-z0-9]{32}-"; "/store/")
  | gsub("(?<name>/store/[A-Za-z][A-Za-z0-9+_.]*(-[A-Za-z][A-Za-z0-9+_]*)*)-[0-9][^/ \"':;\\\\)]*"; .name)
  | gsub("(?<name>/store/[A-Za-z0-9+_.-]+)-(bin|lib|out|man|dev)(?=[/ \"':;]|$)"; .name)
  | gsub("-[0-9a-f]{16}(?<end>[.](key|json))"; "-ID" + .end)
  | gsub("[0-9a-f]{64}"; "DIGEST")
  | gsub(" AAAA[A-Za-z0-9+/=]+"; " KEY")
  | split("\n")
  | map(gsub("[ \t]+"; " ") | gsub("^ | ?\\\\?$"; ""))
  | map(select(. != ""));
def normal: walk(if type == "string" then lines elif type == "array" then flatten else . end);

# A view as the lines of each of its parts: "units etcd.service text" to a list.
def parts:
  normal
  | [paths(type != "object" and type != "array") as $path
     | {path: $path | map(strings) | join(" "), line: (getpath($path) | tostring)}]
  | group_by(.path) | map({key: .[0].path, value: map(.line)}) | from_entries;

# A glob of the list of differences as a regular expression: `*` stands for anything.
def expression: "^" + (gsub("(?<sign>[][.+?^${}()|\\\\])"; "\\" + .sign) | gsub("[*]"; ".*")) + "$";
def is_known($path; $known): . as $line | any($known[]; . as $one
  | ($path | test($one.part | expression)) and ($line | test($one.line | expression)));

# The differences between two views' parts that are not known: of what the double has. What NixOS has besides is not compared,
# in a list of the machine as a whole (kernel modules, rules of tmpfiles) neither.
def names: map(split(" ") | .[0:2] | join(" ")) | unique;
def compare($double; $real; $known):
  ($double | keys | names) as $names
  | [($double + $real | keys[]) as $path
     | select($names | index($path | split(" ") | .[0:2] | join(" ")))
     | ($double[$path] // []) as $left
     | ($real[$path] // [] | if $path | contains(" ") | not then map(select(. as $line | $left | index($line))) else . end) as $right
     | select($left != $right)
     | ($left | map(select(is_known($path; $known) | not))) as $ours
     | ($right | map(select(is_known($path; $known) | not))) as $theirs
     | select($ours != $theirs)
     | {path: $path, double: ($ours - $theirs), real: ($theirs - $ours)}];
