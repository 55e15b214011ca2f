# Library shared by modules, as `config.lib.machinist`: by those of this folder, of app_modules/ and
# of a cluster's own directory. Not a module argument: many flakes pass all of their inputs as
# arguments, one of which is called machinist.
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
    # Options that mesh instances and applications share.
    instance = import ./mesh/instance.nix { inherit lib; };
    # For applications that each declare an option, as all did in earlier releases.
    app = import ./apps/app.nix { inherit config lib; };
    packages.agent = import ../nix/agent.nix { inherit pkgs; };
  };
}
