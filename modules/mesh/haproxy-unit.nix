# haproxy as a systemd service: deploys reload the master process and never restart it, so no
# connection is dropped when its configuration or its package changes.
{
  lib,
  pkgs,
  package,
  # Path of the configuration on the node, and additional arguments.
  configuration,
  arguments ? [ ],
  # Name of the directory below /run, and the service's user.
  directory,
  user,
  group,
  maxconn,
}:
let
  program = "/run/${directory}/haproxy";
  # A reload executes this link again: so a new package takes over without dropping a connection.
  link = "${pkgs.coreutils}/bin/ln -sf ${lib.getExe package} ${program}";
in
{
  wantedBy = [ "multi-user.target" ];
  after = [ "network.target" ];
  reloadIfChanged = true;
  startLimitIntervalSec = 0;
  serviceConfig = {
    Type = "notify";
    ExecStartPre = [ link ];
    ExecStart = lib.concatStringsSep " " (
      [
        "${program} -Ws"
        "-f ${configuration}"
        "-p /run/${directory}/haproxy.pid"
      ]
      ++ arguments
    );
    ExecReload = [
      "${lib.getExe package} -c -f ${configuration}"
      link
      "${pkgs.coreutils}/bin/kill -USR2 $MAINPID"
    ];
    KillMode = "mixed";
    SuccessExitStatus = "143";
    Restart = "always";
    # The node's access to all applications: without it, their requests fail.
    RestartSec = "100ms";
    User = user;
    Group = group;
    UMask = "0007";
    RuntimeDirectory = directory;
    # Two file descriptors per connection, and one per server that is being checked.
    LimitNOFILE = toString (2 * maxconn + 70000);
    AmbientCapabilities = "CAP_NET_BIND_SERVICE";
    NoNewPrivileges = true;
    PrivateTmp = true;
    ProtectHome = true;
    ProtectSystem = "strict";
    ProtectKernelTunables = true;
    ProtectKernelModules = true;
    ProtectControlGroups = true;
  };
}
