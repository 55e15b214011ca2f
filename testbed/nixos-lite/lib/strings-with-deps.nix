# Named pieces of text in dependency order: activation scripts.
lib: rec {
  # The pieces in `wanted` and all their dependencies, each once and after its dependencies.
  textClosureList =
    predefined: wanted:
    let
      visit =
        state: name:
        if state.done ? ${name} then
          state
        else
          let
            entry = predefined.${name} or (throw "activation snippet `${name}' does not exist");
            before = builtins.foldl' visit (state // { done = state.done // { ${name} = true; }; }) (entry.deps or [ ]);
          in
          before // { texts = before.texts ++ [ entry.text or entry ]; };
    in
    (builtins.foldl' visit {
      done = { };
      texts = [ ];
    } wanted).texts;
  textClosureMap = f: predefined: names: lib.concatStringsSep "\n" (map f (textClosureList predefined names));
  noDepEntry = text: {
    inherit text;
    deps = [ ];
  };
  fullDepEntry = text: deps: { inherit text deps; };
  packEntry = deps: {
    inherit deps;
    text = "";
  };
  stringAfter = deps: text: { inherit text deps; };
}
