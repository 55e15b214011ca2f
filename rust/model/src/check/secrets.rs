//! The `secrets` section: files below `secrets/`, and targets that exist.

use super::Context;
use crate::{
    codes::Code,
    near,
    path::AttrPath,
    report::{Finding, Report},
};

/// Checks the section.
pub fn check(context: &Context<'_>, report: &mut Report) {
    for (file, secret) in &context.shape.secrets {
        let path = AttrPath::of("secrets").join(file);
        if !is_file_name(file) {
            let message = format!("{file:?} is not a file below secrets/");
            let why = "components have letters, digits, `_`, `-` and `.`, and do not start with `.`";
            report
                .push(Finding::new(Code::BadSecret, path.clone(), message, why).help("write for example \"db.yaml\""));
        }
        for (position, target) in secret.nodes.iter().enumerate() {
            exists(context, &path.join("nodes").join(position), target, report);
        }
    }
}

/// Returns true for the path of a file below `secrets/`.
#[must_use]
pub fn is_file_name(name: &str) -> bool {
    let is_component = |text: &str| {
        !text.is_empty()
            && !text.starts_with('.')
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    name.len() <= 200 && name.split('/').count() <= 8 && name.split('/').all(is_component)
}

/// A target that is not a pattern is a machine.
fn exists(context: &Context<'_>, path: &AttrPath, target: &str, report: &mut Report) {
    let is_pattern = target.starts_with('@') || target.contains(['=', '*', '?', '[', '{']);
    if is_pattern || context.taking_part().any(|(name, _)| name == target) {
        return;
    }
    let machines = context.taking_part().map(|(name, _)| name.as_str());
    let help = near::nearest(target, machines).map(|near| format!("did you mean \"{near}\"?"));
    let why = "a node decrypts with its SSH host key, so it must be a machine that machinist deploys";
    let message = format!("{target:?} is not a machine");
    report.push(Finding::new(Code::BadSecret, path.clone(), message, why).maybe_help(help));
}
