//! The only place that writes to the terminal. Results go to stdout, the story to stderr.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::failure::Failure;

/// How to speak to whoever runs the command.
#[derive(Clone, Copy, Debug)]
pub struct Ui {
    /// Results are JSON on stdout.
    pub json: bool,
    /// Say more.
    pub verbose: bool,
    /// stderr is a terminal that moves its cursor.
    pub is_terminal: bool,
    color: bool,
}

/// How a piece of text looks.
#[derive(Clone, Copy)]
pub enum Tone {
    /// Something is wrong.
    Bad,
    /// Something deserves a look.
    Careful,
    /// All is well.
    Good,
    /// Less important.
    Faint,
    /// More important.
    Strong,
}

impl Ui {
    /// Looks at the terminal. Colours only on a terminal and without `NO_COLOR`.
    pub fn new(json: bool, verbose: bool) -> Self {
        let is_terminal = io::stderr().is_terminal();
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { json, verbose, is_terminal, color: is_terminal && wanted && !json }
    }

    /// Returns the same without what is only said when asked to say more.
    pub const fn quiet(self) -> Self {
        Self { verbose: false, ..self }
    }

    /// Returns whether colours are in use.
    pub const fn color(&self) -> bool {
        self.color
    }

    /// Returns the text in the tone, or as it is where there are no colours.
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        if !self.color {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Bad => "1;31",
            Tone::Careful => "1;33",
            Tone::Good => "32",
            Tone::Faint => "2",
            Tone::Strong => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// Prints a result.
    pub fn result(&self, text: &str) {
        write_line(&mut io::stdout().lock(), text);
    }

    /// Prints a result as JSON, indented, keys sorted as the type has them.
    pub fn result_json(&self, value: &impl Serialize) {
        let text = serde_json::to_string_pretty(value).unwrap_or_else(|error| format!("\"{error}\""));
        write_line(&mut io::stdout().lock(), &text);
    }

    /// Prints one JSON line of a stream of results.
    pub fn result_json_line(&self, value: &impl Serialize) {
        let text = serde_json::to_string(value).unwrap_or_else(|error| format!("\"{error}\""));
        write_line(&mut io::stdout().lock(), &text);
    }

    /// Prints a result as a table.
    pub fn result_table(&self, header: &[&str], rows: Vec<Vec<String>>) {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING).set_header(header.to_vec());
        table.add_rows(rows);
        // Without borders every cell still has its padding; it helps at neither end of a line.
        let lines = table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned());
        self.result(&lines.collect::<Vec<_>>().join("\n"));
    }

    /// Tells the story.
    pub fn story(&self, text: &str) {
        write_line(&mut io::stderr().lock(), text);
    }

    /// Warns.
    pub fn warn(&self, text: &str) {
        self.story(&format!("{} {text}", self.paint(Tone::Careful, "warning:")));
    }

    /// Says what ended the command.
    pub fn failure(&self, failure: &Failure) {
        if self.json && !failure.message.is_empty() {
            let (message, causes, hints) = (&failure.message, &failure.causes, &failure.hints);
            self.result_json(&serde_json::json!({ "error": message, "causes": causes, "hints": hints }));
            return;
        }
        if !failure.message.is_empty() {
            self.story(&format!("{} {}", self.paint(Tone::Bad, "error:"), indent(&failure.message, "  ")));
        }
        for cause in &failure.causes {
            self.story(&format!("  {} {}", self.paint(Tone::Faint, "cause:"), indent(cause, "    ")));
        }
        for hint in &failure.hints {
            self.story(&format!("  {} {}", self.paint(Tone::Strong, "hint:"), indent(hint, "    ")));
        }
    }
}

/// Indents all lines but the first.
pub fn indent(text: &str, by: &str) -> String {
    text.lines().collect::<Vec<_>>().join(&format!("\n{by}"))
}

/// A reader that went away, such as `head`, must not end what is under way on machines: nobody reads on, and that is all.
fn write_line(stream: &mut impl Write, text: &str) {
    let _unread = writeln!(stream, "{text}").and_then(|()| stream.flush());
}
