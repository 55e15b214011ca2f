# Hosts with certificates of a private authority: one without a DNS record, and two that resolve to these nodes.
# @AUTHORITY@ is the address of the authority and of the name server.
{ lib, ... }:
let
  web = {
    app = "web";
    port = 8000;
  };
  hosts = {
    "absent.mesh.example".locations."/" = web;
    "api.mesh.example".locations."/" = web;
    "www.mesh.example" = {
      aliases = [ "mesh.example" ];
      locations."/" = web;
    };
  };
in
{
  networking.nameservers = lib.mkForce [ "@AUTHORITY@" ];
  security.pki.certificateFiles = [ ./authority.pem ];
  machinist.mesh.ingress = {
    acme = {
      email = "ops@mesh.example";
      issuer = "https://acme.mesh.example:14000/dir";
    };
    inherit hosts;
  };
  # The test's name server does not support lego's queries for the records of a zone.
  security.acme.defaults.dnsPropagationCheck = false;
  # A test does not wait a quarter of an hour.
  systemd.timers.machinist-ingress-orders.timerConfig = {
    AccuracySec = "1s";
    OnActiveSec = lib.mkForce "5s";
    OnUnitInactiveSec = lib.mkForce "5s";
  };
}
