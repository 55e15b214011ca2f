"""Measures the time from a change in etcd to the first request that it serves, and the cost of 10,000 instances: the mesh's
agent, then confd with an equivalent template, each with its own haproxy. Arguments: agent, working directory, confd."""

import base64
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time

AGENT, HERE = sys.argv[1:3]
CONFD = sys.argv[3] if len(sys.argv) > 3 else None
ROUNDS = int(os.environ.get("MESH_ROUNDS", "100"))
APPS, INSTANCES = 1000, 10
os.makedirs(HERE)
os.chdir(HERE)
processes = []


def start(name, *command, **more):
    with open(f"{HERE}/{name}.log", "ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, **more)
    processes.append(process)
    return process


def stop(*gone):
    for process in gone:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def certificates():
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *curve, "-subj", "/CN=ca", "-days", "2", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", *curve, "-subj", "/CN=bench", "-keyout", "key.pem", "-out", "csr")
    with open("ext", "w") as file:
        file.write("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:FALSE\n")
    sign = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "ext"]
    openssl("x509", "-req", "-in", "csr", *sign, "-out", "cert.pem")


class Etcd:
    """etcd by its JSON gateway, over one connection."""

    def __init__(self):
        tls = ["--cert-file=cert.pem", "--key-file=key.pem", "--trusted-ca-file=ca.pem", "--client-cert-auth"]
        urls = ["--listen-client-urls=https://127.0.0.1:2379", "--advertise-client-urls=https://127.0.0.1:2379"]
        peers = ["--listen-peer-urls=http://127.0.0.1:2380", "--log-level=error"]
        start("etcd", "etcd", "--data-dir=etcd", "--enable-v2=false", *tls, *urls, *peers)
        context = ssl.create_default_context(cafile="ca.pem")
        context.load_cert_chain("cert.pem", "key.pem")
        self.connection = http.client.HTTPSConnection("127.0.0.1", 2379, context=context)
        until(lambda: self.ask("/v3/kv/range", {"key": text("x")}), 20)

    def ask(self, path, body):
        try:
            self.connection.request("POST", path, json.dumps(body))
            return json.loads(self.connection.getresponse().read())
        except OSError:
            self.connection.close()
            return None

    def put(self, key, value):
        self.ask("/v3/kv/put", {"key": text(key), "value": text(json.dumps(value))})

    def delete(self, key):
        self.ask("/v3/kv/deleterange", {"key": text(key)})

    def put_many(self, pairs):
        for at in range(0, len(pairs), 100):
            puts = [{"requestPut": {"key": text(k), "value": text(json.dumps(v))}} for k, v in pairs[at : at + 100]]
            self.ask("/v3/kv/txn", {"success": puts})

    def clear(self):
        self.ask("/v3/kv/deleterange", {"key": text("/cluster/"), "range_end": text("/cluster0")})


def text(value):
    return base64.b64encode(value.encode()).decode()


def until(condition, seconds, pause=0.002):
    """Returns the duration in seconds."""
    begun = time.perf_counter()
    while not condition():
        if time.perf_counter() - begun > seconds:
            raise TimeoutError(f"after {seconds} s")
        time.sleep(pause)
    return time.perf_counter() - begun


def serve():
    """Answers each connection with one word."""
    listener = socket.create_server(("10.99.0.1", 7000), backlog=512)

    def loop():
        while True:
            connection, _ = listener.accept()
            connection.sendall(b"here")
            connection.close()

    threading.Thread(target=loop, daemon=True).start()


def served(port):
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            return connection.recv(4) == b"here"
    except OSError:
        return False


def haproxy(name, configuration):
    path = f"{HERE}/{name}"
    os.makedirs(path, exist_ok=True)
    with open(f"{path}/haproxy.cfg", "w") as file:
        file.write(configuration)
    # By its full path, which it executes again at each reload.
    program = shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin")
    pid = f"{path}/pid"
    master = start(name, program, "-Ws", "-f", f"{path}/haproxy.cfg", "-S", f"{path}/haproxy-master.sock", "-p", pid)
    return master, program


