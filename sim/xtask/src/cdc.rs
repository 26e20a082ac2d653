//! `cargo xtask cdc`: every path between registers of two clocks, and whether it ends in a known synchronizer.
//!
//! Yosys makes a flat netlist of the exported Verilog; for each register and each memory's write port the logic in front of it is walked
//! back to the registers it comes from. Where those have another clock there must be one of the ways of
//! `hdl/src/mac/crossing.rs`:
//!
//! * the path ends in `meta` of a synchronizer, and begins at a register without logic in between; or
//! * it goes from the memory of a FIFO between clocks to the word register of the same FIFO's reader.
//!
//! All paths are listed in `target/cdc/NAME.txt`. Then the Verilog is broken in [`BREAKS`], and each must be found.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use crate::run::{Error, Step};

/// Text in the Verilog of a port, and text in its place that makes a crossing nobody knows.
const BREAKS: [(&str, &str); 3] = [
    // a count taken over without its synchronizer
    (
        "changes = sent_here$q ^ sent_before$q",
        "changes = sent ^ sent_before$q",
    ),
    // logic in front of a synchronizer
    ("seen$d = read_gray;", "seen$d = read_gray & ~gray$q;"),
    // a register that takes from the other side's memory what is another register's
    ("word_meta$d = read_meta;", "word_meta$d = read_meta ^ read_data[7:0];"),
];

/// A bit of a net: its number, or a constant.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[serde(untagged)]
enum Bit {
    Net(u64),
    Constant(Constant),
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Constant {
    #[serde(rename = "0")]
    Zero,
    #[serde(rename = "1")]
    One,
    #[serde(rename = "x")]
    Unknown,
    #[serde(rename = "z")]
    Open,
}

#[derive(Deserialize)]
struct Cell {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    parameters: HashMap<String, serde_json::Value>,
    #[serde(default)]
    port_directions: HashMap<String, String>,
    connections: HashMap<String, Vec<Bit>>,
}

#[derive(Deserialize)]
struct Net {
    bits: Vec<Bit>,
}

#[derive(Deserialize)]
struct Module {
    #[serde(default)]
    ports: BTreeMap<String, Net>,
    cells: BTreeMap<String, Cell>,
    netnames: BTreeMap<String, Net>,
}

#[derive(Deserialize)]
struct Netlist {
    modules: HashMap<String, Module>,
}

impl Cell {
    fn is_memory(&self) -> bool {
        self.kind.starts_with("$mem")
    }

    /// A register, of whatever kind.
    fn is_register(&self) -> bool {
        self.connections.contains_key("CLK") && self.connections.contains_key("Q")
    }

    fn bits(&self, port: &str) -> &[Bit] {
        self.connections.get(port).map_or(&[], Vec::as_slice)
    }

    /// Its clock: that of a register, or of a memory's first write port.
    fn clock(&self) -> Option<Bit> {
        let port = if self.is_memory() { "WR_CLK" } else { "CLK" };
        self.bits(port).first().copied()
    }

    /// Bits that are taken over at its clock.
    fn sampled(&self) -> impl Iterator<Item = Bit> + '_ {
        let memory = self.is_memory();
        self.connections
            .iter()
            .filter(move |(port, _)| match (memory, port.as_str()) {
                (true, port) => port.starts_with("WR_") && port != "WR_CLK",
                (false, port) => !matches!(port, "Q" | "CLK"),
            })
            .flat_map(|(_, bits)| bits.iter().copied())
    }
}

/// A path between two clocks.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Crossing {
    from_clock: String,
    to_clock: String,
    from: String,
    to: String,
    /// Why it is right, or nothing.
    known: Option<&'static str>,
}

struct Design<'a> {
    module: &'a Module,
    /// Which cell drives a bit.
    drivers: HashMap<Bit, &'a str>,
    /// The best name of a bit.
    names: HashMap<Bit, &'a str>,
}

