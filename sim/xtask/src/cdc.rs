//! `cargo xtask cdc`: every path between registers of two clocks, and whether it ends in a known synchronizer.
//!
//! Yosys makes a flat netlist of the exported Verilog; for each register and each memory's write port the logic in front of it is walked
//! back to the registers it comes from. Where those have another clock there must be one of the ways of
//! `hdl/src/mac/crossing.rs`:
//!
//! * the path ends in `meta` of a synchronizer, and begins at a register without logic in between; or
//! * it goes from the memory of a FIFO between clocks to the word register of the same FIFO's reader.
//!
//! A network port is looked at alone, and a board with all that is on it. What comes in by the pins of a board belongs to no clock: it
//! goes through a synchronizer too, with an inverter in front of it at most, or is taken over in a register of the pin, which the clock beside the data is made for.
//!
//! All paths are listed in `target/cdc/NAME.txt`. Then the Verilog is broken in the `breaks` of [`DESIGNS`], and each must be found.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use crate::run::{Error, Step};

/// What is looked at.
struct Looked {
    /// Name of the Verilog file, and of the list.
    name: &'static str,
    /// Its top module.
    top: &'static str,
    /// Inputs of the top are pins, which have no clock; else each belongs to the clock it is used with.
    pins: bool,
    /// Paths between clocks, and registers and memories, that there are at least: a check that sees nothing would be content with
    /// anything.
    least: (usize, usize),
    /// Text in the Verilog, and text in its place that makes a crossing nobody knows.
    breaks: &'static [(&'static str, &'static str)],
}

/// All that is looked at.
const DESIGNS: [Looked; 2] = [
    Looked {
        name: "rgmii_port",
        top: "top",
        pins: false,
        least: (8, 100),
        breaks: &[
            // a count taken over without its synchronizer
            (
                "changes = sent_here$q ^ sent_before$q",
                "changes = sent ^ sent_before$q",
            ),
            // logic in front of a synchronizer
            ("seen$d = read_gray;", "seen$d = read_gray & ~gray$q;"),
            // a register that takes from the other side's memory what is another register's
            ("word_meta$d = read_meta;", "word_meta$d = read_meta ^ read_data[7:0];"),
        ],
    },
    Looked {
        name: "ecp5-versa",
        top: "board",
        pins: true,
        least: (12, 1000),
        breaks: &[
            // beats of the network ports at the clock of one of them
            (
                ".core_clock(core_clock), .tx_clock",
                ".core_clock(eth1_rx_clk), .tx_clock",
            ),
        ],
    },
];

