//! `cargo xtask load --board B`: puts an image into a board with openFPGALoader.
//!
//! The image is the one of `bitstreams/B/`, and must be the one of its manifest. How the loader reaches a board is part of the
//! board's description (`hdl/src/board`); a board that is a harness around a bare core has no cable and cannot be loaded.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;

use super::facts::Board;
use super::manifest::Manifest;
use super::stage::sha256;
use crate::run::Error;

/// Arguments of the chore.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cargo xtask load --board ecp5-versa\n  cargo xtask load --board ecp5-versa --flash\n\n\
    Exit code 1 when the image is not the one of its manifest, a clock of the board is faster than it allows, the board has no cable,\n\
    or the loader fails."
)]
pub struct Options {
    /// Board, as `cargo xtask synth --list` names it.
    #[arg(long)]
    board: String,
    /// Another image than that of bitstreams/BOARD; its origin is not checked.
    #[arg(long)]
    image: Option<PathBuf>,
    /// Load an image even when a clock of the board is faster than its timing allows.
    #[arg(long)]
    force: bool,
    /// Write the board's flash, which the FPGA starts from; else the image is gone when the power is.
    #[arg(long)]
    flash: bool,
    /// Program that loads.
    #[arg(long, default_value = "openFPGALoader")]
    loader: PathBuf,
}

/// Runs the chore.
pub fn load(root: &Path, options: &Options) -> Result<(), Error> {
    let work = root.join("target/synth/load");
    super::emit(root, &work, &[&options.board])?;
    let board = Board::read(&work.join(format!("{}.json", options.board)))?;
    let image = match &options.image {
        Some(image) => image.clone(),
        None => committed(&root.join("bitstreams").join(&options.board), options.force)?,
    };
    run(&board, &image, options)
}

/// The image of a board's folder, if it is the one its manifest names.
fn committed(folder: &Path, force: bool) -> Result<PathBuf, Error> {
    let manifest = Manifest::read(&folder.join("manifest.toml"))?;
    if manifest.image_file.is_empty() {
        return Err(Error::Missing {
            what: format!("image in {}: run `cargo xtask synth`", folder.display()),
        });
    }
    let image = folder.join(&manifest.image_file);
    let hash = sha256(&image)?;
    if hash != manifest.image_sha256 {
        return Err(Error::Check {
            what: format!(
                "{} is not the image of its manifest: its SHA-256 is {hash:.12}, the manifest has {:.12}",
                image.display(),
                manifest.image_sha256
            ),
        });
    }
    for clock in manifest.clocks.iter().filter(|clock| !clock.met) {
        println!(
            "note: clock {} was built for {} MHz and reaches {} MHz; it runs at {} MHz",
            clock.net, clock.constraint_mhz, clock.image_mhz, clock.runs_mhz
        );
    }
    if let Some(clock) = manifest.clocks.iter().find(|clock| !clock.safe() && !force) {
        return Err(Error::Check {
            what: format!(
                "clock {} has {} MHz on the board and the image allows {}; --force loads it all the same",
                clock.net, clock.runs_mhz, clock.image_mhz
            ),
        });
    }
    Ok(image)
}

/// What the loader is called with.
fn arguments(board: &Board, image: &Path, flash: bool) -> Result<Vec<OsString>, Error> {
    if board.loader.is_empty() {
        return Err(Error::Check {
            what: format!("{} cannot be loaded: it is {}", board.name, board.what),
        });
    }
    let place = if flash { "--write-flash" } else { "--write-sram" };
    Ok(board
        .loader
        .iter()
        .map(OsString::from)
        .chain([place.into(), image.into()])
        .collect())
}

