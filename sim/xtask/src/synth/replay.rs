//! `cargo xtask netlist`: the core after synthesis does what the core does, clock by clock, on the example captures.
//!
//! ```text
//!   emit --> core64.v --> yosys synth_ecp5 --> netlist.v --+--> replayed.v --> tests/examples/netlist.rs (Verilator)
//!                            yosys' cells_sim.v, ours of the block RAM --+          --> tests/results/netlist.txt
//! ```
//!
//! Tool and commands of the synthesis are those of `cargo xtask synth`, so what is replayed is what place and route begins with. What it
//! makes of that is not looked at.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::stage::{sha256, Stage};
use super::tools::Tools;
use super::SYNTHESIS;
use crate::run::Error;

/// Bus width of the core, bits.
const WIDTH: &str = "64";
/// Our model of the block RAM: Yosys has its ports only.
const BLOCK_RAM: &str = "hdl/models/ecp5_block_ram.v";

/// Runs the chore; the file to replay, and what it is, for the head of the report.
pub fn netlist(root: &Path) -> Result<(PathBuf, String), Error> {
    let work = root.join("target/synth/netlist");
    println!("== core of {WIDTH} bits: Verilog");
    super::emit(root, &work, &[WIDTH])?;
    let tools = Tools::find(root)?;
    println!("== synthesis ({})", tools.yosys_version);
    let made = work.join("netlist.v");
    let script = format!(
        "read_verilog core{WIDTH}.v; {SYNTHESIS} -top top; write_verilog -noattr netlist.v; tee -q -o stat.json stat -json"
    );
    let verilog = sha256(&work.join(format!("core{WIDTH}.v")))?;
    Stage::new(
        &work,
        "yosys",
        &[&verilog, &tools.yosys_version, &script],
        &[&made, &work.join("stat.json")],
    )
    .run(|log| tools.yosys(&work, &script, log))?;
    let text = read(&made)?;
    let cells = tools.cells()?;
    let models = expanded(&cells.join("cells_sim.v"))?;
    let (own, none) = ("module DP16KD(", "module DP16KD_ports(");
    if models.matches(own).count() != 1 {
        return Err(Error::Missing {
            what: format!("`{own}` in {}", cells.display()),
        });
    }
    let models = models.replace(own, none) + &read(&root.join(BLOCK_RAM))?;
    let whole = needed(&models, &text) + &text;
    let file = work.join("replayed.v");
    std::fs::write(&file, whole).map_err(|e| Error::file(&file, e))?;
    Ok((
        file,
        format!(
            "{}: {script}\nVerilog of the core: SHA-256 {verilog}",
            tools.yosys_version
        ),
    ))
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|e| Error::file(path, e))
}

/// A Verilog file with the files it includes, which lie beside it, and without what stands under a name that is defined, for none is.
fn expanded(path: &Path) -> Result<String, Error> {
    let mut out = String::new();
    // for each condition around a line, whether the line counts
    let mut counts: Vec<bool> = Vec::new();
    for line in read(path)?.lines() {
        let word = line.trim();
        if word.starts_with("`ifdef") || word.starts_with("`ifndef") {
            counts.push(word.starts_with("`ifndef"));
        } else if word.starts_with("`else") {
            if let Some(last) = counts.last_mut() {
                *last = !*last;
            }
        } else if word.starts_with("`endif") {
            counts.pop();
        } else if counts.iter().all(|&count| count) {
            match word.strip_prefix("`include \"").and_then(|rest| rest.strip_suffix('"')) {
                Some(name) => out += &expanded(&path.with_file_name(name))?,
                None => {
                    out += line;
                    out.push('\n');
                }
            }
        }
    }
    Ok(out)
}

/// The modules of `models` that `netlist` needs, and those that they need; what stands between modules stays. The rest has words
/// that only SystemVerilog knows.
fn needed(models: &str, netlist: &str) -> String {
    const END: &str = "endmodule";
    let chunks: Vec<(&str, &str)> = models
        .split_inclusive(END)
        .map(|chunk| {
            let name = chunk.split("module ").nth(1).unwrap_or_default();
            (
                name.split(|c: char| !c.is_alphanumeric() && c != '_')
                    .next()
                    .unwrap_or_default(),
                chunk,
            )
        })
        .collect();
    let words = |text: &'_ str| -> BTreeSet<String> {
        text.split(|c: char| !c.is_alphanumeric() && c != '_')
            .map(str::to_owned)
            .collect()
    };
    let mut wanted = words(netlist);
    loop {
        let of_models = chunks.iter().filter(|(name, _)| wanted.contains(*name));
        let more: BTreeSet<String> = of_models.flat_map(|(_, chunk)| words(chunk)).collect();
        if more.is_subset(&wanted) {
            break;
        }
        wanted.extend(more);
    }
    let kept = chunks
        .iter()
        .filter(|(name, _)| name.is_empty() || wanted.contains(*name));
    kept.map(|(_, chunk)| format!("{chunk}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn included_files_are_put_in_place() {
        let folder = std::env::temp_dir().join(format!("nat64-expanded-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(
            folder.join("a.v"),
            "one\n`ifndef X\n`include \"b.vh\"\n`else\nnot\n`endif\n`ifdef X\nnot\n`endif\nthree\n",
        )
        .unwrap();
        std::fs::write(folder.join("b.vh"), "two").unwrap();
        assert_eq!(expanded(&folder.join("a.v")).unwrap(), "one\ntwo\nthree\n");
        assert!(expanded(&folder.join("c.v")).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn models_are_those_that_are_needed() {
        let models =
            "module A(x); B b(); endmodule\n(* c *)\nmodule B(y); endmodule\nmodule C(z); $error(); endmodule\n";
        let kept = needed(models, "module top; A a1(); endmodule");
        assert!(
            kept.contains("module A(x)") && kept.contains("module B(y)") && !kept.contains("module C"),
            "{kept}"
        );
    }
}
