//! Rewriting of Secrets after a change of the encryption key, against an API server in memory.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "another test uses the rest")]
mod fake;

use std::time::Duration;

use fake::Fake;
use machinist_kubernetes::rewrite::{RewriteError, Rewritten, rewrite};
use serde_json::json;

fn path(name: &str) -> String {
    format!("/api/v1/namespaces/default/secrets/{name}")
}

fn with_secrets(stale: &[&str], fresh: &[&str]) -> Fake {
    let fake = Fake::default();
    for name in stale.iter().chain(fresh) {
        fake.put(&path(name), json!({ "metadata": { "name": name, "namespace": "default" }, "data": { "a": "Yg==" } }));
    }
    for name in stale {
        fake.0.lock().unwrap().stale.insert(path(name));
    }
    fake
}

async fn run(fake: &Fake) -> Result<Rewritten, RewriteError> {
    rewrite(&fake.server(Duration::ZERO)).await
}

#[tokio::test]
async fn secrets_of_another_key_are_written_again_and_the_others_are_not() {
    let fake = with_secrets(&["old", "older"], &["new"]);
    assert_eq!(run(&fake).await.unwrap(), Rewritten { secrets: 3, writes: 2 });
    assert!(fake.0.lock().unwrap().stale.is_empty());
    assert_eq!(run(&fake).await.unwrap(), Rewritten { secrets: 3, writes: 0 });
}

#[tokio::test]
async fn a_secret_that_another_client_writes_or_removes_meanwhile_is_no_failure() {
    let fake = with_secrets(&["old"], &["busy", "gone"]);
    fake.fail(&format!("PATCH {}", path("busy")), 409, "the object has been modified", 1);
    fake.fail(&format!("PATCH {}", path("gone")), 404, "not found", 1);
    assert_eq!(run(&fake).await.unwrap(), Rewritten { secrets: 3, writes: 2 });
}

#[tokio::test]
async fn secrets_that_change_in_each_pass_end_the_run() {
    let fake = with_secrets(&[], &["busy"]);
    fake.fail(&format!("PATCH {}", path("busy")), 409, "the object has been modified", 100);
    let error = run(&fake).await.unwrap_err();
    assert!(matches!(error, RewriteError::Unsettled { secrets: 1, writes: 1 }), "{error}");
}

#[tokio::test]
async fn a_secret_that_cannot_be_written_is_named() {
    let fake = with_secrets(&["old"], &[]);
    fake.fail(&format!("PATCH {}", path("old")), 403, "forbidden", 1);
    let error = run(&fake).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot rewrite Secret default/old");
}
