# Twin of tests/k3s/run, with k3s itself in the place of a stand-in: one server founds the cluster, the others join it, an
# agent joins at the virtual address with a token that makes no servers. kube-vip runs in a pod, whose image no registry
# gives a VM test: the virtual address is added by hand.
{ cluster, ... }:
let
  inherit (cluster ./k3s) nodes;
in
{
  nodes = builtins.mapAttrs (
    _: node:
    { pkgs, ... }:
    {
      imports = [ node ];
      # Of pods nothing is tested, so their images may be missing.
      machinist.k3s.ingress = "none";
      machinist.k3s.serviceLoadBalancer = "none";
      environment.systemPackages = [ pkgs.jq ];
      virtualisation.memorySize = 2048;
      virtualisation.diskSize = 4096;
    }
  ) nodes;
  globalTimeout = 2400;

  testScript = ''
    import json

    servers = [s1, s2, s3]


    def kubectl(server, arguments):
        return server.succeed(f"k3s kubectl --request-timeout=20s {arguments}").strip()


    def voters(server):
        """Names of the members of the etcd inside, without the digits that k3s appends."""
        status, text = server.execute("machinist-etcdctl member list --write-out=json 2>/dev/null")
        try:
            members = json.loads(text)["members"]
        except (json.JSONDecodeError, KeyError):
            return []
        return sorted(
            member["name"].rsplit("-", 1)[0] for member in members if not member.get("isLearner")
        )


    def ready_nodes(server):
        status, text = server.execute("k3s kubectl --request-timeout=20s get nodes --output=json 2>/dev/null")
        if status != 0:
            return []
        return sorted(
            node["metadata"]["name"]
            for node in json.loads(text)["items"]
            for condition in node["status"]["conditions"]
            if condition["type"] == "Ready" and condition["status"] == "True"
        )


    with subtest("one server founds the cluster, and the others join it"):
        # One after the other, as a deploy does it: etcd has one learner at a time.
        for number, server in enumerate(servers):
            server.start()
            environment = server.succeed("cat /etc/machinist/k3s.env")
            t.assertEqual(environment.strip(), "K3S_URL=https://10.13.13.2:6443" if number else "K3S_CLUSTER_INIT=true")
            server.wait_until_succeeds("systemctl is-active k3s.service", timeout=900)
            retry(lambda _: voters(server) == ["s1", "s2", "s3"][: number + 1], timeout_seconds=600)
        ids = {
            server.succeed("machinist-etcdctl endpoint status --write-out=json | jq '.[0].Status.header.cluster_id'")
            for server in servers
        }
        t.assertEqual(len(ids), 1, "one cluster")

    with subtest("/readyz is for the administrator's certificate only"):
        tls = "/var/lib/rancher/k3s/server/tls"
        query = f"curl --silent --max-time 10 --write-out '%{{http_code}}' --output /dev/null --cacert {tls}/server-ca.crt"
        for server in servers:
            admin = f"--cert {tls}/client-admin.crt --key {tls}/client-admin.key"
            server.wait_until_succeeds(f"test $({query} {admin} https://127.0.0.1:6443/readyz) = 200", timeout=300)
            t.assertEqual(server.succeed(f"{query} https://127.0.0.1:6443/readyz"), "401")

    with subtest("the agent joins at the virtual address"):
        t.assertNotIn("a1", ready_nodes(s1))
        a1.start()
        s1.succeed("ip address replace 10.13.13.10/32 dev eth1")
        a1.succeed("ping -c 1 -w 30 10.13.13.10")
        retry(lambda _: ready_nodes(s1) == ["a1", "s1", "s2", "s3"], timeout_seconds=600)

    with subtest("its token makes no servers"):
        a1.fail("ls /var/lib/machinist/keys/k3s-server-token-*")
        code = a1.succeed(
            "curl --silent --insecure --max-time 10 --output /dev/null --write-out '%{http_code}'"
            " --user server:$(cat /var/lib/machinist/keys/k3s-agent-token-*.key) --data '{}'"
            " https://10.13.13.3:6443/v1-k3s/server-bootstrap"
        )
        t.assertIn(code, ["401", "403"])

    with subtest("the token is root's only, in no unit and no command line"):
        for server in servers:
            state = server.succeed("stat --format='%U %a %s' /var/lib/machinist/keys/k3s-server-token-*.key").strip()
            t.assertEqual(state, "root 400 64")
            token = server.succeed("cat /var/lib/machinist/keys/k3s-server-token-*.key").strip()
            server.succeed("systemctl show k3s >/root/shown; cat /proc/[0-9]*/cmdline >>/root/shown 2>/dev/null || true")
            t.assertNotIn(token, server.succeed("tr '\\0' ' ' </root/shown"))

    with subtest("objects outlive the crash of the server that founded the cluster"):
        kubectl(s1, "create configmap trial --from-literal=word=first")
        s1.crash()
        s2.succeed("ip address replace 10.13.13.10/32 dev eth1")
        s2.wait_until_succeeds("k3s kubectl --request-timeout=10s get configmap trial", timeout=300)
        kubectl(s3, "create configmap second --from-literal=word=second")
        a1.succeed("ip neighbour flush to 10.13.13.10")
        a1.wait_until_succeeds(
            "curl --silent --insecure --max-time 5 https://10.13.13.10:6443/ping | grep -x pong", timeout=120
        )

    with subtest("it comes back to the same cluster, and founds no second one"):
        s1.start()
        s1.wait_until_succeeds("systemctl is-active k3s.service", timeout=900)
        retry(lambda _: voters(s1) == ["s1", "s2", "s3"], timeout_seconds=300)
        again = s1.succeed("machinist-etcdctl endpoint status --write-out=json | jq '.[0].Status.header.cluster_id'")
        t.assertEqual({again}, ids)
        s1.wait_until_succeeds("k3s kubectl get configmap second --output=jsonpath='{.data.word}' | grep -x second", timeout=300)
  '';
}