FIRST = """global
  stats socket {path}/haproxy.sock mode 660 level admin expose-fd listeners
  no strict-limits
  maxconn 5000
defaults
  mode tcp
  timeout connect 2s
  timeout client 1h
  timeout server 1h
"""


def begin_agent():
    path = f"{HERE}/agent"
    master, program = haproxy("agent", FIRST.format(path=path))
    configuration = {
        "node": "bench", "endpoints": ["https://127.0.0.1:2379"], "ca": f"{HERE}/ca.pem",
        "certificate": f"{HERE}/cert.pem", "key": f"{HERE}/key.pem", "groups": ["services"], "leaseSeconds": 10,
        "instances": f"{path}/instances", "stateDirectory": path, "runtimeDirectory": path, "haproxy": program,
        "maxconn": 5000, "listen": "127.0.0.1:9470",
    }
    with open(f"{path}/agent.json", "w") as file:
        json.dump(configuration, file)
    return start("agent", AGENT, "run", "--config", f"{path}/agent.json"), master


TEMPLATE = """{{range $app := lsdir "/cluster/services"}}{{$key := printf "/cluster/services/%s/meta_data" $app}}{{if exists $key}}
{{$meta := json (getv $key)}}listen services.{{$app}}
  bind 127.0.0.1:{{$meta.publish.port}}
  balance roundrobin{{range gets (printf "/cluster/services/%s/instances/*" $app)}}{{$one := json .Value}}
  server {{$one.node}} {{$one.ipv4}}:{{$one.port}} check{{end}}
{{end}}{{end}}"""


def begin_confd():
    path = f"{HERE}/confd-haproxy"
    master, program = haproxy("confd-haproxy", FIRST.format(path=path))
    for folder in ("conf.d", "templates"):
        os.makedirs(f"{path}/{folder}")
    with open(f"{path}/templates/haproxy.tmpl", "w") as file:
        file.write(FIRST.format(path=path) + TEMPLATE)
    with open(f"{path}/conf.d/haproxy.toml", "w") as file:
        file.write(
            f'[template]\nsrc = "haproxy.tmpl"\ndest = "{path}/haproxy.cfg"\nkeys = ["/cluster/services"]\n'
            f'check_cmd = "{program} -c -q -f {{{{.src}}}}"\nreload_cmd = "kill -USR2 {master.pid}"\n'
        )
    options = ["-backend", "etcdv3", "-confdir", path, "-watch", "-log-level", "error"]
    tls = ["-node", "https://127.0.0.1:2379", "-client-ca-keys", f"{HERE}/ca.pem"]
    tls += ["-client-cert", f"{HERE}/cert.pem", "-client-key", f"{HERE}/key.pem"]
    return start("confd", CONFD, *options, *tls), master


def instance(node, port=7000):
    return {"node": node, "ipv4": "10.99.0.1", "port": port}


def latencies(etcd, rounds, act, port, undo):
    """Seconds from before the put to the first response."""
    found = []
    for number in range(rounds):
        begun = time.perf_counter()
        act(number)
        try:
            until(lambda: served(port(number)), 60, 0.001)
        except TimeoutError:
            found.append(float("inf"))
            continue
        found.append(time.perf_counter() - begun)
        undo(number)
        until(lambda: not served(port(number)), 60)
        time.sleep(0.05)
    return found


def shown(found):
    ordered = sorted(found)
    p99 = ordered[min(len(ordered) - 1, round(len(ordered) * 0.99))]
    return f"{statistics.median(found) * 1000:.0f} / {p99 * 1000:.0f}"


