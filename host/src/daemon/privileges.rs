//! What the daemon may do once it runs: only what its kinds of card need.
//!
//! | kind | capabilities kept | writes to |
//! |---|---|---|
//! | vfio | CAP_IPC_LOCK (pinned DMA memory) | /dev/vfio, /dev/iommu |
//! | vfio-user | none | the socket |
//! | serial | none | the line, and every other terminal device |
//! | soft | CAP_NET_RAW, CAP_NET_ADMIN | /dev/net |
//! | sim | CAP_NET_ADMIN (its TAP ports) | everywhere: the simulator compiles the card |
//!
//! Capabilities and Landlock rules belong to threads and are inherited: [`drop_to`] is called before there is a second
//! one. A kernel without Landlock is no error; what was and was not done is said in the log.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use caps::{CapSet, Capability, CapsHashSet};
use landlock::{
    path_beneath_rules, Access as _, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetStatus, ABI,
};

use crate::api::card::CardKind;

/// Capabilities that a kind of card needs.
pub const fn needed(kind: CardKind) -> &'static [Capability] {
    match kind {
        CardKind::Vfio => &[Capability::CAP_IPC_LOCK],
        CardKind::VfioUser | CardKind::Serial => &[],
        CardKind::Soft => &[Capability::CAP_NET_RAW, Capability::CAP_NET_ADMIN],
        CardKind::Sim => &[Capability::CAP_NET_ADMIN],
    }
}

/// What became of the privileges, for the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Capabilities that are left.
    pub kept: Vec<String>,
    /// What Landlock does.
    pub landlock: &'static str,
    /// What did not work.
    pub failures: Vec<String>,
}

/// Gives up everything but what these kinds of card need; `folders` are written to. Call it while there is one thread.
pub fn drop_to(kinds: &HashSet<CardKind>, folders: &[PathBuf]) -> Dropped {
    let mut dropped = Dropped {
        landlock: "not used",
        ..Dropped::default()
    };
    if let Err(error) = nix::sys::prctl::set_no_new_privs() {
        dropped.failures.push(format!("no_new_privs: {error}"));
    }
    if kinds.contains(&CardKind::Sim) {
        dropped.landlock = "not used: a simulated card writes where it is compiled";
    } else {
        match landlock(kinds, folders) {
            Ok(RulesetStatus::FullyEnforced) => dropped.landlock = "enforced",
            Ok(RulesetStatus::PartiallyEnforced) => dropped.landlock = "enforced in part: the kernel is older",
            Ok(RulesetStatus::NotEnforced) => dropped.landlock = "not enforced: the kernel has none",
            Err(error) => dropped.failures.push(format!("landlock: {error}")),
        }
    }
    let wanted: CapsHashSet = kinds.iter().flat_map(|kind| needed(*kind)).copied().collect();
    match capabilities(&wanted) {
        Ok(kept) => dropped.kept = kept,
        Err(error) => dropped.failures.push(format!("capabilities: {error}")),
    }
    dropped
}

fn capabilities(wanted: &CapsHashSet) -> Result<Vec<String>, caps::errors::CapsError> {
    let have = caps::read(None, CapSet::Permitted)?;
    let keep: CapsHashSet = have.intersection(wanted).copied().collect();
    // The bounding set can only be cut while we may (CAP_SETPCAP); without it, nothing can be gained by exec anyway.
    if have.contains(&Capability::CAP_SETPCAP) {
        for cap in caps::read(None, CapSet::Bounding)?.difference(&keep) {
            caps::drop(None, CapSet::Bounding, *cap)?;
        }
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::set(None, CapSet::Inheritable, &keep)?;
    caps::set(None, CapSet::Effective, &keep)?;
    caps::set(None, CapSet::Permitted, &keep)?;
    let mut names: Vec<String> = keep.iter().map(ToString::to_string).collect();
    names.sort();
    Ok(names)
}

/// Terminal devices there are now, and the folder of those that programs make. A line that is plugged in later is none of them: the
/// daemon has to be started again for it.
fn terminals() -> Vec<PathBuf> {
    let named = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("tty"))
    };
    let devices = std::fs::read_dir("/dev").into_iter().flatten().flatten();
    devices
        .map(|entry| entry.path())
        .filter(named)
        .chain([PathBuf::from("/dev/pts")])
        .collect()
}

fn landlock(kinds: &HashSet<CardKind>, folders: &[PathBuf]) -> Result<RulesetStatus, landlock::RulesetError> {
    let abi = ABI::V3;
    let mut written: Vec<&Path> = folders.iter().map(PathBuf::as_path).collect();
    written.extend([Path::new("/dev/null"), Path::new("/dev/log"), Path::new("/dev/shm")]);
    if kinds.contains(&CardKind::Vfio) {
        written.extend([Path::new("/dev/vfio"), Path::new("/dev/iommu")]);
    }
    let lines: Vec<PathBuf> = match kinds.contains(&CardKind::Serial) {
        true => terminals(),
        false => Vec::new(),
    };
    written.extend(lines.iter().map(PathBuf::as_path));
    if kinds.contains(&CardKind::Soft) {
        written.push(Path::new("/dev/net"));
    }
    written.retain(|path| path.exists());
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .create()?
        .add_rules(path_beneath_rules(["/"], AccessFs::from_read(abi)))?
        .add_rules(path_beneath_rules(written, AccessFs::from_all(abi)))?
        .restrict_self()?;
    Ok(status.ruleset)
}
