//! Loading of the evaluated machines.nix: a checked cluster, or all of its problems.

mod assemble;
mod decode;
mod flat;
mod given;
mod schema;

use std::sync::Arc;

use serde_json::{Map, Value};

pub use self::flat::convert_flat;
use self::given::Given;
use crate::{
    Cluster, Directory,
    check::{self, Context},
    diagnostic::{Diagnostic, Related},
    path::AttrPath,
    report::{Finding, Report},
    shape::Shape,
    source::{SourceIndex, SourceText},
};

/// A machines.nix that can be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The cluster.
    pub cluster: Cluster,
    /// Warnings, in the order of the source.
    pub warnings: Vec<Diagnostic>,
}

/// Checks an evaluated machines.nix and returns the cluster that it describes.
///
/// `json` is the value as printed by `nix-instantiate --eval --strict --json` (a function is already applied), `source`
/// the text of the file, used only for positions, and `file_name` its name in messages. `directory` lists the files
/// beside it.
///
/// # Errors
/// All problems, warnings included, in the order of the source. At least one is an error.
pub fn load(json: &Value, source: &str, file_name: &str, directory: &Directory) -> Result<Loaded, Vec<Diagnostic>> {
    let mut report = Report::default();
    let (mut shape, layout) = decode(json, &mut report);
    let given = Given::fill(&mut shape, directory);
    check::all(&Context { shape: &shape, directory }, &mut report);
    let cluster = if report.has_errors() { None } else { assemble_or_report(&shape, &mut report) };
    let diagnostics = place(report.findings, &layout, source, file_name);
    match cluster {
        Some(mut cluster) => {
            given.mark(&mut cluster);
            Ok(Loaded { cluster, warnings: diagnostics })
        }
        None => Err(diagnostics),
    }
}

fn assemble_or_report(shape: &Shape, report: &mut Report) -> Option<Cluster> {
    assemble::assemble(shape).map_err(|finding| report.push(*finding)).ok()
}

/// Notation of the file that a [`Shape`] was read from.
#[derive(Debug)]
enum Layout {
    /// The sectioned shape.
    Today,
    /// The flat shape; `router` is the name of a Router that the file identifies only by its address.
    Flat { router: Option<String> },
}

fn decode(json: &Value, report: &mut Report) -> (Shape, Layout) {
    if let Some(converted) = flat::convert(json, report) {
        return (decode_sections(&converted.json, report), Layout::Flat { router: converted.router });
    }
    (decode_sections(json, report), Layout::Today)
}

/// Decodes each section and each machine separately, so that a mistake in one does not suppress the checks of the
/// others.
fn decode_sections(json: &Value, report: &mut Report) -> Shape {
    let root = AttrPath::root();
    let Value::Object(sections) = json else {
        decode::describe(&root, json, report);
        return Shape::default();
    };
    for (name, value) in sections {
        if schema::at(&[name.into()]).is_none() {
            decode::describe(&root.join(name), value, report);
        }
    }
    let no_machines = Map::new();
    let machines = match sections.get("machines") {
        Some(Value::Object(machines)) => machines,
        Some(other) => {
            decode::describe(&root.join("machines"), other, report);
            &no_machines
        }
        None => {
            if !report.is_broken(&root.join("machines")) {
                report.push(check::missing(&root.join("machines")));
            }
            report.mark_broken(root.join("machines"));
            &no_machines
        }
    };
    let section = |name: &str| sections.get(name).map(|value| (value, root.join(name)));
    let (cluster, network, kube_master) = (section("cluster"), section("network"), section("kubeMaster"));
    let (kubernetes, dns) = (section("kubernetes"), section("dns"));
    let secrets = section("secrets");
    Shape {
        cluster: cluster.map(|(value, base)| decode::lenient(value, &base, report)).unwrap_or_default(),
        network: network.map(|(value, base)| decode::lenient(value, &base, report)).unwrap_or_default(),
        kube_master: kube_master
            .filter(|(value, _)| !value.is_null())
            .map(|(value, base)| decode::lenient(value, &base, report)),
        dns: dns.filter(|(value, _)| !value.is_null()).map(|(value, base)| decode::lenient(value, &base, report)),
        secrets: secrets.map(|(value, base)| decode::lenient(value, &base, report)).unwrap_or_default(),
        kubernetes: kubernetes.map(|(value, base)| decode::lenient(value, &base, report)).unwrap_or_default(),
        machines: machines
            .iter()
            .map(|(name, value)| {
                let base = AttrPath::of("machines").join(name);
                (name.clone(), decode::lenient(value, &base, report))
            })
            .collect(),
    }
}

/// Finds the positions of the findings. The source is parsed only if there are findings.
fn place(findings: Vec<Finding>, layout: &Layout, source: &str, file_name: &str) -> Vec<Diagnostic> {
    if findings.is_empty() {
        return Vec::new();
    }
    let index = SourceIndex::parse(source);
    let text = Arc::new(SourceText::new(file_name, source));
    let mut diagnostics: Vec<Diagnostic> =
        findings.into_iter().map(|finding| diagnostic(finding, layout, &index, &text)).collect();
    diagnostics.sort_by_cached_key(|diagnostic| {
        (diagnostic.span.map_or(0, |span| span.offset()), diagnostic.code, diagnostic.path.clone())
    });
    diagnostics
}

fn diagnostic(finding: Finding, layout: &Layout, index: &SourceIndex, text: &Arc<SourceText>) -> Diagnostic {
    let spell = |path: &AttrPath| if finding.is_as_written { path.clone() } else { layout.spell(path) };
    let path = spell(&finding.path);
    let related = finding.related.iter().map(|(path, message)| {
        let path = spell(path);
        Related { message: message.clone(), span: index.locate(&path).into(), path }
    });
    let help = match layout {
        Layout::Flat { .. } if path.segments().is_empty() && !finding.is_as_written => {
            finding.help.map(|help| format!("{help}; this needs the sectioned shape (docs/reference/machines-nix.md)"))
        }
        _ => finding.help,
    };
    Diagnostic {
        code: finding.code,
        severity: finding.code.info().severity,
        span: (!text.text().is_empty()).then(|| index.locate(&path).into()),
        related: related.collect(),
        path,
        message: finding.message,
        why: finding.why,
        help,
        source: Arc::clone(text),
    }
}

impl Layout {
    /// Returns the file's spelling of a path of the sectioned shape.
    fn spell(&self, path: &AttrPath) -> AttrPath {
        match self {
            Self::Today => path.clone(),
            Self::Flat { router } => flat::spell(path, router.as_deref()),
        }
    }
}
