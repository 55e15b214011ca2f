# Functions on lists.
lib:
let
  inherit (builtins)
    elem
    elemAt
    filter
    foldl'
    genList
    head
    length
    ;
in
rec {
  singleton = x: [ x ];
  forEach = xs: f: map f xs;
  toList = x: if builtins.isList x then x else [ x ];
  optional = cond: x: if cond then [ x ] else [ ];
  optionals = cond: xs: if cond then xs else [ ];

  foldr =
    op: nul: list:
    let
      len = length list;
      go = n: if n == len then nul else op (elemAt list n) (go (n + 1));
    in
    go 0;
  fold = foldr;
  foldl =
    op: nul: list:
    let
      go = n: if n == -1 then nul else op (go (n - 1)) (elemAt list n);
    in
    go (length list - 1);

  imap0 = f: list: genList (n: f n (elemAt list n)) (length list);
  imap1 = f: list: genList (n: f (n + 1) (elemAt list n)) (length list);
  ifilter0 = pred: xs: map (i: elemAt xs i) (filter (i: pred i (elemAt xs i)) (range 0 (length xs - 1)));

  flatten = x: if builtins.isList x then builtins.concatMap flatten x else [ x ];
  remove = e: filter (x: x != e);
  count = pred: foldl' (n: x: if pred x then n + 1 else n) 0;

  # The position of the first element that satisfies the predicate, or the default.
  findFirstIndex =
    pred: default: list:
    let
      len = length list;
      go =
        n:
        if n == len then
          default
        else if pred (elemAt list n) then
          n
        else
          go (n + 1);
    in
    go 0;
  findFirst =
    pred: default: list:
    let
      n = findFirstIndex pred null list;
    in
    if n == null then default else elemAt list n;
  findSingle =
    pred: default: multiple: list:
    let
      found = filter pred list;
    in
    if found == [ ] then
      default
    else if length found != 1 then
      multiple
    else
      head found;

  range = first: last: if first > last then [ ] else genList (n: first + n) (last - first + 1);
  replicate = n: x: genList (_: x) n;
  last =
    list:
    assert lib.assertMsg (list != [ ]) "lists.last: list must not be empty!";
    elemAt list (length list - 1);
  init =
    list:
    assert lib.assertMsg (list != [ ]) "lists.init: list must not be empty!";
    genList (elemAt list) (length list - 1);
  take = n: sublist 0 n;
  takeEnd = n: xs: drop (lib.max 0 (length xs - n)) xs;
  drop = n: list: sublist n (length list) list;
  dropEnd = n: xs: take (lib.max 0 (length xs - n)) xs;
  sublist =
    start: n: list:
    let
      len = length list;
      end = lib.min len (start + n);
    in
    if start >= end then [ ] else genList (i: elemAt list (start + i)) (end - start);
  reverseList =
    xs:
    let
      l = length xs;
    in
    genList (n: elemAt xs (l - n - 1)) l;
  hasPrefix = prefix: list: take (length prefix) list == prefix;
  removePrefix =
    prefix: list:
    if hasPrefix prefix list then
      drop (length prefix) list
    else
      throw "lists.removePrefix: first argument is not a list prefix of the second";

  sort = builtins.sort;
  sortOn = f: list: map (x: x.value) (builtins.sort (a: b: a.key < b.key) (map (value: { inherit value; key = f value; }) list));
  naturalSort =
    list:
    let
      vectorise = s: map (x: if builtins.isList x then lib.toIntBase10 (head x) else x) (builtins.split "(0|[1-9][0-9]*)" s);
    in
    map (x: elemAt x 1) (builtins.sort (a: b: compareLists lib.compare (head a) (head b) < 0) (map (x: [ (vectorise x) x ]) list));
  compareLists =
    cmp: a: b:
    if a == [ ] then
      (if b == [ ] then 0 else -1)
    else if b == [ ] then
      1
    else
      let
        r = cmp (head a) (head b);
      in
      if r == 0 then compareLists cmp (builtins.tail a) (builtins.tail b) else r;

  # First occurrences only, in order.
  unique = foldl' (acc: e: if elem e acc then acc else acc ++ [ e ]) [ ];
  uniqueStrings =
    list: builtins.attrNames (builtins.groupBy (x: x) list);
  allUnique = list: length (unique list) == length list;
  allEqual = list: list == [ ] || builtins.all (x: x == head list) list;
  intersectLists = e: filter (x: elem x e);
  subtractLists = e: filter (x: !elem x e);
  mutuallyExclusive = a: b: length a == 0 || !builtins.any (x: elem x a) b;

  zipListsWith =
    f: a: b:
    genList (n: f (elemAt a n) (elemAt b n)) (lib.min (length a) (length b));
  zipLists = zipListsWith (fst: snd: { inherit fst snd; });
  crossLists = f: foldl' (fs: args: builtins.concatMap (f: map f args) fs) [ f ];
  groupBy' =
    op: nul: pred: lst:
    builtins.mapAttrs (_: foldl' op nul) (builtins.groupBy pred lst);
  concatMap = builtins.concatMap;
}
