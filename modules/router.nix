# The Router, if it is a NixOS machine of the cluster: BIRD accepts the API's virtual address and the
# addresses of Services from the control planes, and nothing else, and balances their traffic over
# all of them. For any other Router, `machinist router-config` prints the same sessions.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.machinist.router;
  inherit (config.machinist) network;
  inherit (config.lib.machinist.types) ipAddress isIPv6 urlHost;
  channel = if isIPv6 cfg.prefix then "ipv6" else "ipv4";
  # Symbols of BIRD allow no hyphens, and names of nodes no underscores.
  symbol = name: "machinist_${lib.replaceStrings [ "-" ] [ "_" ] name}";

  # Routes to single addresses of the pool.
  length = if isIPv6 cfg.prefix then "128" else "32";
  services = lib.concatMapStringsSep ", " (
    prefix: "${prefix}{${length},${length}}"
  ) cfg.servicePrefixes;

  # With kube-vip's timers.
  sessions = ''
    filter machinist_vip {
      if net = ${cfg.prefix} then accept;
    ${
      lib.optionalString (cfg.servicePrefixes != [ ]) "  if net ~ [ ${services} ] then accept;\n"
    }  reject;
    }

    template bgp machinist {
      local ${network.address} as ${toString cfg.as};
      passive;
      keepalive time 1;
      hold time 4;
    ${lib.optionalString cfg.password "  include \"password.conf\";\n"}  ${channel} {
        import filter machinist_vip;
        export none;
      };
    }
  ''
  + lib.concatStrings (
    lib.mapAttrsToList (name: address: ''

      protocol bgp ${symbol name} from machinist {
        neighbor ${address} as ${toString cfg.nodeAs};
      }
    '') cfg.neighbors
  );

  surroundings = ''
    ${lib.optionalString (!isIPv6 network.address) "router id ${network.address};\n"}
    protocol device {
    }

    # All routes at once. BIRD 3.1 exports a route that is not the best only when it scans the
    # kernel's table (each minute by default).
    protocol kernel {
      merge paths on;
      scan time 1;
      ${channel} {
        import none;
        export where source = RTS_BGP;
      };
    }
  '';

  # A control plane without a running API server announces nothing, and may stay down while the
  # Router changes.
  gate = pkgs.writeShellScript "router-sessions" ''
    missing=
    check() {
      state=$(${lib.getExe' config.services.bird.package "birdc"} show protocols "$2" 2>&1)
      case "$state" in *Established*) return ;; esac
      if ${pkgs.curl}/bin/curl --silent --insecure --noproxy '*' --max-time 2 --output /dev/null "$3"; then
        missing="$missing $1"
      fi
    }
    ${lib.concatStrings (
      lib.mapAttrsToList (name: address: ''
        check ${name} ${symbol name} https://${urlHost address}:${toString cfg.apiPort}/livez
      '') cfg.neighbors
    )}
    if ! ${lib.getExe' config.services.bird.package "birdc"} show status >/dev/null; then
      echo "BIRD does not answer"
      exit 1
    elif [ -n "$missing" ]; then
      echo "no BGP session with$missing, whose API server answers; see \`birdc show protocols all\`"
      exit 1
    fi
  '';
in
{
  options.machinist.router = {
    enable = lib.mkEnableOption "the Router's side of the API's virtual address";

    as = lib.mkOption {
      type = lib.types.ints.positive;
      example = 64513;
      description = "The Router's own AS number.";
    };

    nodeAs = lib.mkOption {
      type = lib.types.ints.positive;
      example = 64512;
      description = "AS number of the control planes.";
    };

    prefix = lib.mkOption {
      type = lib.types.strMatching "[0-9a-fA-F:.]+/(32|128)";
      example = "10.13.100.1/32";
      description = "The API's virtual address as a route, which control planes may announce.";
    };

    servicePrefixes = lib.mkOption {
      type = lib.types.listOf (lib.types.strMatching "[0-9a-fA-F:.]+/[0-9]+");
      default = [ ];
      example = [ "10.13.101.0/24" ];
      description = "Networks of Services' addresses: control planes may announce each address of them.";
    };

    neighbors = lib.mkOption {
      type = lib.types.attrsOf ipAddress;
      default = { };
      example = {
        cp1 = "10.13.13.2";
      };
      description = "The control planes: name to address.";
    };

    apiPort = lib.mkOption {
      type = lib.types.port;
      default = 6443;
      description = "TCP port of the API servers, which a deploy checks.";
    };

    password = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = "Uses the password that `machinist certs gen` makes in the sessions.";
    };
  };

  config = lib.mkIf cfg.enable {
    services.bird = {
      enable = true;
      config = "${surroundings}\n${sessions}";
      # The build has no password.
      preCheckConfig = lib.mkIf cfg.password ''
        echo 'password "none";' >password.conf
      '';
    };

    machinist.keys.units.bird = lib.mkIf cfg.password { keyPairs = [ "bgp-password" ]; };
    # printf is a builtin of the shell: the password never appears in the arguments of a process.
    systemd.services.bird.preStart = lib.mkIf cfg.password ''
      umask 0377
      rm -f /run/bird/password.conf
      printf 'password "%s";\n' "$(<${config.machinist.keys.units.bird.files.bgp-password.key})" >/run/bird/password.conf
    '';
    environment.etc = lib.mkIf cfg.password {
      "bird/password.conf".source = "/run/bird/password.conf";
    };

    machinist.firewall.tcp.bgp = {
      port = 179;
      sources = lib.attrValues cfg.neighbors;
    };

    machinist.gates.router = {
      command = [ "${gate}" ];
      # kube-vip reconnects every ten seconds.
      timeout = 60;
    };

    networking.firewall.checkReversePath = lib.mkDefault "loose";
    boot.kernel.sysctl = {
      # Stronger than NixOS' defaults, weaker than the user's settings.
      "net.ipv4.conf.all.forwarding" = lib.mkIf (channel == "ipv4") (lib.mkOverride 900 true);
      "net.ipv6.conf.all.forwarding" = lib.mkIf (channel == "ipv6") (lib.mkOverride 900 true);
      # Balances per connection, not per client.
      "net.${channel}.fib_multipath_hash_policy" = lib.mkOverride 900 1;
      # Hosts on the nodes' link must not be redirected to one control plane, which they would keep
      # using after it fails.
      "net.ipv4.conf.*.send_redirects" = lib.mkIf (channel == "ipv4") (lib.mkOverride 900 0);
    };

    assertions = [
      {
        assertion = isIPv6 cfg.prefix == isIPv6 network.address;
        message =
          "the virtual address ${cfg.prefix} and the address ${network.address} of ${config.machinist.node.name} are of "
          + "different families, so no route is possible: use an address of network.nodes' family as kubeMaster.ip.";
      }
    ];
  };
}
