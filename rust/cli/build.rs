//! Builds the crate again when a file changes that the binary carries in itself: `include_dir!` does not say which it read.

fn main() {
    for directory in ["app_modules", "examples", "modules", "rust/agent", "rust/mesh", "rust/text"] {
        println!("cargo::rerun-if-changed=../../{directory}");
    }
}
