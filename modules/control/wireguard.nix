# WireGuard as the control mesh. Besides the configuration, a service does what WireGuard leaves to others: it resolves
# names of endpoints again, and while keys are rotated it sends to the key that a node uses.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.machinist.control;
  inherit (config.lib.machinist.types) isIPv6 urlHost;
  inherit (config.machinist.keys.units.machinist-control) files;

  wg = "${pkgs.wireguard-tools}/bin/wg";
  allowed =
    peer:
    lib.concatMapStringsSep "," (
      address: "${address}/${if isIPv6 address then "128" else "32"}"
    ) peer.addresses;
  endpoint =
    peer: if peer.endpoint == null then "-" else "${urlHost peer.endpoint}:${toString cfg.port}";

  # A network address translation forgets a connection that is silent for longer, often after 30 seconds.
  keepalive = lib.optionalString (cfg.own.endpoint == null) "PersistentKeepalive = 25\n";
  section =
    peer: key: isFirst:
    "[Peer]\nPublicKey = ${key.key}\n"
    + lib.optionalString isFirst "AllowedIPs = ${allowed peer}\n"
    + keepalive;
  sections = peer: lib.imap0 (place: key: section peer key (place == 0)) peer.keys;
  configuration = pkgs.writeText "control-peers.conf" (
    lib.concatStrings (lib.concatMap sections (lib.attrValues cfg.peers))
  );

  # Lines: addresses, endpoint, keys.
  table = pkgs.writeText "control-peers" (
    lib.concatMapStrings (
      peer: "${allowed peer} ${endpoint peer} ${lib.concatMapStringsSep " " (key: key.key) peer.keys}\n"
    ) (lib.attrValues cfg.peers)
  );

  # WireGuard renews a session after two minutes: a peer without one for longer is not reached.
  stale = 150;
in
{
  config = lib.mkIf (cfg.backend == "wireguard" && cfg.own != null) {
    boot.kernelModules = [ "wireguard" ];
    environment.systemPackages = [ pkgs.wireguard-tools ];

    systemd.services.machinist-control = {
      description = "WireGuard of the control mesh";
      wantedBy = [ "multi-user.target" ];
      after = [ "machinist-control-interface.service" ];
      wants = [ "machinist-control-interface.service" ];
      startLimitIntervalSec = 0;
      # One attempt to resolve a name, since the next one follows anyway.
      environment.WG_ENDPOINT_RESOLUTION_RETRIES = "1";
      serviceConfig = {
        Restart = "always";
        RestartSec = "3s";
      };
      script = ''
        # Keeps the sessions of peers that stay.
        {
          printf '[Interface]\nListenPort = ${toString cfg.port}\nPrivateKey = %s\n' "$(<${files.${cfg.own.pair}.key})"
          cat ${configuration}
        } | ${wg} syncconf ${cfg.interface} /dev/stdin

        while :; do
          declare -A seen=()
          while read -r key at; do seen[$key]=$at; done < <(${wg} show ${cfg.interface} latest-handshakes)
          while read -r allowed endpoint first other; do
            for key in $first $other; do
              if [ "$endpoint" != - ] && [ $((EPOCHSECONDS - ''${seen[$key]:-0})) -gt ${toString stale} ]; then
                ${wg} set ${cfg.interface} peer "$key" endpoint "$endpoint" || true
              fi
            done
            [ -n "$other" ] || continue
            used=$first
            [ "''${seen[$other]:-0}" -le "''${seen[$first]:-0}" ] || used=$other
            ${wg} set ${cfg.interface} peer "$used" allowed-ips "$allowed"
          done <${table}
          sleep 5
        done
      '';
    };
  };
}
