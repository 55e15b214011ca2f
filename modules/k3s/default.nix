# k3s by NixOS' own services.k3s: one machine, or several servers with the etcd that is inside of k3s. What must be the same on all
# servers follows from facts that are the same on all servers.
{
  imports = [
    (import ../api-endpoint.nix {
      name = "k3s";
      servesApi = cfg: cfg.role == "server";
      servers = "servers";
      defaultOverlay = "wireguard";
      # The API servers, and the metrics server from whatever node it runs on.
      kubeletSources = _: nodes: nodes;
    })
    ./agent.nix
    ./cert-manager.nix
    ./kube-vip.nix
    ./network.nix
    ./node.nix
    ./options.nix
    ./server.nix
  ];
}
