# haproxy of the mesh. Its configuration has one owner, the agent: NixOS provides only the initial
# one, so no deploy ever empties the mesh. services.haproxy remains free for other uses.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.machinist.mesh;
  configuration = "/var/lib/machinist-mesh/haproxy.cfg";
  first = pkgs.writeText "haproxy-first.cfg" ''
    # Used until the agent has received the routing from etcd for the first time.
    global
      stats socket /run/machinist-mesh/haproxy.sock mode 660 level admin expose-fd listeners
      maxconn 1000
      no strict-limits

    defaults
      mode tcp
      timeout connect 2s
      timeout client 1h
      timeout server 1h
  '';
in
{
  options.machinist.mesh.haproxy = {
    package = lib.mkPackageOption pkgs "haproxy" { };

    template = lib.mkOption {
      type = lib.types.nullOr lib.types.path;
      default = null;
      description = ''
        Template (Tera) of haproxy's configuration, instead of the default {file}`rust/mesh/template/haproxy.cfg`.
        Each change then takes a reload.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    users.users.machinist-haproxy = {
      isSystemUser = true;
      group = "machinist-mesh";
    };

    # Contains its sockets, which the agent connects to. A running haproxy keeps its master socket
    # where it is: it would exit if a reload could not write there.
    systemd.tmpfiles.rules = [ "d /run/machinist-mesh 0750 machinist-haproxy machinist-mesh -" ];

    systemd.services.machinist-haproxy-configuration = {
      description = "First configuration of the service mesh's haproxy";
      wantedBy = [ "machinist-haproxy.service" ];
      before = [ "machinist-haproxy.service" ];
      unitConfig.ConditionPathExists = "!${configuration}";
      serviceConfig = {
        Type = "oneshot";
        User = "machinist-agent";
        Group = "machinist-mesh";
        StateDirectory = "machinist-mesh";
        StateDirectoryMode = "0750";
        ExecStart = [
          "${pkgs.coreutils}/bin/install --mode=0640 ${first} ${configuration}.new"
          "${pkgs.coreutils}/bin/mv ${configuration}.new ${configuration}"
        ];
      };
    };

    systemd.services.machinist-haproxy = lib.mkMerge [
      (import ./haproxy-unit.nix {
        inherit lib pkgs;
        inherit (cfg.haproxy) package;
        inherit (cfg) maxconn;
        inherit configuration;
        arguments = [ "-S /run/machinist-mesh/haproxy-master.sock,mode,660" ];
        directory = "machinist-haproxy";
        user = "machinist-haproxy";
        group = "machinist-mesh";
      })
      {
        description = "haproxy of the service mesh";
        serviceConfig.ReadWritePaths = [ "/run/machinist-mesh" ];
      }
    ];
  };
}
