//! Reads a text in any of the formats.

use crate::{
    dotenv,
    format::Format,
    ini, json,
    layout::{Content, Layout, LayoutError, MAX_BYTES, MAX_COMMENTS, MAX_LEAVES},
    yaml,
};

/// Reads the places of a text's values.
///
/// # Errors
/// The text is malformed, too long or too deep, or has a construct that cannot be kept.
pub fn layout(format: Format, text: &str) -> Result<Layout, LayoutError> {
    if text.len() > MAX_BYTES {
        return Err(LayoutError { line: 1, why: format!("the file is longer than {} MiB", MAX_BYTES >> 20) });
    }
    let layout = match format {
        Format::Yaml => yaml::read(text)?,
        Format::Json | Format::Binary => json::read(text)?,
        Format::Dotenv => dotenv::read(text)?,
        Format::Ini => ini::read(text)?,
    };
    let comments = layout.leaves.iter().filter(|leaf| matches!(leaf.content, Content::Comment(..))).count();
    if layout.leaves.len() > MAX_LEAVES || comments > MAX_COMMENTS {
        let why = format!("more than {MAX_LEAVES} values or {MAX_COMMENTS} comments");
        return Err(LayoutError { line: 1, why });
    }
    Ok(layout)
}
