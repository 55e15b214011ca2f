//! Lines, boxes and chips of an SVG, from top to bottom.

use std::fmt::Write as _;

use crate::service::Kind;

/// Width of the page.
pub(super) const WIDTH: u32 = 1010;

/// Distance from the page's edge.
pub(super) const MARGIN: u32 = 20;

/// Height of a line of text.
pub(super) const LINE: u32 = 18;

/// Distance of text from the edge of its box.
pub(super) const PADDING: u32 = 8;

/// Colours: light, then dark. Each has a contrast of at least 4.5 to 1 to the background and to a machine's box.
const STYLE: &str = "\
svg { background: #ffffff; color: #1f2328; --line: #8c959f; --box: #f6f8fa; --dim: #57606a; --good: #116329; --bad: #b3151f;
  --c0: #0550ae; --c1: #6639ba; --c2: #953800; --c3: #116329; --c4: #8a2061; --c5: #57606a; --c6: #0a6070; --c7: #6b5300 }
@media (prefers-color-scheme: dark) {
  svg { background: #0d1117; color: #e6edf3; --line: #6e7681; --box: #161b22; --dim: #9da7b3; --good: #56d364; --bad: #ff8a80;
    --c0: #79c0ff; --c1: #d2a8ff; --c2: #ffa657; --c3: #7ee787; --c4: #ff9bce; --c5: #9da7b3; --c6: #76e3ea; --c7: #e3b341 } }
text { font: 12px ui-monospace, monospace; fill: currentColor; white-space: pre }
.title { font-size: 18px; font-weight: bold } .strong { font-weight: bold }
.dim { fill: var(--dim) } .good { fill: var(--good) } .bad { fill: var(--bad); font-weight: bold }
rect { fill: none; stroke: var(--line) } .frame { stroke-dasharray: 4 3 } .machine { fill: var(--box) }
.ill { stroke: var(--bad); stroke-width: 3 } path { stroke: var(--line); fill: none }
";

/// Style of text, or of a chip.
#[derive(Clone, Copy)]
pub(super) enum Style {
    Title,
    Strong,
    Plain,
    Dim,
    Good,
    Bad,
    Kind(Kind),
}

impl Style {
    const fn class(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Strong => "strong",
            Self::Plain | Self::Kind(_) => "plain",
            Self::Dim => "dim",
            Self::Good => "good",
            Self::Bad => "bad",
        }
    }

    /// Returns the colour of a chip.
    const fn color(self) -> &'static str {
        match self {
            Self::Kind(Kind::Etcd) => "var(--c0)",
            Self::Kind(Kind::Api) => "var(--c1)",
            Self::Kind(Kind::Endpoint) => "var(--c2)",
            Self::Kind(Kind::Pods) => "var(--c3)",
            Self::Kind(Kind::Ingress) => "var(--c4)",
            Self::Kind(Kind::Store) => "var(--c6)",
            Self::Kind(Kind::App) => "var(--c7)",
            _ => "var(--c5)",
        }
    }
}

/// Returns the width of the text in its font, which has a fixed pitch.
pub(super) fn text_width(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX / 8).saturating_mul(8)
}

/// Page under construction.
#[derive(Default)]
pub(super) struct Canvas {
    body: String,
    y: u32,
}

impl Canvas {
    pub(super) const fn y(&self) -> u32 {
        self.y
    }

    pub(super) const fn down(&mut self, by: u32) {
        self.y = self.y.saturating_add(by);
    }

    pub(super) const fn back_to(&mut self, y: u32) {
        self.y = y;
    }

    pub(super) fn heading(&mut self, text: &str) {
        self.down(LINE / 2);
        self.line(MARGIN, Style::Strong, text);
        self.down(PADDING);
    }

    /// Writes a line of text at the left edge `x`, and goes below it.
    pub(super) fn line(&mut self, x: u32, style: Style, text: &str) {
        self.down(LINE);
        let (y, class, text) = (self.y.saturating_sub(4), style.class(), escaped(text));
        self.push(format_args!("<text x=\"{x}\" y=\"{y}\" class=\"{class}\">{text}</text>\n"));
    }

    /// Draws text in a rounded box, and returns the box's width. The position does not change.
    pub(super) fn chip(&mut self, x: u32, style: Style, text: &str) -> u32 {
        let (width, y, color) = (text_width(text) + 2 * PADDING, self.y, style.color());
        let baseline = y + LINE - 5;
        self.push(format_args!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{LINE}\" rx=\"9\" style=\"stroke: {color}\"/>\n"
        ));
        let (x, text) = (x + PADDING, escaped(text));
        self.push(format_args!("<text x=\"{x}\" y=\"{baseline}\" style=\"fill: {color}\">{text}</text>\n"));
        width
    }

    pub(super) fn arrow(&mut self, x: u32) {
        let (y, from, to) = (self.y + LINE / 2, x + 3, x + 21);
        let (tip, up, down) = (to - 5, y - 4, y + 4);
        self.push(format_args!("<path d=\"M{from} {y}H{to}M{tip} {up}L{to} {y}L{tip} {down}\"/>\n"));
    }

    pub(super) fn frame(&mut self, x: u32, y: u32, width: u32, height: u32) {
        self.rectangle("frame", x, y, width, height);
    }

    pub(super) fn machine(&mut self, x: u32, y: u32, width: u32, height: u32, is_bad: bool) {
        self.rectangle(if is_bad { "machine ill" } else { "machine" }, x, y, width, height);
    }

    fn rectangle(&mut self, class: &str, x: u32, y: u32, width: u32, height: u32) {
        self.push(format_args!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"6\" class=\"{class}\"/>\n"
        ));
    }

    /// Returns the page, with its title and description for those who do not see it.
    pub(super) fn finish(self, title: &str, description: &str) -> String {
        let height = self.y + MARGIN;
        let (title, description, body) = (escaped(title), escaped(description), self.body);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" role=\"img\" aria-labelledby=\"title description\">\n<title id=\"title\">{title}</title>\n\
             <desc id=\"description\">{description}</desc>\n<style>\n{STYLE}</style>\n{body}</svg>\n"
        )
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        // Formatting into a String cannot fail.
        let _infallible = self.body.write_fmt(text);
    }
}

/// Returns the text for XML. Characters that XML has no way to write are replaced.
fn escaped(text: &str) -> String {
    let allowed = |character: char| !character.is_control() && !matches!(character, '\u{fffe}' | '\u{ffff}');
    let clean = text.chars().map(|character| if allowed(character) { character } else { '\u{fffd}' });
    let clean: String = clean.collect();
    clean.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
