//! Faults that tests order for requests to come.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::message::{Body, Problem, Provider, Reply, Request};

/// A fault for the next requests that match.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fault {
    /// Only requests to this cloud; any without it.
    pub provider: Option<Provider>,
    /// Only this method, in upper case.
    pub method: Option<String>,
    /// Only this path, with the prefix of the version; a final `*` matches any rest.
    pub path: Option<String>,
    /// Matching requests that pass before the first one with the fault.
    #[serde(default)]
    pub skip: u32,
    /// Requests with the fault.
    #[serde(default = "one")]
    pub times: u32,
    /// The kind of fault.
    #[serde(flatten)]
    pub kind: Kind,
}

/// The effect of a fault on a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// Processes the request, and closes the connection without an answer.
    Drop,
    /// Closes the connection without processing the request.
    Refuse,
    /// Answers 502 with HTML, as a proxy does.
    Html {
        /// The request is processed.
        #[serde(default)]
        process: bool,
    },
    /// Answers an error.
    Status {
        /// HTTP status.
        status: u16,
        /// The provider's code; by default the one that goes with the status.
        code: Option<String>,
        /// The request is processed.
        #[serde(default)]
        process: bool,
    },
    /// Never answers.
    Hang {
        /// The request is processed.
        #[serde(default)]
        process: bool,
    },
    /// Processes the request and changes its answer: JSON pointers, `*` for each element of a list, to new values.
    /// This makes unknown enum values, additional fields and other types. A null in `remove` takes a field away.
    Change {
        /// Values by their pointers.
        set: Map<String, Value>,
        /// Pointers of fields that are taken away.
        #[serde(default)]
        remove: Vec<String>,
    },
}

fn one() -> u32 {
    1
}

/// The way of an answer to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// As an answer.
    Answer,
    /// The connection is closed instead.
    Drop,
    /// The connection stays open and silent.
    Hang,
}

impl Fault {
    fn matches(&self, request: &Request) -> bool {
        let path = |wanted: &String| match wanted.strip_suffix('*') {
            Some(start) => request.path.starts_with(start),
            None => request.path == *wanted,
        };
        self.provider.is_none_or(|provider| provider == request.provider)
            && self.method.as_ref().is_none_or(|method| *method == request.method)
            && self.path.as_ref().is_none_or(path)
    }
}

/// Takes the fault for a request, if there is one, and counts it.
pub fn take(faults: &mut Vec<Fault>, request: &Request) -> Option<Kind> {
    let index = faults.iter().position(|fault| fault.matches(request))?;
    let fault = faults.get_mut(index)?;
    if fault.skip > 0 {
        fault.skip -= 1;
        return None;
    }
    fault.times = fault.times.saturating_sub(1);
    let kind = fault.kind.clone();
    if fault.times == 0 {
        faults.remove(index);
    }
    Some(kind)
}

impl Kind {
    /// False if the request has no effect.
    pub fn processes(&self) -> bool {
        match self {
            Kind::Drop | Kind::Change { .. } => true,
            Kind::Refuse => false,
            Kind::Html { process } | Kind::Status { process, .. } | Kind::Hang { process } => *process,
        }
    }

    /// The answer that the client gets in place of the right one.
    pub fn apply(&self, provider: Provider, reply: Reply) -> (Reply, Delivery) {
        match self {
            Kind::Drop | Kind::Refuse => (reply, Delivery::Drop),
            Kind::Hang { .. } => (reply, Delivery::Hang),
            Kind::Html { .. } => {
                let page = "<html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>";
                let body = Body::Html(page.to_owned());
                (Reply { status: 502, headers: reply.headers, body }, Delivery::Answer)
            }
            Kind::Status { status, code, .. } => {
                let code = code.as_deref().unwrap_or_else(|| code_of(provider, *status));
                let mut failed = Problem::new(*status, code, "ordered by the test").reply(provider);
                failed.headers = reply.headers;
                (failed, Delivery::Answer)
            }
            Kind::Change { set, remove } => (changed(reply, set, remove), Delivery::Answer),
        }
    }
}

fn code_of(provider: Provider, status: u16) -> &'static str {
    match (provider, status) {
        (Provider::Digitalocean, 429) => "too_many_requests",
        (Provider::Digitalocean, _) => "server_error",
        (_, 409) => "conflict",
        (_, 423) => "locked",
        (_, 429) => "rate_limit_exceeded",
        (_, 502) => "bad_gateway",
        (_, 503) => "unavailable",
        (_, 504) => "timeout",
        (_, _) => "server_error",
    }
}

fn changed(mut reply: Reply, set: &Map<String, Value>, remove: &[String]) -> Reply {
    if let Body::Json(value) = &mut reply.body {
        for (pointer, new) in set {
            at(value, &parts(pointer), Some(new));
        }
        for pointer in remove {
            at(value, &parts(pointer), None);
        }
    }
    reply
}

fn parts(pointer: &str) -> Vec<&str> {
    pointer.split('/').skip(1).collect()
}

/// Sets or removes the value at a path; a path that does not exist changes nothing.
fn at(value: &mut Value, path: &[&str], new: Option<&Value>) {
    let Some((first, rest)) = path.split_first() else {
        *value = new.cloned().unwrap_or(json!(null));
        return;
    };
    match value {
        Value::Object(object) if rest.is_empty() => match new {
            Some(new) => drop(object.insert((*first).to_owned(), new.clone())),
            None => drop(object.remove(*first)),
        },
        Value::Object(object) => {
            if let Some(inner) = object.get_mut(*first) {
                at(inner, rest, new);
            }
        }
        Value::Array(list) => {
            let index = first.parse::<usize>().ok();
            let chosen = list.iter_mut().enumerate().filter(|(at, _)| *first == "*" || index == Some(*at));
            chosen.for_each(|(_, inner)| at(inner, rest, new));
        }
        _ => {}
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::changed;
    use crate::message::Reply;

    #[test]
    fn a_pointer_with_a_star_reaches_every_element() {
        let reply = Reply::json(200, json!({"servers": [{"status": "off"}, {"status": "running"}], "meta": 1}));
        let set = json!({"/servers/*/status": "frozen", "/servers/0/extra": true});
        let new = changed(reply, set.as_object().unwrap(), &["/meta".to_owned()]);
        let expected = json!({"servers": [{"status": "frozen", "extra": true}, {"status": "frozen"}]});
        assert_eq!(new.value(), &expected);
    }
}
