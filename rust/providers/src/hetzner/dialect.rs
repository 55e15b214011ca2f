//! Error codes of Hetzner Cloud (docs.hetzner.cloud, "Errors"), and what they mean for a request.

use serde_json::Value;

use super::SOURCE;
use crate::{
    api::{Dialect, Reply},
    error::{CloudError, cleaned},
    repeat::Outcome,
};

/// Meaning of Hetzner's responses.
pub struct Hetzner;

/// The members of `error` in a response.
struct Body<'a> {
    code: &'a str,
    message: &'a str,
    details: &'a Value,
}

impl<'a> Body<'a> {
    fn of(reply: &'a Reply) -> Self {
        let error = &reply.body["error"];
        let text = |name: &str| error[name].as_str().unwrap_or_default();
        Self { code: text("code"), message: text("message"), details: &error["details"] }
    }

    /// The message, and what the details add: invalid fields, reached limits, the address of an announcement.
    fn words(&self) -> String {
        let list = |name: &str| self.details[name].as_array().map(Vec::as_slice).unwrap_or_default();
        let fields = list("fields").iter().map(|field| {
            let messages = field["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
            let messages: Vec<&str> = messages.iter().filter_map(Value::as_str).collect();
            format!("{} {}", field["name"].as_str().unwrap_or_default(), messages.join(", "))
        });
        let announcement = self.details["announcement"].as_str().map(str::to_owned);
        let mut words = vec![self.message.to_owned()];
        words.extend(fields.chain(announcement).filter(|text| !text.trim().is_empty()));
        cleaned(&words.join("; "))
    }

    fn limits(&self) -> String {
        let limits = self.details["limits"].as_array().map(Vec::as_slice).unwrap_or_default();
        let names: Vec<&str> = limits.iter().filter_map(|limit| limit["name"].as_str()).collect();
        if names.is_empty() { "resources".to_owned() } else { cleaned(&names.join(", ")) }
    }
}

impl Dialect for Hetzner {
    fn provider(&self) -> &'static str {
        SOURCE.provider
    }

    fn outcome(&self, reply: &Reply) -> Outcome {
        match (reply.status, Body::of(reply).code) {
            (429, _) => Outcome::Limited { after: reply.retry_after },
            // Something else changes the same resource: nothing was done.
            (409, "conflict") | (423, "locked") => Outcome::Busy,
            (502..=504, _) => Outcome::Unknown,
            _ => Outcome::Final,
        }
    }

    fn error(&self, request: &str, reply: &Reply) -> CloudError {
        let body = Body::of(reply);
        let provider = SOURCE.provider;
        let variable = SOURCE.variable;
        let message = body.words();
        match (reply.status, body.code) {
            (_, "token_readonly") => CloudError::ReadOnly { provider, variable, request: request.to_owned(), message },
            (401, _) => CloudError::Unauthorized { provider, variable, message },
            (_, "resource_limit_exceeded") => CloudError::Quota { provider, what: body.limits(), message },
            (_, "resource_unavailable" | "placement_error") => CloudError::SoldOut { provider, message },
            (status @ 502..=504, _) => CloudError::Unreachable {
                provider,
                request: request.to_owned(),
                reason: cleaned(&format!("HTTP status {status}: {message}")),
            },
            (status, code) => {
                CloudError::Refused { provider, request: request.to_owned(), status, code: cleaned(code), message }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::Hetzner;
    use crate::{
        api::{Dialect as _, Reply},
        repeat::Outcome,
    };

    fn reply(status: u16, code: &str, details: Value) -> Reply {
        let body = json!({ "error": { "code": code, "message": "words\u{1b}[2J of it", "details": details } });
        Reply { status, body, retry_after: None }
    }

    #[track_caller]
    fn check(reply: &Reply, outcome: Outcome, expect: &Expect) {
        assert_eq!(Hetzner.outcome(reply), outcome);
        let error = Hetzner.error("POST /servers", reply);
        expect.assert_eq(&format!("{error}\n{}", error.hint().unwrap_or_default()));
    }

    #[test]
    fn a_quota_is_final_and_says_which_limit_although_it_is_a_403() {
        let details = json!({ "limits": [{ "name": "server_limit" }] });
        check(
            &reply(403, "resource_limit_exceeded", details),
            Outcome::Final,
            &expect![[r#"
            Hetzner refuses more of server_limit: the limit is reached (words\u{1b}[2J of it)
            request a higher limit in the provider's console, or remove what is not needed"#]],
        );
    }

    #[test]
    fn a_type_that_is_sold_out_is_final() {
        check(
            &reply(412, "resource_unavailable", Value::Null),
            Outcome::Final,
            &expect![[r#"
            Hetzner has none left (words\u{1b}[2J of it)
            write another type or location in machines.nix; `machinist provision --plan` lists them"#]],
        );
    }

    #[test]
    fn a_resource_that_changes_is_waited_for_and_a_protected_one_is_not() {
        assert_eq!(Hetzner.outcome(&reply(423, "locked", Value::Null)), Outcome::Busy);
        assert_eq!(Hetzner.outcome(&reply(409, "conflict", Value::Null)), Outcome::Busy);
        assert_eq!(Hetzner.outcome(&reply(423, "protected", Value::Null)), Outcome::Final);
        assert_eq!(Hetzner.outcome(&reply(409, "uniqueness_error", Value::Null)), Outcome::Final);
    }

    #[test]
    fn an_endpoint_that_was_removed_names_its_announcement() {
        let details = json!({ "announcement": "https://docs.hetzner.cloud/changelog#x" });
        check(
            &reply(410, "deprecated_api_endpoint", details),
            Outcome::Final,
            &expect![[r#"
            Hetzner refused POST /servers: words\u{1b}[2J of it; https://docs.hetzner.cloud/changelog#x (410 deprecated_api_endpoint)
        "#]],
        );
    }

    #[test]
    fn invalid_input_names_its_fields() {
        let details = json!({ "fields": [{ "name": "server_type", "messages": ["unknown type", "or not here"] }] });
        check(
            &reply(422, "invalid_input", details),
            Outcome::Final,
            &expect![[r#"
            Hetzner refused POST /servers: words\u{1b}[2J of it; server_type unknown type, or not here (422 invalid_input)
        "#]],
        );
    }

    #[test]
    fn a_token_that_may_only_read_is_named_by_its_variable() {
        check(
            &reply(401, "token_readonly", Value::Null),
            Outcome::Final,
            &expect![[r#"
            the API token of Hetzner may not do this (POST /servers: words\u{1b}[2J of it)
            make a token that may read and write, and export it as HCLOUD_TOKEN"#]],
        );
        check(
            &reply(401, "unauthorized", Value::Null),
            Outcome::Final,
            &expect![[r#"
            Hetzner does not accept the API token (words\u{1b}[2J of it)
            make a new token in the provider's console, and export it as HCLOUD_TOKEN"#]],
        );
    }
}