def cost(process, seconds=20):
    """Memory in megabytes, and the share of a core that it uses when idle."""

    def ticks():
        with open(f"/proc/{process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    before = ticks()
    time.sleep(seconds)
    percent = (ticks() - before) / os.sysconf("SC_CLK_TCK") / seconds * 100
    with open(f"/proc/{process.pid}/status") as file:
        size = next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
    return size / 1024, percent


def row(what, value, goal=""):
    print(f"{what:<58} {value:>14}  {goal}", flush=True)


def measure(name, begin, etcd, rounds):
    etcd.clear()
    prefix = "/cluster/services"
    process, master = begin()
    etcd.put(f"{prefix}/one/meta_data", {"publish": {"port": 20999}})
    etcd.put(f"{prefix}/one/instances/first", instance("first"))
    until(lambda: served(20999), 60)
    etcd.delete(f"{prefix}/one/instances/first")
    until(lambda: not served(20999), 60)
    time.sleep(1)

    def put_instance(number):
        etcd.put(f"{prefix}/one/instances/n{number}", instance(f"n{number}"))

    def delete_instance(number):
        etcd.delete(f"{prefix}/one/instances/n{number}")

    found = latencies(etcd, rounds, put_instance, lambda _: 20999, delete_instance)
    row(f"{name}: an instance, put -> served, ms, median / p99", shown(found), "150 / 400")

    def put_app(number):
        etcd.put(f"{prefix}/new{number}/instances/n", instance("n"))
        etcd.put(f"{prefix}/new{number}/meta_data", {"publish": {"port": 21000 + number}})

    def delete_app(number):
        etcd.delete(f"{prefix}/new{number}/meta_data")
        etcd.delete(f"{prefix}/new{number}/instances/n")

    try:
        found = latencies(etcd, rounds, put_app, lambda number: 21000 + number, delete_app)
        row(f"{name}: a new application, put -> served, ms, median / p99", shown(found), "150 / 400")

        pairs = []
        for app in range(APPS):
            pairs.append((f"{prefix}/app{app}/meta_data", {"publish": {"port": 22000 + app}}))
            pairs += [(f"{prefix}/app{app}/instances/w{n}", instance(f"w{n}", 8000 + n)) for n in range(INSTANCES)]
        begun = time.perf_counter()
        etcd.put_many(pairs)
        etcd.put(f"{prefix}/app0/instances/w0", instance("w0"))
        until(lambda: served(22000), 300, 0.05)
        row(f"{name}: 1,000 applications x 10 instances, s until served", f"{time.perf_counter() - begun:.1f}")
        time.sleep(15)
        size, percent = cost(process)
        row(f"{name}: then, idle, MB", f"{size:.0f}", "50")
        row(f"{name}: then, idle, % of a core", f"{percent:.2f}", "2")
        found = latencies(etcd, min(rounds, 20), put_instance, lambda _: 20999, delete_instance)
        row(f"{name}: then, an instance, put -> served, ms, median / p99", shown(found), "150 / 400")
        if name == "agent":
            connection = http.client.HTTPConnection("127.0.0.1", 9470)
            connection.request("GET", "/status")
            status = json.loads(connection.getresponse().read())
            connection.close()
            row("agent: then, that change taken in and applied, ms", f"{status['lastApplySeconds'] * 1000:.0f}", "100")
        churn(name, etcd, prefix)
    except TimeoutError as error:
        row(f"{name}: gave up", str(error))
    stop(process, master)


def churn(name, etcd, prefix):
    """50 changes a second for 20 s; then one more."""
    begun = time.perf_counter()
    for number in range(1000):
        etcd.put(f"{prefix}/app{number % APPS}/instances/w9", instance("w9", 9000 + number))
        time.sleep(max(0.0, begun + (number + 1) / 50 - time.perf_counter()))
    begun = time.perf_counter()
    etcd.put(f"{prefix}/one/instances/last", instance("last"))
    until(lambda: served(20999), 120)
    row(f"{name}: after 50 changes a second for 20 s, put -> served, ms", f"{(time.perf_counter() - begun) * 1000:.0f}")


try:
    certificates()
    serve()
    server = Etcd()
    measure("agent", begin_agent, server, ROUNDS)
    if CONFD:
        measure("confd", begin_confd, server, min(ROUNDS, 30))
finally:
    stop(*[process for process in processes if process.poll() is None])
