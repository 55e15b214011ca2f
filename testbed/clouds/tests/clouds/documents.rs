//! The contract against the providers' own documents, where they are at hand.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use machinist_testkit::skip::skip;
use serde_json::{Value, json};
use test_cloud::contract::Contract;
use test_cloud::message::Provider;

/// A schema without `$ref`, `allOf` and alternatives: the union of what it allows.
#[derive(Default)]
struct Shape {
    types: BTreeSet<String>,
    values: Option<BTreeSet<String>>,
    fields: BTreeMap<String, Vec<Value>>,
    required: BTreeSet<String>,
    items: Vec<Value>,
}

/// One of the two tables: the root that its references begin at.
struct Document(Value);

impl Document {
    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(reference) => self.resolved(self.0.pointer(reference.trim_start_matches('#')).unwrap()),
            None => schema,
        }
    }

    fn shape(&self, schemas: &[Value]) -> Shape {
        let mut shapes = schemas.iter().map(|schema| self.shape_of(self.resolved(schema)));
        let first = shapes.next().unwrap_or_default();
        shapes.fold(first, either)
    }

    fn shape_of(&self, schema: &Value) -> Shape {
        let list = |name: &str| schema[name].as_array().cloned().unwrap_or_default();
        let mut shape = own_shape(schema);
        for part in list("allOf") {
            shape = both(shape, self.shape_of(self.resolved(&part)));
        }
        for name in ["oneOf", "anyOf"] {
            let parts = list(name);
            // Alternatives that only choose between required fields do not change the shape.
            if parts.iter().any(|part| !self.is_bare(part)) {
                let parts: Vec<Value> = parts.into_iter().filter(|part| !self.is_bare(part)).collect();
                shape = both(shape, self.shape(&parts));
            }
        }
        if schema["nullable"] == true {
            shape.types.insert("null".to_owned());
        }
        for name in ["then", "else"] {
            if schema.get(name).is_some() {
                let part = self.shape(&[schema[name].clone()]);
                shape = if name == "then" { part } else { either(shape, part) };
            }
        }
        shape
    }

    fn is_bare(&self, schema: &Value) -> bool {
        let schema = self.resolved(schema);
        !["type", "properties", "allOf", "oneOf", "anyOf", "enum"].iter().any(|name| schema.get(name).is_some())
    }
}

fn own_shape(schema: &Value) -> Shape {
    let texts = |value: &Value| -> BTreeSet<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut types = texts(&schema["type"]);
    types.extend(schema["type"].as_str().map(str::to_owned));
    if types.is_empty() && schema.get("properties").is_some() {
        types.insert("object".to_owned());
    }
    let fields = schema["properties"].as_object().into_iter().flatten();
    Shape {
        types,
        values: schema.get("enum").map(texts),
        fields: fields.map(|(name, field)| (name.clone(), vec![field.clone()])).collect(),
        required: texts(&schema["required"]),
        items: schema.get("items").cloned().into_iter().collect(),
    }
}

/// The union of two alternatives.
fn either(mut one: Shape, mut other: Shape) -> Shape {
    // Null requires no field of the object that it takes the place of.
    let is_null = |shape: &Shape| shape.types.iter().all(|kind| kind == "null") && !shape.types.is_empty();
    if is_null(&other) {
        other.required.clone_from(&one.required);
        other.values.clone_from(&one.values);
    } else if is_null(&one) {
        one.required.clone_from(&other.required);
        one.values.clone_from(&other.values);
    }
    one.types.extend(other.types);
    one.values = one.values.zip(other.values).map(|(one, other)| one.union(&other).cloned().collect());
    one.required = one.required.intersection(&other.required).cloned().collect();
    one.items.extend(other.items);
    for (name, schemas) in other.fields {
        one.fields.entry(name).or_default().extend(schemas);
    }
    one
}

/// The intersection of two parts of one schema.
fn both(mut one: Shape, other: Shape) -> Shape {
    let required = one.required.union(&other.required).cloned().collect();
    let values = match (one.values.take(), other.values.clone()) {
        (Some(one), Some(other)) => Some(one.intersection(&other).cloned().collect()),
        (one, other) => one.or(other),
    };
    let mut shape = either(one, other);
    shape.required = required;
    shape.values = values;
    shape
}

/// The comparison of one contract, and the differences that it finds.
struct Comparison {
    ours: Document,
    theirs: Document,
    found: BTreeSet<String>,
    open: BTreeSet<String>,
}

impl Comparison {
    fn differ(&mut self, place: &str, what: &str) {
        self.found.insert(format!("{place}: {what}"));
    }

