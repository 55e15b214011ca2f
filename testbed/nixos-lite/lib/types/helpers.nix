# Helpers of the types' own definitions, which are not part of the library.
lib:
let
  inherit (builtins) elem;
in
rec {
  # The description of `t`, in parentheses unless its kind of phrase is in `classes`.
  phrase = classes: t: if elem (t.descriptionClass or null) classes then t.description else "(${t.description})";

  # The functor of a type around one other type.
  elemFunctor = name: make: elemType: {
    inherit name;
    type = payload: make payload.elemType;
    payload = { inherit elemType; };
    binOp =
      a: b:
      let
        merged = a.elemType.typeMerge b.elemType.functor;
      in
      if merged == null then null else { elemType = merged; };
  };

  # The attributes that a type forwards from submodules of the type it wraps.
  nested = elemType: make: {
    inherit (elemType) getSubModules;
    substSubModules = m: make (elemType.substSubModules m);
    nestedTypes = { inherit elemType; };
  };

  # A type of plain values, described by a noun.
  simple =
    name: description: check: merge:
    lib.types.mkOptionType {
      inherit name description check merge;
      descriptionClass = "noun";
    };
}
