//! Positions of attributes in the text of machines.nix.
//!
//! One walk over the syntax tree builds a tree of the same shape as the value, with a byte range for each attribute.
//! Parts that the text does not spell out (a computed set, an imported file) have no children there, so that a lookup
//! ends at the nearest enclosing attribute.

mod depth;
pub mod edit;
mod text;

use std::{collections::HashMap, ops::Range};

use rnix::{
    Root, SyntaxKind, SyntaxNode,
    ast::{Attr, AttrSet, AttrpathValue, BinOpKind, Entry, Expr, HasEntry, Inherit, Str},
};
use rowan::ast::AstNode;

pub use self::text::{Position, SourceText};
use crate::path::{AttrPath, Segment};

/// Maximum depth of the walk. The parser itself stops at 512.
const MAX_DEPTH: usize = 256;

/// The positions of all attributes that the text spells out.
#[derive(Debug, Default)]
pub struct SourceIndex {
    root: Place,
}

/// An attribute or list element in the text, with its children.
#[derive(Debug, Default, Clone)]
struct Place {
    range: Range<usize>,
    attributes: HashMap<String, Place>,
    elements: Vec<Place>,
}

impl SourceIndex {
    /// Parses the text and finds all attributes. For a text with syntax errors, or with excessive nesting, the index
    /// holds as much as is recognisable.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut root = Place::default();
        if depth::is_too_deep(text) {
            return Self { root };
        }
        if let Some(expression) = Root::parse(text).tree().expr() {
            root.range = first_character(text, &expression);
            fill(&mut root, &expression, 0);
        }
        Self { root }
    }

    /// Returns the byte range of the attribute, or of the nearest enclosing one that the text spells out.
    #[must_use]
    pub fn locate(&self, path: &AttrPath) -> Range<usize> {
        let mut place = &self.root;
        for segment in path.segments() {
            let below = match segment {
                Segment::Name(name) => place.attributes.get(name),
                Segment::Index(index) => place.elements.get(*index),
            };
            match below {
                Some(below) => place = below,
                None => break,
            }
        }
        place.range.clone()
    }
}

