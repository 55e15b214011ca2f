# shellcheck shell=bash
# Machines of the sandbox that run pods: with a real kubelet, containerd, CNI and flannel, and images that are made here. Sourced
# after tests/lib/cluster.sh; builds what is missing, which takes minutes the first time.
#
#   pods_images      the images beside machines.nix, in images/: pause, kube-vip, coredns and tool
#   pods_module      prints the NixOS module of a node: its images, and what a container cannot do
#   give_pods NODE   the programs come to a machine
#   kubectl ARG...   kubectl of the operator, as the administrator ($here/admin)

kubernetes_programs=$("$project/testbed/k8s/build") || exit 1
pods_programs=$("$project/testbed/pods/build") || exit 1
flannel_program=$("$project/testbed/flannel/build") || exit 1
# Names of images, which the objects of machinist and the pods of a test have.
# shellcheck disable=SC2034
tool_image=registry.test/tool:1
coredns_image=registry.test/coredns:1
balancer_image=registry.test/kube-vip-cloud-provider:1
# True where the machines' own control groups have no controllers, because this computer gives them to the first version.
pods_are_unlimited() {
  ! grep -qw cpu "$(findmnt --noheadings --first-only --types cgroup2 --output TARGET)/cgroup.controllers"
}

pods_images() {
  mkdir -p "$cluster/images"
  pods_image docker.io/library/pause:latest pause "$pods_programs/tool" pause
  pods_image ghcr.io/kube-vip/kube-vip:v1.2.2 kube-vip "$kubernetes_programs/kube-vip"
  pods_image $coredns_image coredns "$pods_programs/coredns"
  pods_image $balancer_image kube-vip-cloud-provider "$pods_programs/kube-vip-cloud-provider"
  pods_image $tool_image tool "$pods_programs/tool"
}
pods_image() { # IMAGE NAME PROGRAM [ARGUMENT...]
  local image=$1 name=$2
  shift 2
  "$project/testbed/pods/pack" "$image" "$@" >"$cluster/images/$name.tar"
}
# The disk of this computer is often nearly full, its kernel may have no modules, and a container may lower no process's
# chance to be killed for memory below its own.
pods_module() {
  local kubelet='' containerd=''
  if pods_are_unlimited; then
    kubelet='cgroupDriver = "cgroupfs"; cgroupsPerQOS = false; enforceNodeAllocatable = [ ];'
    containerd='containerd.runtimes.runc.options.SystemdCgroup = false;'
  fi
  cat <<END
{
  services.kubernetes.kubelet.seedDockerImages = map (name: builtins.path {
    inherit name;
    path = ../images + "/\${name}";
  }) (builtins.attrNames (builtins.readDir ../images));
  services.kubernetes.kubelet.extraConfig = {
    evictionHard = {
      "imagefs.available" = "1%";
      "memory.available" = "100Mi";
      "nodefs.available" = "1%";
    };
    $kubelet
  };
  services.kubernetes.proxy.extraOpts = "--conntrack-max-per-core=0";
  virtualisation.containerd.settings.plugins."io.containerd.grpc.v1.cri" = {
    restrict_oom_score_adj = true;
    $containerd
  };
}
END
}
give_pods() {
  local node=$1
  bring "$node" runc iptables conntrack socat ethtool
  tar -C "$kubernetes_programs" -c kubernetes | on_input "$node" 'tar -x -C /usr/local/bin
    for name in kube-apiserver kube-controller-manager kube-proxy kube-scheduler kubectl kubelet; do ln -sf kubernetes "/usr/local/bin/$name"; done
    for name in iptables iptables-restore iptables-save ip6tables ip6tables-restore ip6tables-save; do
      ln -sf /usr/sbin/xtables-nft-multi "/usr/local/bin/$name"
    done' || return
  tar -C "$pods_programs" -c bin cni | on_input "$node" 'mkdir -p /opt/cni/plugins && tar -x -C /opt && mv /opt/bin/* /usr/local/bin/ &&
    mv /opt/cni/bridge /opt/cni/flannel /opt/cni/host-local /opt/cni/loopback /opt/cni/portmap /opt/cni/plugins/ && rmdir /opt/bin' || return
  on_input "$node" 'cat >/usr/local/bin/flannel && chmod 755 /usr/local/bin/flannel' <"$flannel_program" || return
  ! pods_are_unlimited ||
    on_input "$node" 'cat >/usr/local/sbin/runc && chmod 755 /usr/local/sbin/runc' <"$pods_programs/runc-without-limits"
}
kubectl() {
  outside "$kubernetes_programs/kubectl" --kubeconfig "$here/admin" --server "${server:-https://$net.2:6443}" "$@"
}