    /// Compares a schema; a place below a definition begins with the definition's name.
    fn compare(&mut self, place: &str, ours: &Value, theirs: &[Value]) {
        let name = ours["$ref"].as_str().map(|reference| reference.trim_start_matches("#/$defs/").to_owned());
        let place = name.clone().unwrap_or_else(|| place.to_owned());
        // A definition that refers to itself.
        if name.is_some() && !self.open.insert(place.clone()) {
            return;
        }
        let (one, other) = (self.ours.shape(std::slice::from_ref(ours)), self.theirs.shape(theirs));
        for kind in &one.types {
            let wider = kind == "integer" && other.types.contains("number");
            if !other.types.is_empty() && !other.types.contains(kind) && !wider {
                self.differ(&place, &format!("is never {kind} there"));
            }
        }
        match (&one.values, &other.values) {
            (Some(one), Some(other)) => {
                for value in one.difference(other) {
                    self.differ(&place, &format!("is never {value} there"));
                }
            }
            (None, Some(_)) => self.differ(&place, "is an enum there"),
            _ => {}
        }
        self.fields(&place, &one, &other);
        for item in &one.items {
            self.compare(&format!("{place}[]"), item, &other.items);
        }
        if name.is_some() {
            self.open.remove(&place);
        }
    }

    fn fields(&mut self, place: &str, one: &Shape, other: &Shape) {
        let known = !one.fields.is_empty();
        for name in other.required.difference(&one.required).filter(|_| known) {
            self.differ(&format!("{place}.{name}"), "is required there");
        }
        for (name, ours) in &one.fields {
            let place = format!("{place}.{name}");
            match other.fields.get(name) {
                None => self.differ(&place, "does not exist there"),
                Some(theirs) => ours.iter().for_each(|ours| self.compare(&place, ours, theirs)),
            }
        }
    }

    fn endpoint(&mut self, endpoint: &Value) {
        let (method, path) = (endpoint["method"].as_str().unwrap(), endpoint["path"].as_str().unwrap());
        let place = format!("{method} {path}");
        let Some(item) = self.theirs.0["paths"].get(path).cloned() else {
            return self.differ(&place, "does not exist there");
        };
        let Some(theirs) = item.get(method.to_lowercase()).cloned() else {
            return self.differ(&place, "does not exist there");
        };
        self.query(&place, endpoint, &[&item, &theirs]);
        let body = self.theirs.resolved(&theirs["requestBody"])["content"]["application/json"]["schema"].clone();
        match (endpoint.get("body"), body) {
            (Some(_), Value::Null) => self.differ(&place, "has no body there"),
            (Some(ours), theirs) => self.compare(&format!("{place} body"), ours, &[theirs]),
            (None, _) => {}
        }
        for (status, ours) in endpoint["answers"].as_object().unwrap() {
            self.answer(&format!("{place} {status}"), (status, ours), &theirs["responses"]);
        }
    }

    fn query(&mut self, place: &str, endpoint: &Value, theirs: &[&Value]) {
        let lists = theirs.iter().flat_map(|one| one["parameters"].as_array().cloned().unwrap_or_default());
        let lists: Vec<Value> = lists.map(|parameter| self.theirs.resolved(&parameter).clone()).collect();
        for (name, ours) in endpoint["query"].as_object().into_iter().flatten() {
            let place = format!("{place} ?{name}");
            match lists.iter().find(|one| one["in"] == "query" && one["name"] == **name) {
                None => self.differ(&place, "does not exist there"),
                Some(theirs) => self.compare(&place, ours, &[theirs["schema"].clone()]),
            }
        }
    }

    fn answer(&mut self, place: &str, (status, ours): (&str, &Value), theirs: &Value) {
        let Some(theirs) = theirs.get(status) else {
            return self.differ(place, "does not exist there");
        };
        let content = self.theirs.resolved(theirs)["content"]["application/json"]["schema"].clone();
        match (ours.is_null(), content.is_null()) {
            (true, true) => {}
            (false, false) => self.compare(place, ours, &[content]),
            (true, false) => self.differ(place, "has content there"),
            (false, true) => self.differ(place, "has no content there"),
        }
    }

    /// Each error has the form of the first answer of another kind.
    fn errors(&mut self) {
        let answers: Vec<Value> = self.theirs.0["paths"].as_object().unwrap().values().take(20).cloned().collect();
        for operation in answers.iter().flat_map(|item| item.as_object().unwrap().values()) {
            for status in ["4xx", "5xx", "401", "404", "429", "500", "default"] {
                let Some(answer) = operation.get("responses").and_then(|answers| answers.get(status)) else { continue };
                let schema = self.theirs.resolved(answer)["content"]["application/json"]["schema"].clone();
                self.compare("Error", &json!({"$ref": "#/$defs/Error"}), &[schema]);
            }
        }
    }
}