impl<'a> Design<'a> {
    fn new(module: &'a Module) -> Self {
        let mut drivers = HashMap::new();
        for (name, cell) in &module.cells {
            for (port, bits) in &cell.connections {
                if cell.port_directions.get(port).is_some_and(|d| d == "output") {
                    drivers.extend(bits.iter().map(|&bit| (bit, name.as_str())));
                }
            }
        }
        let mut names: HashMap<Bit, &str> = HashMap::new();
        for (name, net) in &module.netnames {
            for &bit in &net.bits {
                // the register's own name is the longest path
                let depth = |name: &str| (!name.starts_with('$'), name.matches('.').count(), !name.contains('$'));
                let old = names.entry(bit).or_insert(name);
                if depth(name) > depth(old) {
                    *old = name;
                }
            }
        }
        for (name, port) in &module.ports {
            names.extend(port.bits.iter().map(|&bit| (bit, name.as_str())));
        }
        Self { module, drivers, names }
    }

    fn name(&self, bit: Option<Bit>) -> String {
        bit.and_then(|bit| self.names.get(&bit))
            .map_or_else(|| "?".into(), ToString::to_string)
    }

    fn name_of(&self, cell: &Cell) -> String {
        if let Some(id) = cell.parameters.get("MEMID").and_then(|id| id.as_str()) {
            return id.trim_start_matches('\\').to_string();
        }
        self.name(cell.bits("Q").first().copied())
    }

    /// Registers and memories that the bits come from, with whether there is logic between.
    fn sources(&self, bits: impl Iterator<Item = Bit>) -> Vec<(&'a Cell, bool)> {
        let mut found: HashMap<&str, (&Cell, bool)> = HashMap::new();
        let mut seen: HashSet<&str> = HashSet::new();
        let mut todo: Vec<(Bit, bool)> = bits.map(|bit| (bit, false)).collect();
        while let Some((bit, logic)) = todo.pop() {
            let Some((&driver, cell)) = self
                .drivers
                .get(&bit)
                .and_then(|d| Some((d, self.module.cells.get(*d)?)))
            else {
                continue;
            };
            if cell.is_register() || cell.is_memory() {
                found.entry(driver).or_insert((cell, logic)).1 |= logic;
            }
            if cell.is_register() || !seen.insert(driver) {
                continue;
            }
            // a memory is read through its address, at once
            let through = cell.connections.iter().filter(|(port, _)| {
                let input = cell.port_directions.get(*port).is_some_and(|d| d == "input");
                input && (!cell.is_memory() || port.as_str() == "RD_ADDR")
            });
            todo.extend(through.flat_map(|(_, bits)| bits.iter().map(|&bit| (bit, true))));
        }
        found.into_values().collect()
    }

    /// Every path between two clocks, and how many registers and memories there are.
    fn crossings(&self) -> Result<(Vec<Crossing>, usize), Error> {
        let (mut crossings, mut looked) = (Vec::new(), 0);
        for cell in self.module.cells.values().filter(|c| c.is_register() || c.is_memory()) {
            let clock = cell.clock();
            looked += 1;
            let made = clock
                .and_then(|bit| self.drivers.get(&bit))
                .and_then(|d| self.module.cells.get(*d));
            if let Some(made) = made.filter(|made| made.kind.starts_with('$')) {
                return Err(Error::Check {
                    what: format!("the clock of {} is made by logic ({})", self.name_of(cell), made.kind),
                });
            }
            for (source, logic) in self.sources(cell.sampled()) {
                if source.clock() == clock {
                    continue;
                }
                let (from, to) = (self.name_of(source), self.name_of(cell));
                crossings.push(Crossing {
                    from_clock: self.name(source.clock()),
                    to_clock: self.name(clock),
                    known: known(&from, source.is_memory(), &to, logic),
                    from,
                    to,
                });
            }
        }
        crossings.sort();
        Ok((crossings, looked))
    }
}

/// Why a path between two clocks is right, if it is one of the known ways.
fn known(from: &str, memory: bool, to: &str, logic: bool) -> Option<&'static str> {
    if to.ends_with(".meta") && !memory && !logic {
        return Some("synchronizer");
    }
    let fifo = |end: &str, start: &str| {
        let reader = to.strip_suffix(end)?;
        let writer = from.strip_suffix(start)?;
        (reader == writer && memory).then_some("word of a FIFO")
    };
    fifo("reader.word.q", "writer.memory.mem").or_else(|| fifo("reader.word_meta.q", "writer.metas.mem"))
}

