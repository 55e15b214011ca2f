//! Check for import cycles between the modules of a crate, as `workspace.rs` checks them between crates.
//!
//! A module is a file. A path is followed through `pub use` and `use` to the file that defines the name. A reference to
//! a module's own descendants counts as a declaration, not as an import. Paths inside macro calls are invisible.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use syn::{
    Attribute, ItemMod, ItemUse, UseTree, Visibility,
    visit::{self, Visit},
};

/// A module's path below the crate's root, which is empty.
type Name = Vec<String>;

/// The imports of one file.
#[derive(Default)]
struct Module {
    /// Paths that it uses, from the crate's root.
    used: Vec<Name>,
    /// Names that its `use` lines give to such paths.
    names: BTreeMap<String, Name>,
}

/// Visitor that collects the paths of one file.
struct Reader<'a> {
    name: &'a Name,
    module: Module,
}

impl Reader<'_> {
    fn imported(&mut self, prefix: &Name, tree: &UseTree) {
        match tree {
            UseTree::Path(path) => {
                let mut longer = prefix.clone();
                longer.push(path.ident.to_string());
                self.imported(&longer, &path.tree);
            }
            UseTree::Group(group) => group.items.iter().for_each(|item| self.imported(prefix, item)),
            UseTree::Name(name) => self.import(prefix, &name.ident.to_string(), &name.ident.to_string()),
            UseTree::Rename(rename) => self.import(prefix, &rename.ident.to_string(), &rename.rename.to_string()),
            UseTree::Glob(_) => self.module.used.extend(self.absolute(prefix)),
        }
    }

    fn import(&mut self, prefix: &Name, last: &str, called: &str) {
        let mut path = prefix.clone();
        if last != "self" {
            path.push(last.to_owned());
        }
        let called = if called == "self" { path.last().cloned().unwrap_or_default() } else { called.to_owned() };
        // A path that begins with a child's name leads there too: `pub use child::Name`.
        let from_here = || [self.name.as_slice(), path.as_slice()].concat();
        let place = self.absolute(&path).unwrap_or_else(from_here);
        if self.absolute(&path).is_some() {
            self.module.used.push(place.clone());
        }
        self.module.names.insert(called, place);
    }

    /// Returns the path from the crate's root; `None` for a path that does not begin with `crate`, `self` or `super`.
    fn absolute(&self, path: &[String]) -> Option<Name> {
        let n_up = path.iter().take_while(|segment| *segment == "super").count();
        match path.first()?.as_str() {
            "crate" => Some(path[1..].to_vec()),
            "self" => Some([self.name.as_slice(), &path[1..]].concat()),
            "super" => Some([&self.name[..self.name.len().checked_sub(n_up)?], &path[n_up..]].concat()),
            _ => None,
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.imported(&Name::new(), &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Name = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.module.used.extend(self.absolute(&segments));
        visit::visit_path(self, path);
    }

    /// `pub(super)` imports nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !item.attrs.iter().any(is_for_tests) {
            visit::visit_item_mod(self, item);
        }
    }
}

fn is_for_tests(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|ident| ident == "test")
}

/// Reads the modules of a crate.
fn modules(source: &Path) -> BTreeMap<Name, Module> {
    let mut modules = BTreeMap::new();
    read_into(&mut modules, source, &Name::new());
    modules
}

fn read_into(modules: &mut BTreeMap<Name, Module>, directory: &Path, prefix: &Name) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut name = prefix.clone();
        if path.is_dir() {
            name.push(stem);
            read_into(modules, &path, &name);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            if !(stem == "mod" || prefix.is_empty() && (stem == "lib" || stem == "main")) {
                name.push(stem);
            }
            let text = fs::read_to_string(&path).unwrap();
            let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let mut reader = Reader { name: &name, module: Module::default() };
            reader.visit_file(&file);
            let module = reader.module;
            modules.insert(name, module);
        }
    }
}

/// Returns the module that defines the path's name, through at most ten re-exports.
fn home(modules: &BTreeMap<Name, Module>, path: &Name) -> Name {
    let mut path = path.clone();
    for _ in 0..10 {
        let length = (0..=path.len()).rev().find(|length| modules.contains_key(&path[..*length])).unwrap_or_default();
        let (module, rest) = path.split_at(length);
        let named = rest.first().and_then(|first| modules.get(module)?.names.get(first));
        match named {
            // An import from outside the crate, or an item that is defined here.
            Some(named) if *named != path[..=length] => path = [named.as_slice(), &rest[1..]].concat(),
            _ => return module.to_vec(),
        }
    }
    path
}

