# haproxy of the mesh. Its configuration has one owner, the agent: NixOS only gives the first one, so no deploy ever empties
# the mesh. services.haproxy stays free for other uses.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.machinist.mesh;
  first = pkgs.writeText "haproxy-first.cfg" ''
    # Until the agent has heard from etcd for the first time.
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
        Template (Tera) of haproxy's configuration in the place of the agent's own, which is
        {file}`rust/mesh/template/haproxy.cfg`. Each change then takes a reload.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    users.users.machinist-haproxy = {
      isSystemUser = true;
      group = "machinist-mesh";
    };

    systemd.tmpfiles.rules = [
      "C /var/lib/machinist-mesh/haproxy.cfg 0640 machinist-agent machinist-mesh - ${first}"
    ];

    systemd.services.machinist-haproxy = lib.mkMerge [
      (import ./haproxy-unit.nix {
        inherit lib pkgs;
        inherit (cfg.haproxy) package;
        inherit (cfg) maxconn;
        configuration = "/var/lib/machinist-mesh/haproxy.cfg";
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
