{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) literalExpression mkOption types;
  cfg = config.services.openssh;
  clientPackage = config.programs.ssh.package;

  # sshd_config: `Key value`, yes and no, and two kinds of lists.
  withCommas = [ "Ciphers" "KexAlgorithms" "Macs" ];
  withSpaces = [ "AcceptEnv" "AllowGroups" "AllowUsers" "AuthorizedKeysFile" "DenyGroups" "DenyUsers" ];
  valueText =
    v:
    if v == true then
      "yes"
    else if v == false then
      "no"
    else if builtins.isInt v || builtins.isString v || builtins.isPath v then
      toString v
    else
      throw "unsupported type ${builtins.typeOf v}: ${lib.generators.toPretty { } v}";
  flatten =
    key: v:
    if !builtins.isList v then
      v
    else if lib.elem key withCommas then
      lib.concatStringsSep "," v
    else if lib.elem key withSpaces then
      lib.concatStringsSep " " v
    else
      throw "list value for unknown key ${key}: ${lib.generators.toPretty { } v}";
  format = pkgs.formats.keyValue {
    mkKeyValue = lib.generators.mkKeyValueDefault { mkValueString = valueText; } " ";
  };
  settingsText = lib.generators.toKeyValue {
    mkKeyValue = lib.generators.mkKeyValueDefault { mkValueString = valueText; } " ";
  } (builtins.mapAttrs flatten (lib.filterAttrs (_: v: v != null) cfg.settings));
  configFile = pkgs.writeText "sshd.conf-final" "${settingsText}${cfg.extraConfig}\n";

  nullable =
    type: default: description:
    mkOption {
      type = types.nullOr type;
      inherit default description;
    };
  names = types.listOf types.str;
  recommended = list: if cfg.enableRecommendedAlgorithms then list else null;

  userKeys = {
    options.openssh = {
      authorizedKeys = {
        keys = mkOption {
          type = types.listOf types.singleLineStr;
          default = [ ];
          description = "Public keys that may log in as this user.";
        };
        keyFiles = mkOption {
          type = types.listOf types.path;
          default = [ ];
          description = "Files with one public key each.";
        };
      };
      authorizedPrincipals = mkOption {
        type = types.listOf types.singleLineStr;
        default = [ ];
        description = "Certificate principals that may log in as this user.";
      };
    };
  };

  users = lib.attrValues config.users.users;
  keyFiles = lib.listToAttrs (
    map (
      u:
      lib.nameValuePair "ssh/authorized_keys.d/${u.name}" {
        mode = "0444";
        source = pkgs.writeText "${u.name}-authorized_keys" ''
          ${lib.concatStringsSep "\n" u.openssh.authorizedKeys.keys}
          ${lib.concatMapStrings (f: lib.readFile f + "\n") u.openssh.authorizedKeys.keyFiles}
        '';
      }
    ) (lib.filter (u: u.openssh.authorizedKeys.keys != [ ] || u.openssh.authorizedKeys.keyFiles != [ ]) users)
  );
  principalsFiles = lib.listToAttrs (
    map (
      u:
      lib.nameValuePair "ssh/authorized_principals.d/${u.name}" {
        mode = "0444";
        text = lib.concatStringsSep "\n" u.openssh.authorizedPrincipals;
      }
    ) (lib.filter (u: u.openssh.authorizedPrincipals != [ ]) users)
  );

  # Keys of the settings that differ only in case: sshd would take the first of them.
  sameKeys = lib.filter (l: lib.length l > 1) (lib.attrValues (lib.groupBy lib.toLower (lib.attrNames cfg.settings)));
