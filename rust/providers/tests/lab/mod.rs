//! A provider's client and the test cloud, for contract tests.

#![allow(clippy::unwrap_used, clippy::panic, dead_code, reason = "each test file uses a part of it")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use machinist_model::NodeName;
use machinist_providers::{
    Cloud, CloudError,
    api::Settings,
    cloud::Boot,
    desired::Desired,
    observed::Observed,
    plan::{self, Plan, Problem, Wanted},
    provision::{self, End, Happening},
};
use serde_json::{Value, json};
use test_cloud::Running;
use zeroize::Zeroizing;

pub const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEJNXvqxpCsbLFcbLDKKqZ8EXamMBuZ8jZGNCZyDpyZL ops";

/// A provider of the test cloud.
pub struct Side<C> {
    /// Its name in the test cloud.
    pub name: &'static str,
    /// Base path of its API.
    pub version: &'static str,
    /// Creates a client.
    pub client: fn(Settings) -> Result<C, CloudError>,
}

pub struct Lab<C> {
    pub cloud: Running,
    pub client: C,
    pub interrupted: Arc<AtomicBool>,
    pub http: reqwest::Client,
    pub side: Side<C>,
}

impl<C: Cloud> Lab<C> {
    pub async fn new(side: Side<C>) -> Self {
        let cloud = test_cloud::start(test_cloud::Options::default()).await.unwrap();
        let interrupted = Arc::new(AtomicBool::new(false));
        let client = client(&cloud, &side, "test-token", &interrupted, Duration::from_millis(20));
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let lab = Self { cloud, client, interrupted, http, side };
        lab.set(json!({ "settings": { "action_ms": 20, "networks_ms": 60 } })).await;
        lab
    }

    /// Another client, with this token and this length of a second of waiting.
    pub fn other(&self, token: &str, second: Duration) -> C {
        client(&self.cloud, &self.side, token, &self.interrupted, second)
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}/{path}", base(&self.cloud, &self.side))
    }

    pub async fn control(&self, method: reqwest::Method, path: &str, body: Value) -> Value {
        let url = format!("http://{}/{path}", self.cloud.control);
        let mut request = self.http.request(method, url);
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        assert!(response.status().is_success(), "{path}: {:?}", response.text().await);
        serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default()
    }

    pub async fn set(&self, settings: Value) {
        self.control(reqwest::Method::PATCH, "settings", settings).await;
    }

    pub async fn fault(&self, fault: Value) {
        self.control(reqwest::Method::POST, "faults", fault).await;
    }

    pub async fn foreign(&self, kind: &str, body: Value) {
        let body = json!({ "provider": self.side.name, "kind": kind, "body": body });
        self.control(reqwest::Method::POST, "foreign", body).await;
    }

    pub async fn counts(&self) -> Value {
        self.control(reqwest::Method::GET, "counts", Value::Null).await[self.side.name].clone()
    }

    /// Every request of a test was one of the contract, and so was every answer.
    pub async fn assert_contract(&self) {
        let calls = self.control(reqwest::Method::GET, "calls", Value::Null).await;
        let text = calls.to_string();
        for field in ["violations", "forbidden", "refused"] {
            let value = find(&calls, field);
            assert!(value.is_none_or(|value| value == &json!(0) || value == &json!([])), "{field}: {text}");
        }
    }

    pub async fn plan(&self, desired: &Desired) -> Result<Result<Plan, Vec<Problem>>, CloudError> {
        let observed = self.client.observe(&desired.cluster).await?;
        let catalogue = self.client.catalogue().await?;
        Ok(plan::plan(desired, &all(desired), &observed, &catalogue))
    }

    pub async fn run(&self, desired: &Desired) -> Result<Vec<End>, CloudError> {
        self.run_told(desired, &|_| {}).await
    }

    pub async fn run_told(
        &self,
        desired: &Desired,
        report: &(dyn Fn(Happening) + Sync),
    ) -> Result<Vec<End>, CloudError> {
        let plan = self.plan(desired).await?.unwrap();
        let observed = provision::shared(&self.client, desired, &plan, report).await?;
        let user_data = |node: &NodeName| Ok(boot(node));
        Ok(provision::servers(&self.client, desired, &plan, &observed, &user_data, report).await)
    }

    pub async fn observe(&self) -> Observed {
        self.client.observe("magi").await.unwrap()
    }

    /// Provisions until nothing is missing, at most ten times. Returns the number of runs.
    pub async fn converge(&self, desired: &Desired) -> usize {
        for run in 1..=10 {
            let _ = self.run(desired).await;
            if self.plan(desired).await.is_ok_and(|plan| plan.is_ok_and(|plan| plan.is_empty())) {
                return run;
            }
        }
        panic!("not complete after ten runs");
    }
}

fn base<C>(cloud: &Running, side: &Side<C>) -> String {
    let address = if side.name == "hetzner" { cloud.hetzner } else { cloud.digitalocean };
    format!("http://{address}/{}", side.version)
}

fn client<C>(cloud: &Running, side: &Side<C>, token: &str, interrupted: &Arc<AtomicBool>, second: Duration) -> C {
    let interrupted = Arc::clone(interrupted);
    let settings = Settings {
        endpoint: base(cloud, side).parse().unwrap(),
        token: Zeroizing::new(token.to_owned()),
        interrupted: Arc::new(move || interrupted.load(Ordering::Relaxed)),
        second,
    };
    (side.client)(settings).unwrap()
}

fn find<'a>(value: &'a Value, field: &str) -> Option<&'a Value> {
    match value {
        Value::Object(members) => members.get(field).or_else(|| members.values().find_map(|value| find(value, field))),
        _ => None,
    }
}

pub fn boot(node: &NodeName) -> Boot {
    Boot { user_data: format!("#cloud-config\n# {node}\n"), first_key: "0a1b".to_owned() }
}

/// All servers, of which none is recorded.
pub fn all(desired: &Desired) -> Wanted {
    Wanted { nodes: desired.servers.iter().map(|server| server.node.clone()).collect(), ..Wanted::default() }
}
