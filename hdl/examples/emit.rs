//! Writes Verilog: `emit DIRECTORY WIDTH|endpoint|rgmii_port|proven|ultrascale|BOARD|block:NAME...` gives `DIRECTORY/coreWIDTH.v` for a width in bits,
//! `DIRECTORY/endpoint.v` for the PCI Express endpoint, `DIRECTORY/rgmii_port.v` for a network
//! port, `DIRECTORY/BLOCK.v` for each block that `hdl/formal/` has proofs of, `DIRECTORY/ultrascale/` with a project for a vendor's tool, for a board `BOARD.v`, `BOARD.lpf` (constraints) and `BOARD.json` (facts), and
//! for `block:NAME` `NAME.v`, a block alone on the timing harness. `cargo xtask emit` and `cargo xtask synth` run it.

use std::path::Path;
use std::process::ExitCode;

use nat64_hdl::board::{Board, TimedBlock};
use nat64_hdl::export;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(directory) = arguments.next() else {
        eprintln!("usage: emit DIRECTORY WIDTH|endpoint|rgmii_port|proven|ultrascale|BOARD|block:NAME...");
        return ExitCode::from(2);
    };
    for word in arguments {
        if word == "--list" {
            nat64_hdl::board::BOARDS
                .iter()
                .for_each(|board| println!("{:16} {}", board.name, board.what));
            continue;
        }
        let Some(files) = files(&word) else {
            let boards: Vec<&str> = nat64_hdl::board::BOARDS.iter().map(|b| b.name).collect();
            eprintln!(
                "emit: {word} is no width ({:?}), none of `endpoint`, `rgmii_port`, `proven`, `ultrascale`, no block and no board ({})",
                export::WIDTHS,
                boards.join(", ")
            );
            return ExitCode::from(2);
        };
        for (name, text) in files {
            let file = Path::new(&directory).join(name);
            let folder = file.parent().unwrap_or(Path::new(&directory));
            if let Err(error) = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&file, text)) {
                eprintln!("emit: {}: {error}", file.display());
                return ExitCode::FAILURE;
            }
            println!("{}", file.display());
        }
    }
    ExitCode::SUCCESS
}

/// Names and texts of the files of a width or a board.
fn files(word: &str) -> Option<Vec<(String, String)>> {
    if let Some(board) = Board::named(word) {
        let texts = [
            ("v", board.verilog()?),
            ("lpf", board.constraints()),
            ("json", board.facts()),
        ];
        return Some(texts.map(|(end, text)| (format!("{word}.{end}"), text)).into());
    }
    if let Some(name) = word.strip_prefix("block:") {
        return Some(vec![(format!("{name}.v"), TimedBlock::named(name)?.verilog()?)]);
    }
    if word == "ultrascale" {
        let files = nat64_hdl::board::ultrascale::project()?.into_iter();
        return Some(files.map(|(name, text)| (format!("ultrascale/{name}"), text)).collect());
    }
    if word == "rgmii_port" {
        return Some(vec![("rgmii_port.v".to_string(), export::rgmii_port_verilog()?)]);
    }
    if word == "proven" {
        let blocks = export::proven_blocks()?;
        return Some(
            blocks
                .into_iter()
                .map(|(name, text)| (format!("{name}.v"), text))
                .collect(),
        );
    }
    if word == "endpoint" {
        return Some(vec![("endpoint.v".to_string(), export::endpoint_verilog()?)]);
    }
    Some(vec![(
        format!("core{word}.v"),
        export::core_verilog(word.parse().ok()?)?,
    )])
}
