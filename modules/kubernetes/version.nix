# The Kubernetes version of the node: published in /etc, and refused if the NixOS release cannot
# start it.
{ config, lib, ... }:
let
  cfg = config.machinist.kubernetes;
  inherit (config.services.kubernetes.package) version;
in
{
  options.machinist.kubernetes.versions = lib.mkOption {
    type = lib.types.listOf (lib.types.strMatching "[0-9]+\\.[0-9]+");
    default = [ ];
    example = [ "1.36" ];
    description = ''
      Minor versions of Kubernetes that the NixOS release can start: its kubelet gets options that other versions do
      not have. If empty, no version is refused.
    '';
  };

  config = lib.mkIf cfg.enable {
    # A deploy compares the new system's with the running one's, to comply with the version skew
    # policy.
    environment.etc."machinist/kubernetes-version".text = "${version}\n";

    assertions = [
      {
        assertion = cfg.versions == [ ] || lib.elem (lib.versions.majorMinor version) cfg.versions;
        message =
          "services.kubernetes.package of ${config.machinist.node.name} is Kubernetes ${version}, and NixOS "
          + "${config.machinist.cluster.release} is known to start ${lib.concatStringsSep ", " cfg.versions}: use a package of "
          + "these, or add the version to machinist.kubernetes.versions if you know that it starts.";
      }
    ];
  };
}
