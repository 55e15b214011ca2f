//! Evaluation of `machines.nix` to JSON.

use std::{ffi::OsString, path::Path};

use serde_json::Value;
use thiserror::Error;

use crate::{
    FlakeError, FlakeRef, Nix, NixError,
    command::{self, BOUND},
    error::submodule_hint,
    nesting, process,
    process::run,
};

/// Error message of the function's arguments when they are used before nixpkgs is available.
const MARK: &str = "machinist: machines.nix uses its arguments";

/// A function is called with arguments that fail only when used: most functions use none of them, and need no nixpkgs.
const EXPRESSION: &str = "{ file, mark }: let value = import (/. + file); later = throw mark; \
     arguments = builtins.functionArgs value; in \
     if !builtins.isFunction value then value \
     else if arguments == { } then value later \
     else value (builtins.mapAttrs (_: _: later) arguments)";

/// Position in machines.nix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
}

/// Reason why machines.nix could not be evaluated.
#[derive(Debug, Error)]
pub enum EvalError {
    /// The file does not exist.
    #[error("{file} does not exist")]
    Absent {
        /// The file's name, relative to the directory.
        file: String,
    },
    /// Nix rejected the expression.
    #[error("{message}")]
    Refused {
        /// The message of nix, trimmed and without its leading `error: `.
        message: String,
        /// The position in machines.nix, if nix reports one.
        position: Option<Position>,
    },
    /// Lists or sets of the value are nested too deep.
    #[error("a value of machines.nix is nested more than {} levels deep", nesting::LIMIT)]
    Deep {
        /// The path of the innermost value that could be read.
        path: Vec<nesting::Step>,
    },
    /// A file that machines.nix reads is in a submodule.
    #[error("{message}")]
    Submodule {
        /// The message of nix, trimmed.
        message: String,
        /// The submodule, relative to the work tree.
        submodule: String,
    },
    /// The evaluation exceeded its time limit.
    #[error("the evaluation of {file} did not finish within {} s", BOUND.as_secs())]
    Endless {
        /// The file's name, relative to the directory.
        file: String,
    },
    /// machines.nix is a function, whose arguments come from the flake, but the flake is unusable.
    #[error("machines.nix is a function, so its arguments come from the cluster's flake")]
    Flake(#[source] FlakeError),
    /// nix itself cannot be run.
    #[error(transparent)]
    Nix(#[from] NixError),
}

impl EvalError {
    /// Returns the way to fix it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Absent { .. } => Some(
                "specify the cluster's directory with `-C DIR`, or create one with `machinist init DIR`".to_owned(),
            ),
            Self::Endless { .. } => Some("look for unbounded recursion".to_owned()),
            Self::Flake(error) => error.hint(),
            Self::Nix(error) => error.hint(),
            Self::Submodule { submodule, .. } => Some(submodule_hint(submodule)),
            Self::Deep { .. } => Some("look for a value that contains itself".to_owned()),
            Self::Refused { .. } => None,
        }
    }
}

impl Nix {
    /// Evaluates `machines.nix` in the directory. A plain set, or a function that does not use its arguments, is
    /// evaluated without any flake; otherwise the flake's `lib.machines` is used, with the pinned nixpkgs.
    ///
    /// # Errors
    /// The file does not exist or cannot be evaluated.
    pub fn evaluate(&self, directory: &Path) -> Result<Value, EvalError> {
        self.evaluate_file(directory, "machines.nix")
    }

    /// Evaluates another file of the directory instead of machines.nix. Only `machines.nix` itself may be a function.
    ///
    /// # Errors
    /// The file does not exist or cannot be evaluated.
    pub fn evaluate_file(&self, directory: &Path, name: &str) -> Result<Value, EvalError> {
        let file = directory.join(name);
        if !file.is_file() {
            return Err(EvalError::Absent { file: file.display().to_string() });
        }
        let absolute =
            file.canonicalize().map_err(|source| NixError::Io { program: "machines.nix".to_owned(), source })?;
        let mut arguments: Vec<OsString> =
            ["--eval", "--strict", "--json", "--expr", EXPRESSION, "--argstr", "mark", MARK, "--argstr", "file"]
                .map(OsString::from)
                .into();
        arguments.push(absolute.clone().into_os_string());
        let finished = bounded(run("nix-instantiate", &arguments, Some(BOUND)), &file)?;
        if finished.status.success() {
            return parse(&finished.stdout);
        }
        if finished.stderr.contains(MARK) {
            return self.evaluate_function(directory, &absolute);
        }
        Err(refused(&finished.stderr, &absolute))
    }

    fn evaluate_function(&self, directory: &Path, file: &Path) -> Result<Value, EvalError> {
        let flake = FlakeRef::find(directory).map_err(EvalError::Flake)?;
        flake.make_visible(&["flake.nix", "machines.nix", "operators.nix"]).map_err(EvalError::Flake)?;
        let finished = bounded(self.eval_flake(&flake, "lib.machines"), file)?;
        if !finished.status.success() {
            let error = refused(&finished.stderr, Path::new("machines.nix"));
            return Err(match (error, command::missing_in_submodule(&finished.stderr, &flake)) {
                (EvalError::Refused { message, .. }, Some(submodule)) => EvalError::Submodule { message, submodule },
                (error, _) => error,
            });
        }
        parse(&finished.stdout)
    }
}

fn bounded<T>(result: Result<T, NixError>, file: &Path) -> Result<T, EvalError> {
    match result {
        Err(NixError::Timeout { .. }) => Err(EvalError::Endless { file: file.display().to_string() }),
        other => other.map_err(EvalError::Nix),
    }
}

