//! Places in INI files: sections, and a key and a value a line. What gopkg.in/ini.v1, which sops uses, gives a meaning
//! beyond that (quotes, line continuations, interpolation, child sections) is refused.

use std::collections::BTreeSet;

use crate::{
    dotenv::flattened,
    layout::{Content, Entry, Gap, Layout, LayoutError, Leaf, METADATA, Map, Step, Style},
    value::Plain,
};

/// The name of the section before the first one, in sops.
const DEFAULT: &str = "DEFAULT";

/// Reads the places of an INI file.
pub fn read(text: &str) -> Result<Layout, LayoutError> {
    let mut reader = Reader { layout: Layout::default(), sections: BTreeSet::new(), keys: BTreeSet::new() };
    let mut section = DEFAULT.to_owned();
    let mut start = 0;
    // Where a new key of the section goes: after its last line with one.
    let mut end_of_section = 0;
    let mut last_comment = None;
    let mut metadata_from = None;
    for line in text.split_inclusive('\n') {
        let content = line.trim_end_matches(['\n', '\r']);
        let at = |why| LayoutError::at(text, start, why);
        if let Some(name) = content.trim().strip_prefix('[') {
            let name = name.strip_suffix(']').ok_or_else(|| at("a section's name without its end"))?;
            reader.end_section(&section, end_of_section, text);
            if section == METADATA {
                return Err(at("a section after that of the metadata"));
            }
            section = reader.section(name).map_err(at)?;
            end_of_section = start + line.len();
            last_comment = None;
            if section == METADATA {
                metadata_from = Some(start);
            }
        } else if content.trim_start().starts_with([';', '#']) {
            if last_comment.is_some() {
                return Err(at("two lines of comments in a row, which sops joins: keep one"));
            }
            last_comment = Some(());
            reader.comment(&section, content, start).map_err(at)?;
        } else if !content.trim().is_empty() {
            reader.key(&section, content, start, line.len()).map_err(at)?;
            end_of_section = start + line.len();
            last_comment = None;
        }
        start += line.len();
    }
    reader.end_section(&section, end_of_section, text);
    reader.layout.metadata = metadata_from.map(|from| from..text.len());
    Ok(reader.layout)
}

struct Reader {
    layout: Layout,
    sections: BTreeSet<String>,
    keys: BTreeSet<(String, String)>,
}

impl Reader {
    fn section(&mut self, name: &str) -> Result<String, &'static str> {
        let is_plain = !name.is_empty() && name.trim() == name && !name.contains(['[', ']', '"', '\\']);
        if !is_plain {
            return Err("a section's name with brackets, quotes or spaces around it");
        }
        if name == DEFAULT || !self.sections.insert(name.to_owned()) {
            return Err("a section is there twice");
        }
        Ok(name.to_owned())
    }

    fn comment(&mut self, section: &str, content: &str, start: usize) -> Result<(), &'static str> {
        if section == METADATA {
            return Err("a comment in the section `sops`");
        }
        // sops rewrites comments of INI files without their mark, so it is not a part of the text.
        let text = content.trim_start().trim_start_matches(['#', ';', ' ']);
        let offset = content.len() - text.len();
        self.layout.leaves.push(Leaf {
            path: vec![Step::key(section)],
            content: Content::Comment(Plain::text(text), vec![vec![Step::key(section)]]),
            span: start + offset..start + content.len(),
            style: Style::Comment,
        });
        Ok(())
    }

    fn key(&mut self, section: &str, content: &str, start: usize, length: usize) -> Result<(), &'static str> {
        let at = content.find(['=', ':']).ok_or("a line without an equals sign")?;
        let (name, value) = content.split_at(at);
        let (name, value) = (name.trim(), value.get(1..).unwrap_or_default());
        if name.is_empty() || name.starts_with(['"', '`']) {
            return Err("a key that is empty or quoted");
        }
        let trimmed = value.trim();
        if unsupported(trimmed) {
            return Err("a value with quotes, a line continuation, a comment after it or `%(`");
        }
        if !self.keys.insert((section.to_owned(), name.to_owned())) {
            return Err("a key is there twice");
        }
        let path = match section {
            METADATA => [vec![Step::key(METADATA)], flattened(name)].concat(),
            section => vec![Step::key(section), Step::key(name)],
        };
        let offset = start + content.len() - value.trim_start().len();
        let text = if section == METADATA { trimmed.replace("\\n", "\n") } else { trimmed.to_owned() };
        self.layout.leaves.push(Leaf {
            path: path.clone(),
            content: Content::Value(Plain::text(text)),
            span: offset..offset + trimmed.len(),
            style: Style::Ini,
        });
        self.layout.entries.push(Entry { path, span: Ok(start..start + length) });
        Ok(())
    }

    fn end_section(&mut self, section: &str, at: usize, text: &str) {
        let before = if text.get(..at).is_some_and(|text| text.is_empty() || text.ends_with('\n')) { "" } else { "\n" };
        let gap = Gap { at, before: before.to_owned(), after: "\n".to_owned(), column: 0 };
        self.layout.maps.push(Map { path: vec![Step::key(section)], gap: Ok(gap) });
    }
}

/// Returns true for a value that means something else than its text.
pub fn unsupported(value: &str) -> bool {
    value.starts_with(['"', '\'', '`'])
        || value.ends_with('\\')
        || value.contains(" ;")
        || value.contains(" #")
        || value.starts_with([';', '#'])
        || value.contains("%(")
}