/// The name of what comes in by a pin, as of a clock.
const PIN: &str = "pin";

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
    /// Of a port only.
    #[serde(default)]
    direction: String,
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
        self.connections.contains_key("CLK") && self.connections.contains_key("Q") || self.is_at_pin()
    }

    /// A register of a pin with both edges of its clock (ECP5: `IDDRX1F`, `ODDRX1F`).
    fn is_at_pin(&self) -> bool {
        self.connections.contains_key("SCLK")
    }

    fn bits(&self, port: &str) -> &[Bit] {
        self.connections.get(port).map_or(&[], Vec::as_slice)
    }

    /// Its clock: that of a register, or of a memory's first write port.
    fn clock(&self) -> Option<Bit> {
        let port = match () {
            () if self.is_memory() => "WR_CLK",
            () if self.is_at_pin() => "SCLK",
            () => "CLK",
        };
        self.bits(port).first().copied()
    }

    /// Bits that are taken over at its clock.
    fn sampled(&self) -> impl Iterator<Item = Bit> + '_ {
        let memory = self.is_memory();
        self.connections
            .iter()
            .filter(move |(port, _)| match (memory, port.as_str()) {
                (true, port) => port.starts_with("WR_") && port != "WR_CLK",
                (false, port) => !matches!(port, "Q" | "Q0" | "Q1" | "CLK" | "SCLK"),
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
    /// The plainest name of a bit, for clocks.
    plain: HashMap<Bit, &'a str>,
    /// Inputs of the module.
    inputs: HashSet<Bit>,
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
        let mut plain: HashMap<Bit, &str> = HashMap::new();
        for (name, net) in &module.netnames {
            for &bit in &net.bits {
                let length = |name: &str| (name.starts_with('$'), name.matches('.').count(), name.len());
                let shorter = plain.entry(bit).or_insert(name);
                if length(name) < length(shorter) {
                    *shorter = name;
                }
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
            plain.extend(port.bits.iter().map(|&bit| (bit, name.as_str())));
        }
        let inputs = module.ports.values().filter(|port| port.direction == "input");
        Self {
            module,
            drivers,
            names,
            plain,
            inputs: inputs.flat_map(|port| port.bits.iter().copied()).collect(),
        }
    }

    fn name(&self, bit: Option<Bit>) -> String {
        bit.and_then(|bit| self.names.get(&bit))
            .map_or_else(|| "?".into(), ToString::to_string)
    }

    fn clock_name(&self, bit: Option<Bit>) -> String {
        bit.and_then(|bit| self.plain.get(&bit))
            .map_or_else(|| "?".into(), ToString::to_string)
    }

    fn name_of(&self, cell: &Cell) -> String {
        if let Some(id) = cell.parameters.get("MEMID").and_then(|id| id.as_str()) {
            return id.trim_start_matches('\\').to_string();
        }
        self.name(cell.bits("Q").iter().chain(cell.bits("Q0")).next().copied())
    }

    /// Registers and memories that the bits come from, with whether there is logic between; and the pins.
    fn sources(&self, bits: impl Iterator<Item = Bit>) -> (Vec<(&'a Cell, bool)>, HashMap<Bit, bool>) {
        let mut pins = HashMap::new();
        let mut found: HashMap<&str, (&Cell, bool)> = HashMap::new();
        let mut seen: HashSet<&str> = HashSet::new();
        let mut todo: Vec<(Bit, bool)> = bits.map(|bit| (bit, false)).collect();
        while let Some((bit, logic)) = todo.pop() {
            let Some((&driver, cell)) = self
                .drivers
                .get(&bit)
                .and_then(|d| Some((d, self.module.cells.get(*d)?)))
            else {
                if self.inputs.contains(&bit) {
                    *pins.entry(bit).or_insert(logic) |= logic;
                }
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
        (found.into_values().collect(), pins)
    }

    /// Every path between two clocks, and how many registers and memories there are.
    fn crossings(&self, pinned: bool) -> Result<(Vec<Crossing>, usize), Error> {
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
            let (sources, pins) = self.sources(cell.sampled());
            if pinned && !cell.is_at_pin() {
                // logic of one pin alone (an inverter) does not glitch
                let alone = pins.len() == 1 && sources.is_empty();
                crossings.extend(pins.into_iter().map(|(bit, logic)| {
                    let logic = logic && !alone;
                    let (from, to) = (self.name(Some(bit)), self.name_of(cell));
                    Crossing {
                        from_clock: PIN.into(),
                        to_clock: self.clock_name(clock),
                        known: known(&from, false, &to, logic),
                        from,
                        to,
                    }
                }));
            }
            for (source, logic) in sources {
                if source.clock() == clock {
                    continue;
                }
                let (from, to) = (self.name_of(source), self.name_of(cell));
                crossings.push(Crossing {
                    from_clock: self.clock_name(source.clock()),
                    to_clock: self.clock_name(clock),
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
    if (to.ends_with(".meta") || to.ends_with("_meta")) && !memory && !logic {
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
fn look(work: &Path, verilog: &Path, looked: &Looked) -> Result<(Vec<Crossing>, usize), Error> {
    let top = looked.top;
    let netlist = verilog.with_extension("netlist.json");
    // primitives of the part as boxes
    let script = format!(
        "read_verilog -lib +/ecp5/cells_bb.v; read_verilog {}; hierarchy -top {top}; proc; flatten; opt_expr -fine; opt_clean; \
         memory_collect; opt_clean; write_json {}",
        verilog.display(),
        netlist.display()
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
    let text = std::fs::read(&netlist).map_err(|e| Error::file(&netlist, e))?;
    let parsed: Netlist = serde_json::from_slice(&text).map_err(|source| Error::Json {
        path: netlist.clone(),
        source,
    })?;
    let module = parsed.modules.get(top).ok_or_else(|| Error::Missing {
        what: format!("module {top} in {}", netlist.display()),
    })?;
    Design::new(module).crossings(looked.pins)
}

/// Runs the chore; `emit` writes the Verilog of a name to `target/cdc`.
pub fn cdc(root: &Path, emit: impl Fn(&str) -> Result<Step, Error>) -> Result<(), Error> {
    DESIGNS.iter().try_for_each(|looked| {
        emit(looked.name)?.run()?;
        one(&root.join("target/cdc"), looked)
    })
}

fn one(work: &Path, looked: &Looked) -> Result<(), Error> {
    let name = looked.name;
    let verilog = work.join(format!("{name}.v"));
    let text = std::fs::read_to_string(&verilog).map_err(|e| Error::file(&verilog, e))?;
    let mut files = vec![verilog.clone()];
    for (number, (from, to)) in looked.breaks.iter().enumerate() {
        if !text.contains(from) {
            return Err(Error::Missing {
                what: format!("`{from}` in {}", verilog.display()),
            });
        }
        let broken = work.join(format!("{name}-broken{number}.v"));
        std::fs::write(&broken, text.replace(from, to)).map_err(|e| Error::file(&broken, e))?;
        files.push(broken);
    }
    // A board takes a minute each, so all are looked at at once.
    let mut found = std::thread::scope(|scope| {
        let threads: Vec<_> = files
            .iter()
            .map(|file| scope.spawn(move || look(work, file, looked)))
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread.join().unwrap_or_else(|_| {
                    Err(Error::Check {
                        what: format!("looking at {name} ended in a panic"),
                    })
                })
            })
            .collect::<Result<Vec<_>, Error>>()
    })?;
    let broken = found.split_off(1);
    let Some((crossings, cells)) = found.pop() else {
        return Err(Error::Missing {
            what: verilog.display().to_string(),
        });
    };
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
    let path = work.join(format!("{name}.txt"));
    std::fs::write(&path, &list).map_err(|e| Error::file(&path, e))?;
    for ((from, to), paths) in &pairs {
        println!("{name}: {from} -> {to}: {paths} paths");
    }
    if let Some(unknown) = crossings.iter().find(|c| c.known.is_none()) {
        return Err(Error::Check {
            what: format!(
                "a path between two clocks without a known synchronizer: {unknown:?}; all are in {}",
                path.display()
            ),
        });
    }
    if crossings.len() < looked.least.0 || cells < looked.least.1 {
        return Err(Error::Check {
            what: format!(
                "only {} paths between clocks at {cells} registers: the netlist of {name} is not understood",
                crossings.len()
            ),
        });
    }
    for ((_, to), (crossings, _)) in looked.breaks.iter().zip(&broken) {
        if crossings.iter().all(|c| c.known.is_some()) {
            return Err(Error::Check {
                what: format!("with `{to}` no unknown path is found in {name}"),
            });
        }
    }
    println!(
        "{name}: {cells} registers and memories, every path between clocks is known; {} breaks found",
        looked.breaks.len()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_known_ways_are_known() {
        assert!(known("a.gray.q", false, "b.seen.meta", false).is_some());
        assert!(known("button", false, "button_meta", false).is_some());
        assert!(known("a.gray.q", false, "b.seen.meta", true).is_none());
        assert!(known("a.memory.mem", true, "b.seen.meta", false).is_none());
        assert!(known("f.writer.memory.mem", true, "f.reader.word.q", true).is_some());
        assert!(known("g.writer.memory.mem", true, "f.reader.word.q", true).is_none());
        assert!(known("f.writer.at.q", false, "f.reader.word.q", true).is_none());
    }
}
