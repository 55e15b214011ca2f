//! Location of values in JSON that are nested deeper than the parser accepts.

/// Maximum nesting of lists and sets that the parser accepts (`serde_json`, limited by its stack).
pub const LIMIT: usize = 127;

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// An attribute of a set.
    Name(String),
    /// An element of a list, from 0.
    Index(usize),
}

/// Returns the path of the first value nested deeper than the limit, if there is one. The JSON comes from nix, so it is
/// well-formed.
pub fn too_deep(json: &str) -> Option<Vec<Step>> {
    let mut path: Vec<Step> = Vec::new();
    let mut rest = json.char_indices();
    while let Some((start, character)) = rest.next() {
        match character {
            '{' | '[' if path.len() == LIMIT => return Some(path),
            '{' => path.push(Step::Name(String::new())),
            '[' => path.push(Step::Index(0)),
            '}' | ']' => drop(path.pop()),
            ',' => {
                if let Some(Step::Index(index)) = path.last_mut() {
                    *index += 1;
                }
            }
            '"' => {
                let end = end_of_string(&mut rest)?;
                // A name is a string before a colon.
                let is_name = json[end..].trim_start().starts_with(':');
                if let Some(Step::Name(name)) = path.last_mut().filter(|_| is_name) {
                    *name = serde_json::from_str(&json[start..end]).ok()?;
                }
            }
            _ => {}
        }
    }
    None
}

fn end_of_string(rest: &mut std::str::CharIndices<'_>) -> Option<usize> {
    while let Some((at, character)) = rest.next() {
        match character {
            '\\' => drop(rest.next()),
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{LIMIT, Step, too_deep};

    fn nested(levels: usize) -> String {
        format!("{}1{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn the_path_of_what_is_nested_too_deeply_is_found() {
        let json = format!(r#"{{"a":[1,{{"x\"{{":"}}]"}}],"b":[0,{}]}}"#, nested(LIMIT - 1));
        let path = too_deep(&json).unwrap();
        assert_eq!(path[..3], [Step::Name("b".to_owned()), Step::Index(1), Step::Index(0)]);
        assert_eq!(path.len(), LIMIT);
    }

    #[test]
    fn the_limit_is_the_readers() {
        for levels in [LIMIT, LIMIT + 1] {
            let json = nested(levels);
            let read = serde_json::from_str::<serde_json::Value>(&json);
            assert_eq!(read.is_err(), too_deep(&json).is_some(), "{levels}");
        }
    }
}
