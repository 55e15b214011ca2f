# The Router, where it is a machine of ours: by BIRD it takes the API's virtual address from the control planes, and nothing else, and
# sends what comes for it to all of them. For any other Router `machinist router-config` prints the same sessions.
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
  # A symbol of BIRD has no hyphen, and a node's name no underscore.
  symbol = name: "machinist_${lib.replaceStrings [ "-" ] [ "_" ] name}";

  # The same timers as kube-vip's.
  sessions = ''
    filter machinist_vip {
      if net = ${cfg.prefix} then accept;
      reject;
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

    # All ways at once. BIRD 3.1 tells the kernel of one that is not the best only when it looks (each minute by itself).
    protocol kernel {
      merge paths on;
      scan time 1;
      ${channel} {
        import none;
        export where source = RTS_BGP;
      };
    }
  '';

  # A control plane whose API server is down announces nothing, and may stay down while the Router changes.
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
      echo "no BGP session with$missing, whose API server answers: \`birdc show protocols all\` says more"
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
      description = "Routes that control planes may announce: the virtual address alone.";
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
      # While it is built there is no password.
      preCheckConfig = lib.mkIf cfg.password ''
        echo 'password "none";' >password.conf
      '';
    };

    machinist.keys.units.bird = lib.mkIf cfg.password { keyPairs = [ "bgp-password" ]; };
    # printf is a builtin of the shell: the password is in no process's arguments.
    systemd.services.bird.preStart = lib.mkIf cfg.password ''
      umask 0377
      rm -f /run/bird/password.conf
      printf 'password "%s";\n' "$(<${config.machinist.keys.units.bird.files.bgp-password.key})" >/run/bird/password.conf
    '';
    environment.etc = lib.mkIf cfg.password { "bird/password.conf".source = "/run/bird/password.conf"; };

    machinist.firewall.tcp.bgp = {
      port = 179;
      sources = lib.attrValues cfg.neighbors;
    };

    machinist.gates.router = {
      command = [ "${gate}" ];
      # kube-vip tries again each ten seconds.
      timeout = 60;
    };

    networking.firewall.checkReversePath = lib.mkDefault "loose";
    boot.kernel.sysctl = {
      # Over what NixOS has by itself, under what a person writes.
      "net.ipv4.conf.all.forwarding" = lib.mkIf (channel == "ipv4") (lib.mkOverride 900 true);
      "net.ipv6.conf.all.forwarding" = lib.mkIf (channel == "ipv6") (lib.mkOverride 900 true);
      # Each connection has its way, not each client.
      "net.${channel}.fib_multipath_hash_policy" = lib.mkOverride 900 1;
      # Who sits on the nodes' link must not be told to go to one control plane, where it would stay when that one fails.
      "net.ipv4.conf.*.send_redirects" = lib.mkIf (channel == "ipv4") (lib.mkOverride 900 0);
    };

    assertions = [
      {
        assertion = isIPv6 cfg.prefix == isIPv6 network.address;
        message =
          "the virtual address ${cfg.prefix} and the address ${network.address} of ${config.machinist.node.name} are of "
          + "different families, between which there is no way: write kubeMaster.ip of the family of network.nodes.";
      }
    ];
  };
}
