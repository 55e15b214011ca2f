//! Disk space that the boot loader needs for a system.

use std::{collections::BTreeSet, path::Path};

use machinist_nix::StorePath;

use super::copy::Delta;
use crate::HostFacts;

/// Returns how many bytes the boot loader will copy: the kernel and initrd, unless it has them from another generation.
/// If none of its files are known, those that the store is missing count.
pub fn boot_bytes(system: &StorePath, facts: &HostFacts, delta: &Delta) -> u64 {
    let size = |name: &str| {
        let file = Path::new(system.as_str()).join(name).canonicalize().ok()?;
        let is_missing = if facts.boot_files.is_empty() {
            delta.paths.iter().any(|info| file.starts_with(info.path.as_str()))
        } else {
            !is_copied(&facts.boot_files, &file)
        };
        is_missing.then(|| file.metadata().map_or(0, |metadata| metadata.len()))
    };
    ["kernel", "initrd"].into_iter().filter_map(size).sum()
}

/// Returns true if the boot loader has a copy of the file: /nix/store/<hash>-linux/bzImage is `<hash>-linux-bzImage`,
/// and systemd-boot appends `.efi`.
fn is_copied(files: &BTreeSet<String>, file: &Path) -> bool {
    let Ok(rest) = file.strip_prefix("/nix/store") else { return false };
    let name = rest.display().to_string().replace('/', "-");
    files.contains(&name) || files.contains(&format!("{name}.efi"))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::is_copied;

    #[test]
    fn a_kernel_that_another_generation_has_in_boot_is_found_there() {
        let hash = "0123456789abcdfghijklmnpqrsvwxyz";
        let kernel = format!("/nix/store/{hash}-linux-6.12.1/bzImage");
        let has = |name: &str| is_copied(&BTreeSet::from([name.to_owned()]), Path::new(&kernel));
        assert!(has(&format!("{hash}-linux-6.12.1-bzImage")), "GRUB");
        assert!(has(&format!("{hash}-linux-6.12.1-bzImage.efi")), "systemd-boot");
        assert!(!has(&format!("{hash}-linux-6.12.2-bzImage")));
    }
}
