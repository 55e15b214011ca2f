//! `machinist kubeconfig`.

use std::path::{Path, PathBuf};

use clap::Args;
use machinist_operations::{
    kubeconfig::{self, Kubeconfig, Request},
    output,
};
use serde_json::json;
use time::Duration;

use crate::{
    args::Global,
    context,
    duration::life,
    failure::{OrFail as _, Outcome, exit_code},
    ui::Ui,
};

/// Mode of a kubeconfig, which contains a private key.
const PRIVATE: u32 = 0o600;

/// Writes a kubeconfig with its own client certificate.
#[derive(Debug, Args)]
pub struct KubeconfigArgs {
    /// The user's name in Kubernetes [default: kubernetes-admin, in the group system:masters]
    #[arg(long, value_parser = subject)]
    user: Option<String>,

    /// The user's group in Kubernetes; without it a named user has no group
    #[arg(long, value_parser = subject)]
    group: Option<String>,

    /// Validity, such as 30m, 8h or 7d; it cannot be revoked
    #[arg(long, value_name = "TIME", default_value = "8h", value_parser = life)]
    valid: Duration,

    /// The API server [default: kubeMaster, or the first control plane]
    #[arg(long, value_name = "URL", value_parser = server_url)]
    server: Option<String>,

    /// The file, mode 0600, replaced if it is there; - for stdout [default: .machinist/kubeconfig]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &KubeconfigArgs, global: &Global, ui: Ui) -> Outcome {
    let context = context::open(global, ui)?;
    let request =
        Request { user: args.user.clone(), group: args.group.clone(), valid: args.valid, server: args.server.clone() };
    let made = kubeconfig::run(&context, &request)?;
    if args.output.as_deref() == Some(Path::new("-")) {
        ui.document(made.text.as_bytes());
        return Ok(exit_code(None));
    }
    let file = args.output.clone().unwrap_or_else(|| context.project.local().join("kubeconfig"));
    output::write(&file, made.text.as_bytes(), PRIVATE).failed()?;
    tell(&file, &made, ui);
    Ok(exit_code(None))
}

fn tell(file: &Path, made: &Kubeconfig, ui: Ui) {
    let Kubeconfig { server, user, group, not_after, .. } = made;
    if ui.json {
        ui.result_json(&json!({
            "file": file,
            "server": server,
            "user": user,
            "group": group,
            "notAfter": not_after.format(&time::format_description::well_known::Rfc3339).unwrap_or_default(),
        }));
        return;
    }
    let group = group.as_ref().map_or_else(|| "no group".to_owned(), |group| format!("group {group}"));
    let time = not_after.time();
    let date = not_after.date();
    let end = format!("{date} {:02}:{:02} UTC", time.hour(), time.minute());
    ui.result(&format!("wrote {}: {} ({group}) at {server}, valid until {end}", file.display(), user));
    ui.story(&format!("use it with `kubectl --kubeconfig {} get --raw /readyz`", file.display()));
}

/// Parses a name in a certificate's subject (RFC 5280, appendix A: at most 64 characters).
fn subject(text: &str) -> Result<String, String> {
    if text.is_empty() || text.chars().count() > 64 || text.chars().any(char::is_control) {
        return Err("a name has 1 to 64 characters, none of them a control character".to_owned());
    }
    Ok(text.to_owned())
}

fn server_url(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").unwrap_or_default();
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err("write it as https://HOST:PORT".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{server_url, subject};

    #[test]
    fn what_cannot_be_a_subject_or_a_server_is_refused() {
        assert!(subject("jane").is_ok());
        for text in ["", "a\nb", &"x".repeat(65)] {
            assert!(subject(text).is_err(), "{text}");
        }
        assert!(server_url("https://10.0.0.1:6443").is_ok());
        for text in ["", "10.0.0.1:6443", "http://10.0.0.1", "https://", "https://a b"] {
            assert!(server_url(text).is_err(), "{text}");
        }
    }
}
