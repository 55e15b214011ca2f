//! Lists: pages and their links.

use serde_json::{Value, json};

use crate::message::{Call, Handled, Reply};

/// A page of the elements, with absolute links to its neighbours.
///
/// # Errors
///
/// None; the type is the one of handlers.
pub fn list(call: &Call, key: &str, elements: Vec<Value>) -> Handled {
    let per_page = call.query_number("per_page", 20);
    let page = call.query_number("page", 1);
    let total = elements.len() as u64;
    let last = total.div_ceil(per_page).max(1);
    let start = usize::try_from((page - 1).saturating_mul(per_page)).unwrap_or(usize::MAX);
    let count = usize::try_from(per_page).unwrap_or(usize::MAX);
    let shown: Vec<Value> = elements.into_iter().skip(start).take(count).collect();
    let links = links(call, page, last);
    Ok(Reply::json(200, json!({key: shown, "links": links, "meta": {"total": total}})))
}

/// `first` and `prev` after the first page, `next` and `last` before the last one.
fn links(call: &Call, page: u64, last: u64) -> Value {
    let filters: Vec<String> = call.query.as_object().into_iter().flatten().filter_map(filter).collect();
    let url = |page: u64| {
        let mut query = filters.clone();
        query.push(format!("page={page}"));
        format!("{}{}?{}", call.origin, call.path, query.join("&"))
    };
    let mut pages = json!({});
    if page > 1 {
        pages["first"] = url(1).into();
        pages["prev"] = url(page - 1).into();
    }
    if page < last {
        pages["next"] = url(page + 1).into();
        pages["last"] = url(last).into();
    }
    if pages == json!({}) { json!({}) } else { json!({"pages": pages}) }
}

fn filter((name, value): (&String, &Value)) -> Option<String> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let encoded = text.replace('%', "%25").replace('&', "%26").replace('+', "%2B").replace(' ', "%20");
    (name != "page").then(|| format!("{name}={encoded}"))
}