/// All paths between clocks of a Verilog file; how many registers and memories it has.
fn look(work: &Path, verilog: &Path, top: &str) -> Result<(Vec<Crossing>, usize), Error> {
    let script = format!(
        "read_verilog {}; hierarchy -top {top}; proc; flatten; opt -fine; memory_collect; opt_clean; write_json netlist.json",
        verilog.display()
    );
    let out = Command::new("yosys")
        .args(["-q", "-p", &script])
        .current_dir(work)
        .output();
    let out = out.map_err(|source| Error::Start {
        command: "yosys".into(),
        source,
    })?;
    if !out.status.success() {
        return Err(Error::Check {
            what: String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned(),
        });
    }
    let path = work.join("netlist.json");
    let text = std::fs::read(&path).map_err(|e| Error::file(&path, e))?;
    let netlist: Netlist = serde_json::from_slice(&text).map_err(|source| Error::Json {
        path: path.clone(),
        source,
    })?;
    let module = netlist.modules.get(top).ok_or_else(|| Error::Missing {
        what: format!("module {top} in {}", path.display()),
    })?;
    Design::new(module).crossings()
}

/// Runs the chore.
pub fn cdc(root: &Path, emit: Step) -> Result<(), Error> {
    emit.run()?;
    let work = root.join("target/cdc");
    let verilog = work.join("rgmii_port.v");
    let (crossings, looked) = look(&work, &verilog, "top")?;
    let mut list = String::new();
    let mut pairs: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for c in &crossings {
        let known = c.known.unwrap_or("NOT KNOWN");
        let _ = writeln!(
            list,
            "{} -> {}: {} -> {}: {known}",
            c.from_clock, c.to_clock, c.from, c.to
        );
        *pairs.entry((&c.from_clock, &c.to_clock)).or_default() += 1;
    }
    let path = work.join("rgmii_port.txt");
    std::fs::write(&path, &list).map_err(|e| Error::file(&path, e))?;
    for ((from, to), paths) in &pairs {
        println!("rgmii_port: {from} -> {to}: {paths} paths");
    }
    if let Some(unknown) = crossings.iter().find(|c| c.known.is_none()) {
        return Err(Error::Check {
            what: format!(
                "a path between two clocks without a known synchronizer: {unknown:?}; all are in {}",
                path.display()
            ),
        });
    }
    // a check that sees nothing would be content with anything
    if crossings.len() < 8 || looked < 100 {
        return Err(Error::Check {
            what: format!(
                "only {} paths between clocks at {looked} registers: the netlist is not understood",
                crossings.len()
            ),
        });
    }
    let text = std::fs::read_to_string(&verilog).map_err(|e| Error::file(&verilog, e))?;
    for (from, to) in BREAKS {
        let broken = work.join("broken.v");
        if !text.contains(from) {
            return Err(Error::Missing {
                what: format!("`{from}` in {}", verilog.display()),
            });
        }
        std::fs::write(&broken, text.replace(from, to)).map_err(|e| Error::file(&broken, e))?;
        if look(&work, &broken, "top")?.0.iter().all(|c| c.known.is_some()) {
            return Err(Error::Check {
                what: format!("with `{to}` in the place of `{from}` no unknown path is found"),
            });
        }
    }
    println!(
        "rgmii_port: {looked} registers and memories, every path between clocks is known; {} breaks found",
        BREAKS.len()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_known_ways_are_known() {
        assert!(known("a.gray.q", false, "b.seen.meta", false).is_some());
        assert!(known("a.gray.q", false, "b.seen.meta", true).is_none());
        assert!(known("a.memory.mem", true, "b.seen.meta", false).is_none());
        assert!(known("f.writer.memory.mem", true, "f.reader.word.q", true).is_some());
        assert!(known("g.writer.memory.mem", true, "f.reader.word.q", true).is_none());
        assert!(known("f.writer.at.q", false, "f.reader.word.q", true).is_none());
    }
}
