# The units: one sets up directories, one per certificate creates the self-signed one, one per
# certificate orders and renews, with a timer. The machine's lego is Debian's, older than NixOS':
# its missing options are documented where they would be used.
{
  lib,
  pkgs,
  cfg,
}:
let
  user = if cfg.useRoot then "root" else "acme";
  hash = text: lib.substring 0 20 (builtins.hashString "sha256" text);
  nobody = "noemail@example.com";
  mail = data: if data.email == null then nobody else data.email;
  account = data: hash "${toString data.server} ${data.keyType} ${mail data}";
  arg = lib.escapeShellArg;
  webroots = lib.unique (lib.remove null (map (data: data.webroot) (lib.attrValues cfg.certs)));
  lockDirectory = "/run/acme/";
  names = data: [ data.domain ] ++ data.extraDomainNames;
  isIP = name: lib.hasInfix ":" name || builtins.match "([0-9]+\\.){3}[0-9]+" name != null;

  hardened = {
    CapabilityBoundingSet = [ "" ];
    DevicePolicy = "closed";
    Group = lib.mkDefault "acme";
    LockPersonality = true;
    MemoryDenyWriteExecute = true;
    NoNewPrivileges = true;
    PrivateDevices = true;
    PrivateTmp = true;
    ProcSubset = "pid";
    ProtectClock = true;
    ProtectControlGroups = true;
    ProtectHome = true;
    ProtectHostname = true;
    ProtectKernelLogs = true;
    ProtectKernelModules = true;
    ProtectKernelTunables = true;
    ProtectProc = "invisible";
    ProtectSystem = "strict";
    ReadWritePaths = [
      "/var/lib/acme"
      lockDirectory
    ]
    ++ lib.filter (dir: !lib.hasPrefix "/var/lib/acme/" dir) webroots;
    RemoveIPC = true;
    RestrictAddressFamilies = [ "AF_INET" "AF_INET6" "AF_UNIX" "AF_NETLINK" ];
    RestrictNamespaces = true;
    RestrictRealtime = true;
    RestrictSUIDSGID = true;
    StateDirectoryMode = "750";
    SystemCallArchitectures = "native";
    SystemCallFilter = [
      "@system-service @resources"
      "~@privileged"
      "@chown"
    ];
    Type = "oneshot";
    UMask = "0022";
    User = user;
    WorkingDirectory = "/tmp";
  };

  # Limits how many run at the same time: the first free one of as many locks.
  locked =
    script:
    lib.optionalString (cfg.maxConcurrentRenewals > 0) ''
      taken=
      echo "Waiting to acquire lock in ${lockDirectory}"
      while [ -z "$taken" ]; do
        for number in $(seq ${toString cfg.maxConcurrentRenewals}); do
          exec {lock}>"${lockDirectory}/$number.lock"
          if flock --nonblock "$lock"; then
            taken=$number
            break
          fi
          exec {lock}>&-
        done
        [ -n "$taken" ] || sleep 1
      done
    ''
    + script;

  owned = data: directory: ''
    chmod -R u=rwX,g=rX,o= ${directory}
    chown -R ${user}:${data.group} ${directory}
  '';

  privileged = pkgs.writeShellScriptBin "acme-setup-privileged" (
    ''
      set -euo pipefail
      cd /var/lib/acme
      chmod -R u=rwX,g=,o= .lego/accounts
      chown -R ${user} .lego/accounts
    ''
    + lib.concatStrings (
      lib.mapAttrsToList (name: data: ''
        for directory in ${arg name} .lego/${arg name}; do
          if [ -d "$directory" ]; then
            ${owned data "\"$directory\""}
          fi
        done
      '') cfg.certs
    )
  );
