# Files with the mesh's routing for other programs, from templates: the agent renders each of them
# when the routing changes, and a unit of root's installs it for its reader, which checks it first.
# The agent itself can reload nothing, and write nothing that root opens.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.machinist.mesh;
  directory = "/var/lib/machinist-mesh-files";
  laid = name: "/run/machinist-agent/files/${name}";
  take = import ./take.nix { inherit pkgs; };
  # A routing table with 10,000 instances has 2 MB in most formats.
  longest = 64 * 1024 * 1024;

  file =
    { name, ... }:
    {
      options = {
        template = lib.mkOption {
          type = lib.types.path;
          example = lib.literalExpression "./upstreams.conf.tera";
          description = ''
            Template (Tera). It receives `services`, each with `name`, `group`, `app`, `port` and `servers` of `name`,
            `address` and `weight`: those of the groups that this node reaches.
          '';
        };
        path = lib.mkOption {
          type = lib.types.path;
          default = "${directory}/${name}";
          readOnly = true;
          description = "Path of the file. Empty until the routing is known for the first time.";
        };
        check = lib.mkOption {
          type = lib.types.listOf lib.types.str;
          default = [ ];
          example = lib.literalExpression ''[ "''${pkgs.nginx}/bin/nginx" "-t" "-c" "/etc/nginx/nginx.conf" ]'';
          description = ''
            Program that validates the file in place, with its arguments, run by root. If it fails, the previous
            file is restored.
          '';
        };
        reload = lib.mkOption {
          type = lib.types.listOf lib.types.str;
          default = [ ];
          example = [ "nginx.service" ];
          description = "Units that read it. Those that run are reloaded when it changes.";
        };
      };
    };

  isName = name: builtins.match "[A-Za-z0-9][A-Za-z0-9._-]*" name != null;
  files = lib.filterAttrs (name: _: isName name) cfg.files;
  unit = name: "machinist-mesh-file-${name}";
  bring = name: file: ''
    set +e -uo pipefail
    umask 022
    file=${file.path}
    # Restores the file if power failed during the check.
    if [ -e "$file.before" ]; then mv "$file.before" "$file"; fi
    [ -e ${laid name} ] || exit 0
    ${
      take {
        path = laid name;
        longest = longest + 1;
      }
    } >"$file.new" || exit 1
    if [ "$(stat --format=%s "$file.new")" -gt ${toString longest} ]; then
      echo "the agent's file has more than ${toString longest} bytes: keeping the previous file" >&2
      exit 1
    fi
    cmp --quiet "$file.new" "$file" && exit 0
    cp --preserve "$file" "$file.before" && mv "$file.new" "$file" || exit 1
    ${lib.optionalString (file.check != [ ]) ''
      if ! ${lib.escapeShellArgs file.check}; then
        mv "$file.before" "$file"
        echo "the check refused the new routing: keeping the previous file" >&2
        exit 1
      fi
    ''}
    rm "$file.before"
    ${lib.optionalString (
      file.reload != [ ]
    ) "systemctl --no-block try-reload-or-restart ${lib.escapeShellArgs file.reload}"}
    exit 0
  '';
in
{
  options.machinist.mesh.files = lib.mkOption {
    type = lib.types.attrsOf (lib.types.submodule file);
    default = { };
    example = lib.literalExpression ''{ upstreams = { template = ./upstreams.conf.tera; reload = [ "nginx.service" ]; }; }'';
    description = "Files with the routing, for programs that balance, monitor or scrape themselves, by name.";
  };

  config = lib.mkIf (cfg.enable && cfg.files != { }) {
    systemd.tmpfiles.rules = [
      "d ${directory} 0755 root root -"
    ]
    ++ lib.mapAttrsToList (_: file: "f ${file.path} 0644 root root -") cfg.files;

    systemd.paths = lib.mapAttrs' (
      name: _:
      lib.nameValuePair (unit name) {
        description = "Trigger for mesh routing file ${name}";
        wantedBy = [ "multi-user.target" ];
        pathConfig.PathExists = laid name;
      }
    ) files;

    systemd.services = lib.mapAttrs' (
      name: file:
      lib.nameValuePair (unit name) {
        description = "Mesh routing file ${name}";
        after = file.reload;
        # The routing may change often.
        startLimitIntervalSec = 0;
        path = [
          config.systemd.package
          pkgs.coreutils
          pkgs.diffutils
        ];
        script = bring name file;
        serviceConfig = {
          Type = "oneshot";
          # The agent may keep its end of the pipe open, and a check takes time.
          TimeoutStartSec = "2min";
        };
      }
    ) files;

    assertions = lib.mapAttrsToList (name: file: {
      assertion = isName name && (file.check == [ ] || lib.hasPrefix "/" (lib.head file.check));
      message =
        "machinist.mesh.files.\"${name}\" on ${config.machinist.node.name}: the name must be a file name (letters, digits and . _ -), and "
        + "its check must begin with an absolute path.";
    }) cfg.files;
  };
}
