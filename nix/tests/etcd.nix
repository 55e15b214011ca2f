# Twin of tests/cluster/run: three members found a cluster, a value outlives each of them, and only certificates of
# etcd's authority are admitted.
{ cluster, ... }:
let
  inherit (cluster ./etcd) machineAt nodes;
in
{
  nodes =
    builtins.mapAttrs (
      _: node:
      { pkgs, ... }:
      {
        imports = [ node ];
        environment.systemPackages = [ pkgs.openssl ];
      }
    ) nodes
    // {
      router = machineAt "10.13.13.1";
    };
  globalTimeout = 1800;

  testScript = ''
    import json

    members = [balthazar, casper, melchior]


    def healthy(member):
        """Addresses of the members that answer one member's certificate."""
        status, text = member.execute(
            "machinist-etcdctl endpoint health --cluster --write-out=json 2>/dev/null"
        )
        try:
            return sorted(entry["endpoint"] for entry in json.loads(text) if entry["health"])
        except (json.JSONDecodeError, TypeError):
            return []


    def wait_for_members(member, count):
        retry(lambda _: len(healthy(member)) == count, timeout_seconds=300)


    def read(member, key):
        """The value as the member itself has it, confirmed by a quorum."""
        return member.succeed(
            f"machinist-etcdctl --endpoints=https://127.0.0.1:2379 get --print-value-only {key}"
        ).strip()


    start_all()

    with subtest("three members found one cluster"):
        for member in members:
            member.wait_for_unit("etcd.service", timeout=600)
            wait_for_members(member, 3)
        ids = {
            member.succeed(
                "machinist-etcdctl --endpoints=https://127.0.0.1:2379 endpoint status --write-out=json"
                " | grep -o '\"cluster_id\":[0-9]*'"
            )
            for member in members
        }
        t.assertEqual(len(ids), 1, "one cluster")

    with subtest("no unit failed"):
        for member in members:
            member.wait_until_succeeds("systemctl is-system-running --wait", timeout=300)

    with subtest("a value written on one member is read on another"):
        balthazar.succeed("machinist-etcdctl put trial first")
        t.assertEqual(read(casper, "trial"), "first")

    with subtest("each node has its own keys only, for root only"):
        for member in members:
            keys = member.succeed("stat --format='%U %a %n' /var/lib/machinist/keys/*").splitlines()
            t.assertEqual(len(keys), 3, keys)
            for key in keys:
                t.assertRegex(key, "^root 400 ")
            member.fail("setpriv --reuid=nobody --clear-groups ls /var/lib/machinist/keys")

    with subtest("mutual TLS refuses foreign clients"):
        health = "curl --silent --show-error --http1.1 --max-time 10 --cacert /etc/machinist/pki/etcd-ca.pem"
        own = (
            "--cert /etc/machinist/pki/etcd-healthcheck-client.pem"
            " --key /var/lib/machinist/keys/etcd-healthcheck-client-*.key"
        )
        balthazar.succeed(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=kube-etcd-peer"
            " -keyout /root/foreign.key -out /root/foreign.pem"
        )
        for port in [2379, 2380]:
            url = f"https://10.13.13.4:{port}/health"
            status, refusal = balthazar.execute(f"{health} {url} 2>&1")
            t.assertNotEqual(status, 0, f"without a certificate, port {port}")
            t.assertRegex(refusal, "alert|SSL")
            status, refusal = balthazar.execute(
                f"{health} --cert /root/foreign.pem --key /root/foreign.key {url} 2>&1"
            )
            t.assertNotEqual(status, 0, f"with a foreign certificate, port {port}")
            t.assertRegex(refusal, "alert|SSL")
        # The control: the same request with a certificate of the cluster.
        t.assertIn('"health":"true"', balthazar.succeed(f"{health} {own} https://10.13.13.4:2379/health"))
        # A client's certificate is not a peer's.
        balthazar.fail(f"{health} {own} https://10.13.13.4:2380/members")

    with subtest("the ports are closed to machines that are no members"):
        router.wait_for_unit("network.target", timeout=300)
        router.succeed("ping -c 1 -w 30 10.13.13.2")
        for port in [2379, 2380]:
            router.fail(f"timeout 5 bash -c 'exec 3<>/dev/tcp/10.13.13.2/{port}'")

    with subtest("a value outlives the crash of each member"):
        for number, member in enumerate(members):
            others = [other for other in members if other != member]
            member.crash()
            for other in others:
                wait_for_members(other, 2)
                t.assertEqual(read(other, "trial"), "first")
            others[0].succeed(f"machinist-etcdctl put crash-{number} survived")
            t.assertEqual(read(others[1], f"crash-{number}"), "survived")
            member.start()
            member.wait_for_unit("etcd.service", timeout=600)
            wait_for_members(member, 3)
            t.assertEqual(read(member, "trial"), "first")
            t.assertEqual(read(member, f"crash-{number}"), "survived")

    with subtest("one member of three writes nothing"):
        casper.crash()
        melchior.crash()
        balthazar.fail("machinist-etcdctl --command-timeout=10s put lonely true")
        casper.start()
        casper.wait_for_unit("etcd.service", timeout=600)
        wait_for_members(balthazar, 2)
        balthazar.succeed("machinist-etcdctl put lonely false")
        t.assertEqual(read(casper, "lonely"), "false")
  '';
}
