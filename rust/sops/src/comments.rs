//! Comments of YAML, which its parser leaves out: what follows a `#` between two scalars.

use std::{collections::BTreeSet, ops::Range};

use crate::{
    layout::{Content, Layout, Leaf, MAX_LEAVES, Step, Style, place},
    value::Plain,
};

/// A map or list, for the comments in it.
pub struct Container {
    /// Its path.
    pub path: Vec<Step>,
    /// Column of its keys or dashes.
    pub column: usize,
    /// From its first byte to the last byte of its last scalar.
    pub span: Range<usize>,
}

/// Adds the comments to the layout.
pub fn add(text: &str, layout: &mut Layout, scalars: &[Range<usize>], containers: &[Container]) {
    let mut spans: Vec<&Range<usize>> = scalars.iter().collect();
    spans.sort_by_key(|span| span.start);
    let extents = extents(text, &spans, containers);
    let mut from = 0;
    let end = text.len()..text.len();
    // What is beyond the bound is refused afterwards, without the work of finding its place.
    let mut left = MAX_LEAVES;
    for span in spans.into_iter().chain([&end]) {
        if span.start >= from {
            for comment in in_gap(text, from..span.start) {
                left = left.saturating_sub(containers.len() / 64 + 1);
                let paths = if left > 0 { candidates(text, &comment, from, &extents) } else { Vec::new() };
                let words = text.get(comment.clone()).unwrap_or_default();
                layout.leaves.push(Leaf {
                    path: paths.first().cloned().unwrap_or_default(),
                    content: Content::Comment(Plain::text(words), paths),
                    span: comment,
                    style: Style::Comment,
                });
            }
        }
        from = from.max(span.end);
    }
}

/// Returns the comments in text without scalars, each without its mark.
fn in_gap(text: &str, gap: Range<usize>) -> Vec<Range<usize>> {
    let mut comments = Vec::new();
    let mut at = gap.start;
    while at < gap.end {
        let rest = text.get(at..gap.end).unwrap_or_default();
        let Some(mark) = rest.find('#').map(|mark| at + mark) else { break };
        let before = text.get(..mark).and_then(|text| text.chars().next_back());
        let end = text.get(mark..).and_then(|text| text.find('\n')).map_or(text.len(), |end| mark + end);
        if before.is_none_or(|char| char.is_whitespace()) {
            comments.push(mark + 1..end);
            at = end;
        } else {
            at = mark + 1;
        }
    }
    comments
}

/// A container, with the free space before and after it.
struct Extent<'a> {
    container: &'a Container,
    /// From the end of the scalar before it to the start of the one after it.
    reach: Range<usize>,
}

fn extents<'a>(text: &str, scalars: &[&Range<usize>], containers: &'a [Container]) -> Vec<Extent<'a>> {
    let mut extents: Vec<Extent<'_>> = containers
        .iter()
        .map(|container| {
            let before = scalars.partition_point(|span| span.start < container.span.start);
            let after = scalars.partition_point(|span| span.start < container.span.end);
            let from = before.checked_sub(1).and_then(|at| scalars.get(at)).map_or(0, |span| span.end);
            let to = scalars.get(after).map_or(text.len(), |span| span.start);
            Extent { container, reach: from..to }
        })
        .collect();
    // Deepest first.
    extents.sort_by_key(|extent| std::cmp::Reverse(extent.container.path.len()));
    extents
}

/// Returns the paths that sops may bind a comment to: the likely one, then those of all containers around and beside it.
///
/// yaml.v3 gives a comment to the node after it, or to the one before if that is on its line, or if what follows is
/// indented less. The metadata, whose key is not indented, follows at the end.
fn candidates(text: &str, comment: &Range<usize>, previous: usize, extents: &[Extent<'_>]) -> Vec<Vec<Step>> {
    let mark = comment.start - 1;
    let line_start = text.get(..mark).and_then(|text| text.rfind('\n')).map_or(0, |end| end + 1);
    let before = text.get(line_start..mark).unwrap_or_default();
    let column = before.chars().count();
    let is_alone = before.trim().is_empty();
    let next = next_indentation(text, comment.end);
    let is_near = |extent: &&Extent<'_>| extent.reach.start <= mark && comment.end <= extent.reach.end;
    let is_opening = |extent: &&Extent<'_>| is_near(extent) && comment.end <= extent.container.span.start;
    let is_inside = |extent: &&Extent<'_>| {
        let span = &extent.container.span;
        let contains = span.start < mark && comment.end <= span.end;
        contains || (is_near(extent) && span.end <= mark && extent.container.column <= next)
    };
    let is_beside = |extent: &&Extent<'_>| extent.container.span.start < mark && previous <= extent.container.span.end;
    let mut paths: Vec<&[Step]> = Vec::new();
    if is_alone && next < column {
        paths.extend(extents.iter().filter(is_opening).map(|extent| extent.container.path.as_slice()));
        paths.extend(extents.iter().find(is_beside).map(|extent| extent.container.path.as_slice()));
    } else if is_alone {
        paths.extend(extents.iter().filter(is_opening).map(|extent| extent.container.path.as_slice()));
        paths.extend(extents.iter().find(is_inside).map(|extent| extent.container.path.as_slice()));
    } else {
        paths.extend(extents.iter().find(is_beside).map(|extent| extent.container.path.as_slice()));
    }
    paths.push(&[]);
    paths.extend(extents.iter().filter(is_near).map(|extent| extent.container.path.as_slice()));
    paths.extend(extents.iter().filter(is_beside).map(|extent| extent.container.path.as_slice()));
    let mut known = BTreeSet::new();
    paths.retain(|path| known.insert(place(path)));
    paths.truncate(MAX_CANDIDATES);
    paths.into_iter().map(<[Step]>::to_vec).collect()
}

/// Returns the column of the next line that is neither empty nor a comment, 0 at the end.
fn next_indentation(text: &str, from: usize) -> usize {
    let lines = text.get(from..).unwrap_or_default().lines().skip(1);
    let indentation = |line: &str| line.chars().take_while(|char| *char == ' ').count();
    let mut full = lines.filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    full.next().map_or(0, indentation)
}

/// The most paths that are tried for a comment.
const MAX_CANDIDATES: usize = 32;
