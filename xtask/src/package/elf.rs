//! What an executable asks of the system that it is to run on.

use object::{
    elf,
    read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _},
};

use super::Architecture;

/// The glibc of [Amazon Linux 2023](https://docs.aws.amazon.com/linux/al2023/ug/core-glibc.html), which is
/// that of the runtime `provided.al2023`.
pub const NEWEST_GLIBC: Glibc = Glibc(2, 34);

/// A version of the C library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Glibc(pub u16, pub u16);

impl std::fmt::Display for Glibc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// The oldest glibc that an executable starts with, if it is one of this architecture that the runtime
/// `provided.al2023` can start; else why it is not.
pub fn check(executable: &[u8], architecture: Architecture) -> Result<Glibc, String> {
    let needed = needed(executable, architecture)?;
    if needed > NEWEST_GLIBC {
        return Err(format!("it needs glibc {needed}, and the runtime has {NEWEST_GLIBC}"));
    }
    Ok(needed)
}

fn needed(executable: &[u8], architecture: Architecture) -> Result<Glibc, String> {
    let damaged = |error: object::Error| format!("it is no executable that can be read: {error}");
    let file = ElfFile64::<object::Endianness>::parse(executable).map_err(damaged)?;
    let (endian, header) = (file.endian(), file.elf_header());
    let (machine, interpreter) = match architecture {
        Architecture::X86_64 => (elf::EM_X86_64, "/lib64/ld-linux-x86-64.so.2"),
        Architecture::Arm64 => (elf::EM_AARCH64, "/lib/ld-linux-aarch64.so.1"),
    };
    if header.e_machine(endian) != machine {
        return Err(format!("it is not for {architecture}"));
    }
    let mut asks = None;
    for segment in file.elf_program_headers() {
        asks = asks.or(segment.interpreter(endian, executable).map_err(damaged)?);
    }
    if asks != Some(interpreter.as_bytes()) {
        let asks = asks.map_or("none".into(), String::from_utf8_lossy);
        return Err(format!("its loader is {asks}, and not {interpreter}"));
    }
    let sections = file.elf_section_table();
    let (versions, strings) = sections
        .gnu_verneed(endian, executable)
        .map_err(damaged)?
        .ok_or("it does not say which glibc it needs")?;
    let strings = sections.strings(endian, executable, strings).map_err(damaged)?;
    let mut highest = None;
    for library in versions {
        let (_, symbols) = library.map_err(damaged)?;
        for symbol in symbols {
            let name = symbol.and_then(|symbol| symbol.name(endian, strings)).map_err(damaged)?;
            let name = String::from_utf8_lossy(name);
            // Other libraries have versions of their own, such as `GCC_3.0`.
            let Some(version) = name.strip_prefix("GLIBC_") else { continue };
            // `GLIBC_PRIVATE`, `GLIBC_ABI_DT_RELR`: bound to one glibc, or to new ones.
            let version = parse(version).ok_or_else(|| format!("it needs `{name}`"))?;
            highest = highest.max(Some(version));
        }
    }
    highest.ok_or_else(|| "it does not say which glibc it needs".to_owned())
}

/// `2.34`, and `2.2.5`, whose third part decides nothing here.
fn parse(version: &str) -> Option<Glibc> {
    let mut parts = version.split('.').map(str::parse);
    let version = Glibc(parts.next()?.ok()?, parts.next()?.ok()?);
    parts.all(|part| part.is_ok()).then_some(version)
}

#[cfg(all(test, target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// This test's own executable is one like those it is about.
    fn own() -> (Vec<u8>, Architecture) {
        let architecture = Architecture::of_this_machine().unwrap();
        (std::fs::read(std::env::current_exe().unwrap()).unwrap(), architecture)
    }

    /// With the first `from` in it replaced by `to`, of the same length: what the loader reads stands first.
    fn patched(executable: &[u8], from: &str, to: &str) -> Vec<u8> {
        assert_eq!(from.len(), to.len());
        let mut copy = executable.to_owned();
        let at = copy.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        copy[at..at + to.len()].copy_from_slice(to.as_bytes());
        copy
    }

    #[test]
    fn an_executable_says_which_glibc_it_needs() {
        let (executable, architecture) = own();
        let needed = needed(&executable, architecture).unwrap();
        assert!(needed >= Glibc(2, 17) && needed < Glibc(3, 0), "{needed}");
    }

    #[test]
    fn what_the_runtime_does_not_start_is_refused() {
        let (executable, architecture) = own();
        let version = format!("GLIBC_{}\0", needed(&executable, architecture).unwrap());
        let newer = patched(&executable, &version, &version.replace("2.", "9."));
        assert!(check(&newer, architecture).unwrap_err().contains("it needs glibc 9."));
        let private = patched(&executable, &version, &format!("GLIBC_{}\0", "P".repeat(version.len() - 7)));
        assert!(check(&private, architecture).unwrap_err().starts_with("it needs `GLIBC_P"));
        let other = match architecture {
            Architecture::X86_64 => Architecture::Arm64,
            Architecture::Arm64 => Architecture::X86_64,
        };
        assert_eq!(check(&executable, other), Err(format!("it is not for {other}")));
        let loader = patched(&executable, "/ld-linux-", "/ld-musl--");
        assert!(check(&loader, architecture).unwrap_err().starts_with("its loader is /lib"));
    }

    #[test]
    fn a_damaged_executable_is_refused() {
        let (executable, architecture) = own();
        for damaged in [&b""[..], b"#!/bin/sh\n", &executable[..40], &executable[..executable.len() / 2]] {
            check(damaged, architecture).unwrap_err();
        }
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!((parse("2.2.5"), parse("2.34")), (Some(Glibc(2, 2)), Some(Glibc(2, 34))));
        assert!(parse("2.4") < parse("2.34"));
        assert_eq!(
            (parse("PRIVATE"), parse("ABI_DT_RELR"), parse("2"), parse("2.x")),
            (None, None, None, None)
        );
    }
}
