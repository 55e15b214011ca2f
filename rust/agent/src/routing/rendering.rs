//! Further files with the routing, rendered from the node's templates: for an nginx that balances by itself, or a
//! monitor's list of targets. A changed file is staged for a NixOS unit, which validates it, installs it and reloads
//! its reader (modules/mesh/files.nix): the agent itself may reload nothing.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use machinist_mesh::{
    Service, ServiceName,
    template::{Host, Template},
};

use crate::{config::chain, files};

struct File {
    /// The template, or the error reading it.
    template: Result<Template, String>,
    /// Text as last staged. The staged file is gone once the unit has taken it.
    staged: Option<String>,
}

/// The files by name.
pub struct Files(BTreeMap<String, File>);

impl Files {
    /// Reads the templates.
    pub fn read(templates: &BTreeMap<String, PathBuf>) -> Self {
        let read = |path: &PathBuf| {
            let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            Template::read(Some(&text)).map_err(|error| chain(&error))
        };
        let file = |(name, path): (&String, &PathBuf)| (name.clone(), File { template: read(path), staged: None });
        Self(templates.iter().map(file).collect())
    }

    /// Stages the changed files. A file whose template fails stays unchanged. Returns the errors in one text, if there
    /// are any.
    pub fn stage(
        &mut self,
        directory: &Path,
        services: &BTreeMap<ServiceName, Service>,
        host: &Host,
    ) -> Option<String> {
        let wrong: Vec<String> = self
            .0
            .iter_mut()
            .filter_map(|(name, file)| {
                let why = file.stage(&directory.join(name), services, host).err()?;
                Some(format!("{name} unchanged: {why}"))
            })
            .collect();
        (!wrong.is_empty()).then(|| wrong.join("; "))
    }
}

impl File {
    fn stage(&mut self, path: &Path, services: &BTreeMap<ServiceName, Service>, host: &Host) -> Result<(), String> {
        let template = self.template.as_ref().map_err(Clone::clone)?;
        let text = template.render(services, host).map_err(|error| chain(&error))?.text;
        if self.staged.as_ref() == Some(&text) {
            return Ok(());
        }
        put(path, &text).map_err(|error| format!("{}: {error}", path.display()))?;
        self.staged = Some(text);
        Ok(())
    }
}

fn put(path: &Path, text: &str) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    files::prepare(path, text.as_bytes())?.put()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{collections::BTreeMap, fs, path::Path};

    use machinist_mesh::template::Host;

    use super::Files;

    fn host(maxconn: u32) -> Host {
        Host { socket: String::new(), maxconn }
    }

    fn text(directory: &Path, name: &str) -> Option<String> {
        fs::read_to_string(directory.join(name)).ok()
    }

    #[test]
    fn an_invalid_template_leaves_its_file_unchanged_and_the_others_continue() {
        let directory = tempfile::tempdir().unwrap();
        let (at, out) = (|name: &str| directory.path().join(name), directory.path().join("out"));
        let texts = [("good", "{{ services | length }}"), ("asks", "{{ nothing }}"), ("broken", "{% for")];
        for (name, text) in texts {
            fs::write(at(name), text).unwrap();
        }
        let mut templates: BTreeMap<_, _> = texts.map(|(name, _)| (name.to_owned(), at(name))).into();
        templates.insert("missing".to_owned(), at("missing"));
        let why = Files::read(&templates).stage(&out, &BTreeMap::new(), &host(1)).unwrap();
        for name in ["asks", "broken", "missing"] {
            assert!(why.contains(&format!("{name} unchanged")), "{why}");
            assert_eq!(text(&out, name), None);
        }
        assert_eq!(text(&out, "good").as_deref(), Some("0"));
        assert!(!why.contains("good"), "{why}");
    }

    #[test]
    fn a_taken_file_is_staged_again_only_after_a_change() {
        let directory = tempfile::tempdir().unwrap();
        let (template, out) = (directory.path().join("template"), directory.path().join("out"));
        fs::write(&template, "{{ maxconn }}").unwrap();
        let mut files = Files::read(&[("file".to_owned(), template)].into());
        assert_eq!(files.stage(&out, &BTreeMap::new(), &host(1)), None);
        fs::remove_file(out.join("file")).unwrap();
        assert_eq!(files.stage(&out, &BTreeMap::new(), &host(1)), None);
        assert_eq!(text(&out, "file"), None);
        assert_eq!(files.stage(&out, &BTreeMap::new(), &host(2)), None);
        assert_eq!(text(&out, "file").as_deref(), Some("2"));
    }
}
