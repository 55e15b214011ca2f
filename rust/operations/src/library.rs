//! NixOS modules and applications of this version of machinist, embedded in the binary.

use include_dir::{Dir, include_dir};

/// NixOS modules of a node.
pub static MODULES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../modules");

/// Applications, one folder each.
pub static APPS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../app_modules");

/// Returns the names of the applications.
pub fn applications() -> impl Iterator<Item = String> {
    APPS.dirs().map(|folder| folder.path().display().to_string())
}

/// Returns all files below the directory, recursively, with their relative paths.
pub fn text_files<'a>(directory: &'a Dir<'a>) -> Vec<(String, &'a str)> {
    let own = directory.files().filter_map(|file| Some((file.path().display().to_string(), file.contents_utf8()?)));
    own.chain(directory.dirs().flat_map(text_files)).collect()
}

#[cfg(test)]
mod tests {
    use super::{MODULES, applications, text_files};

    #[test]
    fn every_module_that_another_imports_is_there_folders_too() {
        let files = text_files(&MODULES);
        for wanted in ["default.nix", "etcd.nix", "kubernetes/default.nix", "kubernetes/apiserver.nix"] {
            assert!(files.iter().any(|(path, text)| path == wanted && !text.is_empty()), "{wanted}");
        }
    }

    #[test]
    fn applications_are_named_as_machines_nix_names_them() {
        let names: Vec<String> = applications().collect();
        assert!(names.contains(&"postgresql".to_owned()) && !names.contains(&"README.md".to_owned()), "{names:?}");
    }
}