in
{
  inherit user;

  setup = {
    description = "Set up the ACME certificate renewal infrastructure";
    path = [ pkgs.openssl ];
    script = ''
      set -euo pipefail
      if ! [ -e ca/key.pem ]; then
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 -keyout ca/key.pem -out ca/cert.pem \
          -subj "/CN=minica root ca $(openssl rand -hex 3)"
      fi
    '';
    serviceConfig = hardened // {
      BindPaths = "/var/lib/acme/.minica:/tmp/ca";
      ExecStartPre = "+${lib.getExe privileged}";
      RemainAfterExit = true;
      RuntimeDirectory = "acme";
      RuntimeDirectoryMode = "0700";
      StateDirectory = [ "acme" "acme/.lego" "acme/.lego/accounts" "acme/.minica" ];
      StateDirectoryMode = "0755";
      UMask = "0077";
    };
  };

  base = name: data: {
    description = "Ensure certificate for ${name}";
    after = [ "acme-setup.service" ];
    before = [ "acme-order-renew-${name}.service" ];
    wantedBy = [ "multi-user.target" ];
    wants = [
      "acme-setup.service"
      "acme-order-renew-${name}.service"
    ];
    path = [
      pkgs.coreutils
      pkgs.openssl
      pkgs.util-linux
    ];
    restartTriggers = [ (import ./order.nix { inherit lib mail locked owned; } name data) ];
    # NixOS has minica for this; the files are the same.
    script = locked ''
      set -ex
      if [ -e out/acme-success ]; then exit 0; fi
      openssl req -x509 -CA ca/cert.pem -CAkey ca/key.pem -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 760 \
        -keyout out/key.pem -out out/cert.pem -subj ${arg "/CN=${data.domain}"} -addext basicConstraints=critical,CA:FALSE \
        -addext ${arg ("subjectAltName=" + lib.concatMapStringsSep "," (name: (if isIP name then "IP:" else "DNS:") + name) (names data))}
      cat out/cert.pem ca/cert.pem >out/fullchain.pem
      cp ca/cert.pem out/chain.pem
      cat out/key.pem out/fullchain.pem >out/full.pem
      ${owned data "out"}
    '';
    serviceConfig = hardened // {
      BindPaths = [
        "/var/lib/acme/.minica:/tmp/ca"
        "/var/lib/acme/${name}:/tmp/out"
      ];
      Group = data.group;
      RemainAfterExit = true;
      StateDirectory = "acme/${name}";
      UMask = "0027";
    };
    unitConfig.StartLimitIntervalSec = 0;
  };

  orderRenew =
    name: data:
    let
      directory = hash (
        lib.concatStringsSep " - " (
          map (lib.concatStringsSep " ") [
            data.extraLegoFlags
            data.extraLegoRunFlags
            data.extraLegoRenewFlags
          ]
          ++ map toString [ data.server data.dnsProvider data.ocspMustStaple data.keyType data.csr data.profile ]
        )
      );
      port = lib.toInt (lib.last (lib.splitString ":" data.listenHTTP));
    in
    {
      description = "Order (and renew) ACME certificate for ${name}";
      after = [
        "network.target"
        "network-online.target"
        "acme-setup.service"
        "nss-lookup.target"
        "acme-${name}.service"
      ];
      wants = [
        "network-online.target"
        "acme-setup.service"
        "acme-${name}.service"
      ];
      path = [
        pkgs.lego
        pkgs.coreutils
        pkgs.diffutils
        pkgs.findutils
        pkgs.openssl
        pkgs.util-linux
      ];
      script = import ./order.nix { inherit lib mail locked owned; } name data;
      serviceConfig =
        hardened
        // {
          BindPaths = [
            "/var/lib/acme/.lego/accounts/${account data}:/tmp/accounts"
            "/var/lib/acme/${name}:/tmp/out"
            "/var/lib/acme/.lego/${name}/${directory}:/tmp/certificates"
          ];
          Environment = lib.mapAttrsToList (variable: _: ''"${variable}=%d/${variable}"'') data.credentialFiles;
          EnvironmentFile = lib.mkIf (data.environmentFile != null) data.environmentFile;
          # As root, and only for a changed certificate.
          ExecStartPost =
            "+"
            + pkgs.writeShellScript "acme-postrun" ''
              cd /var/lib/acme/${arg name}
              if [ -e renewed ]; then
                rm renewed
                ${data.postRun}
                ${lib.optionalString (data.reloadServices != [ ])
                  "systemctl --no-block try-reload-or-restart ${lib.escapeShellArgs data.reloadServices}"}
              fi
            '';
          Group = data.group;
          LoadCredential = lib.mapAttrsToList (variable: file: "${variable}:${file}") data.credentialFiles;
          # Let's Encrypt allows five failures per hour, account and name.
          RestartSec = 15 * 60;
          StateDirectory = [
            "acme/${name}"
            "acme/.lego/${name}"
            "acme/.lego/${name}/${directory}"
            "acme/.lego/accounts/${account data}"
          ];
        }
        // lib.optionalAttrs (data.listenHTTP != null && port < 1024) {
          AmbientCapabilities = [ "CAP_NET_BIND_SERVICE" ];
          CapabilityBoundingSet = [ "CAP_NET_BIND_SERVICE" ];
        };
    };

  # Orders with the same account: one creates it, the others depend on that one.
  accounts = lib.mapAttrs' (
    hash: members:
    let
      byDns = lib.filter (name: cfg.certs.${name}.dnsProvider != null) members;
      leader = lib.head (byDns ++ members);
      unit = name: "acme-order-renew-${name}.service";
      followers = map unit (lib.filter (name: name != leader) members);
    in
    lib.nameValuePair "acme-account-${hash}" {
      requires = [ (unit leader) ];
      after = [ (unit leader) ];
      requiredBy = followers;
      before = followers;
      unitConfig.RefuseManualStart = true;
    }
  ) (lib.groupBy (name: account cfg.certs.${name}) (lib.attrNames cfg.certs));

  timer = name: data: {
    description = "Renew ACME Certificate for ${name}";
    wantedBy = [ "timers.target" ];
    timerConfig = {
      AccuracySec = "${toString (24 * 60 * 60 / lib.length (lib.attrNames cfg.certs))}s";
      FixedRandomDelay = true;
      OnCalendar = data.renewInterval;
      Persistent = "yes";
      RandomizedDelaySec = data.renewJitter;
      Unit = "acme-order-renew-${name}.service";
    };
    unitConfig."X-OnlyManualStart" = true;
  };
}
