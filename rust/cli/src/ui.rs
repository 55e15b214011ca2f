//! Terminal output, which only this module writes. Results are printed to stdout, status messages to stderr.

mod stream;
mod style;

use std::{
    borrow::Cow,
    io::{self, IsTerminal as _},
};

use machinist_text as text;
use miette::{GraphicalReportHandler, GraphicalTheme};
use serde::Serialize;

pub use self::style::Tone;
use crate::failure::{Failure, Kind};

/// Maximum length of a status message, in bytes. Output of a host is unbounded.
const LONGEST: usize = 16 << 10;

/// Output settings.
#[derive(Clone, Copy, Debug)]
pub struct Ui {
    /// True if results are printed to stdout as JSON.
    pub json: bool,
    /// True for verbose output.
    pub verbose: bool,
    /// True if stderr is a terminal with cursor control.
    pub is_terminal: bool,
    color: bool,
}

impl Ui {
    /// Detects the terminal's capabilities. Colours require a terminal and no `NO_COLOR`.
    pub fn new(json: bool, verbose: bool) -> Self {
        let is_terminal = io::stderr().is_terminal();
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { json, verbose, is_terminal, color: is_terminal && wanted && !json }
    }

    /// Returns the text in the tone, or unchanged if colours are off.
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        if self.color { style::paint(tone, text) } else { text.to_owned() }
    }

    /// Prints a result.
    pub fn result(&self, text: &str) {
        let shown = if stream::is_terminal() { style::render(text) } else { style::plain(text).into() };
        stream::write(format!("{shown}\n").as_bytes());
    }

    /// Prints a document for another program, unmodified except for control sequences on a terminal.
    pub fn document(&self, bytes: &[u8]) {
        if stream::is_terminal() {
            stream::write(text::visible(&String::from_utf8_lossy(bytes)).as_bytes());
        } else {
            stream::write(bytes);
        }
    }

    /// Prints a result as indented JSON, with the keys in the type's order.
    pub fn result_json(&self, value: &impl Serialize) {
        let text = serde_json::to_string_pretty(value).unwrap_or_else(|error| format!("\"{error}\""));
        stream::write(format!("{}\n", text::json(&text)).as_bytes());
    }

    /// Prints one JSON line of a stream of results.
    pub fn result_json_line(&self, value: &impl Serialize) {
        let text = serde_json::to_string(value).unwrap_or_else(|error| format!("\"{error}\""));
        stream::write(format!("{}\n", text::json(&text)).as_bytes());
    }

    /// Prints a result as a table.
    pub fn result_table(&self, header: &[&str], rows: Vec<Vec<String>>) {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING).set_header(header.to_vec());
        // A cell must stay on one line, even if a host's unit name contains a line break.
        table.add_rows(rows.into_iter().map(|row| row.into_iter().map(|cell| cell.replace(['\n', '\t'], " "))));
        // Cells are padded even without borders; the padding at both ends of a line is removed.
        let lines = table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned());
        self.result(&lines.collect::<Vec<_>>().join("\n"));
    }

    /// Returns true if no further result can be printed: the reader closed its end, or the disk is full.
    pub fn is_unread(&self) -> bool {
        stream::is_broken()
    }

    /// Prints progress, a note or an error. Only its first line begins at the margin: text from other sources cannot
    /// imitate a line of machinist.
    pub fn story(&self, text: &str) {
        stream::write_story(&self.told(text));
    }

    /// Returns the output of [`story`](Self::story), for a terminal drawn by another library.
    pub fn told(&self, text: &str) -> String {
        let indented = if text.contains('\n') { Cow::Owned(hanging(text)) } else { Cow::Borrowed(text) };
        if indented.len() > LONGEST {
            return text::bounded(&style::plain(&indented), LONGEST).into_owned();
        }
        style::render(&indented).into_owned()
    }

    /// Prints a diagnostic about a file, with its location.
    pub fn diagnostic(&self, diagnostic: &dyn miette::Diagnostic) {
        let rendered = |theme| {
            let mut text = String::new();
            let handler = GraphicalReportHandler::new_themed(theme).with_links(false);
            // Formatting into a String cannot fail.
            let _infallible = handler.render_report(&mut text, diagnostic);
            text.trim_end().to_owned()
        };
        let plain = rendered(GraphicalTheme::unicode_nocolor());
        let shown = if self.color { style::adopt(&plain, &rendered(GraphicalTheme::unicode())) } else { plain };
        self.story(&shown);
    }

    /// Prints a warning.
    pub fn warn(&self, text: &str) {
        self.story(&format!("{} {text}", self.paint(Tone::Careful, "warning:")));
    }

    /// Prints the error that ended the command.
    pub fn failure(&self, failure: &Failure) {
        if !failure.diagnostics.is_empty() {
            return self.diagnosed(failure);
        }
        if self.json && !self.is_unread() {
            let (message, causes, hints) = (&failure.message, &failure.causes, &failure.hints);
            self.result_json(&serde_json::json!({ "error": message, "causes": causes, "hints": hints }));
            return;
        }
        self.story(&format!("{} {}", self.paint(Tone::Bad, "error:"), indent(&failure.message, "  ")));
        for cause in &failure.causes {
            self.story(&format!("  {} {}", self.paint(Tone::Faint, "cause:"), indent(cause, "    ")));
        }
        for hint in &failure.hints {
            self.story(&format!("  {} {}", self.paint(Tone::Strong, "hint:"), indent(hint, "    ")));
        }
    }

    fn diagnosed(&self, failure: &Failure) {
        if self.json {
            return self.result_json(&serde_json::json!({ "errors": failure.diagnostics }));
        }
        failure.diagnostics.iter().for_each(|diagnostic| self.diagnostic(diagnostic));
        self.story(&format!("{}; `machinist explain CODE` says more", failure.message));
    }

    /// Returns the reason why a successful command still failed: its result could not be printed.
    pub fn unwritten(&self) -> Option<Failure> {
        let why = stream::unwritten()?;
        let failure = Failure::new(Kind::Failed, "standard output: the result was cut off");
        Some(Failure { causes: vec![why], ..failure })
    }
}

/// Indents all lines but the first.
pub fn indent(text: &str, by: &str) -> String {
    text.lines().collect::<Vec<_>>().join(&format!("\n{by}"))
}

/// Indents the lines after the first that begin at the margin.
fn hanging(text: &str) -> String {
    let mut lines = text.lines();
    let mut all = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        let margin = if line.is_empty() || line.starts_with([' ', '\t']) { "" } else { "  " };
        all.extend(["\n", margin, line]);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, Tone, Ui};

    const UI: Ui = Ui { json: false, verbose: false, is_terminal: true, color: true };

    #[test]
    fn no_text_from_elsewhere_looks_like_a_line_of_ours() {
        let gate = "curl: \u{1b}[1A\u{1b}[2Kfailed\nc1 runs the new system\r\n\n  indented";
        let told = UI.told(&format!("{} {gate}", UI.paint(Tone::Strong, "c1")));
        assert_eq!(
            told,
            "\u{1b}[1mc1\u{1b}[0m curl: \\u{1b}[1A\\u{1b}[2Kfailed\n  c1 runs the new system\n\n  indented"
        );
    }

    #[test]
    fn what_a_host_prints_without_end_is_cut() {
        let told = UI.told(&UI.paint(Tone::Bad, &"x".repeat(2 * LONGEST)));
        assert!(told.len() < LONGEST + 100 && told.ends_with(" more bytes)"), "{}", told.len());
    }
}