fn parse(stdout: &[u8]) -> Result<Value, EvalError> {
    let answer = |detail: String| NixError::Answer { program: "nix-instantiate".to_owned(), detail };
    let text = std::str::from_utf8(stdout).map_err(|error| answer(error.to_string()))?;
    serde_json::from_str(text).map_err(|error| match nesting::too_deep(text) {
        Some(path) => EvalError::Deep { path },
        None => answer(error.to_string()).into(),
    })
}

fn refused(stderr: &str, file: &Path) -> EvalError {
    let message = process::trim(stderr);
    let position = position(&message, file);
    let message = match message.as_str() {
        "" => "nix exited without a message; the expression may recurse infinitely".to_owned(),
        text => text.strip_prefix("error: ").unwrap_or(text).trim_start().to_owned(),
    };
    EvalError::Refused { message, position }
}

/// Finds `at <file>:<line>:<column>` in nix' message: the last one, since newer versions print the trace first.
fn position(message: &str, file: &Path) -> Option<Position> {
    let needle = format!("{}:", file.display());
    let parse = |rest: &str| {
        let mut numbers = rest.split(|c: char| !c.is_ascii_digit());
        Some(Position { line: numbers.next()?.parse().ok()?, column: numbers.next()?.parse().ok()? })
    };
    let places = message.lines().filter(|line| line.trim_start().starts_with("at ") || line.contains(", at "));
    places.filter_map(|line| parse(line.split(&needle).nth(1)?)).next_back()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{EvalError, Position};
    use crate::Nix;
    use serde_json::{Value, json};

    fn evaluate(source: &str) -> Result<Value, EvalError> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("machines.nix"), source).unwrap();
        Nix::find(Vec::new()).unwrap().evaluate(directory.path())
    }

    #[track_caller]
    fn check_refused(source: &str, words: &str, at: Option<(usize, usize)>) {
        match evaluate(source).unwrap_err() {
            EvalError::Refused { message, position } => {
                assert!(message.contains(words), "{message}");
                assert!(!message.contains("show-trace") && !message.starts_with("error"), "{message}");
                assert_eq!(position, at.map(|(line, column)| Position { line, column }), "{message}");
            }
            other => assert!(other.to_string().contains(words), "{other}"),
        }
    }

    #[test]
    fn a_plain_set_is_evaluated_without_a_flake() {
        assert_eq!(
            evaluate("let x = 1; in { a = x; b.c = [ true null ]; }").unwrap(),
            json!({"a": 1, "b": {"c": [true, null]}})
        );
    }

    #[test]
    fn what_nix_refuses_comes_in_its_own_words_with_the_place() {
        check_refused("{\n  a = ;\n}", "syntax error", Some((2, 7)));
        check_refused("{ a = b; }", "undefined variable 'b'", Some((1, 7)));
        check_refused("{ a = throw \"not yet\"; }", "not yet", None);
        check_refused("rec { a = b; b = a; }", "infinite recursion", Some((1, 11)));
        check_refused("{ a = 1 + \"x\"; }", "cannot", Some((1, 11)));
    }

    #[test]
    fn a_function_needs_a_flake_only_if_it_uses_its_arguments() {
        assert_eq!(evaluate("{ lib, ... }: { a = 1; }").unwrap(), json!({"a": 1}));
        assert_eq!(evaluate("pkgs: { a = 1; }").unwrap(), json!({"a": 1}));
        let error = evaluate("{ lib }: { a = lib.toUpper \"x\"; }").unwrap_err();
        assert!(matches!(error, EvalError::Flake(_)), "{error}");
    }

    #[test]
    fn a_file_in_a_submodule_is_explained() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        let git = |arguments: &[&str]| {
            let output = crate::program("git").arg("-C").arg(directory.path()).args(arguments).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        };
        std::fs::create_dir(directory.path().join("ours")).unwrap();
        write("ours/data.nix", "{ a = 1; }");
        write("flake.nix", "{ outputs = _: { lib.machines = import ./machines.nix { lib.id = x: x; }; }; }");
        write("machines.nix", "{ lib }: lib.id (import ./ours/data.nix)");
        git(&["init", "--quiet"]);
        git(&["add", "flake.nix", "machines.nix"]);
        git(&["update-index", "--add", "--cacheinfo", "160000,ce013625030ba8dba906f756967f9e9ca394464a,ours"]);
        let error = Nix::find(Vec::new()).unwrap().evaluate(directory.path()).unwrap_err();
        assert!(matches!(&error, EvalError::Submodule { submodule, .. } if submodule == "ours"), "{error}");
        assert!(error.hint().unwrap().contains("ours is a git submodule"));
    }

    #[test]
    fn a_value_that_is_nested_without_reason_has_its_path() {
        let deep = "{ machines.a.labels = builtins.foldl' (a: _: [ a ]) 1 (builtins.genList (x: x) 200); }";
        let EvalError::Deep { path } = evaluate(deep).unwrap_err() else { panic!("another error") };
        let name = |name: &str| crate::nesting::Step::Name(name.to_owned());
        assert_eq!(path[..3], [name("machines"), name("a"), name("labels")]);
    }

    #[test]
    fn an_absent_file_says_how_to_begin() {
        let directory = tempfile::tempdir().unwrap();
        let error = Nix::find(Vec::new()).unwrap().evaluate(directory.path()).unwrap_err();
        assert!(matches!(error, EvalError::Absent { .. }), "{error}");
        assert!(error.hint().unwrap().contains("machinist init"));
    }
}
