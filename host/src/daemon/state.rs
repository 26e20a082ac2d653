//! What a restart needs to take a card over that kept translating: the card's table is read back from the card, and what
//! cannot be read ([`CardMemory`]: the hash secret, the next hops) stands in a file per card.
//!
//! Two lines: a CRC-32 in hexadecimal, and the memory in JSON. It is written beside and renamed whenever
//! [`Card::memory_version`](nat64_driver::Card::memory_version) moves, which is with configurations and neighbours, not with
//! sessions; readable by its owner alone, because of the secret. It is not synced to disk: with the machine the card
//! goes, too. A file that is damaged or of another contract is of no use, and said so; the card is opened anew then.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nat64_driver::CardMemory;

/// Longest file that is read; a card has 256 next hops.
const MAX_FILE: u64 = 1 << 20;

/// Reads the memory of a card. `None`: there is none, or it is of no use (said in the log).
pub fn read(path: &Path) -> Option<CardMemory> {
    let length = std::fs::metadata(path).ok()?.len();
    let bad = |why: &str| {
        tracing::warn!(file = %path.display(), why, "the card's memory cannot be used");
        None
    };
    if length > MAX_FILE {
        return bad("too long");
    }
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return bad(&error.to_string()),
    };
    let Some((sum, json)) = text.split_once('\n') else {
        return bad("cut off");
    };
    let json = json.trim_end();
    if u32::from_str_radix(sum, 16).ok() != Some(crc32fast::hash(json.as_bytes())) {
        return bad("damaged");
    }
    match serde_json::from_str(json) {
        Ok(memory) => Some(memory),
        Err(error) => bad(&error.to_string()),
    }
}

/// The file of a card that is in use.
#[derive(Debug)]
pub struct MemoryFile {
    path: PathBuf,
    version: Option<u64>,
    failed: bool,
}

impl MemoryFile {
    /// Nothing is written before [`MemoryFile::keep`].
    pub const fn new(path: PathBuf) -> Self {
        Self {
            path,
            version: None,
            failed: false,
        }
    }

    /// The card is another one, or was opened anew: what was written is of no use any more.
    pub fn renew(&mut self) {
        self.version = None;
    }

    /// Writes the memory, when `version` is another than the last time.
    pub fn keep(&mut self, version: u64, memory: impl FnOnce() -> CardMemory) {
        if self.version == Some(version) {
            return;
        }
        // A failure costs the sessions at the next restart, nothing now; it is tried again when the memory moves.
        self.version = Some(version);
        match self.write(&memory()) {
            Ok(()) => self.failed = false,
            Err(error) => {
                if !self.failed {
                    tracing::error!(file = %self.path.display(), %error, "the card's memory is not kept for a restart");
                }
                self.failed = true;
                // What is there tells of next hops that may be others now.
                let _ = std::fs::remove_file(&self.path);
            }
        }
    }

    fn write(&self, memory: &CardMemory) -> io::Result<()> {
        let json = serde_json::to_string(memory)?;
        let text = format!("{:08x}\n{json}\n", crc32fast::hash(json.as_bytes()));
        let beside = self.path.with_extension("new");
        let mut options = File::options();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(text.as_bytes())?;
        drop(file);
        std::fs::rename(&beside, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use nat64_driver::HopMemory;

    use super::*;

    fn memory(hops: u8) -> CardMemory {
        let hop = |index| HopMemory {
            index,
            unit: 1,
            destination: [2, 0, 0, 0, 0, 7],
            source: [2, 0, 0, 0, 0, 1],
            port: 1,
            vlans: [Some(7), None],
            qinq: false,
        };
        CardMemory {
            abi_hash: 7,
            secret: [1, 2],
            plan: u64::MAX,
            hops: (0..hops).map(hop).collect(),
        }
    }

    #[test]
    fn what_was_kept_is_read_back_and_what_is_damaged_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memory");
        assert_eq!(read(&path), None);
        let mut file = MemoryFile::new(path.clone());
        file.keep(1, || memory(3));
        file.keep(1, || panic!("nothing moved"));
        assert_eq!(read(&path), Some(memory(3)));
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "the secret is the owner's");
        let whole = std::fs::read(&path).unwrap();
        for end in 0..whole.len() - 1 {
            std::fs::write(&path, &whole[..end]).unwrap();
            assert_eq!(read(&path), None, "cut at {end}");
        }
        for at in 0..whole.len() - 1 {
            let mut damaged = whole.clone();
            damaged[at] ^= 4;
            std::fs::write(&path, &damaged).unwrap();
            assert_eq!(read(&path), None, "damaged at {at}");
        }
        file.keep(2, || memory(1));
        assert_eq!(read(&path), Some(memory(1)));
    }

    #[test]
    fn a_folder_that_is_gone_is_no_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gone").join("memory");
        let mut file = MemoryFile::new(path.clone());
        file.keep(1, || memory(1));
        std::fs::create_dir(dir.path().join("gone")).unwrap();
        file.keep(2, || memory(2));
        assert_eq!(read(&path), Some(memory(2)));
    }
}
