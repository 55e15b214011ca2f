//! Nesting depth of a text, measured on its tokens.
//!
//! rnix builds a tree as deep as a chain of operators is long, and drops it by recursion; some 10,000 levels overflow a
//! thread's stack. No real machines.nix comes near, but the input may be arbitrary.

use rnix::{SyntaxKind, tokenize};

/// Maximum nesting of a text that is parsed. Nix itself stops at 10,000 (bison's YYMAXDEPTH).
const DEEPEST: usize = 3000;

/// An open bracket, or the complete text.
#[derive(Default)]
struct Group {
    is_list: bool,
    /// The deepest statement so far.
    deepest: usize,
    /// Tokens since the last separator: a chain of operators cannot be deeper.
    tokens: usize,
    /// The deepest bracket since the last separator.
    below: usize,
}

impl Group {
    fn separate(&mut self) {
        self.deepest = self.depth();
        (self.tokens, self.below) = (0, 0);
    }

    fn depth(&self) -> usize {
        self.deepest.max(self.tokens + self.below)
    }
}

/// Returns true if the text nests too deep to be parsed safely.
pub fn is_too_deep(text: &str) -> bool {
    let mut groups = vec![Group::default()];
    for (kind, token) in tokenize(text) {
        let is_nested = groups.len() > 1;
        let Some(group) = groups.last_mut() else { return true };
        match token {
            _ if kind == SyntaxKind::TOKEN_STRING_CONTENT || kind.is_trivia() => {}
            ";" | "," => group.separate(),
            "{" | "(" | "[" | "${" => groups.push(Group { is_list: token == "[", ..Group::default() }),
            "}" | ")" | "]" if is_nested => close(&mut groups),
            // The elements of a list do not nest in each other.
            _ if group.is_list => {}
            _ => group.tokens += 1,
        }
        if groups.len() > DEEPEST {
            return true;
        }
    }
    while groups.len() > 1 {
        close(&mut groups);
    }
    groups.last().is_none_or(|whole| whole.depth() > DEEPEST)
}

fn close(groups: &mut Vec<Group>) {
    let depth = groups.pop().map_or(0, |group| group.depth() + 1);
    if let Some(outer) = groups.last_mut() {
        outer.below = outer.below.max(depth);
        outer.tokens += usize::from(!outer.is_list);
    }
}

#[cfg(test)]
mod tests {
    use super::is_too_deep;

    #[test]
    fn long_files_are_parsed_and_deep_ones_are_not() {
        let check = |text: String, expect: bool| assert_eq!(is_too_deep(&text), expect, "{}", &text[..40]);
        check(format!("{{ {} }}", "a.b = { c = [ 1 2 ]; }; ".repeat(50_000)), false);
        check(format!("[ {} ]", "1 ".repeat(50_000)), false);
        check(format!("{{ {} }}: 1", "a, ".repeat(50_000)), false);
        check(format!("{}1", "a ++ ".repeat(1_000)), false);
        check(format!("{}1", "a ++ ".repeat(50_000)), true);
        check("[".repeat(50_000), true);
        // The chain continues after a deep bracket: the depths add up.
        check(format!("({}1) {}", "1 + ".repeat(1_000), "+ 1 ".repeat(1_000)), true);
    }
}
