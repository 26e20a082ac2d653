//! A stage of the build: run only when what it is made from has changed, its output in a log file.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use sha2::{Digest, Sha256};

use crate::run::Error;

/// SHA-256 of a file, in hexadecimal.
pub fn sha256(path: &Path) -> Result<String, Error> {
    let mut file = std::fs::File::open(path).map_err(|e| Error::file(path, e))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = file.read(&mut buffer).map_err(|e| Error::file(path, e))?;
        if n == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&buffer[..n]);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// One stage.
pub struct Stage {
    stamp: PathBuf,
    log: PathBuf,
    inputs: String,
    outputs: Vec<PathBuf>,
}

impl Stage {
    /// A stage of this name in `work`, made from `inputs` (hashes, versions, arguments), which makes `outputs`.
    pub fn new(work: &Path, name: &str, inputs: &[&str], outputs: &[&Path]) -> Self {
        let mut hash = Sha256::new();
        for input in inputs {
            // The length keeps two inputs from being read as one.
            hash.update(input.len().to_le_bytes());
            hash.update(input.as_bytes());
        }
        Self {
            stamp: work.join(format!("{name}.stamp")),
            log: work.join(format!("{name}.log")),
            inputs: hex(&hash.finalize()),
            outputs: outputs.iter().map(|path| path.to_path_buf()).collect(),
        }
    }

    /// Whether it has been done with these inputs and all of its outputs are there.
    pub fn is_done(&self) -> bool {
        std::fs::read_to_string(&self.stamp).is_ok_and(|made| made.trim() == self.inputs)
            && self.outputs.iter().all(|path| path.is_file())
    }

    /// Runs `work` unless it is done; `work` is given the file for the log.
    pub fn run(&self, work: impl FnOnce(&Path) -> Result<(), Error>) -> Result<(), Error> {
        if self.is_done() {
            println!("   unchanged since the last run");
            return Ok(());
        }
        // A stage that is stopped half-way must not look done.
        let _ = std::fs::remove_file(&self.stamp);
        let start = Instant::now();
        work(&self.log)?;
        std::fs::write(&self.stamp, &self.inputs).map_err(|e| Error::file(&self.stamp, e))?;
        println!("   {:.0} s", start.elapsed().as_secs_f64());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_runs_again_only_for_other_inputs_or_lost_outputs() {
        let work = std::env::temp_dir().join(format!("nat64-stage-{}", std::process::id()));
        std::fs::create_dir_all(&work).unwrap();
        let output = work.join("out");
        let mut runs = 0;
        let mut run = |inputs: &[&str]| {
            Stage::new(&work, "s", inputs, &[&output])
                .run(|_| {
                    runs += 1;
                    std::fs::write(&output, "x").map_err(|e| Error::file(&output, e))
                })
                .unwrap();
            runs
        };
        assert_eq!(run(&["a", "b"]), 1);
        assert_eq!(run(&["a", "b"]), 1, "nothing changed");
        assert_eq!(run(&["ab", ""]), 2, "the same text, cut elsewhere, is another input");
        std::fs::remove_file(&output).unwrap();
        assert_eq!(run(&["ab", ""]), 3, "the output was lost");
        assert!(Stage::new(&work, "s", &["ab", ""], &[&output])
            .run(|_| panic!("done"))
            .is_ok());
        let failed = Stage::new(&work, "s", &["c"], &[&output]);
        assert!(failed.run(|_| Err(Error::Missing { what: "luck".into() })).is_err());
        assert!(!failed.is_done() && !Stage::new(&work, "s", &["ab", ""], &[&output]).is_done());
        std::fs::remove_dir_all(&work).unwrap();
    }

    #[test]
    fn sha256_is_the_published_one() {
        let path = std::env::temp_dir().join(format!("nat64-sha-{}", std::process::id()));
        std::fs::write(&path, "abc").unwrap();
        // FIPS 180-4, the example of one block.
        let want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(&path).unwrap(), want);
        std::fs::remove_file(&path).unwrap();
    }
}
