# Assertions with a message.
lib: {
  assertMsg = pred: msg: pred || throw msg;
  assertOneOf =
    name: val: xs:
    lib.assertMsg (builtins.elem val xs)
      "${name} must be one of ${lib.generators.toPretty { } xs}, but is: ${lib.generators.toPretty { } val}";
  assertEachOneOf =
    name: vals: xs:
    lib.assertMsg (lib.all (val: builtins.elem val xs) vals)
      "each element in ${name} must be one of ${lib.generators.toPretty { } xs}, but is: ${lib.generators.toPretty { } vals}";
  # Returns `val` if every assertion of the list holds, in the form of `config.assertions`.
  checkAssertWarn =
    assertions: warnings: val:
    let
      failed = map (x: x.message) (builtins.filter (x: !x.assertion) assertions);
    in
    if failed != [ ] then
      throw "\nFailed assertions:\n${lib.concatMapStringsSep "\n" (x: "- ${x}") failed}"
    else
      lib.foldr (w: acc: lib.warn w acc) val warnings;
}
