//! Errors and sizes as text.

use machinist_model::NodeName;

/// Formats an error of a node for a line that begins with the node's name.
pub(crate) fn words(node: &NodeName, error: &dyn std::error::Error) -> String {
    let text = chain(error);
    text.strip_prefix(&format!("{node}: ")).map_or(text.clone(), str::to_owned)
}

/// Formats the error with its causes, joined by colons, without repetitions.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// Formats a size, such as `12 MiB`.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1024 * 1024))
}
