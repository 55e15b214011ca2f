# Twin of tests/kubernetes/run: three control planes without pods. Each answers /readyz, clients find them at the virtual
# address, Secrets are encrypted in etcd, and the API outlives the crash of a control plane. kube-vip runs in a pod, whose
# image no registry gives a VM test: the virtual address is added by hand.
{ cluster, machinist, ... }:
let
  inherit (cluster ./kubernetes) machineAt nodes throwaway;
in
{
  nodes =
    builtins.mapAttrs (
      _: node:
      { pkgs, ... }:
      {
        imports = [ node ];
        machinist.kubernetes.nodeComponents = false;
        environment.systemPackages = [ pkgs.kubectl ];
        virtualisation.memorySize = 2048;
      }
    ) nodes
    // {
      # The operator's computer.
      router =
        { pkgs, ... }:
        {
          imports = [ (machineAt "10.13.13.1") ];
          environment.systemPackages = [
            machinist
            pkgs.git
            pkgs.kubectl
          ];
          environment.variables.KUBECONFIG = "/root/kubeconfig";
        };
    };
  globalTimeout = 2400;

  testScript = ''
    import json

    planes = [balthazar, casper, melchior]
    readyz = (
        "curl --silent --show-error --fail --max-time 5 --cacert /etc/machinist/pki/kubernetes-ca.pem"
        " https://127.0.0.1:6443/readyz"
    )


    def kubectl(arguments):
        return router.succeed(f"kubectl --request-timeout=20s {arguments}").strip()


    def get(arguments):
        return json.loads(kubectl(f"get {arguments} --output=json"))


    def hold_address(plane):
        """What kube-vip does on the control plane that it elects."""
        plane.succeed("ip address replace 10.13.13.10/32 dev eth1")
        router.succeed("ip neighbour flush to 10.13.13.10")


    def led_by(lease, names):
        holder = get(f"lease --namespace=kube-system {lease}")["spec"]["holderIdentity"]
        return holder.rsplit("_", 1)[0] in names


    def as_kubelet(plane, arguments):
        """kubectl with the certificate of the node's own kubelet."""
        return (
            "kubectl --server https://127.0.0.1:6443 --certificate-authority /etc/machinist/pki/kubernetes-ca.pem"
            " --client-certificate /etc/machinist/pki/kubelet-client.pem"
            f" --client-key /var/lib/machinist/keys/kubelet-client-*.key {arguments}"
        )


    start_all()

    with subtest("each control plane answers /readyz"):
        for plane in planes:
            plane.wait_for_unit("etcd.service", timeout=600)
            plane.wait_for_unit("kube-apiserver.service", timeout=600)
        for plane in planes:
            t.assertEqual(plane.wait_until_succeeds(readyz, timeout=300), "ok")

    with subtest("no control plane runs what a node needs"):
        for plane in planes:
            plane.fail("systemctl cat kubelet.service")

    with subtest("the API answers at the virtual address, to the operator of the directory"):
        router.wait_for_unit("multi-user.target", timeout=300)
        router.fail("ping -c 1 -w 3 10.13.13.10")
        hold_address(balthazar)
        router.succeed(
            "cp -r --no-preserve=mode ${throwaway}/cluster /root/cluster",
            "install -m 600 ${throwaway}/identity.txt /root/identity.txt",
            "MACHINIST_IDENTITY=/root/identity.txt machinist -C /root/cluster kubeconfig --output /root/kubeconfig",
        )
        t.assertIn("https://10.13.13.10:6443", router.succeed("cat /root/kubeconfig"))
        t.assertEqual(kubectl("get --raw /readyz"), "ok")
        t.assertIn("system:masters", kubectl("auth whoami"))
        trusting = "curl --silent --fail --max-time 5 --cacert /root/cluster/certs/authorities/{}.pem https://10.13.13.10:6443/readyz"
        t.assertEqual(router.succeed(trusting.format("kubernetes")), "ok")
        router.fail(trusting.format("etcd"))

    with subtest("every API server is an endpoint of its own"):

        def endpoints():
            slices = get("endpointslices --namespace=default kubernetes")
            return sorted(address for entry in slices["endpoints"] for address in entry["addresses"])

        retry(lambda _: endpoints() == ["10.13.13.2", "10.13.13.3", "10.13.13.4"], timeout_seconds=120)

    with subtest("one of each controller leads"):
        for lease in ["kube-controller-manager", "kube-scheduler"]:
            router.wait_until_succeeds(f"kubectl get lease --namespace=kube-system {lease}", timeout=120)
            t.assertTrue(led_by(lease, ["balthazar", "casper", "melchior"]), lease)

    with subtest("a kubelet may register its own node and no other"):
        for name, may in [("balthazar", True), ("casper", False)]:
            node = json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
            balthazar.succeed(f"echo '{node}' >/root/{name}.json")
            command = as_kubelet(balthazar, f"create --filename=/root/{name}.json 2>&1")
            if may:
                balthazar.succeed(command)
            else:
                t.assertIn("is not allowed to modify node", balthazar.fail(command))

    with subtest("a Secret is encrypted in etcd, and every API server reads it"):
        kubectl("create secret generic sealed --from-literal=word=opensesame")
        stored = casper.succeed("machinist-etcdctl get --print-value-only /registry/secrets/default/sealed")
        t.assertTrue(stored.startswith("k8s:enc:secretbox:v1:"), stored[:40])
        for address in ["10.13.13.2", "10.13.13.3", "10.13.13.4"]:
            word = kubectl(
                f"--server=https://{address}:6443 get secret sealed --output=jsonpath='{{.data.word}}' | base64 -d"
            )
            t.assertEqual(word, "opensesame")

    with subtest("etcd refuses clients of Kubernetes' authority"):
        read = (
            "etcdctl --command-timeout=5s --endpoints=https://127.0.0.1:2379 --cacert=/etc/machinist/pki/etcd-ca.pem"
            " --cert=/etc/machinist/pki/{0}.pem --key=$(echo /var/lib/machinist/keys/{0}-????????????????.key)"
            " get --keys-only --limit=1 --prefix /registry"
        )
        t.assertIn("/registry", casper.succeed(read.format("kube-apiserver-etcd-client")))
        casper.fail(read.format("kube-scheduler-client"))

    with subtest("the API and its objects outlive the control plane that had the address"):
        kubectl("create deployment trial --image=registry.example/none:1 --replicas=2")
        balthazar.crash()
        router.fail("kubectl --request-timeout=5s get --raw /readyz")
        hold_address(melchior)
        router.wait_until_succeeds("kubectl --request-timeout=5s get --raw /readyz", timeout=120)
        t.assertEqual(get("deployment trial")["spec"]["replicas"], 2)
        for lease in ["kube-controller-manager", "kube-scheduler"]:
            retry(lambda _: led_by(lease, ["casper", "melchior"]), timeout_seconds=120)
        # The controllers work: the deployment has its pods.
        retry(lambda _: len(get("pods --selector=app=trial")["items"]) == 2, timeout_seconds=120)

    with subtest("it comes back"):
        balthazar.start()
        balthazar.wait_until_succeeds(readyz, timeout=600)
        t.assertEqual(kubectl("--server=https://10.13.13.2:6443 get deployment trial --output=name"), "deployment.apps/trial")
  '';
}
