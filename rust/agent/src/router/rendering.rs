//! Files of other programs with the routing, from templates of the node's: an nginx that balances by itself, a list of targets
//! for a monitor. Each that says something else is laid out for a unit of NixOS' that takes it away, has it looked at and brings it
//! to its reader (modules/mesh/files.nix): the agent may reload nothing.

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
    /// One that cannot be read is kept as the reason why.
    template: Result<Template, String>,
    /// What was laid out last. It is not there any more once it was taken.
    laid_out: Option<String>,
}

/// The files, by name.
pub struct Files(BTreeMap<String, File>);

impl Files {
    /// Reads the templates.
    pub fn read(templates: &BTreeMap<String, PathBuf>) -> Self {
        let read = |path: &PathBuf| {
            let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            Template::read(Some(&text)).map_err(|error| chain(&error))
        };
        let file = |(name, path): (&String, &PathBuf)| (name.clone(), File { template: read(path), laid_out: None });
        Self(templates.iter().map(file).collect())
    }

    /// Lays out those that say something else now. One whose template cannot be filled in stays as it is. Returns what is wrong,
    /// if anything is.
    pub fn lay_out(
        &mut self,
        directory: &Path,
        services: &BTreeMap<ServiceName, Service>,
        host: &Host,
    ) -> Option<String> {
        let wrong: Vec<String> = self
            .0
            .iter_mut()
            .filter_map(|(name, file)| {
                let why = file.lay_out(&directory.join(name), services, host).err()?;
                Some(format!("{name} stays as it is: {why}"))
            })
            .collect();
        (!wrong.is_empty()).then(|| wrong.join("; "))
    }
}

impl File {
    fn lay_out(&mut self, path: &Path, services: &BTreeMap<ServiceName, Service>, host: &Host) -> Result<(), String> {
        let template = self.template.as_ref().map_err(Clone::clone)?;
        let text = template.render(services, host).map_err(|error| chain(&error))?.text;
        if self.laid_out.as_ref() == Some(&text) {
            return Ok(());
        }
        put(path, &text).map_err(|error| format!("{}: {error}", path.display()))?;
        self.laid_out = Some(text);
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
    fn a_template_that_is_wrong_leaves_its_file_as_it_was_and_the_others_go_on() {
        let directory = tempfile::tempdir().unwrap();
        let (at, out) = (|name: &str| directory.path().join(name), directory.path().join("out"));
        let texts = [("good", "{{ services | length }}"), ("asks", "{{ nothing }}"), ("broken", "{% for")];
        for (name, text) in texts {
            fs::write(at(name), text).unwrap();
        }
        let mut templates: BTreeMap<_, _> = texts.map(|(name, _)| (name.to_owned(), at(name))).into();
        templates.insert("missing".to_owned(), at("missing"));
        let why = Files::read(&templates).lay_out(&out, &BTreeMap::new(), &host(1)).unwrap();
        for name in ["asks", "broken", "missing"] {
            assert!(why.contains(&format!("{name} stays as it is")), "{why}");
            assert_eq!(text(&out, name), None);
        }
        assert_eq!(text(&out, "good").as_deref(), Some("0"));
        assert!(!why.contains("good"), "{why}");
    }

    #[test]
    fn what_was_taken_is_laid_out_again_when_it_says_something_else_and_not_before() {
        let directory = tempfile::tempdir().unwrap();
        let (template, out) = (directory.path().join("template"), directory.path().join("out"));
        fs::write(&template, "{{ maxconn }}").unwrap();
        let mut files = Files::read(&[("file".to_owned(), template)].into());
        assert_eq!(files.lay_out(&out, &BTreeMap::new(), &host(1)), None);
        fs::remove_file(out.join("file")).unwrap();
        assert_eq!(files.lay_out(&out, &BTreeMap::new(), &host(1)), None);
        assert_eq!(text(&out, "file"), None);
        assert_eq!(files.lay_out(&out, &BTreeMap::new(), &host(2)), None);
        assert_eq!(text(&out, "file").as_deref(), Some("2"));
    }
}
