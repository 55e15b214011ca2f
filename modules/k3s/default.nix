# k3s by NixOS' own services.k3s: one machine, or several servers with k3s' embedded etcd. Settings
# that must be the same on all servers are derived from facts that are the same on all of them.
{
  imports = [
    (import ../api-endpoint.nix {
      name = "k3s";
      servesApi = cfg: cfg.role == "server";
      servers = "servers";
      defaultOverlay = "wireguard";
      # The API servers, and the metrics server, which may run on any node.
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
