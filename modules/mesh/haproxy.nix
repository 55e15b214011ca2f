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
  program = "/run/machinist-haproxy/haproxy";
  # A reload executes this link again: so a new package is taken over without a connection being dropped.
  link = "${pkgs.coreutils}/bin/ln -sf ${lib.getExe cfg.haproxy.package} ${program}";

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

    systemd.services.machinist-haproxy = {
      description = "haproxy of the service mesh";
      wantedBy = [ "multi-user.target" ];
      after = [ "network.target" ];
      reloadIfChanged = true;
      startLimitIntervalSec = 0;
      serviceConfig = {
        Type = "notify";
        ExecStartPre = [ link ];
        ExecStart = lib.concatStringsSep " " [
          "${program} -Ws"
          "-f /var/lib/machinist-mesh/haproxy.cfg"
          "-p /run/machinist-haproxy/haproxy.pid"
          "-S /run/machinist-mesh/haproxy-master.sock,mode,660"
        ];
        ExecReload = [
          link
          "${pkgs.coreutils}/bin/kill -USR2 $MAINPID"
        ];
        KillMode = "mixed";
        SuccessExitStatus = "143";
        Restart = "always";
        RestartSec = "1s";
        User = "machinist-haproxy";
        Group = "machinist-mesh";
        UMask = "0007";
        RuntimeDirectory = "machinist-haproxy";
        ReadWritePaths = [ "/run/machinist-mesh" ];
        # Two file descriptors a connection, and one a server that is being checked.
        LimitNOFILE = toString (2 * cfg.maxconn + 70000);
        AmbientCapabilities = "CAP_NET_BIND_SERVICE";
        NoNewPrivileges = true;
        PrivateTmp = true;
        ProtectHome = true;
        ProtectSystem = "strict";
        ProtectKernelTunables = true;
        ProtectKernelModules = true;
        ProtectControlGroups = true;
      };
    };
  };
}
