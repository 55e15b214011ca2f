//! `machinist app new`: a new application, complete enough to be deployed.

use std::process::ExitCode;

use clap::Args;
use machinist_nix::FlakeRef;
use machinist_operations::{apps::app_name, files};

use crate::{
    args::Global,
    failure::{Failure, Kind, OrFail, Outcome},
    ui::Ui,
};

const NATIVE: &str = include_str!("../../template/app/native.nix");
const CONTAINER: &str = include_str!("../../template/app/container.nix");
const README: &str = include_str!("../../template/app/README.md");

/// Arguments of `app new`.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// Its name: that of its folder in app_modules/
    #[arg(value_name = "NAME", value_parser = app_name)]
    app: String,

    /// Run a container image, by its digest: registry.example/name@sha256:...
    #[arg(long, value_name = "IMAGE", value_parser = image)]
    container: Option<String>,

    /// The port that it listens on; its other slot uses the next one
    #[arg(long, value_name = "PORT", default_value_t = 8080, value_parser = clap::value_parser!(u16).range(1..65535))]
    port: u16,
}

/// Accepts an image reference that is pinned by digest, and that needs no escaping in Nix.
fn image(text: &str) -> Result<String, String> {
    let harmless = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | ':');
    let is_digest = |digest: &str| digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    match text.split_once("@sha256:") {
        Some((name, digest)) if !name.is_empty() && name.chars().all(harmless) && is_digest(digest) => {
            Ok(text.to_owned())
        }
        _ => Err("an image by its digest, such as registry.example/web@sha256:9f86...; \
                  `podman inspect --format '{{.Digest}}' IMAGE` prints it"
            .to_owned()),
    }
}

/// Runs the command.
pub fn run(args: &NewArgs, global: &Global, ui: Ui) -> Outcome {
    let folder = global.directory.join("app_modules").join(&args.app);
    if folder.exists() {
        return Err(Failure::new(Kind::Input, format!("{} is there already", folder.display())));
    }
    let modules = global.directory.join("modules");
    if modules.is_dir() && !modules.join("apps/shape.nix").exists() {
        return Err(Failure::new(Kind::Input, format!("{} is of an earlier machinist", modules.display()))
            .hint("`machinist init --refresh` brings modules/ to this version of machinist"));
    }
    for (name, text) in texts(args) {
        files::write(&folder.join(name), &text).failed()?;
    }
    let written = format!("app_modules/{}", args.app);
    FlakeRef::find(&global.directory).input()?.make_visible(&[written.as_str()]).failed()?;
    if ui.json {
        ui.result_json(&serde_json::json!({ "application": args.app, "written": ["default.nix", "README.md"], "directory": folder }));
        return Ok(ExitCode::SUCCESS);
    }
    ui.result(&format!("wrote {written}/default.nix and README.md"));
    ui.result(&format!(
        "next: edit it, name it in machines.nix (`apps = [ \"{}\" ];`), then `machinist generate`, `machinist app update {}`",
        args.app, args.app
    ));
    Ok(ExitCode::SUCCESS)
}

/// Returns the files of the application, by name.
fn texts(args: &NewArgs) -> [(&'static str, String); 2] {
    let template = if args.container.is_some() { CONTAINER } else { NATIVE };
    let prefix = args.app.to_uppercase().replace('-', "_");
    // A variable name must not begin with a digit.
    let prefix = if prefix.starts_with(|c: char| c.is_ascii_digit()) { format!("APP_{prefix}") } else { prefix };
    let fill = |text: &str| {
        text.replace("@name@", &args.app)
            .replace("@prefix@", &prefix)
            .replace("@port@", &args.port.to_string())
            .replace("@other@", &args.port.saturating_add(1).to_string())
            .replace("@image@", args.container.as_deref().unwrap_or_default())
    };
    [("default.nix", fill(template)), ("README.md", fill(README))]
}

#[cfg(test)]
mod tests {
    use super::{NewArgs, image, texts};

    #[test]
    fn an_image_is_named_by_its_digest() {
        let digest = "a".repeat(64);
        assert!(image(&format!("registry.example:5000/web@sha256:{digest}")).is_ok());
        for bad in
            ["web:latest", "web", "web@sha256:1", &format!("@sha256:{digest}"), &format!("a\"${{b}}@sha256:{digest}")]
        {
            assert!(image(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nothing_of_the_templates_is_left() {
        for container in [None, Some(format!("web@sha256:{}", "a".repeat(64)))] {
            let args = NewArgs { app: "2-web".to_owned(), container, port: 9000 };
            for (name, text) in texts(&args) {
                assert!(!text.replace("@sha256:", "").contains('@'), "{name}: {text}");
            }
            let [(_, module), _] = texts(&args);
            assert!(
                module.contains("prefix = \"APP_2_WEB\"") && module.contains("port = lib.mkDefault 9000"),
                "{module}"
            );
        }
    }
}