/// Returns the first character of the file's set, below functions, `let` and the like.
fn first_character(text: &str, expression: &Expr) -> Range<usize> {
    let start = range_of(body(expression.clone(), 0).syntax()).start;
    let length = text.get(start..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    start..start + length
}

/// Returns the body of functions, `let`, `with` and parentheses, as far as the text determines it.
fn body(expression: Expr, depth: usize) -> Expr {
    let inner = match &expression {
        Expr::Lambda(lambda) => lambda.body(),
        Expr::LetIn(binding) => binding.body(),
        Expr::With(with) => with.body(),
        Expr::Assert(assertion) => assertion.body(),
        Expr::Paren(paren) => paren.expr(),
        _ => None,
    };
    match inner {
        Some(inner) if depth < MAX_DEPTH => body(inner, depth + 1),
        _ => expression,
    }
}

/// Adds the attributes that the expression spells out below `place`.
fn fill(place: &mut Place, expression: &Expr, depth: usize) {
    if depth >= MAX_DEPTH {
        return;
    }
    match body(expression.clone(), depth) {
        Expr::AttrSet(set) => fill_set(place, &set, depth),
        Expr::List(list) => {
            place.elements = list.items().map(|item| element(&item, depth)).collect();
        }
        Expr::BinOp(operation) => fill_operation(place, &operation, depth),
        Expr::IfElse(choice) => {
            // Only the evaluation knows which branch was taken; if both have the attribute, the first one is shown.
            for branch in [choice.else_body(), choice.body()].into_iter().flatten() {
                override_with(place, &branch, depth);
            }
        }
        _ => {}
    }
}

/// `a // b` takes attributes from both sides, and the right one wins; `a ++ b` concatenates lists.
fn fill_operation(place: &mut Place, operation: &rnix::ast::BinOp, depth: usize) {
    match operation.operator() {
        Some(BinOpKind::Update) => {
            for side in [operation.lhs(), operation.rhs()].into_iter().flatten() {
                override_with(place, &side, depth);
            }
        }
        Some(BinOpKind::Concat) => {
            let Some(left) = operation.lhs() else { return };
            // After a computed list the positions are unknown.
            if matches!(body(left.clone(), depth), Expr::List(_)) {
                fill(place, &left, depth + 1);
                let mut right = Place::default();
                if let Some(expression) = operation.rhs() {
                    fill(&mut right, &expression, depth + 1);
                }
                place.elements.append(&mut right.elements);
            }
        }
        _ => {}
    }
}

/// Replaces attributes of `place` by those that the expression spells out.
fn override_with(place: &mut Place, expression: &Expr, depth: usize) {
    let mut side = Place::default();
    fill(&mut side, expression, depth + 1);
    place.attributes.extend(side.attributes);
    if !side.elements.is_empty() {
        place.elements = side.elements;
    }
}

fn element(item: &Expr, depth: usize) -> Place {
    let mut place = Place { range: shown(range_of(item.syntax()), item.syntax()), ..Place::default() };
    fill(&mut place, item, depth + 1);
    place
}

fn fill_set(place: &mut Place, set: &AttrSet, depth: usize) {
    for entry in set.entries() {
        match entry {
            Entry::Inherit(inherit) => fill_inherit(place, &inherit),
            Entry::AttrpathValue(binding) => {
                fill_binding(place, &binding, depth);
            }
        }
    }
}

fn fill_inherit(place: &mut Place, inherit: &Inherit) {
    for attribute in inherit.attrs() {
        if let Some(name) = plain_name(&attribute) {
            place.attributes.insert(name, Place { range: range_of(attribute.syntax()), ..Place::default() });
        }
    }
}

/// Adds `a.b.c = value;`: each part of the path is a separate attribute.
fn fill_binding(place: &mut Place, binding: &AttrpathValue, depth: usize) {
    let (Some(path), Some(value)) = (binding.attrpath(), binding.value()) else { return };
    let mut place = place;
    let mut last = None;
    for attribute in path.attrs() {
        let Some(name) = plain_name(&attribute) else { return };
        let range = range_of(attribute.syntax());
        place = place.attributes.entry(name).or_insert_with(|| Place { range, ..Place::default() });
        last = Some(range_of(attribute.syntax()));
    }
    let Some(name) = last else { return };
    let whole = name.start..range_of(value.syntax()).end;
    place.range = if is_on_one_line(binding.syntax()) { whole } else { name };
    fill(place, &value, depth + 1);
}

/// Returns the range to show: for a value of several lines only its first line.
fn shown(range: Range<usize>, node: &SyntaxNode) -> Range<usize> {
    if is_on_one_line(node) { range } else { range.start..range.start + 1 }
}

fn is_on_one_line(node: &SyntaxNode) -> bool {
    !node.text().contains_char('\n')
}

fn range_of(node: &SyntaxNode) -> Range<usize> {
    let range = node.text_range();
    range.start().into()..range.end().into()
}

/// Returns the name of an attribute, unless it is computed.
fn plain_name(attribute: &Attr) -> Option<String> {
    match attribute {
        Attr::Ident(identifier) => Some(identifier.syntax().text().to_string()),
        Attr::Str(string) => quoted_name(string),
        Attr::Dynamic(_) => None,
    }
}

fn quoted_name(string: &Str) -> Option<String> {
    let mut name = String::new();
    for part in string.syntax().children_with_tokens() {
        match part.kind() {
            SyntaxKind::TOKEN_STRING_CONTENT => name.push_str(part.as_token()?.text()),
            SyntaxKind::NODE_INTERPOL => return None,
            _ => {}
        }
    }
    // An escape in an attribute's name is kept: no valid name contains one.
    Some(name)
}

#[cfg(test)]
mod tests;
