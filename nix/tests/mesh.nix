# Twin of tests/mesh/run: agents register instances, every worker routes to all of them, and none to one that is gone.
# Without the rights in etcd, which a deploy grants and nothing else does.
{ cluster, ... }:
let
  inherit (cluster ./mesh) nodes;
in
{
  inherit nodes;
  globalTimeout = 1800;

  testScript = ''
    import json

    workers = [w1, w2]


    def agent(worker, path):
        status, text = worker.execute(f"curl --silent --fail --max-time 5 http://127.0.0.1:9470/{path}")
        return json.loads(text) if status == 0 else {}


    def routes(worker):
        """The instances of the application that the worker routes to."""
        return sorted(agent(worker, "routing").get("services.web", {}).get("servers", {}))


    def wait_for_routes(worker, wanted, seconds=60):
        try:
            retry(lambda _: routes(worker) == wanted, timeout_seconds=seconds)
        finally:
            print(f"{worker.name} routes to {routes(worker)}, wanted {wanted}")


    def answers(worker, count=8):
        """The instances that answer so many requests, each of which must succeed."""
        command = "curl --silent --show-error --fail --max-time 5 http://127.0.0.1:8000/"
        return sorted({worker.succeed(command) for _ in range(count)})


    def follows_etcd(worker):
        status = agent(worker, "status")
        return [status.get("watching"), status.get("leased")]


    start_all()

    with subtest("each worker routes to the instances on both"):
        for worker in workers:
            worker.wait_for_unit("machinist-agent.service", timeout=600)
            worker.wait_for_unit("web.service", timeout=300)
        for worker in workers:
            wait_for_routes(worker, ["w1:web", "w2:web"], 300)
            t.assertEqual(answers(worker), ["w1", "w2"])
            t.assertEqual(follows_etcd(worker), [True, True])

    with subtest("consumers find it by its variables"):
        w2.wait_until_succeeds("grep -x WEB_PORT=8000 /run/machinist-env/web.env", timeout=60)

    with subtest("the key hangs on a lease"):
        entry = json.loads(
            etcd1.succeed("machinist-etcdctl get /cluster/instances/w1/services/web/web --write-out=json")
        )
        t.assertNotEqual(entry["kvs"][0].get("lease", 0), 0)

    with subtest("an instance that does not answer is out, and back when it answers"):
        w1.succeed("systemctl stop web.service")
        for worker in workers:
            wait_for_routes(worker, ["w2:web"])
            t.assertEqual(answers(worker), ["w2"])
        w1.succeed("systemctl start web.service")
        for worker in workers:
            wait_for_routes(worker, ["w1:web", "w2:web"])

    with subtest("a drained instance is out at once"):
        w2.succeed("machinist-agent drain web")
        wait_for_routes(w1, ["w1:web"], 10)
        t.assertEqual(answers(w1), ["w1"])
        w2.succeed("machinist-agent undrain web")
        wait_for_routes(w1, ["w1:web", "w2:web"])

    with subtest("a worker that crashes is out when its lease ends"):
        w2.crash()
        wait_for_routes(w1, ["w1:web"])
        t.assertEqual(answers(w1), ["w1"])
        w2.start()
        w2.wait_for_unit("machinist-agent.service", timeout=600)
        for worker in workers:
            wait_for_routes(worker, ["w1:web", "w2:web"], 300)

    with subtest("routing outlives the quorum of etcd"):
        etcd2.crash()
        etcd3.crash()
        retry(lambda _: not any(follows_etcd(w1)), timeout_seconds=120)
        t.assertEqual(routes(w1), ["w1:web", "w2:web"])
        t.assertEqual(answers(w1), ["w1", "w2"])
        etcd2.start()
        etcd2.wait_for_unit("etcd.service", timeout=600)
        for worker in workers:
            retry(lambda _: all(follows_etcd(worker)), timeout_seconds=300)
            wait_for_routes(worker, ["w1:web", "w2:web"], 120)
  '';
}
