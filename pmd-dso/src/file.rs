//! Which files a path means, and whether they can be shared objects of this machine.
//!
//! The dynamic linker's own words for a file of another machine are misleading ("No such file"), so we look first.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::LoadError;

/// The shared objects that `path` means, by their canonical paths: itself, or all `*.so` of a directory, by name.
///
/// # Errors
/// When it does not exist, or the directory has none.
pub(crate) fn shared_objects(path: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let error = |error: std::io::Error| LoadError::new(path, error.to_string());
    let canonical = path.canonicalize().map_err(error)?;
    if !canonical.is_dir() {
        return Ok(vec![canonical]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(&canonical).map_err(error)? {
        let file = entry.map_err(error)?.path();
        if file.extension().is_some_and(|extension| extension == "so") {
            files.push(file.canonicalize().map_err(|error| LoadError::new(&file, error.to_string()))?);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(LoadError::new(path, "the directory has no file whose name ends in .so"));
    }
    Ok(files)
}

/// Checks that the file is a shared object for this machine, as far as its first bytes tell.
///
/// # Errors
/// When it cannot be read, or is something else.
pub(crate) fn check(path: &Path) -> Result<(), LoadError> {
    let error = |error: std::io::Error| LoadError::new(path, error.to_string());
    let mut head = Vec::new();
    File::open(path).and_then(|file| file.take(20).read_to_end(&mut head)).map_err(error)?;
    check_head(&head).map_err(|message| LoadError::new(path, message))
}

/// The numbers of machines in ELF files, with the names that Rust gives them.
const MACHINES: &[(u16, &str)] =
    &[(3, "x86"), (40, "arm"), (62, "x86_64"), (183, "aarch64"), (243, "riscv64"), (21, "powerpc64"), (22, "s390x")];

fn check_head(head: &[u8]) -> Result<(), String> {
    let not_elf = || Err("not a shared object: it does not begin like an ELF file".to_owned());
    let (Some(ident), Some(words)) = (head.first_chunk::<16>(), head.get(16..20)) else { return not_elf() };
    if !ident.starts_with(b"\x7fELF") {
        return not_elf();
    }
    let number = |bytes: &[u8]| match ident[5] {
        1 => u16::from_le_bytes([bytes[0], bytes[1]]),
        _ => u16::from_be_bytes([bytes[0], bytes[1]]),
    };
    let (kind, machine) = (number(&words[..2]), number(&words[2..]));
    let here = std::env::consts::ARCH;
    let name = MACHINES.iter().find(|(known, _)| *known == machine).map(|(_, name)| *name);
    let endianness = if cfg!(target_endian = "little") { 1 } else { 2 };
    if ident[4] != 2 || ident[5] != endianness || name.is_some_and(|name| name != here) {
        let bits = if ident[4] == 1 { "32-bit " } else { "" };
        let name = name.map_or_else(|| format!("machine {machine}"), str::to_owned);
        return Err(format!("compiled for {bits}{name}, but this program runs on {here}: compile it for {here}"));
    }
    if kind != 3 {
        return Err(
            "an ELF file, but no shared object: link it with -shared (in Rust: crate-type = [\"cdylib\"])".into()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first 20 bytes of an ELF file.
    fn head(bits: u8, kind: u8, machine: u16) -> Vec<u8> {
        let mut head = b"\x7fELF".to_vec();
        head.extend([bits, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, kind, 0]);
        head.extend(machine.to_le_bytes());
        head
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn a_file_for_another_machine_or_purpose_is_told_from_a_shared_object() {
        assert_eq!(check_head(&head(2, 3, 62)), Ok(()));
        let arm = check_head(&head(2, 3, 183)).unwrap_err();
        assert_eq!(arm, "compiled for aarch64, but this program runs on x86_64: compile it for x86_64");
        assert!(check_head(&head(1, 3, 3)).unwrap_err().starts_with("compiled for 32-bit x86,"));
        assert!(check_head(&head(2, 1, 62)).unwrap_err().contains("-shared"));
        for junk in [&b""[..], b"\x7fELF", b"#!/bin/sh\necho this is a script"] {
            assert!(check_head(junk).unwrap_err().starts_with("not a shared object"), "{junk:?}");
        }
    }
}
