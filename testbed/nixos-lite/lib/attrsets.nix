# Functions on attribute sets.
lib:
let
  inherit (builtins)
    attrNames
    concatMap
    elemAt
    foldl'
    head
    intersectAttrs
    isAttrs
    length
    listToAttrs
    mapAttrs
    tail
    zipAttrsWith
    ;
in
rec {
  nameValuePair = name: value: { inherit name value; };

  attrByPath =
    path: default: set:
    let
      len = length path;
      go =
        n: s:
        if n == len then
          s
        else if s ? ${elemAt path n} then
          go (n + 1) s.${elemAt path n}
        else
          default;
    in
    go 0 set;
  hasAttrByPath =
    path: set:
    let
      len = length path;
      go = n: s: n == len || (s ? ${elemAt path n} && go (n + 1) s.${elemAt path n});
    in
    go 0 set;
  getAttrFromPath =
    path: attrByPath path (throw "cannot find attribute '${lib.concatStringsSep "." path}'");
  setAttrByPath =
    path: value:
    let
      len = length path;
      go = n: if n == len then value else { ${elemAt path n} = go (n + 1); };
    in
    go 0;
  concatMapAttrs = f: v: foldl' (a: b: a // b) { } (lib.attrValues (mapAttrs f v));
  attrVals = names: set: map (x: set.${x}) names;
  getAttrs = names: set: genAttrs names (name: set.${name});
  filterAttrs =
    pred: set: builtins.removeAttrs set (builtins.filter (name: !pred name set.${name}) (attrNames set));
  filterAttrsRecursive =
    pred: set:
    listToAttrs (
      concatMap (
        name:
        let
          v = set.${name};
        in
        if pred name v then
          [ (nameValuePair name (if isAttrs v then filterAttrsRecursive pred v else v)) ]
        else
          [ ]
      ) (attrNames set)
    );
  foldlAttrs =
    f: init: set:
    foldl' (acc: name: f acc name set.${name}) init (attrNames set);
  foldAttrs =
    op: nul: sets:
    zipAttrsWith (_: lib.foldr op nul) sets;
  collect =
    pred: attrs:
    if pred attrs then
      [ attrs ]
    else if isAttrs attrs then
      concatMap (collect pred) (lib.attrValues attrs)
    else
      [ ];
  cartesianProduct =
    sets:
    foldl' (
      acc: name: concatMap (done: map (value: done // { ${name} = value; }) sets.${name}) acc
    ) [ { } ] (attrNames sets);
  mapCartesianProduct = f: sets: map f (cartesianProduct sets);

  mapAttrs' = f: set: listToAttrs (map (name: f name set.${name}) (attrNames set));
  mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
  mapAttrsToListRecursive = mapAttrsToListRecursiveCond (_: _: true);
  mapAttrsToListRecursiveCond =
    cond: f: set:
    let
      go =
        path: v:
        if isAttrs v && cond path v then
          concatMap (name: go (path ++ [ name ]) v.${name}) (attrNames v)
        else
          [ (f path v) ];
    in
    concatMap (name: go [ name ] set.${name}) (attrNames set);
  attrsToList = mapAttrsToList nameValuePair;
  mapAttrsRecursive = mapAttrsRecursiveCond (_: true);
  mapAttrsRecursiveCond =
    cond: f: set:
    let
      go =
        path:
        mapAttrs (
          name: value:
          if isAttrs value && cond value then go (path ++ [ name ]) value else f (path ++ [ name ]) value
        );
    in
    go [ ] set;
  genAttrs = names: f: genAttrs' names (name: nameValuePair name (f name));
  genAttrs' = xs: f: listToAttrs (map f xs);
  isDerivation = value: value.type or null == "derivation";
  toDerivation =
    path:
    let
      path' = builtins.storePath path;
      res = {
        type = "derivation";
        name = lib.sanitizeDerivationName (builtins.substring 33 (-1) (baseNameOf path'));
        outPath = path';
        outputs = [ "out" ];
        out = res;
        outputName = "out";
      };
    in
    res;
  optionalAttrs = cond: set: if cond then set else { };

  zipAttrsWithNames =
    names: f: sets:
    listToAttrs (map (name: nameValuePair name (f name (builtins.catAttrs name sets))) names);
  inherit zipAttrsWith;
  zipAttrs = zipAttrsWith (_: values: values);
  mergeAttrsList = foldl' (a: b: a // b) { };

  recursiveUpdateUntil =
    pred: lhs: rhs:
    let
      go =
        path:
        zipAttrsWith (
          n: values:
          let
            here = path ++ [ n ];
          in
          if length values == 1 || pred here (elemAt values 1) (head values) then
            head values
          else
            go here values
        );
    in
    go [ ] [
      rhs
      lhs
    ];
  recursiveUpdate = recursiveUpdateUntil (
    _: lhs: rhs:
    !(isAttrs lhs && isAttrs rhs)
  );
  updateManyAttrsByPath =
    updates: value:
    foldl' (
      acc: { path, update }:
      if path == [ ] then
        update acc
      else
        acc
        // {
          ${head path} = updateManyAttrsByPath [
            {
              path = tail path;
              inherit update;
            }
          ] (acc.${head path} or { });
        }
    ) value updates;
  matchAttrs =
    pattern: attrs:
    assert isAttrs pattern;
    lib.all (
      name:
      attrs ? ${name}
      && (
        if isAttrs pattern.${name} then
          isAttrs attrs.${name} && matchAttrs pattern.${name} attrs.${name}
        else
          pattern.${name} == attrs.${name}
      )
    ) (attrNames pattern);
  overrideExisting = old: new: mapAttrs (name: value: new.${name} or value) old;
  showAttrPath = path: if path == [ ] then "<root attribute path>" else lib.concatMapStringsSep "." lib.escapeNixIdentifier path;
  unionOfDisjoint =
    x: y:
    let
      both = attrNames (intersectAttrs x y);
    in
    if both == [ ] then
      x // y
    else
      mapAttrs (name: _: throw "unionOfDisjoint: collision on ${name}; the sets share ${toString both}") (x // y);
  getFirstOutput =
    candidates: pkg:
    let
      outputs = builtins.filter (name: pkg ? ${name}) candidates;
    in
    if pkg.outputSpecified or false || outputs == [ ] then pkg else pkg.${head outputs};
  getOutput = output: getFirstOutput [ output "out" ];
  getBin = getOutput "bin";
  getLib = getOutput "lib";
  getDev = getOutput "dev";
  getStatic = getFirstOutput [ "static" "lib" "out" ];
  getMan = getOutput "man";
  recurseIntoAttrs = attrs: attrs // { recurseForDerivations = true; };
  dontRecurseIntoAttrs = attrs: attrs // { recurseForDerivations = false; };
}
