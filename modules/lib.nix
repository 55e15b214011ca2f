# Shared library of the modules, `config.lib.machinist`: for this folder, app_modules/ and a cluster's directory.
# Not a module argument: many a flake passes all of its inputs as arguments, one of which is called machinist.
{
  config,
  lib,
  pkgs,
  ...
}:
{
  lib.machinist = {
    types = import ./types.nix { inherit lib; };
    pki = import ./pki-files.nix { inherit config; };
    kubeVip = import ./kube-vip.nix { inherit config lib; };
    # The options that an instance of the mesh and an application have in common.
    instance = import ./mesh/instance.nix { inherit lib; };
    # For applications that declare an option each, as all did once.
    app = import ./apps/app.nix { inherit config lib; };
    packages.agent = import ../nix/agent.nix { inherit pkgs; };
  };
}
