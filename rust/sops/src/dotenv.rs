//! Places in dotenv files: a key, an equals sign and the rest of the line, as sops has it. Quotes are part of a value.

use std::{collections::BTreeSet, ops::Range};

use crate::{
    layout::{Content, Entry, Gap, Layout, LayoutError, Leaf, METADATA, Map, Step, Style},
    value::Plain,
};

/// Prefix of the keys of the metadata.
const PREFIX: &str = "sops_";

/// Reads the places of a dotenv file.
pub fn read(text: &str) -> Result<Layout, LayoutError> {
    let mut layout = Layout::default();
    let mut names = BTreeSet::new();
    let mut start = 0;
    let mut metadata: Option<Range<usize>> = None;
    for line in text.split_inclusive('\n') {
        let end = start + line.len();
        let content = line.strip_suffix('\n').unwrap_or(line);
        if let Some(comment) = content.strip_prefix('#') {
            layout.leaves.push(Leaf {
                path: Vec::new(),
                content: Content::Comment(Plain::text(comment), vec![Vec::new()]),
                span: start + 1..start + content.len(),
                style: Style::Comment,
            });
        } else if !content.is_empty() {
            let at = |why| LayoutError::at(text, start, why);
            let (name, value) = content.split_once('=').ok_or_else(|| at("a line without an equals sign"))?;
            if !names.insert(name) {
                return Err(at("a key is there twice"));
            }
            let path = path_of(name);
            if path.len() > 1 {
                let from = metadata.get_or_insert(start..start);
                if from.end != start {
                    return Err(at("a line between those of the metadata"));
                }
                from.end = end;
            }
            layout.leaves.push(Leaf {
                path: path.clone(),
                content: Content::Value(Plain::text(value.replace("\\n", "\n"))),
                span: start + name.len() + 1..start + content.len(),
                style: Style::Dotenv,
            });
            layout.entries.push(Entry { path, span: Ok(start..end) });
        }
        start = end;
    }
    let before = if metadata.is_none() && !text.is_empty() && !text.ends_with('\n') { "\n" } else { "" };
    let at = metadata.as_ref().map_or(text.len(), |lines| lines.start);
    let gap = Gap { at, before: before.to_owned(), after: "\n".to_owned(), column: 0 };
    layout.maps.push(Map { path: Vec::new(), gap: Ok(gap) });
    layout.metadata = metadata;
    Ok(layout)
}

/// Returns the path of a key: those of the metadata are below `sops`.
fn path_of(name: &str) -> Vec<Step> {
    match name.strip_prefix(PREFIX) {
        Some(rest) => [vec![Step::key(METADATA)], flattened(rest)].concat(),
        None => vec![Step::key(name)],
    }
}

/// Returns the text of a value.
pub fn render(text: &str) -> String {
    text.replace('\n', "\\n")
}

/// Returns the path in a flattened key, `age__list_0__map_enc`.
pub fn flattened(name: &str) -> Vec<Step> {
    let mut path = Vec::new();
    for part in name.split("__map_") {
        for (within, part) in part.split("__list_").enumerate() {
            match part.parse::<usize>() {
                Ok(index) if within > 0 => path.push(Step::Index(index)),
                _ => path.push(Step::key(part)),
            }
        }
    }
    path
}

/// Returns the flattened key of a path.
pub fn flatten(path: &[Step]) -> String {
    let mut name = String::new();
    for (at, step) in path.iter().enumerate() {
        match step {
            Step::Key(key) if at == 0 => name.push_str(key),
            Step::Key(key) => name.push_str(&format!("__map_{key}")),
            Step::Index(index) => name.push_str(&format!("__list_{index}")),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flattened_keys_are_read_back() {
        for name in ["mac", "age__list_0__map_enc", "key_groups__list_1__map_age__list_0__map_recipient"] {
            assert_eq!(flatten(&flattened(name)), name);
        }
    }
}
