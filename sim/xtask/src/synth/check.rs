//! What the continuous integration asks of `bitstreams/`: that what is there was made from the sources as they are.
//!
//! The Verilog of every board that has a manifest is written anew, which takes a second, and its hash compared; so are the hash
//! over the contract, the register map and the image, and the Verilog of the table of resources. Whether the tools
//! would give the same image again is not tried: that takes as long as the build.

use std::path::{Path, PathBuf};

use super::facts::Board;
use super::manifest::Manifest;
use super::resources;
use super::stage::sha256;
use crate::run::Error;

/// Compares every manifest with the sources.
pub fn check(root: &Path) -> Result<(), Error> {
    let folder = root.join("bitstreams");
    let boards = boards(&folder)?;
    let work = root.join("target/synth/check");
    let mut stale = resources::stale(root, &folder, &work)?;
    if boards.is_empty() {
        println!("bitstreams: no board has a manifest");
    } else {
        let names: Vec<&str> = boards.iter().map(String::as_str).collect();
        super::emit(root, &work, &names)?;
    }
    for name in &boards {
        let manifest = Manifest::read(&folder.join(name).join("manifest.toml"))?;
        let sources = Sources {
            board: Board::read(&work.join(format!("{name}.json")))?,
            verilog: sha256(&work.join(format!("{name}.v")))?,
            registers: root.join("hdl/layout/registers.json"),
        };
        stale.extend(
            problems(&folder.join(name), &manifest, &sources)?
                .into_iter()
                .map(|problem| format!("bitstreams/{name}: {problem}")),
        );
    }
    if stale.is_empty() {
        println!("bitstreams: {} made from these sources", boards.join(", "));
        return Ok(());
    }
    Err(Error::Check {
        what: format!(
            "{}\nrun `cargo xtask synth --board NAME` (`--ultrascale` for the table of resources) and commit what it writes",
            stale.join("\n")
        ),
    })
}

/// The manifests of all boards that have one, by name.
pub fn manifests(root: &Path) -> Result<Vec<Manifest>, Error> {
    let folder = root.join("bitstreams");
    let names = boards(&folder)?;
    let read = |name: &String| Manifest::read(&folder.join(name).join("manifest.toml"));
    names.iter().map(read).collect()
}

/// What a board would be made from now.
struct Sources {
    board: Board,
    verilog: String,
    registers: PathBuf,
}

/// Names of the folders that have a manifest, in order.
fn boards(folder: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| Error::file(folder, e))? {
        let path = entry.map_err(|e| Error::file(folder, e))?.path();
        if path.join("manifest.toml").is_file() {
            names.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

/// In what the files of a board differ from what they say they were made from.
fn problems(folder: &Path, manifest: &Manifest, sources: &Sources) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    if manifest.verilog_sha256 != sources.verilog {
        found.push(format!(
            "stale: made from Verilog {:.12}, the sources give {:.12}",
            manifest.verilog_sha256, sources.verilog
        ));
    }
    let abi = format!("{:#010x}", sources.board.abi_hash);
    if manifest.abi_hash != abi {
        found.push(format!(
            "its ABI hash is {}, that of the sources {abi}",
            manifest.abi_hash
        ));
    }
    let kept = folder.join("registers.json");
    if sha256(&kept)? != sha256(&sources.registers)? {
        found.push("registers.json is not that of hdl/layout".into());
    }
    if !manifest.image_file.is_empty() {
        let image = folder.join(&manifest.image_file);
        match sha256(&image) {
            Ok(hash) if hash == manifest.image_sha256 => {}
            Ok(_) => found.push(format!("{} is not the image of the manifest", manifest.image_file)),
            Err(_) => found.push(format!("{} is missing", manifest.image_file)),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::facts::Utilization;
    use super::super::tools::Tools;
    use super::*;

    /// A folder as `synth` leaves it, and what it was made from.
    fn made() -> (PathBuf, Manifest, Sources) {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("nat64-stale-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in [("registers.json", "{}"), ("sources.json", "{}"), ("b.bit", "image")] {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let mut board = Board::for_block("b");
        board.abi_hash = 0x1234;
        let image = sha256(&folder.join("b.bit")).unwrap();
        let mut manifest = Manifest::new(
            &folder,
            &board,
            &Tools::for_tests(),
            &[],
            1,
            &Utilization(Vec::new()),
            "0123456789abcdef",
            &image,
        );
        manifest.image_file = "b.bit".into();
        let sources = Sources {
            board,
            verilog: "0123456789abcdef".into(),
            registers: folder.join("sources.json"),
        };
        (folder, manifest, sources)
    }

    #[test]
    fn what_was_made_from_the_sources_passes() {
        let (folder, manifest, sources) = made();
        assert_eq!(problems(&folder, &manifest, &sources).unwrap(), Vec::<String>::new());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn whatever_differs_is_told() {
        let (folder, manifest, mut sources) = made();
        let told = |sources: &Sources| problems(&folder, &manifest, sources).unwrap().join("\n");
        sources.verilog = "fedcba9876543210".into();
        assert!(told(&sources).contains("made from Verilog 0123456789ab, the sources give fedcba987654"));
        sources.verilog = manifest.verilog_sha256.clone();
        sources.board.abi_hash = 0x1235;
        assert!(told(&sources).contains("0x00001234"));
        sources.board.abi_hash = 0x1234;
        std::fs::write(folder.join("sources.json"), "{\"new\": 1}").unwrap();
        assert!(told(&sources).contains("registers.json"));
        std::fs::write(folder.join("sources.json"), "{}").unwrap();
        std::fs::write(folder.join("b.bit"), "another").unwrap();
        assert!(told(&sources).contains("b.bit is not the image"));
        std::fs::remove_file(folder.join("b.bit")).unwrap();
        assert!(told(&sources).contains("b.bit is missing"));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn only_folders_with_a_manifest_are_boards() {
        let (folder, ..) = made();
        for name in ["z", "a", "empty"] {
            std::fs::create_dir_all(folder.join(name)).unwrap();
        }
        for name in ["z", "a"] {
            std::fs::write(folder.join(name).join("manifest.toml"), "").unwrap();
        }
        assert_eq!(boards(&folder).unwrap(), ["a", "z"]);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
