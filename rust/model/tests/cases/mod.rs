//! Test cases: folders with a machines.nix, evaluated by nix, and the expected texts.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use machinist_model::{Diagnostic, Directory};
use miette::{GraphicalReportHandler, GraphicalTheme};
use serde_json::Value;

/// A folder with its evaluated machines.nix.
pub struct Case {
    pub name: String,
    pub folder: PathBuf,
    pub source: String,
    pub json: Value,
}

/// Reads and evaluates all cases of a folder in one run of nix.
pub fn evaluate_all(folder: &str) -> Vec<Case> {
    let folder = fs::canonicalize(folder).unwrap();
    let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.join("machines.nix").is_file()).collect();
    folders.sort();
    let mut values = evaluate(&folders);
    let case = |folder: PathBuf| {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let source = fs::read_to_string(folder.join("machines.nix")).unwrap();
        let json = values.get_mut(&name).unwrap().take();
        Case { name, source, json, folder }
    };
    folders.into_iter().map(case).collect()
}

fn evaluate(folders: &[PathBuf]) -> Value {
    let mut expression = String::from("let call = v: if builtins.isFunction v then v { lib = { }; } else v; in {\n");
    for folder in folders {
        let name = folder.file_name().unwrap().to_str().unwrap();
        expression.push_str(&format!("\"{name}\" = call (import \"{}/machines.nix\");\n", folder.display()));
    }
    expression.push('}');
    let output = Command::new("nix-instantiate")
        .args(["--eval", "--strict", "--json", "--readonly-mode", "--expr", &expression])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Renders a diagnostic for a terminal of 100 columns without colours.
pub fn render(diagnostic: &Diagnostic) -> String {
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(100);
    let mut text = String::new();
    handler.render_report(&mut text, diagnostic).unwrap();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim_matches('\n').to_owned() + "\n"
}

impl Case {
    /// Returns the directory of the case: two applications, and its `nodes/`. A case without `nodes/` is not about
    /// modules, and there every machine has some.
    pub fn directory(&self) -> Directory {
        let file_name = |entry: fs::DirEntry| entry.path().file_stem().unwrap().to_str().unwrap().to_owned();
        let node_modules = match fs::read_dir(self.folder.join("nodes")) {
            Ok(entries) => entries.map(|entry| file_name(entry.unwrap())).collect(),
            Err(_) => self.machines(),
        };
        Directory { apps: ["nginx", "postgresql"].map(str::to_owned).into(), node_modules, ..Directory::default() }
    }

    fn machines(&self) -> BTreeSet<String> {
        let machines = self.json.get("machines").unwrap_or(&self.json).as_object();
        machines.into_iter().flat_map(|machines| machines.keys().cloned()).collect()
    }

    /// Returns true if the case's file holds the text; with `UPDATE_EXPECT=1` it is written first.
    pub fn matches(&self, file: &str, text: &str) -> bool {
        matches(&self.folder.join(file), text)
    }
}

/// Returns true if the file holds the text; with `UPDATE_EXPECT=1` it is written first.
pub fn matches(path: &Path, text: &str) -> bool {
    let text = format!("{}\n", text.trim_end());
    let found = fs::read_to_string(path).unwrap_or_default();
    if found == text {
        return true;
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        return true;
    }
    eprintln!("--- {} says\n{found}\n--- but the program says\n{text}", path.display());
    false
}
