//! `machinist lint`: findings in files other than machines.nix.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use machinist_lint::{Finding, Severity};
use machinist_operations::lint::{self, Request};
use miette::{LabeledSpan, MietteDiagnostic, NamedSource, Report, SourceSpan};

use crate::{
    args::Global,
    failure::{Kind, Outcome, exit_code},
    ui::Ui,
};

/// Finds errors before they reach a cluster.
#[derive(Debug, Subcommand)]
pub enum LintCommand {
    /// Check manifests of Kubernetes as one set: fields, ports, secrets, selectors, versions
    Manifests(ManifestsArgs),
}

/// Checks manifests.
#[derive(Debug, Args)]
pub struct ManifestsArgs {
    /// Files and directories, taken together [default: manifests in the cluster's directory]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// The cluster's Kubernetes, such as 1.34 [default: 1.36]
    #[arg(long, value_name = "VERSION", value_parser = minor)]
    kubernetes_version: Option<u16>,
}

fn minor(text: &str) -> Result<u16, String> {
    let version = text.trim_start_matches('v');
    let minor = version.strip_prefix("1.").and_then(|rest| rest.split('.').next()?.parse().ok());
    minor.ok_or_else(|| format!("`{text}` is no version such as 1.36"))
}

/// Runs the command.
pub fn run(command: &LintCommand, global: &Global, ui: Ui) -> Outcome {
    let LintCommand::Manifests(args) = command;
    let paths = match args.paths.as_slice() {
        [] => vec![global.directory.join("manifests")],
        paths => paths.to_vec(),
    };
    let report = lint::manifests(&Request { paths, kubernetes_minor: args.kubernetes_version })?;
    let errors = report.errors();
    if ui.json {
        ui.result_json(&report);
    } else {
        report.findings.iter().for_each(|finding| show(finding, ui));
        let noun = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
        let warnings = report.findings.len() - errors;
        ui.result(&format!(
            "{}: {}, {}",
            noun(report.objects, "document"),
            noun(errors, "error"),
            noun(warnings, "warning")
        ));
    }
    Ok(exit_code((errors > 0).then_some(Kind::Input)))
}

/// Prints a finding with its source line, in the format of findings in machines.nix.
fn show(finding: &Finding, ui: Ui) {
    let file = finding.place.file.display().to_string();
    let text = std::fs::read_to_string(&finding.place.file).unwrap_or_default();
    let severity = match finding.severity {
        Severity::Error => miette::Severity::Error,
        Severity::Warning => miette::Severity::Warning,
    };
    let mut diagnostic = MietteDiagnostic::new(finding.message.clone())
        .with_code(finding.rule)
        .with_severity(severity)
        .with_label(LabeledSpan::underline(line_span(&text, finding.place.line)));
    if let Some(hint) = &finding.hint {
        diagnostic = diagnostic.with_help(hint.clone());
    }
    let report = Report::new(diagnostic).with_source_code(NamedSource::new(file, text));
    ui.diagnostic(report.as_ref());
}

/// Returns the text of a line, counted from 1, without its indentation.
fn line_span(text: &str, line: usize) -> SourceSpan {
    let mut start = 0;
    for (number, content) in (1..).zip(text.split_inclusive('\n')) {
        if number == line {
            let indent = content.len() - content.trim_start().len();
            return (start + indent, content.trim().len()).into();
        }
        start += content.len();
    }
    (start, 0).into()
}

#[cfg(test)]
mod tests {
    use super::{line_span, minor};

    #[test]
    fn a_version_is_read_as_people_write_it() {
        for (text, expected) in
            [("1.36", Some(36)), ("v1.34.2", Some(34)), ("1.34.1+k3s1", Some(34)), ("36", None), ("2.1", None)]
        {
            assert_eq!(minor(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_line_is_underlined_without_its_indent_and_a_line_that_is_gone_nowhere() {
        let text = "a:\n  ä: 1\n";
        assert_eq!((line_span(text, 2).offset(), line_span(text, 2).len()), (5, 5));
        assert_eq!((line_span(text, 9).offset(), line_span(text, 9).len()), (text.len(), 0));
    }
}
