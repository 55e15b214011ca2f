//! Error codes of DigitalOcean (its API document, "Errors"), and what they mean for a request. The document leaves the
//! codes of most refusals open, so the status decides, and of a 422 its message.

use super::SOURCE;
use crate::{
    api::{Dialect, Reply},
    error::{CloudError, cleaned},
    repeat::Outcome,
};

/// Seconds until the next attempt where a 429 has no `Retry-After`: only the limit of a minute has one.
const PAUSE: u64 = 5;

/// Meaning of DigitalOcean's responses.
pub struct DigitalOcean;

/// What a 422 means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unprocessable {
    /// An event of the same droplet has not ended.
    Pending,
    /// A limit of the account.
    Limit,
    /// The size cannot be had in the region.
    SoldOut,
    /// Anything else.
    Invalid,
}

fn unprocessable(message: &str) -> Unprocessable {
    let message = message.to_ascii_lowercase();
    let has = |words: &str| message.contains(words);
    if has("pending event") {
        Unprocessable::Pending
    } else if has("droplet limit") || has("exceed") || has("limit of ") {
        Unprocessable::Limit
    } else if has("size") && has("not available") {
        Unprocessable::SoldOut
    } else {
        Unprocessable::Invalid
    }
}

fn text<'a>(reply: &'a Reply, name: &str) -> &'a str {
    reply.body[name].as_str().unwrap_or_default()
}

impl Dialect for DigitalOcean {
    fn provider(&self) -> &'static str {
        SOURCE.provider
    }

    fn outcome(&self, reply: &Reply) -> Outcome {
        match reply.status {
            429 => Outcome::Limited { after: reply.retry_after.or(Some(PAUSE)) },
            422 if unprocessable(text(reply, "message")) == Unprocessable::Pending => Outcome::Busy,
            500..=599 => Outcome::Unknown,
            _ => Outcome::Final,
        }
    }

    fn error(&self, request: &str, reply: &Reply) -> CloudError {
        let provider = SOURCE.provider;
        let variable = SOURCE.variable;
        let message = cleaned(text(reply, "message"));
        let request = request.to_owned();
        let kind = unprocessable(&message);
        match reply.status {
            401 => CloudError::Unauthorized { provider, variable, message },
            // A token may be limited to scopes, such as `droplet:read`.
            403 => CloudError::ReadOnly { provider, variable, request, message },
            422 if kind == Unprocessable::Limit => {
                CloudError::Quota { provider, what: "resources".to_owned(), message }
            }
            422 if kind == Unprocessable::SoldOut => CloudError::SoldOut { provider, message },
            status @ 500..=599 => CloudError::Unreachable {
                provider,
                request,
                reason: cleaned(&format!("HTTP status {status}: {message}")),
            },
            status => {
                let code = cleaned(text(reply, "id"));
                CloudError::Refused { provider, request, status, code, message }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::DigitalOcean;
    use crate::{
        api::{Dialect as _, Reply},
        repeat::Outcome,
    };

    fn reply(status: u16, id: &str, message: &str) -> Reply {
        let body = json!({ "id": id, "message": message, "request_id": "4d9d8375-3c56-4925-a3e7-eb137fed17e9" });
        Reply { status, body, retry_after: None }
    }

    #[track_caller]
    fn check(reply: &Reply, outcome: Outcome, expect: &Expect) {
        assert_eq!(DigitalOcean.outcome(reply), outcome);
        let error = DigitalOcean.error("POST /droplets", reply);
        expect.assert_eq(&format!("{error}\n{}", error.hint().unwrap_or_default()));
    }

    #[test]
    fn a_droplet_limit_is_final_although_its_code_is_that_of_invalid_input() {
        check(
            &reply(422, "unprocessable_entity", "creating this/these droplet(s) will exceed your droplet limit"),
            Outcome::Final,
            &expect![[r#"
                DigitalOcean refuses more of resources: the limit is reached (creating this/these droplet(s) will exceed your droplet limit)
                request a higher limit in the provider's console, or remove what is not needed"#]],
        );
    }

    #[test]
    fn a_size_that_a_region_has_not_is_final() {
        check(
            &reply(422, "unprocessable_entity", "Size is not available in this region."),
            Outcome::Final,
            &expect![[r#"
                DigitalOcean has none left (Size is not available in this region.)
                write another type or location in machines.nix; `machinist provision --plan` lists them"#]],
        );
    }

    #[test]
    fn a_pending_event_is_waited_for_and_other_input_is_refused_at_once() {
        let pending = reply(422, "unprocessable_entity", "Droplet already has a pending event.");
        assert_eq!(DigitalOcean.outcome(&pending), Outcome::Busy);
        check(
            &reply(422, "unprocessable_entity", "name: words\u{1b}[2J of it"),
            Outcome::Final,
            &expect![[r#"
                DigitalOcean refused POST /droplets: name: words\u{1b}[2J of it (422 unprocessable_entity)
            "#]],
        );
    }

    #[test]
    fn a_rate_limit_is_waited_for_as_long_as_it_says_and_else_a_few_seconds() {
        let limited = reply(429, "too_many_requests", "API rate limit exceeded.");
        assert_eq!(DigitalOcean.outcome(&limited), Outcome::Limited { after: Some(5) });
        let burst = Reply { retry_after: Some(37), ..limited };
        assert_eq!(DigitalOcean.outcome(&burst), Outcome::Limited { after: Some(37) });
    }

    #[test]
    fn a_server_error_tells_nothing_about_the_request() {
        assert_eq!(DigitalOcean.outcome(&reply(500, "server_error", "Server was unable")), Outcome::Unknown);
        assert_eq!(DigitalOcean.outcome(&reply(404, "not_found", "missing")), Outcome::Final);
    }

    #[test]
    fn a_token_without_a_scope_is_named_by_its_variable() {
        check(
            &reply(403, "forbidden", "You are not authorized to perform this operation"),
            Outcome::Final,
            &expect![[r#"
                the API token of DigitalOcean may not do this (POST /droplets: You are not authorized to perform this operation)
                make a token that may read and write, and export it as DIGITALOCEAN_TOKEN"#]],
        );
        check(
            &reply(401, "unauthorized", "Unable to authenticate you"),
            Outcome::Final,
            &expect![[r#"
                DigitalOcean does not accept the API token (Unable to authenticate you)
                make a new token in the provider's console, and export it as DIGITALOCEAN_TOKEN"#]],
        );
    }
}