fn run(board: &Board, image: &Path, options: &Options) -> Result<(), Error> {
    let arguments = arguments(board, image, options.flash)?;
    let shown: Vec<String> = arguments.iter().map(|a| a.to_string_lossy().into_owned()).collect();
    let command = format!("{} {}", options.loader.display(), shown.join(" "));
    println!("\n$ {command}");
    let status = Command::new(&options.loader)
        .args(&arguments)
        .stdin(Stdio::null())
        .status()
        .map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => Error::Tools {
                packages: "openfpgaloader".into(),
                why: "install the Debian package, or name the program with --loader",
            },
            _ => Error::Start {
                command: command.clone(),
                source,
            },
        })?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::Failed { command, status })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    /// A folder with an image, and a loader that notes what it is called with and ends with `status`.
    fn bench(name: &str, status: u8) -> (PathBuf, Options) {
        let folder = std::env::temp_dir().join(format!("nat64-load-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("b.bit"), "image").unwrap();
        let loader = folder.join("loader");
        let text = format!("#!/bin/sh\necho \"$@\" > {}/called\nexit {status}\n", folder.display());
        std::fs::write(&loader, text).unwrap();
        std::fs::set_permissions(&loader, std::fs::Permissions::from_mode(0o755)).unwrap();
        let options = Options {
            board: "b".into(),
            image: None,
            force: false,
            flash: false,
            loader,
        };
        (folder, options)
    }

    fn with_cable() -> Board {
        let mut board = Board::for_block("b");
        board.loader = ["--cable", "ft2232"].map(str::to_string).into();
        board
    }

    #[test]
    fn the_loader_gets_cable_place_and_image() {
        let (folder, mut options) = bench("called", 0);
        let image = folder.join("b.bit");
        for (flash, place) in [(false, "--write-sram"), (true, "--write-flash")] {
            options.flash = flash;
            run(&with_cable(), &image, &options).unwrap();
            let called = std::fs::read_to_string(folder.join("called")).unwrap();
            assert_eq!(called.trim(), format!("--cable ft2232 {place} {}", image.display()));
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_loader_that_fails_or_is_not_there_is_an_error() {
        let (folder, mut options) = bench("fails", 3);
        let image = folder.join("b.bit");
        let error = run(&with_cable(), &image, &options).unwrap_err().to_string();
        assert!(error.contains("--write-sram") && error.contains('3'), "{error}");
        options.loader = folder.join("nothing");
        let error = run(&with_cable(), &image, &options).unwrap_err().to_string();
        assert!(error.contains("openfpgaloader"), "{error}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_harness_is_not_loaded() {
        let (folder, options) = bench("harness", 0);
        let error = run(&Board::for_block("b"), &folder.join("b.bit"), &options).unwrap_err();
        assert!(error.to_string().contains("cannot be loaded"), "{error}");
        assert!(!folder.join("called").exists());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn only_the_image_of_the_manifest_is_loaded() {
        let (folder, _) = bench("manifest", 0);
        let mut manifest = Manifest::new(
            &folder,
            &with_cable(),
            &super::super::tools::Tools::for_tests(),
            &[],
            1,
            &super::super::facts::Utilization(Vec::new()),
            "",
            &sha256(&folder.join("b.bit")).unwrap(),
        );
        manifest.write(&folder.join("manifest.toml")).unwrap();
        assert!(committed(&folder, true).unwrap_err().to_string().contains("no image"));
        manifest.image_file = "b.bit".into();
        manifest.write(&folder.join("manifest.toml")).unwrap();
        assert_eq!(committed(&folder, true).unwrap(), folder.join("b.bit"));
        // of no seed it is known how fast it is
        let error = committed(&folder, false).unwrap_err().to_string();
        assert!(error.contains("has 156.25 MHz on the board"), "{error}");
        manifest.clocks[0].image_mhz = 156.25;
        manifest.write(&folder.join("manifest.toml")).unwrap();
        assert_eq!(committed(&folder, false).unwrap(), folder.join("b.bit"));
        std::fs::write(folder.join("b.bit"), "another").unwrap();
        let error = committed(&folder, true).unwrap_err().to_string();
        assert!(error.contains("not the image of its manifest"), "{error}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
