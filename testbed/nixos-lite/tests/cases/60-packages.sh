# Packages and builders.
cat > "$work/packages.nix" <<EOF
let pkgs = import $top/pkgs { lib = import $top/lib; system = builtins.currentSystem; }; in
pkgs.linkFarm "packages" {
  text = pkgs.writeText "t" "hello";
  dir = pkgs.writeTextDir "share/x" "in a folder";
  app = pkgs.writeShellApplication { name = "app"; runtimeInputs = [ pkgs.coreutils ]; text = "echo app \"\$1\""; };
  bin = pkgs.writeShellScriptBin "tool" "echo tool";
  join = pkgs.symlinkJoin { name = "j"; paths = [ pkgs.coreutils (pkgs.writeTextDir "share/y" "joined") ]; postBuild = "touch \$out/post"; };
  command = pkgs.runCommand "c" { x = "1"; nativeBuildInputs = [ pkgs.gnused ]; } "echo \$x > \$out";
  drv = pkgs.stdenv.mkDerivation { pname = "p"; version = "1"; src = $top/tests/golden; installPhase = "mkdir -p \$out; cp hosts \$out/"; };
  json = (pkgs.formats.json { }).generate "j.json" { a = [ 1 true null ]; };
  ini = (pkgs.formats.ini { }).generate "i.ini" { s.k = 1; };
  missing = pkgs.callPackage ({ runCommand, ... }: runCommand "m" { } "ln -s \${pkgs.nixos-anywhere} \$out") { };
  rust = pkgs.rustPlatform.buildRustPackage { pname = "no-such-program-here"; version = "1"; src = throw "unused"; };
  shell = pkgs.mkShell { packages = [ pkgs.jq ]; FOO = "bar"; };
  override = pkgs.etcd.overrideAttrs (old: { name = old.name + "-own"; });
}
EOF
if nix build -o "$work/packages" --impure -f "$work/packages.nix" 2> "$work/packages.err"; then
  cd "$work/packages" || exit 1
  same "writeText writes" "hello" "$(cat text)"
  same "writeTextDir writes in a folder" "in a folder" "$(cat dir/share/x)"
  same "writeShellApplication runs" "app 1" "$(app/bin/app 1)"
  same "writeShellScriptBin runs" "tool" "$(bin/bin/tool)"
  same "symlinkJoin joins" "joined, post" "$(cat join/share/y), $(ls join | grep post)"
  same "runCommand has its attributes" "1" "$(cat command)"
  same "mkDerivation installs" "0" "$(cmp drv/hosts "$here/golden/hosts" > /dev/null; echo $?)"
  same "formats.json generates" '{"a":[1,true,null]}' "$(cat json)"
  same "formats.ini generates" "[s]
k=1" "$(cat ini)"
  same "a wrapper runs the machine's program" "x" "$(join/bin/echo x)"
  PATH=/usr/bin:/bin holds "a wrapper says that the machine lacks the program" "$(PATH=/usr/bin:/bin missing/bin/nixos-anywhere 2>&1)" "has no program 'nixos-anywhere'"
  holds "a stand-in of a Rust package says what it is" "$(rust/bin/no-such-program-here 2>&1)" "nixos-lite cannot build Rust packages"
  mkdir -p "$work/path"
  printf '#!/bin/sh\necho built "$@"\n' > "$work/path/no-such-program-here"
  chmod +x "$work/path/no-such-program-here"
  same "a stand-in of a Rust package runs the one in PATH" "built a b" "$(PATH="$work/path:$PATH" rust/bin/no-such-program-here a b)"
  holds "overrideAttrs overrides" "$(readlink -f override)" "etcd-3.5.16-own"
  cd "$top" || exit 1
else
  no "packages build" "$(tail -20 "$work/packages.err")"
fi
flake=$(nix eval --json "path:$top#nixosModules" --apply builtins.attrNames 2>&1 | tail -1)
same "the flake has the stand-ins" '["disko","sops"]' "$flake"
