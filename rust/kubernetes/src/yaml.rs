//! JSON values as readable YAML: one entry a line, multi-line strings as blocks.

use serde_json::Value;

/// Returns the value as YAML, ending with a newline.
#[must_use]
pub fn print(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value, 0, false);
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

/// Writes the value after a key, a dash, or at the beginning. `inline`: the first line is already indented.
fn write(out: &mut String, value: &Value, depth: usize, inline: bool) {
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            for (position, (key, value)) in entries.iter().enumerate() {
                if position > 0 || !inline {
                    indent(out, depth);
                }
                out.push_str(&scalar(key));
                out.push(':');
                match value {
                    Value::Object(inner) if !inner.is_empty() => {
                        out.push('\n');
                        write(out, value, depth + 1, false);
                    }
                    Value::Array(inner) if !inner.is_empty() => {
                        out.push('\n');
                        write(out, value, depth, false);
                    }
                    _ => {
                        out.push(' ');
                        write(out, value, depth + 1, true);
                    }
                }
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (position, item) in items.iter().enumerate() {
                if position > 0 || !inline {
                    indent(out, depth);
                }
                out.push_str("- ");
                write(out, item, depth + 1, true);
            }
        }
        Value::Object(_) => out.push_str("{}\n"),
        Value::Array(_) => out.push_str("[]\n"),
        Value::String(text) if is_block(text) => write_block(out, text, depth),
        Value::String(text) => {
            out.push_str(&scalar(text));
            out.push('\n');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            out.push_str(&value.to_string());
            out.push('\n');
        }
    }
}

fn is_block(text: &str) -> bool {
    let is_plain = |letter: char| letter == '\n' || !letter.is_control();
    text.trim_end_matches('\n').contains('\n') && text.chars().all(is_plain) && !text.starts_with([' ', '\n'])
}

fn write_block(out: &mut String, text: &str, depth: usize) {
    out.push_str(match text.len() - text.trim_end_matches('\n').len() {
        0 => "|-\n",
        1 => "|\n",
        _ => "|+\n",
    });
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        if !line.is_empty() {
            indent(out, depth);
            out.push_str(line);
        }
        out.push('\n');
    }
}

/// A string, unquoted unless that would be ambiguous.
fn scalar(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte);
    let begins = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/');
    let means_itself = matches!(crate::manifest::plain(text), Ok(Value::String(_)));
    if begins && !text.ends_with(':') && text.bytes().all(is_plain) && means_itself {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use std::path::Path;

    use expect_test::expect;
    use proptest::prelude::{Strategy, any, prop_oneof, proptest};
    use serde_json::{Value, json};

    use super::print;
    use crate::manifest;

    #[test]
    fn a_value_reads_as_a_person_would_write_it() {
        let value = json!({
            "kind": "ConfigMap",
            "data": { "Corefile": ".:53 {\n    errors\n\n}\n", "yes": "no", "empty": "", "one": "a: b" },
            "list": [{ "port": 80, "name": "http" }, [1, 2], {}],
            "none": null,
        });
        expect![[r#"
            data:
              Corefile: |
                .:53 {
                    errors

                }
              empty: ""
              one: "a: b"
              "yes": "no"
            kind: ConfigMap
            list:
            - name: http
              port: 80
            - - 1
              - 2
            - {}
            none: null
        "#]]
        .assert_eq(&print(&value));
    }

    fn values() -> impl Strategy<Value = Value> {
        let text = prop_oneof![any::<String>(), "[a-z0-9:\\- \n#'\"]{0,12}", "[ -~\n]{0,20}"];
        let leaf = prop_oneof![
            text.clone().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-z~<]{0,4}", inner, 0..4)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_as_the_same_value(value in values()) {
            let value = json!({ "value": value });
            let text = print(&value);
            let read = manifest::parse(Path::new("x.yaml"), &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert_eq!(read[0].value, value, "{text}");
        }
    }
}
