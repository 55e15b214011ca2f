# Basics of types: mkOptionType, and the merge of two declarations' types.
lib:
let
  inherit (lib.options) mergeDefaultOption;
in
rec {
  isType = type: x: (x._type or "") == type;
  setType = name: value: value // { _type = name; };
  isOptionType = isType "option-type";

  defaultFunctor = name: {
    inherit name;
    type = lib.types.${name} or null;
    payload = null;
    binOp = _: _: null;
  };
  # Merges two declarations' types; null if they are incompatible.
  defaultTypeMerge =
    f: f':
    if f.name != f'.name then
      null
    else if f.payload == null then
      f.type
    else
      let
        payload = f.binOp f.payload f'.payload;
      in
      if payload == null then null else f.type payload;

  mkOptionType =
    {
      name,
      description ? null,
      descriptionClass ? null,
      check ? (_: true),
      merge ? mergeDefaultOption,
      emptyValue ? { },
      getSubOptions ? (_: { }),
      getSubModules ? null,
      substSubModules ? (_: null),
      functor ? defaultFunctor name,
      typeMerge ? defaultTypeMerge functor,
      deprecationMessage ? null,
      nestedTypes ? { },
    }:
    {
      _type = "option-type";
      inherit
        name
        descriptionClass
        check
        merge
        emptyValue
        getSubOptions
        getSubModules
        substSubModules
        typeMerge
        functor
        deprecationMessage
        nestedTypes
        ;
      description = if description == null then name else description;
    };

  optionDescriptionPhrase = unparenthesize: t: if unparenthesize (t.descriptionClass or null) then t.description else "(${t.description})";

  # A type like `base` whose values must also satisfy `check`.
  addCheck = base: check: base // { check = x: base.check x && check x; };
}
