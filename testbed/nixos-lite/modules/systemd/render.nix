# Unit options to the text of unit files, line for line as NixOS writes them.
{ lib, globalEnvironment }:
let
  value =
    x:
    if x == true then
      "true"
    else if x == false then
      "false"
    else
      toString x;
  keys = attrs: lib.concatStrings (lib.mapAttrsToList (name: v: lib.concatMapStrings (x: "${name}=${value x}\n") (lib.toList v)) attrs);

  unit = def: "[Unit]\n${keys def.unitConfig}\n";
  install = def: lib.optionalString (def.wantedBy != [ ]) "\n[Install]\nWantedBy=${toString def.wantedBy}\n";
  withSection = title: attrs: def: unit def + "[${title}]\n${keys attrs}\n" + install def;

  environment =
    def:
    lib.concatStrings (
      lib.mapAttrsToList (
        name: v: lib.optionalString (v != null) "Environment=${builtins.toJSON "${name}=${v}"}\n"
      ) (globalEnvironment // def.environment)
    );
  # The action of switch-to-configuration for a changed service.
  onChange =
    def:
    (
      if def.reloadIfChanged then
        "X-ReloadIfChanged=true\n"
      else
        lib.optionalString (!def.restartIfChanged) "X-RestartIfChanged=false\n"
    )
    + lib.optionalString (!def.stopIfChanged) "X-StopIfChanged=false\n"
    + lib.optionalString def.notSocketActivated "X-NotSocketActivated=true\n";
in
{
  inherit keys;
  service = def: unit def + "[Service]\n" + environment def + onChange def + keys def.serviceConfig + install def;
  target = unit;
  socket =
    def:
    unit def
    + "[Socket]\n${keys def.socketConfig}\n"
    + lib.concatMapStringsSep "\n" (s: "ListenStream=${s}") def.listenStreams
    + "\n"
    + lib.concatMapStringsSep "\n" (s: "ListenDatagram=${s}") def.listenDatagrams
    + "\n"
    + install def;
  timer = def: withSection "Timer" def.timerConfig def;
  path = def: withSection "Path" def.pathConfig def;
  slice = def: withSection "Slice" def.sliceConfig def;
  mount = def: withSection "Mount" def.mountConfig def;
  automount = def: withSection "Automount" def.automountConfig def;
}
