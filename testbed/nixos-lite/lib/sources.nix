# Filters of source trees.
lib: rec {
  cleanSourceFilter =
    name: type:
    let
      base = baseNameOf (toString name);
    in
    !(
      base == ".git"
      || (type == "directory" && builtins.elem base [ ".svn" "CVS" ".hg" ".jj" ])
      || lib.hasSuffix "~" base
      || builtins.match "^\\.sw[a-z]$|^\\..*\\.sw[a-z]$" base != null
      || (type == "symlink" && lib.hasPrefix "result" base)
      || type == "unknown"
    );
  cleanSource = src: cleanSourceWith {
    filter = cleanSourceFilter;
    inherit src;
  };
  cleanSourceWith =
    {
      src,
      filter ? _: _: true,
      name ? "source",
    }:
    builtins.path {
      inherit name filter;
      path = src.origSrc or src;
    };
  sourceByRegex =
    src: regexes:
    let
      root = toString src + "/";
    in
    cleanSourceWith {
      inherit src;
      filter = path: _: builtins.any (re: builtins.match re (lib.removePrefix root path) != null) regexes;
    };
  sourceFilesBySuffices =
    src: exts:
    cleanSourceWith {
      inherit src;
      filter = name: type: type == "directory" || builtins.any (ext: lib.hasSuffix ext (baseNameOf name)) exts;
    };
}
