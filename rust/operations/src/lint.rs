//! Lint of a set of manifests, offline.

use std::path::{Path, PathBuf};

use machinist_kubernetes::manifest::{self, Document, ManifestError};
use machinist_lint::{Finding, SCHEMA_MINOR, Severity, lint};
use serde::Serialize;

use crate::failure::{Failure, Kind};

/// Request to lint manifests.
#[derive(Clone, Debug)]
pub struct Request {
    /// Paths of files and directories.
    pub paths: Vec<PathBuf>,
    /// Kubernetes minor version of the cluster; by default the newest known one.
    pub kubernetes_minor: Option<u16>,
}

/// Result of a lint.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Findings, in the order of the files.
    pub findings: Vec<Finding>,
    /// Number of documents.
    pub objects: usize,
}

impl Report {
    /// Returns the number of findings that are errors.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error).count()
    }
}

/// Lints manifests.
///
/// # Errors
/// A manifest cannot be read, or no manifest was found.
pub fn manifests(request: &Request) -> Result<Report, Failure> {
    let documents = read(&request.paths)?;
    let findings = lint(&documents, request.kubernetes_minor.unwrap_or(SCHEMA_MINOR));
    Ok(Report { findings, objects: documents.len() })
}

fn read(paths: &[PathBuf]) -> Result<Vec<Document>, Failure> {
    let mut documents = Vec::new();
    let mut errors = Vec::new();
    for path in paths {
        match read_one(path) {
            Ok(found) => documents.extend(found),
            Err(found) => errors.extend(found),
        }
    }
    let Some(first) = errors.first() else {
        if documents.is_empty() {
            let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            let failure = Failure::new(Kind::Input, format!("no manifest in {}", names.join(", ")));
            return Err(failure.hint("name files or directories with .yaml, .yml or .json files"));
        }
        return Ok(documents);
    };
    let hint = first.hint();
    let texts: Vec<String> = errors.iter().map(chain).collect();
    Err(Failure::new(Kind::Input, texts.join("\n")).maybe_hint(hint))
}

fn chain(error: &ManifestError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

fn read_one(path: &Path) -> Result<Vec<Document>, Vec<ManifestError>> {
    if path.is_dir() {
        let directory = path.to_string_lossy();
        // Locations begin with the directory exactly as it was given.
        return manifest::read(Path::new(""), &directory);
    }
    let text =
        std::fs::read_to_string(path).map_err(|source| vec![ManifestError::Read { file: path.to_owned(), source }])?;
    manifest::parse(path, &text).map_err(|error| vec![error])
}