/// Returns the imports of each module from other modules.
fn imports(modules: &BTreeMap<Name, Module>) -> BTreeMap<Name, BTreeSet<Name>> {
    let of_module = |(name, module): (&Name, &Module)| {
        let homes = module.used.iter().map(|path| home(modules, path));
        (name.clone(), homes.filter(|home| !home.starts_with(name)).collect())
    };
    modules.iter().map(of_module).collect()
}

/// Returns the modules that are in a cycle, or on a path between two cycles.
fn in_circles(mut imports: BTreeMap<Name, BTreeSet<Name>>) -> BTreeMap<Name, BTreeSet<Name>> {
    loop {
        let before = imports.len();
        let imported: BTreeSet<Name> = imports.values().flatten().cloned().collect();
        imports.retain(|name, targets| !targets.is_empty() && imported.contains(name));
        let left: BTreeSet<Name> = imports.keys().cloned().collect();
        imports.values_mut().for_each(|targets| targets.retain(|target| left.contains(target)));
        if imports.len() == before {
            return imports;
        }
    }
}

fn circles_of(source: &Path) -> Vec<String> {
    let line = |(name, targets): (Name, BTreeSet<Name>)| {
        let targets: Vec<String> = targets.iter().map(|target| target.join("::")).collect();
        format!("{} -> {}", name.join("::"), targets.join(", "))
    };
    in_circles(imports(&modules(source))).into_iter().map(line).collect()
}

#[test]
fn no_crate_has_a_circle_of_imports() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let crates = fs::read_dir(root.join("rust")).unwrap().map(|entry| entry.unwrap().path());
    let mut found = BTreeMap::new();
    for path in crates.chain(["tests/ledger", "testbed/clouds"].map(|path| root.join(path))) {
        let circles = circles_of(&path.join("src"));
        if !circles.is_empty() {
            found.insert(path.file_name().unwrap().to_str().unwrap().to_owned(), circles);
        }
    }
    assert!(found.is_empty(), "these modules import each other: {found:#?}");
}

#[track_caller]
fn check(files: &[(&str, &str)], expected: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    assert_eq!(circles_of(directory.path()), expected);
}

#[test]
fn a_circle_is_found_by_use_lines_and_by_paths() {
    let parts = ("lib.rs", "mod a; mod b; mod c;");
    check(
        &[parts, ("a.rs", "use crate::b::B;"), ("b.rs", "use super::a::A;"), ("c.rs", "use crate::a;")],
        &["a -> b", "b -> a"],
    );
    check(
        &[parts, ("a.rs", "fn f() { crate::b::g(); }"), ("b.rs", "use crate::{a::{self, A}, c};"), ("c.rs", "")],
        &["a -> b", "b -> a"],
    );
}

#[test]
fn a_name_is_followed_to_the_module_that_defines_it() {
    let lib = ("lib.rs", "mod a; mod b; pub use b::B; pub use a::A as Other;");
    check(
        &[lib, ("a.rs", "use crate::B; pub struct A;"), ("b.rs", "use crate::Other; pub struct B;")],
        &["a -> b", "b -> a"],
    );
    let nested = ("a/inner.rs", "use super::Outer; pub struct Inner;");
    check(
        &[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "mod inner; use crate::b::Outer;"),
            nested,
            ("b.rs", "use crate::a::inner::Inner;"),
        ],
        &["a::inner -> b", "b -> a::inner"],
    );
}

#[test]
fn a_parent_that_declares_its_children_is_in_no_circle_with_them() {
    check(
        &[
            ("lib.rs", "mod a;"),
            ("a/mod.rs", "mod b; pub use b::B; pub struct A;"),
            ("a/b.rs", "use super::A; pub struct B;"),
        ],
        &[],
    );
    let tests = "pub struct A; #[cfg(test)] mod tests { use crate::b::B; }";
    check(&[("lib.rs", "mod a; mod b;"), ("a.rs", tests), ("b.rs", "use crate::a::A; pub struct B;")], &[]);
}
