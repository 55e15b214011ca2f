# Parts of version strings.
lib: {
  splitVersion = builtins.splitVersion;
  major = v: builtins.elemAt (builtins.splitVersion v) 0;
  minor = v: builtins.elemAt (builtins.splitVersion v) 1;
  patch = v: builtins.elemAt (builtins.splitVersion v) 2;
  majorMinor = v: builtins.concatStringsSep "." (lib.take 2 (builtins.splitVersion v));
  pad =
    n: version:
    let
      numbers = lib.head (lib.splitString "-" version);
      suffix = lib.removePrefix numbers version;
      components = lib.take n (builtins.splitVersion numbers);
    in
    lib.concatStringsSep "." (components ++ lib.genList (_: "0") (n - lib.length components)) + suffix;
}
