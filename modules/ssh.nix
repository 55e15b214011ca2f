# sshd for operators and deploys: keys only, one host key, the port of machines.nix.
{ config, lib, ... }:
let
  inherit (config.machinist) network operators pki;
in
{
  services.openssh = {
    enable = lib.mkDefault true;
    ports = lib.mkDefault [ network.sshPort ];
    openFirewall = lib.mkDefault true;

    # The host key that operators have pinned. A second one would have to be pinned as well.
    hostKeys = lib.mkDefault [
      {
        path = "/etc/ssh/ssh_host_ed25519_key";
        type = "ed25519";
      }
    ];

    # machines.nix lists everyone who may log in, so that removing an operator there revokes the
    # access.
    authorizedKeysInHomedir = lib.mkDefault (operators == { });

    settings = {
      # By its store path: sshd takes up a renewed certificate because its configuration changes.
      HostCertificate = lib.mkIf (pki.hostCertificate != null) (
        lib.mkDefault (toString pki.hostCertificate)
      );
      KbdInteractiveAuthentication = lib.mkDefault false;
      PasswordAuthentication = lib.mkDefault false;
      PermitRootLogin = lib.mkDefault "prohibit-password";
      X11Forwarding = lib.mkDefault false;
    };
  };

  assertions = [
    {
      assertion = lib.elem network.sshPort config.services.openssh.ports;
      message =
        "services.openssh.ports of ${config.machinist.node.name} does not contain ${toString network.sshPort}, the port that "
        + "machinist connects to: add it, or change ssh.port of the machine in machines.nix.";
    }
  ];
}
