//! API server in memory, complete enough to record the order of requests.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Method, Request, Response};
use kube::{
    Client,
    client::{Body, ClientBuilder},
};
use machinist_kubernetes::server::Server;
use serde_json::{Value, json};
use tokio::time::Instant;

/// Objects of the server, and the requests it received.
#[derive(Default)]
pub struct State {
    objects: BTreeMap<String, Value>,
    version: u64,
    /// `METHOD path`, in order.
    pub requests: Vec<String>,
    /// Injected failures: part of a request, status, message, number of times.
    pub faults: Vec<(String, u16, String, usize)>,
    /// Paths of objects that etcd stores encrypted with an old key: they are written although nothing changes.
    pub stale: BTreeSet<String>,
}

/// The fake server.
#[derive(Clone, Default)]
pub struct Fake(pub Arc<Mutex<State>>);

impl Fake {
    /// Returns a client that retries transient failures for `patience`.
    pub fn server(&self, patience: Duration) -> Server {
        let fake = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let fake = fake.clone();
            async move {
                let (parts, body) = request.into_parts();
                let bytes = body.collect_bytes().await.map(|bytes| bytes.to_vec()).unwrap_or_default();
                let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
                let path = parts.uri.path().to_owned();
                let (status, answer) = fake.0.lock().unwrap().answer(&parts.method, &path, body);
                let response = Response::builder().status(status).body(Body::from(answer.to_string().into_bytes()));
                Ok::<_, Infallible>(response.unwrap())
            }
        });
        let client: Client = ClientBuilder::new(service, "default").build();
        Server::new(client, Instant::now() + patience)
    }

    /// Changes an object as another client would; `null` deletes it.
    pub fn put(&self, path: &str, object: Value) {
        let mut state = self.0.lock().unwrap();
        if object.is_null() {
            state.objects.remove(path);
        } else {
            state.store(path, object);
        }
    }

    /// Returns an object by its path.
    pub fn get(&self, path: &str) -> Option<Value> {
        self.0.lock().unwrap().objects.get(path).cloned()
    }

    /// Returns the requests since the last call.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().requests)
    }

    /// Fails the next `times` requests that contain `part`.
    pub fn fail(&self, part: &str, status: u16, message: &str, times: usize) {
        self.0.lock().unwrap().faults.push((part.to_owned(), status, message.to_owned(), times));
    }
}

fn status(code: u16, message: &str) -> (u16, Value) {
    let reason = if code == 404 { "NotFound" } else { "Unknown" };
    (
        code,
        json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message, "reason": reason }),
    )
}

impl State {
    fn answer(&mut self, method: &Method, path: &str, body: Value) -> (u16, Value) {
        let request = format!("{method} {path}");
        self.requests.push(request.clone());
        if let Some(fault) = self.faults.iter_mut().find(|fault| fault.3 > 0 && request.contains(&fault.0)) {
            fault.3 -= 1;
            return status(fault.1, &fault.2);
        }
        if let Some(version) = path
            .strip_prefix("/apis/")
            .or_else(|| path.strip_prefix("/api/"))
            .filter(|rest| rest.matches('/').count() < 2)
            && let Some(kinds) = kinds(version)
        {
            return (200, kinds);
        }
        let missing = || status(404, "not found");
        match *method {
            Method::GET if path == "/api/v1/nodes" => (200, self.list("/nodes/")),
            Method::GET if path == "/api/v1/secrets" => (200, self.list("/secrets/")),
            Method::GET => self.objects.get(path).map_or_else(missing, |found| (200, found.clone())),
            Method::POST => {
                let path = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap_or_default());
                (201, self.store(&path, body))
            }
            Method::PUT | Method::PATCH => {
                let mut object = self.objects.get(path).cloned().unwrap_or_default();
                let before = object.clone();
                if *method == Method::PUT {
                    object = body
                } else {
                    merge(&mut object, body)
                }
                if object == before && !self.stale.remove(path) {
                    (200, object)
                } else {
                    (200, self.store(path, object))
                }
            }
            Method::DELETE => self.objects.remove(path).map_or_else(missing, |_| status(200, "gone")),
            _ => status(405, "no such method"),
        }
    }

    fn list(&self, of: &str) -> Value {
        let items: Vec<&Value> =
            self.objects.iter().filter(|(path, _)| path.contains(of)).map(|(_, object)| object).collect();
        json!({ "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "items": items })
    }

    fn store(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = format!("uid-{}", self.version).into();
        }
        self.objects.insert(path.to_owned(), object.clone());
        object
    }
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn kinds(version: &str) -> Option<Value> {
    let known: &[(&str, &str, bool)] = match version {
        "v1" => &[
            ("ConfigMap", "configmaps", true),
            ("Namespace", "namespaces", false),
            ("Service", "services", true),
            ("ServiceAccount", "serviceaccounts", true),
        ],
        "apps/v1" => &[("Deployment", "deployments", true)],
        "policy/v1" => &[("PodDisruptionBudget", "poddisruptionbudgets", true)],
        "rbac.authorization.k8s.io/v1" => &[
            ("ClusterRole", "clusterroles", false),
            ("ClusterRoleBinding", "clusterrolebindings", false),
            ("Role", "roles", true),
            ("RoleBinding", "rolebindings", true),
        ],
        _ => return None,
    };
    let resource = |(kind, plural, namespaced): &(&str, &str, bool)| json!({ "kind": kind, "name": plural, "namespaced": namespaced, "singularName": "", "verbs": [] });
    let resources: Vec<Value> = known.iter().map(resource).collect();
    Some(json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources }))
}
