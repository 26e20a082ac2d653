//! Netlists: what yosys makes of exported Verilog for an ECP5, replayed in the cells of the part.
//!
//! ```text
//!   uut.v --> yosys synth_ecp5 --> netlist.v \
//!   record of the simulator --> bench.v      +--> iverilog: every output of every clock
//!   yosys' cells_sim.v, ecp5_block_ram.v    /
//! ```
//!
//! The models of look-up tables, registers, carry chains and small memories are yosys' own, that of the block RAM is ours
//! (`hdl/models`): yosys has its ports only. What place and route does afterwards is not looked at here.
//!
//! For blocks of some hundred cells: iverilog follows every change from cell to cell, and where sums and choices meet again one
//! clock is millions of them. A hash word or the table of sessions takes a second for each clock, the whole core minutes to load.

use std::path::PathBuf;

use super::Scratch;

/// The block RAM of an ECP5, as netlists use it.
const BLOCK_RAM: &str = include_str!("../../models/ecp5_block_ram.v");

/// The folder of yosys' models of ECP5 cells: beside the program, as it is installed.
fn cells() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let yosys = std::env::split_paths(&path)
        .map(|folder| folder.join("yosys"))
        .find_map(|program| program.canonicalize().ok())
        .unwrap_or_else(|| panic!("there is no yosys; run `cargo xtask setup`"));
    let folder = yosys
        .parent()
        .and_then(|bin| bin.parent())
        .map(|root| root.join("share/yosys/ecp5"));
    folder
        .filter(|folder| folder.join("cells_sim.v").is_file())
        .unwrap_or_else(|| panic!("{} has no cells of ECP5 beside it", yosys.display()))
}

/// Clocks that are replayed at most.
const CLOCKS: usize = 400;

/// As [`super::replay`], on the netlist, for the first [`CLOCKS`].
pub(super) fn replay(
    name: &str,
    verilog: &str,
    clocks: &[&str],
    inputs: &[(String, usize)],
    outputs: &[(String, usize)],
    lines: &[String],
) {
    let lines = &lines[..lines.len().min(CLOCKS)];
    let scratch = Scratch::new(name, verilog, clocks, inputs, outputs, lines);
    std::fs::write(scratch.dir.join("ecp5_block_ram.v"), BLOCK_RAM).unwrap();
    let script = "read_verilog uut.v; synth_ecp5 -abc9 -top top; write_verilog -noattr netlist.v";
    let (ok, said) = scratch.run("yosys", &["-q", "-p", script]);
    assert!(ok, "{name}: yosys: {said}");
    let cells = cells();
    // Its block RAM has no inside: another name makes room for ours.
    let file = cells.join("cells_sim.v");
    let models = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let (own, none) = ("module DP16KD(", "module DP16KD_ports(");
    assert_eq!(models.matches(own).count(), 1, "{}: {own}", file.display());
    std::fs::write(scratch.dir.join("cells.v"), models.replace(own, none)).unwrap();
    let include = format!("-I{}", cells.display());
    scratch.agrees(&[&include, "netlist.v", "cells.v", "ecp5_block_ram.v"]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follows(record: &[&str]) {
        let verilog =
            "module top(input clock, input a, output reg q); initial q = 0; always @(posedge clock) q <= a; endmodule";
        let port = |name: &str| [(name.to_owned(), 1)];
        let lines: Vec<String> = record.iter().map(|line| line.to_string()).collect();
        replay("netlist", verilog, &["clock"], &port("a"), &port("q"), &lines);
    }

    #[test]
    fn a_netlist_does_what_was_recorded() {
        follows(&["1 1 0", "1 0 1", "1 1 0", "1 1 1"]);
    }

    #[test]
    #[should_panic(expected = "clock 2: q is 0, expected 1")]
    fn a_netlist_that_does_otherwise_is_noticed() {
        follows(&["1 1 0", "1 0 1", "1 1 1", "1 1 1"]);
    }
}
