//! Lists: filters of the query, order, pages.

use serde_json::{Value, json};

use super::errors::invalid;
use crate::labels::{self, Selector};
use crate::message::{Call, Handled, Reply};

const PER_PAGE: u64 = 25;
/// Parameters that do not filter by a field.
const OTHERS: [&str; 5] = ["page", "per_page", "sort", "label_selector", "include_deprecated"];

/// A page of the elements that the query selects.
///
/// # Errors
///
/// The label selector is invalid.
pub fn list(call: &Call, key: &str, elements: Vec<Value>) -> Handled {
    let mut chosen = filtered(call, elements)?;
    sort(call, &mut chosen);
    let per_page = call.query_number("per_page", PER_PAGE);
    let page = call.query_number("page", 1);
    let total = chosen.len() as u64;
    let last = total.div_ceil(per_page).max(1);
    let start = usize::try_from((page - 1).saturating_mul(per_page)).unwrap_or(usize::MAX);
    let count = usize::try_from(per_page).unwrap_or(usize::MAX);
    let shown: Vec<Value> = chosen.into_iter().skip(start).take(count).collect();
    let next = (page < last).then_some(page + 1);
    let previous = (page > 1).then(|| page - 1);
    let pagination = json!({
        "page": page, "per_page": per_page, "previous_page": previous, "next_page": next, "last_page": last,
        "total_entries": total,
    });
    let mut reply = Reply::json(200, json!({key: shown, "meta": {"pagination": pagination}}));
    reply.headers.push(("link", link(call, per_page, previous, next, last)));
    Ok(reply)
}

fn filtered(call: &Call, elements: Vec<Value>) -> Result<Vec<Value>, crate::message::Problem> {
    let selector = match call.query_text("label_selector") {
        Some(text) => Some(Selector::parse(text).ok_or_else(|| invalid("label_selector", "invalid"))?),
        None => None,
    };
    let fields = call.query.as_object().into_iter().flatten().filter(|(name, _)| !OTHERS.contains(&name.as_str()));
    let fields: Vec<_> = fields.collect();
    let matches = |element: &Value| {
        let selected = selector.as_ref().is_none_or(|selector| selector.selects(&labels::of(element.get("labels"))));
        selected
            && fields.iter().all(|(name, wanted)| match wanted {
                Value::Array(values) => values.contains(&element[name.as_str()]),
                value => element[name.as_str()] == **value,
            })
    };
    Ok(elements.into_iter().filter(matches).collect())
}

fn sort(call: &Call, elements: &mut [Value]) {
    let keys: Vec<String> = call
        .query
        .get("sort")
        .and_then(Value::as_array)
        .map_or_else(Vec::new, |keys| keys.iter().filter_map(Value::as_str).map(str::to_owned).collect());
    // A stable sort by the last key first.
    for key in keys.iter().rev() {
        let (field, order) = key.split_once(':').unwrap_or((key, "asc"));
        elements.sort_by_key(|element| order_of(&element[field]));
        if order == "desc" {
            elements.reverse();
        }
    }
}

fn order_of(value: &Value) -> (u64, String) {
    (value.as_u64().unwrap_or_default(), value.as_str().unwrap_or_default().to_owned())
}

fn link(call: &Call, per_page: u64, previous: Option<u64>, next: Option<u64>, last: u64) -> String {
    let one = |page: u64, rel: &str| {
        format!("<https://api.hetzner.cloud{}?page={page}&per_page={per_page}>; rel={rel}", call.path)
    };
    let links = [previous.map(|page| one(page, "prev")), next.map(|page| one(page, "next")), Some(one(last, "last"))];
    links.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
