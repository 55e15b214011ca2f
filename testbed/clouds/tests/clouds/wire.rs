//! The listeners: HTTP on loopback, faults on the connection, machines, the state file.

use std::time::Duration;

use serde_json::{Value, json};
use test_cloud::{Options, Running, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::api::{new_droplet, new_server};

const BOUND: Duration = Duration::from_secs(20);

/// The bytes of an answer; empty if the connection was closed without one.
async fn exchange(address: std::net::SocketAddr, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer test-token\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all((head + body).as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(BOUND, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

async fn json_of(address: std::net::SocketAddr, method: &str, path: &str, body: Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = exchange(address, method, path, &body).await;
    let status = answer.split(' ').nth(1).unwrap_or("0").parse().unwrap();
    let content = answer.split_once("\r\n\r\n").unwrap().1;
    (status, serde_json::from_str(content).unwrap_or_default())
}

/// Waits until an action of Hetzner has ended, and returns its status.
async fn ended(cloud: &Running, action: &Value) -> Value {
    let wait = async {
        loop {
            let (_, answer) = json_of(cloud.hetzner, "GET", &format!("/v1/actions/{action}"), Value::Null).await;
            if answer["action"]["status"] != "running" {
                return answer["action"].clone();
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(BOUND, wait).await.unwrap()
}

fn quick(cloud: &Running) {
    cloud.with(|cloud, _| cloud.settings.action_ms = 1);
}

#[tokio::test]
async fn both_clouds_and_the_api_of_tests_listen_on_ports_of_their_own() {
    let cloud = start(Options::default()).await.unwrap();
    let answer = exchange(cloud.hetzner, "GET", "/v1/locations?name=fsn1", "").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.contains("content-type: application/json\r\n") && answer.contains("ratelimit-limit: 3600\r\n"),
        "{answer}"
    );
    let (status, regions) = json_of(cloud.digitalocean, "GET", "/v2/regions", Value::Null).await;
    assert_eq!((status, &regions["regions"][0]["slug"]), (200, &json!("ams3")));
    let (status, counts) = json_of(cloud.control, "GET", "/counts", Value::Null).await;
    assert_eq!((status, &counts["hetzner"]["servers"]), (200, &json!(0)));
    let (status, _) = json_of(cloud.hetzner, "GET", "/v2/regions", Value::Null).await;
    assert_eq!(status, 404, "each cloud has its own listener");
    let (status, _) = json_of(cloud.hetzner, "GET", "/v1/servers?label_selector=a%3Db%2Cc", Value::Null).await;
    assert_eq!(status, 200, "a query is decoded");
}

#[tokio::test]
async fn an_address_beyond_loopback_is_refused() {
    let options = Options { hetzner: "0.0.0.0:0".parse().unwrap(), ..Options::default() };
    let error = start(options).await.err().unwrap();
    assert_eq!(error.to_string(), "0.0.0.0:0: not an address of loopback");
}

#[tokio::test]
async fn a_dropped_connection_has_no_answer_but_the_effect() {
    let cloud = start(Options::default()).await.unwrap();
    let (status, _) = json_of(cloud.control, "POST", "/faults", json!({"kind": "drop"})).await;
    assert_eq!(status, 201);
    let server = new_server("a", json!({})).to_string();
    assert_eq!(exchange(cloud.hetzner, "POST", "/v1/servers", &server).await, "");
    let (_, list) = json_of(cloud.hetzner, "GET", "/v1/servers?name=a", Value::Null).await;
    assert_eq!(list["servers"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_connection_that_hangs_stays_open_without_a_byte() {
    let cloud = start(Options::default()).await.unwrap();
    json_of(cloud.control, "POST", "/faults", json!({"kind": "hang"})).await;
    let mut stream = TcpStream::connect(cloud.hetzner).await.unwrap();
    stream.write_all(b"GET /v1/servers HTTP/1.1\r\nhost: x\r\nauthorization: Bearer test-token\r\n\r\n").await.unwrap();
    // The record has the request, so what is left is silence.
    let recorded = async {
        while cloud.with(|cloud, _| cloud.log.requests) == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(BOUND, recorded).await.unwrap();
    let mut byte = [0];
    assert!(timeout(Duration::from_millis(100), stream.read(&mut byte)).await.is_err());
}

#[tokio::test]
async fn latency_is_before_each_answer() {
    let cloud = start(Options::default()).await.unwrap();
    json_of(cloud.control, "PATCH", "/settings", json!({"settings": {"latency_ms": 150}})).await;
    let begin = std::time::Instant::now();
    json_of(cloud.hetzner, "GET", "/v1/locations", Value::Null).await;
    assert!(begin.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn the_state_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { state: Some(directory.path().join("state.json")), ..Options::default() };
    let cloud = start(options.clone()).await.unwrap();
    let (status, made) = json_of(cloud.hetzner, "POST", "/v1/servers", new_server("a", json!({}))).await;
    assert_eq!(status, 201);
    json_of(cloud.digitalocean, "POST", "/v2/droplets", new_droplet("b", json!({}))).await;
    drop(cloud);
    let cloud = start(options.clone()).await.unwrap();
    let (status, found) =
        json_of(cloud.hetzner, "GET", &format!("/v1/servers/{}", made["server"]["id"]), Value::Null).await;
    assert_eq!((status, &found["server"]["name"]), (200, &json!("a")));
    let (_, droplets) = json_of(cloud.digitalocean, "GET", "/v2/droplets", Value::Null).await;
    assert_eq!(droplets["droplets"][0]["name"], "b");
    drop(cloud);
    std::fs::write(directory.path().join("state.json"), "nonsense").unwrap();
    assert!(start(options).await.is_err());
}

/// A command that appends its event and the given fields to a file.
fn recorder(directory: &std::path::Path, filter: &str) -> Options {
    let file = directory.join("events");
    let command = format!("jq -c '{filter}' >>'{}'", file.display());
    Options { machines: Some(command), ..Options::default() }
}

fn events(directory: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(directory.join("events")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn machines_follow_the_life_of_a_server_in_its_order() {
    let directory = tempfile::tempdir().unwrap();
    let cloud = start(recorder(directory.path(), "[.event, .name, .rescue]")).await.unwrap();
    quick(&cloud);
    let (_, made) = json_of(cloud.hetzner, "POST", "/v1/servers", new_server("a", json!({}))).await;
    assert_eq!(ended(&cloud, &made["next_actions"][0]["id"]).await["status"], "success");
    assert_eq!(ended(&cloud, &made["action"]["id"]).await["status"], "success");
    let path = format!("/v1/servers/{}", made["server"]["id"]);
    for (name, body) in [
        ("poweroff", Value::Null),
        ("enable_rescue", json!({"type": "linux64"})),
        ("poweron", Value::Null),
        ("reset", Value::Null),
        ("rebuild", json!({"image": "debian-13"})),
    ] {
        let (status, answer) = json_of(cloud.hetzner, "POST", &format!("{path}/actions/{name}"), body).await;
        assert_eq!(status, 201, "{name}: {answer}");
        assert_eq!(ended(&cloud, &answer["action"]["id"]).await["status"], "success", "{name}");
    }
    let (_, answer) = json_of(cloud.hetzner, "DELETE", &path, Value::Null).await;
    assert_eq!(ended(&cloud, &answer["action"]["id"]).await["status"], "success");
    let expected = [
        ("create", false),
        ("poweron", false),
        ("poweroff", false),
        ("poweron", true),
        ("poweroff", false),
        ("poweron", false),
        ("rebuild", false),
        ("poweron", false),
        ("delete", false),
    ];
    let expected: Vec<Value> = expected.iter().map(|(event, rescue)| json!([event, "a", rescue])).collect();
    assert_eq!(events(directory.path()), expected);
}

#[tokio::test]
async fn the_document_of_a_machine_has_its_networks_keys_and_volumes() {
    let directory = tempfile::tempdir().unwrap();
    let cloud = start(recorder(directory.path(), ".")).await.unwrap();
    quick(&cloud);
    let key = crate::api::key(1);
    json_of(cloud.hetzner, "POST", "/v1/ssh_keys", json!({"name": "k", "public_key": key})).await;
    let subnet = json!({"type": "cloud", "network_zone": "eu-central", "ip_range": "10.0.0.0/24"});
    let network = json!({"name": "net", "ip_range": "10.0.0.0/24", "subnets": [subnet]});
    let (_, network) = json_of(cloud.hetzner, "POST", "/v1/networks", network).await;
    let (_, volume) =
        json_of(cloud.hetzner, "POST", "/v1/volumes", json!({"name": "v", "size": 10, "location": "fsn1"})).await;
    let more = json!({"ssh_keys": ["k"], "networks": [network["network"]["id"]], "user_data": "#cloud-config",
        "volumes": [volume["volume"]["id"]], "start_after_create": false});
    let (status, made) = json_of(cloud.hetzner, "POST", "/v1/servers", new_server("a", more)).await;
    assert_eq!(status, 201, "{made}");
    ended(&cloud, &made["action"]["id"]).await;
    let found = events(directory.path());
    let mac = &made["server"]["private_net"][0]["mac_address"];
    let expected = json!({
        "event": "create", "provider": "hetzner", "id": made["server"]["id"], "name": "a", "image": "debian-12",
        "type": "cx23", "public_ipv4": made["server"]["public_net"]["ipv4"]["ip"],
        "private": [{"ip": "10.0.0.2", "mac": mac, "network": "net"}],
        "user_data": "#cloud-config", "ssh_keys": [key],
        "volumes": [{"id": volume["volume"]["id"], "name": "v", "size": 10,
            "device": volume["volume"]["linux_device"]}],
        "rescue": false,
    });
    assert_eq!(found, [expected]);
}

#[tokio::test]
async fn a_command_that_fails_ends_its_action_and_those_after_it_with_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("events");
    // Only a creation fails.
    let command = format!(
        "jq -r .event | tee -a '{}' | {{ ! grep -q create; }} || {{ echo no room >&2; exit 3; }}",
        log.display()
    );
    let options = Options { machines: Some(command), ..Options::default() };
    let cloud = start(options).await.unwrap();
    quick(&cloud);
    let (_, made) = json_of(cloud.hetzner, "POST", "/v1/servers", new_server("a", json!({}))).await;
    let action = ended(&cloud, &made["action"]["id"]).await;
    assert_eq!(action["status"], "error");
    assert_eq!(action["error"]["message"], "\"create\": exit status: 3: no room");
    assert_eq!(ended(&cloud, &made["next_actions"][0]["id"]).await["status"], "error");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "create\n", "a machine that was not made is not started");
    let (_, server) =
        json_of(cloud.hetzner, "GET", &format!("/v1/servers/{}", made["server"]["id"]), Value::Null).await;
    assert_eq!(server["server"]["status"], "off");
    let (_, made) = json_of(cloud.digitalocean, "POST", "/v2/droplets", new_droplet("b", json!({}))).await;
    let path = format!("/v2/actions/{}", made["links"]["actions"][0]["id"]);
    let wait = async {
        loop {
            let (_, answer) = json_of(cloud.digitalocean, "GET", &path, Value::Null).await;
            if answer["action"]["status"] != "in-progress" {
                return answer["action"]["status"].clone();
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    assert_eq!(timeout(BOUND, wait).await.unwrap(), "errored");
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_ended_with_its_children() {
    let directory = tempfile::tempdir().unwrap();
    let alive = directory.path().join("alive");
    // The child is not the shell itself, and would write after the bound.
    let command = format!("(sleep 0.6; touch '{}') & wait", alive.display());
    let bound = Duration::from_millis(200);
    let cloud = start(Options { machines: Some(command), bound, ..Options::default() }).await.unwrap();
    quick(&cloud);
    let begin = std::time::Instant::now();
    let (_, made) = json_of(cloud.hetzner, "POST", "/v1/servers", new_server("a", json!({}))).await;
    let action = ended(&cloud, &made["action"]["id"]).await;
    assert_eq!(action["error"]["message"], "\"create\": no end within 0.2 s");
    sleep(Duration::from_millis(800).saturating_sub(begin.elapsed())).await;
    assert!(!alive.exists(), "the command's child kept running");
}

#[tokio::test]
async fn processes_of_a_machine_outlive_the_command_that_began_them() {
    let directory = tempfile::tempdir().unwrap();
    let (go, alive) = (directory.path().join("go"), directory.path().join("alive"));
    // It keeps the command's standard error open.
    let wait = format!("until [ -e '{}' ]; do sleep 0.02; done; touch '{}'", go.display(), alive.display());
    let cloud = start(Options { machines: Some(format!("({wait}) & exit 0")), ..Options::default() }).await.unwrap();
    quick(&cloud);
    let more = json!({"start_after_create": false});
    let (_, made) = json_of(cloud.hetzner, "POST", "/v1/servers", new_server("a", more)).await;
    assert_eq!(ended(&cloud, &made["action"]["id"]).await["status"], "success");
    std::fs::write(go, "").unwrap();
    let touched = async {
        while !alive.exists() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(BOUND, touched).await.unwrap();
}

#[tokio::test]
async fn an_action_waits_for_its_command_and_finish_does_not_end_it() {
    let directory = tempfile::tempdir().unwrap();
    let go = directory.path().join("go");
    let command = format!("until [ -e '{}' ]; do sleep 0.02; done", go.display());
    let cloud = start(Options { machines: Some(command), ..Options::default() }).await.unwrap();
    quick(&cloud);
    let more = json!({"start_after_create": false});
    let (_, made) = json_of(cloud.hetzner, "POST", "/v1/servers", new_server("a", more)).await;
    json_of(cloud.control, "POST", "/finish", Value::Null).await;
    json_of(cloud.control, "POST", "/clock", json!({"advance_ms": 600_000})).await;
    let path = format!("/v1/actions/{}", made["action"]["id"]);
    assert_eq!(json_of(cloud.hetzner, "GET", &path, Value::Null).await.1["action"]["status"], "running");
    std::fs::write(go, "").unwrap();
    assert_eq!(ended(&cloud, &made["action"]["id"]).await["status"], "success");
}

#[tokio::test]
async fn a_droplets_machine_is_made_and_booted_by_one_action() {
    let directory = tempfile::tempdir().unwrap();
    let cloud = start(recorder(directory.path(), "[.event, .provider, (.private | length)]")).await.unwrap();
    quick(&cloud);
    let (_, made) = json_of(cloud.digitalocean, "POST", "/v2/droplets", new_droplet("a", json!({}))).await;
    let path = format!("/v2/droplets/{}", made["droplet"]["id"]);
    let wait = |wanted: &'static str| {
        let path = path.clone();
        let address = cloud.digitalocean;
        async move {
            while json_of(address, "GET", &path, Value::Null).await.1["droplet"]["status"] != wanted {
                sleep(Duration::from_millis(10)).await;
            }
        }
    };
    timeout(BOUND, wait("active")).await.unwrap();
    let (status, _) =
        json_of(cloud.digitalocean, "POST", &format!("{path}/actions"), json!({"type": "power_cycle"})).await;
    assert_eq!(status, 201);
    let booted = async {
        while events(directory.path()).len() < 4 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(BOUND, booted).await.unwrap();
    let names: Vec<Value> = events(directory.path()).iter().map(|event| event[0].clone()).collect();
    assert_eq!(names, ["create", "poweron", "poweroff", "poweron"]);
    assert_eq!(events(directory.path())[0], json!(["create", "digitalocean", 1]));
}