in
{
  options = {
    services.openssh = {
      enable = mkOption {
        type = types.bool;
        default = false;
        description = "Whether to enable the OpenSSH secure shell daemon.";
      };
      package = mkOption {
        type = types.package;
        default = clientPackage;
        defaultText = literalExpression "programs.ssh.package";
        description = "The OpenSSH package of the daemon.";
      };
      startWhenNeeded = mkOption {
        type = types.bool;
        default = false;
        description = "Starts sshd by a socket for each connection; nixos-lite refuses it.";
      };
      allowSFTP = mkOption {
        type = types.bool;
        default = true;
        description = "Enables SFTP.";
      };
      sftpServerExecutable = mkOption {
        type = types.str;
        description = "The SFTP server.";
      };
      sftpFlags = mkOption {
        type = names;
        default = [ ];
        description = "Flags of the SFTP server.";
      };
      ports = mkOption {
        type = types.listOf types.port;
        default = [ 22 ];
        description = "Ports to listen on.";
      };
      openFirewall = mkOption {
        type = types.bool;
        default = true;
        description = "Opens these ports in the firewall.";
      };
      listenAddresses = mkOption {
        type = types.listOf (
          types.submodule {
            options = {
              addr = nullable types.str null "The address.";
              port = nullable types.port null "The port.";
            };
          }
        );
        default = [ ];
        description = "Addresses to listen on, all if empty.";
      };
      hostKeys = mkOption {
        type = types.listOf types.attrs;
        default = [
          {
            type = "rsa";
            bits = 4096;
            path = "/etc/ssh/ssh_host_rsa_key";
          }
          {
            type = "ed25519";
            path = "/etc/ssh/ssh_host_ed25519_key";
          }
        ];
        description = "Host keys, made if they do not exist.";
      };
      generateHostKeys = mkOption {
        type = types.bool;
        default = cfg.enable;
        defaultText = literalExpression "services.openssh.enable";
        description = "Generates missing host keys.";
      };
      enableRecommendedAlgorithms = mkOption {
        type = types.bool;
        default = true;
        description = "Uses NixOS's choice of algorithms instead of OpenSSH's.";
      };
      authorizedKeysInHomedir = mkOption {
        type = types.bool;
        default = true;
        description = "Accepts keys in ~/.ssh/authorized_keys.";
      };
      authorizedKeysFiles = mkOption {
        type = names;
        default = [ ];
        description = "Files of authorized keys.";
      };
      authorizedKeysCommand = mkOption {
        type = types.str;
        default = "none";
        description = "A program that prints authorized keys.";
      };
      authorizedKeysCommandUser = mkOption {
        type = types.str;
        default = "nobody";
        description = "The user that runs it.";
      };
      moduliFile = mkOption {
        type = types.path;
        description = "The moduli file; nixos-lite leaves the machine's own.";
      };
      extraConfig = mkOption {
        type = types.lines;
        default = "";
        description = "Text of sshd_config after the settings.";
      };
      settings = mkOption {
        type = types.submodule {
          freeformType = format.type;
          options = {
            AcceptEnv = nullable names null "Environment variables that a client may set.";
            AllowGroups = nullable names null "The only groups that may log in.";
            AllowUsers = nullable names null "The only users that may log in.";
            AuthorizedPrincipalsFile = nullable types.str "none" "The file of certificate principals.";
            Banner = nullable types.path null "A file shown before authentication.";
            Ciphers = nullable names (recommended [
              "chacha20-poly1305@openssh.com"
              "aes256-gcm@openssh.com"
              "aes128-gcm@openssh.com"
              "aes256-ctr"
              "aes192-ctr"
              "aes128-ctr"
            ]) "Allowed ciphers.";
            DenyGroups = nullable names null "Groups that may not log in.";
            DenyUsers = nullable names null "Users that may not log in.";
            GatewayPorts = nullable types.str "no" "Whether others may use forwarded ports.";
            KbdInteractiveAuthentication = nullable types.bool true "Whether keyboard-interactive authentication is allowed.";
            KexAlgorithms = nullable names (recommended [
              "mlkem768x25519-sha256"
              "sntrup761x25519-sha512"
              "sntrup761x25519-sha512@openssh.com"
              "curve25519-sha256"
              "curve25519-sha256@libssh.org"
              "diffie-hellman-group-exchange-sha256"
            ]) "Allowed key exchanges.";
            LogLevel = nullable (types.enum [
              "QUIET"
              "FATAL"
              "ERROR"
              "INFO"
              "VERBOSE"
              "DEBUG"
              "DEBUG1"
              "DEBUG2"
              "DEBUG3"
            ]) "INFO" "How much is logged.";
            Macs = nullable names (recommended [
              "hmac-sha2-512-etm@openssh.com"
              "hmac-sha2-256-etm@openssh.com"
              "umac-128-etm@openssh.com"
            ]) "Allowed message authentication codes.";
            PasswordAuthentication = nullable types.bool true "Whether passwords are allowed.";
            PermitRootLogin = nullable (types.enum [
              "yes"
              "without-password"
              "prohibit-password"
              "forced-commands-only"
              "no"
            ]) "prohibit-password" "Whether root can log in.";
            PrintMotd = nullable types.bool false "Whether sshd prints /etc/motd.";
            StrictModes = nullable types.bool true "Whether modes of files and folders are checked.";
            UseDns = nullable types.bool false "Whether names of clients are looked up.";
            UsePAM = nullable types.bool true "Whether PAM is used.";
            X11Forwarding = nullable types.bool false "Whether X11 may be forwarded.";
          };
        };
        default = { };
        description = "Settings of sshd_config.";
      };
    };
    # Declared here, as in NixOS, beside the users module's own options.
    users.users = mkOption { type = types.attrsOf (types.submodule userKeys); };
  };

  imports =
    [
      (lib.mkAliasOptionModule [ "services" "sshd" "enable" ] [ "services" "openssh" "enable" ])
      (lib.mkRemovedOptionModule [ "services" "openssh" "banner" ] "Use services.openssh.settings.Banner instead.")
    ]
    ++ lib.mapAttrsToList
      (
        old: new:
        lib.mkRenamedOptionModule
          [ "services" "openssh" old ]
          [ "services" "openssh" "settings" new ]
      )
      {
        ciphers = "Ciphers";
        forwardX11 = "X11Forwarding";
        gatewayPorts = "GatewayPorts";
        kbdInteractiveAuthentication = "KbdInteractiveAuthentication";
        kexAlgorithms = "KexAlgorithms";
        logLevel = "LogLevel";
        macs = "Macs";
        passwordAuthentication = "PasswordAuthentication";
        permitRootLogin = "PermitRootLogin";
        useDns = "UseDns";
      };

  config = lib.mkMerge [
    (lib.mkIf cfg.enable {
      assertions = [
        {
          assertion = sameKeys == [ ];
          message = "Duplicate sshd config key; does your capitalization match the option's? Duplicate keys: ${
            lib.concatMapStringsSep ", " (keys: "(${lib.concatStringsSep ", " keys})") sameKeys
          }";
        }
        {
          assertion = !cfg.startWhenNeeded;
          message = "services.openssh.startWhenNeeded is not part of nixos-lite: a switch over SSH needs sshd as a service.";
        }
      ]
      ++ map (
        { addr, ... }:
        {
          assertion = addr != null;
          message = "addr must be specified in each listenAddresses entry";
        }
      ) cfg.listenAddresses;

      services.openssh = {
        moduliFile = lib.mkDefault "/etc/ssh/moduli";
        sftpServerExecutable = lib.mkDefault "${cfg.package}/libexec/sftp-server";
        authorizedKeysFiles =
          lib.optional cfg.authorizedKeysInHomedir "%h/.ssh/authorized_keys" ++ [ "/etc/ssh/authorized_keys.d/%u" ];
        settings.AuthorizedPrincipalsFile = lib.mkIf (principalsFiles != { }) "/etc/ssh/authorized_principals.d/%u";
        extraConfig = lib.mkOrder 0 (
          lib.concatStringsSep "\n" (
            [ "AddressFamily ${if config.networking.enableIPv6 then "any" else "inet"}" ]
            ++ map (port: "Port ${toString port}") cfg.ports
            ++ map (
              { addr, port, ... }: "ListenAddress ${addr}${lib.optionalString (port != null) (":" + toString port)}"
            ) cfg.listenAddresses
            ++ lib.optional cfg.allowSFTP "Subsystem sftp ${cfg.sftpServerExecutable} ${toString cfg.sftpFlags}"
            ++ [ "AuthorizedKeysFile ${toString cfg.authorizedKeysFiles}" ]
            ++ lib.optional (cfg.authorizedKeysCommand != "none") "AuthorizedKeysCommand ${cfg.authorizedKeysCommand}\nAuthorizedKeysCommandUser ${cfg.authorizedKeysCommandUser}\n"
            ++ map (k: "HostKey ${k.path}") cfg.hostKeys
          )
        );
      };

      users.users.sshd = {
        isSystemUser = true;
        group = "sshd";
        description = "SSH privilege separation user";
      };
      users.groups.sshd = { };

      environment.etc = keyFiles // principalsFiles // { "ssh/sshd_config".source = configFile; };

      systemd.services.sshd = {
        description = "SSH Daemon";
        wantedBy = [ "multi-user.target" ];
        wants = lib.mkIf cfg.generateHostKeys [ "sshd-keygen.service" ];
        after = [
          "network.target"
          "sshd-keygen.service"
        ];
        stopIfChanged = false;
        path = [ cfg.package ];
        restartTriggers = [ configFile ];
        serviceConfig = {
          Type = "notify-reload";
          Restart = "always";
          ExecStart = "${lib.getExe' cfg.package "sshd"} -D -f /etc/ssh/sshd_config";
          # A restart must not end the sessions: one of them may be running the switch.
          KillMode = "process";
        };
      };

      # Debian's sshd changes its root to this folder; NixOS's to /var/empty.
      systemd.tmpfiles.settings."nixos-lite-sshd"."/run/sshd".d.mode = "0755";
      systemd.tmpfiles.settings."ssh-root-provision" = {
        "/root".d = {
          user = "root";
          group = ":root";
          mode = ":700";
        };
        "/root/.ssh".d = {
          user = "root";
          group = ":root";
          mode = ":700";
        };
      };

      networking.firewall.allowedTCPPorts = lib.optionals cfg.openFirewall cfg.ports;
    })

    (lib.mkIf cfg.generateHostKeys {
      systemd.services.sshd-keygen = {
        description = "SSH Host Keys Generation";
        wantedBy = [ "multi-user.target" ];
        path = [ cfg.package ];
        unitConfig.ConditionFileNotEmpty = map (k: "|!${k.path}") cfg.hostKeys;
        serviceConfig.Type = "oneshot";
        script = lib.concatMapStrings (k: ''
          if ! [ -s "${k.path}" ]; then
              if ! [ -h "${k.path}" ]; then
                  rm -f "${k.path}"
              fi
              mkdir -p "$(dirname '${k.path}')"
              chmod 0755 "$(dirname '${k.path}')"
              ssh-keygen \
                -t "${k.type}" \
                ${lib.optionalString (k ? bits) "-b ${toString k.bits}"} \
                ${lib.optionalString (k ? comment) "-C '${k.comment}'"} \
                ${lib.optionalString (k ? openSSHFormat && k.openSSHFormat) "-o"} \
                -f "${k.path}" \
                -N ""
          fi
        '') cfg.hostKeys;
      };
    })
  ];
}