/// The directory of the providers' documents.
fn directory() -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/openapi");
    let directory = std::env::var_os("OPENAPI").map_or_else(|| PathBuf::from(default), PathBuf::from);
    directory.join("hetzner.json").exists().then_some(directory)
}

fn compare(provider: Provider, file: &str) {
    let Some(directory) = directory() else {
        skip("the providers' documents are not here (OPENAPI=DIR)");
        return;
    };
    let table: Value = serde_json::from_str(Contract::source(provider)).unwrap();
    let document: Value = serde_json::from_slice(&std::fs::read(directory.join(file)).unwrap()).unwrap();
    assert_eq!(table["document"]["version"], document["info"]["version"]);
    let mut comparison = Comparison {
        ours: Document(table.clone()),
        theirs: Document(document),
        found: BTreeSet::new(),
        open: BTreeSet::new(),
    };
    for endpoint in table["endpoints"].as_array().unwrap() {
        comparison.endpoint(endpoint);
    }
    comparison.errors();
    let listed = table["deviations"].as_array().unwrap();
    for deviation in listed {
        assert!(deviation["why"].as_str().is_some_and(|why| why.len() > 10), "without a reason: {deviation}");
    }
    let listed: BTreeSet<String> = listed.iter().map(|one| one["difference"].as_str().unwrap().to_owned()).collect();
    let unlisted: Vec<_> = comparison.found.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&comparison.found).collect();
    assert!(unlisted.is_empty() && gone.is_empty(), "not listed: {unlisted:#?}\nno longer there: {gone:#?}");
}

#[test]
fn the_contract_of_hetzner_is_in_its_document() {
    compare(Provider::Hetzner, "hetzner.json");
}

#[test]
fn the_contract_of_digitalocean_is_in_its_document() {
    compare(Provider::Digitalocean, "digitalocean.json");
}

/// The differences of a made-up contract with one endpoint from a made-up document.
fn differences(body: &Value, document_body: &Value) -> Vec<String> {
    let endpoint = json!({"method": "POST", "path": "/a", "query": {"q": {"type": "string"}}, "body": body,
        "answers": {"201": {"type": "object", "properties": {"id": {"type": "integer"}}}}});
    let theirs = json!({"paths": {"/a": {"post": {
        "parameters": [{"in": "query", "name": "q", "schema": {"type": "string"}}],
        "requestBody": {"content": {"application/json": {"schema": document_body}}},
        "responses": {"201": {"content": {"application/json": {"schema":
            {"type": "object", "properties": {"id": {"type": "integer"}}}}}}},
    }}}});
    let (found, open) = (BTreeSet::new(), BTreeSet::new());
    let ours = Document(json!({"$defs": {}}));
    let mut comparison = Comparison { ours, theirs: Document(theirs), found, open };
    comparison.endpoint(&endpoint);
    comparison.found.into_iter().collect()
}

#[test]
fn the_comparison_finds_every_kind_of_difference() {
    let object = |fields: Value| json!({"type": "object", "properties": fields});
    let same = object(json!({"a": {"type": "string", "enum": ["x"]}, "b": {"type": "integer"}}));
    let cases = [
        (same.clone(), same.clone(), vec![]),
        (object(json!({"b-b": {"type": "integer"}})), same.clone(), vec!["POST /a body.b-b: does not exist there"]),
        (object(json!({"b": {"type": "string"}})), same.clone(), vec!["POST /a body.b: is never string there"]),
        (
            object(json!({"b": {"type": ["integer", "null"]}})),
            same.clone(),
            vec!["POST /a body.b: is never null there"],
        ),
        (
            object(json!({"a": {"type": "string", "enum": ["y"]}})),
            same.clone(),
            vec!["POST /a body.a: is never y there"],
        ),
        (object(json!({"a": {"type": "string"}})), same.clone(), vec!["POST /a body.a: is an enum there"]),
        (
            object(json!({"b": {"type": "integer"}})),
            json!({"allOf": [same.clone(), {"required": ["a"]}]}),
            vec!["POST /a body.a: is required there"],
        ),
        (
            object(json!({"b": {"type": "integer"}})),
            json!({"oneOf": [object(json!({"b": {"type": "integer"}})), object(json!({"c": {"type": "string"}}))]}),
            vec![],
        ),
    ];
    for (ours, theirs, expected) in cases {
        assert_eq!(differences(&ours, &theirs), expected, "{ours} {theirs}");
    }
}
