# Files that root reads, executes or copies although another user can replace them, in the evaluated units of
# some systems: an attribute per system, with a sentence per place. A function that needs nothing but the
# systems, so that its text can be an `--apply` of nix.
systems:
builtins.mapAttrs (
  _: system:
  let
    inherit (system) config;
    inherit (system.pkgs) lib;
    words = text: lib.filter (word: word != "") (lib.splitString " " text);
    isRoot = user: user == "root" || user == "0" || user == "-" || user == "";
    services = lib.filterAttrs (_: unit: unit.enable) config.systemd.services;
    field = unit: name: unit.serviceConfig.${name} or null;
    listOf =
      unit: name:
      lib.filter (text: text != "") (map toString (lib.toList (unit.serviceConfig.${name} or [ ])));
    userOf =
      unit:
      if field unit "DynamicUser" == true || field unit "DynamicUser" == "yes" then
        "a dynamic user"
      else
        toString (unit.serviceConfig.User or "root");

    # Lines of tmpfiles.d as type, path, mode, user and group.
    fields =
      line: lib.genList (index: if index < lib.length line then lib.elemAt line index else "-") 5;
    rules =
      map (rule: fields (words rule)) config.systemd.tmpfiles.rules
      ++ lib.concatLists (
        lib.concatMap (
          paths:
          lib.mapAttrsToList (
            path: types:
            lib.mapAttrsToList (type: rule: [
              type
              path
              rule.mode
              rule.user
              rule.group
            ]) types
          ) paths
        ) (lib.attrValues config.systemd.tmpfiles.settings)
      );
    typeOf = rule: lib.head rule;
    pathOf = rule: lib.elemAt rule 1;
    ownerOf = rule: lib.elemAt rule 3;
    makesDirectory = rule: builtins.match "[dDvqQe].*" (typeOf rule) != null;
    mode = rule: lib.elemAt rule 2;
    # The digit of the group or of all others; a sticky directory protects files of others.
    isWritableFor =
      digit: rule:
      builtins.match "[~:]?0?[0-7]?[0-7]{${toString (1 + digit)}}[2367].*" (mode rule) != null;
    isSticky = rule: builtins.match "[~:]?0?[1357][0-7]{3}" (mode rule) != null;
    writerOf =
      rule:
      if !isRoot (ownerOf rule) then
        ownerOf rule
      else if !isSticky rule && !isRoot (lib.elemAt rule 4) && isWritableFor 0 rule then
        "group ${lib.elemAt rule 4}"
      else if !isSticky rule && isWritableFor 1 rule then
        "everyone"
      else
        null;

    # Rules of type z change what others create, regardless of their order.
    final =
      rule:
      lib.findFirst (
        other: builtins.match "[zZ].*" (typeOf other) != null && pathOf other == pathOf rule
      ) rule rules;

    directory = by: path: { inherit by path; };
    ofUnit =
      unit:
      let
        of =
          base: name:
          map (entry: directory (userOf unit) "${base}/${lib.head (lib.splitString ":" entry)}") (
            lib.concatMap words (listOf unit name)
          );
      in
      lib.optionals (!isRoot (userOf unit)) (
        of "/run" "RuntimeDirectory"
        ++ of "/var/lib" "StateDirectory"
        ++ of "/var/cache" "CacheDirectory"
        ++ of "/var/log" "LogsDirectory"
      );
    writable = lib.unique (
      map (rule: directory (writerOf (final rule)) (pathOf rule)) (
        lib.filter (rule: makesDirectory rule && writerOf (final rule) != null) rules
      )
      ++ lib.concatMap ofUnit (lib.attrValues services)
      ++ lib.mapAttrsToList (name: user: directory name user.home) (
        lib.filterAttrs (name: user: user.createHome && !isRoot name) config.users.users
      )
    );
    # Writable paths that a text mentions, or that contain a path.
    mentions =
      text: path:
      lib.any (rest: builtins.match "[A-Za-z0-9_.-].*" rest == null) (
        lib.tail (lib.splitString path text)
      );
    mentioned = text: lib.filter (entry: mentions text entry.path) writable;
    within = path: lib.filter (entry: lib.hasPrefix "${entry.path}/" path) writable;

    finding =
      who: does: path: entry:
      "${who} ${does} ${path}, where ${entry.by} can write (${entry.path})";
    findings =
      who: does: path:
      map (finding who does path) (mentioned path);

    # Files that systemd itself reads for a unit.
    readFor =
      name: unit:
      lib.concatMap (path: findings "systemd" "reads for ${name}.service" (lib.removePrefix "-" path)) (
        listOf unit "EnvironmentFile"
      )
      ++ lib.concatMap (
        credential:
        findings "systemd" "reads for ${name}.service" (lib.last (lib.splitString ":" credential))
      ) (listOf unit "LoadCredential");

    prefixOf = command: lib.head (builtins.match "([-@:+!|]*).*" command);
    isRootsCommand =
      unit: command: isRoot (userOf unit) || builtins.match ".*[+!].*" (prefixOf command) != null;
    commands =
      name: unit:
      lib.concatMap
        (
          kind:
          lib.concatMap (command: findings "${kind} of ${name}.service as root" "has" command) (
            lib.filter (isRootsCommand unit) (listOf unit kind)
          )
        )
        [
          "ExecCondition"
          "ExecStart"
          "ExecStartPre"
          "ExecStartPost"
          "ExecReload"
          "ExecStop"
          "ExecStopPost"
        ];

    # Lines of a script that only check whether a path exists, or drop all privileges before they open it.
    isHarmless =
      line:
      builtins.match " *\\[ -e [^ ]+ ] [|][|] exit 0" line != null
      || lib.hasInfix "/bin/setpriv --reuid=" line;
    scripts =
      name: unit:
      lib.optionals (isRoot (userOf unit)) (
        lib.concatMap
          (
            kind:
            lib.concatMap (line: findings "${kind} of ${name}.service as root" "has" line) (
              lib.filter (line: !isHarmless line) (lib.splitString "\n" (toString (unit.${kind} or "")))
            )
          )
          [
            "preStart"
            "script"
            "postStart"
            "reload"
            "preStop"
            "postStop"
          ]
      );

    # systemd-tmpfiles refuses paths that change from one owner to another, but such a rule is wrong all the
    # same.
    tmpfiles = lib.concatMap (
      rule:
      map (finding "systemd-tmpfiles" "makes" (pathOf rule)) (
        lib.filter (entry: entry.by != ownerOf rule) (within (pathOf rule))
      )
    ) rules;
  in
  lib.unique (
    lib.concatLists (
      lib.mapAttrsToList (
        name: unit: readFor name unit ++ commands name unit ++ scripts name unit
      ) services
    )
    ++ tmpfiles
  )
) systems
