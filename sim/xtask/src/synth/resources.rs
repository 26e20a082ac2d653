//! `cargo xtask synth --ultrascale`: what the 100G-class card (`hdl/src/board/ultrascale.rs`) takes of its part, by Yosys.
//!
//! Synthesis only, to the cells of UltraScale+; the vendor's tool, which places and routes, is not run. The numbers stand in
//! `bitstreams/ultrascale/resources.toml` with the hashes of the Verilog they belong to, and `cargo xtask check` compares those.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::facts::source_name;
use super::manifest::output;
use super::netlist::{Bit, Cell, Module, Netlist};
use super::stage::{sha256, Stage};
use super::tools::Tools;
use crate::run::Error;

/// Folder of the project below what it is written to, and below `bitstreams/`.
const FOLDER: &str = "ultrascale";
/// The table, in that folder.
const TABLE: &str = "resources.toml";
/// Verilog of the project.
const VERILOG: [&str; 2] = ["nat64_endpoint.v", "nat64_us.v"];
/// What it is made from.
const SOURCES: [&str; 2] = ["hdl", "Cargo.lock"];
/// Top module.
const TOP: &str = "nat64_us";
/// Out of context, as the project's own script has it: no buffers at the pins.
const SCRIPT: &str = "read_verilog nat64_endpoint.v nat64_us.v; synth_xilinx -family xcup -flatten -noiopad -noclkbuf -top nat64_us -json netlist.json; tee -q -o stat.json stat -json";

/// What a part has, as its vendor states it; a carry chain of eight bits belongs to eight look-up tables.
struct Part {
    name: &'static str,
    has: [(&'static str, u64); 7],
}

const PARTS: [Part; 1] = [Part {
    name: "xcu250-figd2104-2L-e",
    has: [
        (LUT, 1_728_000),
        (LUTRAM, 791_040),
        (REGISTER, 3_456_000),
        (CARRY, 216_000),
        (RAM36, 2_688),
        (URAM, 1_280),
        (DSP, 12_288),
    ],
}];

const LUT: &str = "look-up tables, logic and RAM";
const LUTRAM: &str = "look-up tables that are RAM or shift registers";
const REGISTER: &str = "registers";
const CARRY: &str = "CARRY8, two CARRY4 as one";
const RAM36: &str = "block RAMs of 36 Kbit, two RAMB18 as one";
const URAM: &str = "UltraRAMs";
const DSP: &str = "DSP slices";

/// The table.
#[derive(Serialize, Deserialize)]
struct Table {
    /// What the numbers are.
    what: String,
    part: String,
    date: String,
    /// The last that changed what the Verilog is made from.
    commit: String,
    /// Whether files of the work tree differed from it.
    modified: bool,
    tool: String,
    command: String,
    verilog_sha256: BTreeMap<String, String>,
    depth: Depth,
    resources: Vec<Resource>,
    cells: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Resource {
    what: String,
    used: u64,
    available: u64,
    percent: f64,
}

/// The path within the clock that has most look-up tables.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Depth {
    /// Look-up tables and RAMs of look-up tables, one behind the other.
    luts: u32,
    /// Cells of carry chains on the same path, of four or eight bits.
    carries: u32,
    from: String,
    to: String,
    /// Registers and RAMs by the tables before their deepest input: none, one, two, ...
    ends: Vec<u64>,
}

/// Runs the chore.
pub fn resources(root: &Path, target: &Path) -> Result<(), Error> {
    println!("== {FOLDER}: Verilog");
    super::emit(root, target, &[FOLDER])?;
    let work = target.join(FOLDER);
    let tools = Tools::find(root)?;
    println!("== {FOLDER}: synthesis ({}), some ten minutes", tools.yosys_version);
    let hashes = hashes(&work)?;
    let netlist = work.join("netlist.json");
    let inputs: Vec<&str> = hashes
        .values()
        .map(String::as_str)
        .chain([tools.yosys_version.as_str(), SCRIPT])
        .collect();
    Stage::new(&work, "yosys", &inputs, &[&netlist, &work.join("stat.json")])
        .run(|log| tools.yosys(&work, SCRIPT, log))?;
    let parsed = Netlist::read(&netlist)?;
    let module = parsed.module(TOP, &netlist)?;
    let part = part(&work)?;
    let cells = count(module);
    let table = Table {
        what: "the 100G-class card (cargo xtask emit) after synthesis for UltraScale+ by Yosys, not placed".into(),
        resources: used(&cells, part)?,
        depth: depth(module)?,
        part: part.name.into(),
        date: output(root, "date", &["-u", "+%F"]),
        commit: output(
            root,
            "git",
            &[&["log", "-1", "--format=%H", "--"], &SOURCES[..]].concat(),
        ),
        modified: !output(root, "git", &[&["status", "--porcelain", "--"], &SOURCES[..]].concat()).is_empty(),
        tool: tools.yosys_version.clone(),
        command: format!("yosys -p '{SCRIPT}'"),
        verilog_sha256: hashes,
        cells,
    };
    for resource in &table.resources {
        println!(
            "   {:7} of {:7} {:5.1} %  {}",
            resource.used, resource.available, resource.percent, resource.what
        );
    }
    let Depth {
        luts,
        carries,
        from,
        to,
        ends,
    } = &table.depth;
    println!("   {luts} look-up tables and {carries} cells of carry chains from {from} to {to}");
    println!("   registers and RAMs by the look-up tables before them: {ends:?}");
    let path = root.join("bitstreams").join(FOLDER).join(TABLE);
    let folder = path.parent().unwrap_or(root);
    std::fs::create_dir_all(folder).map_err(|e| Error::file(folder, e))?;
    let text = toml::to_string_pretty(&table).map_err(|e| Error::Missing {
        what: format!("a form of the table that can be written ({e})"),
    })?;
    let head = "# Made by `cargo xtask synth --ultrascale`; do not edit.\n";
    std::fs::write(&path, head.to_string() + &text).map_err(|e| Error::file(&path, e))?;
    println!("== {}", path.display());
    Ok(())
}

/// What the table in `bitstreams` differs in from the sources, whose Verilog is written below `work`; nothing when there is no table.
pub fn stale(root: &Path, bitstreams: &Path, work: &Path) -> Result<Vec<String>, Error> {
    let path = bitstreams.join(FOLDER).join(TABLE);
    if !path.is_file() {
        return Ok(Vec::new());
    }
    super::emit(root, work, &[FOLDER])?;
    problems(&path, &hashes(&work.join(FOLDER))?)
}

fn problems(path: &Path, sources: &BTreeMap<String, String>) -> Result<Vec<String>, Error> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::file(path, e))?;
    let table: Table = toml::from_str(&text).map_err(|e| Error::Check {
        what: format!("{}: {e}", path.display()),
    })?;
    let differing = sources
        .iter()
        .filter(|(name, hash)| table.verilog_sha256.get(*name) != Some(hash));
    let told = differing.map(|(name, hash)| {
        let made = table.verilog_sha256.get(name).map_or("none", String::as_str);
        format!("bitstreams/{FOLDER}/{TABLE}: stale: {name} was {made:.12}, the sources give {hash:.12}")
    });
    Ok(told.collect())
}

fn hashes(work: &Path) -> Result<BTreeMap<String, String>, Error> {
    let hash = |name: &str| Ok((name.to_string(), sha256(&work.join(name))?));
    VERILOG.into_iter().map(hash).collect()
}

/// The part of the project's script.
fn part(work: &Path) -> Result<&'static Part, Error> {
    let path = work.join("build.tcl");
    let text = std::fs::read_to_string(&path).map_err(|e| Error::file(&path, e))?;
    let name = text
        .split_once("-part ")
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .unwrap_or_default();
    PARTS
        .iter()
        .find(|part| part.name == name)
        .ok_or_else(|| Error::Missing {
            what: format!("knowledge of what part {name:?} has"),
        })
}

/// Cells by kind.
fn count(module: &Module) -> BTreeMap<String, u64> {
    let mut cells = BTreeMap::new();
    // $scopeinfo is a name and no cell
    let kinds = module.cells.values().map(|cell| cell.kind.as_str());
    for kind in kinds.filter(|kind| !kind.starts_with('$')) {
        *cells.entry(kind.to_string()).or_default() += 1;
    }
    cells
}

/// Resources that are counted in halves.
const HALVES: [&str; 2] = [CARRY, RAM36];

/// What a cell of a kind takes: resource and number, or halves ([`HALVES`]). `None` for a kind that is not known.
fn takes(kind: &str) -> Option<&'static [(&'static str, u64)]> {
    Some(match kind {
        // an inverter becomes one, unless it goes into the table or the register behind it
        "LUT1" | "LUT2" | "LUT3" | "LUT4" | "LUT5" | "LUT6" | "INV" => &[(LUT, 1)],
        "SRL16E" | "SRLC32E" | "RAM32X1S" | "RAM64X1S" => &[(LUT, 1), (LUTRAM, 1)],
        "RAM32X1D" | "RAM64X1D" | "RAM128X1S" => &[(LUT, 2), (LUTRAM, 2)],
        "RAM32M" | "RAM64M" | "RAM128X1D" | "RAM256X1S" => &[(LUT, 4), (LUTRAM, 4)],
        "RAM32M16" | "RAM64M8" | "RAM32X16DR8" | "RAM64X8SW" | "RAM256X1D" | "RAM512X1S" => &[(LUT, 8), (LUTRAM, 8)],
        "FDRE" | "FDSE" | "FDCE" | "FDPE" => &[(REGISTER, 1)],
        "CARRY8" => &[(CARRY, 2)],
        "CARRY4" => &[(CARRY, 1)],
        "RAMB36E2" => &[(RAM36, 2)],
        "RAMB18E2" => &[(RAM36, 1)],
        "URAM288" | "URAM288_BASE" => &[(URAM, 1)],
        "DSP48E2" => &[(DSP, 1)],
        // in the slices of the tables in front of them
        "MUXF7" | "MUXF8" | "MUXF9" => &[],
        _ => return None,
    })
}

fn unknown(kind: &str) -> Error {
    Error::Missing {
        what: format!("knowledge of what a cell of kind {kind} is"),
    }
}

fn used(cells: &BTreeMap<String, u64>, part: &Part) -> Result<Vec<Resource>, Error> {
    let mut sums: HashMap<&str, u64> = HashMap::new();
    for (kind, number) in cells {
        for (what, each) in takes(kind).ok_or_else(|| unknown(kind))? {
            *sums.entry(what).or_default() += each * number;
        }
    }
    let resource = |&(what, available): &(&str, u64)| {
        let sum = sums.get(what).copied().unwrap_or(0);
        let used = if HALVES.contains(&what) { sum.div_ceil(2) } else { sum };
        Resource {
            what: what.into(),
            used,
            available,
            percent: (used as f64 / available as f64 * 1000.0).round() / 10.0,
        }
    };
    Ok(part.has.iter().map(resource).collect())
}

/// How the outputs of a cell follow its inputs within a clock.
enum Through {
    /// Every output every input, with so many look-up tables.
    All(u32),
    /// A carry chain: each output its own bit and those below.
    Chain,
    /// A RAM that is read without a clock: each output the address of its letter (`DOA` of `ADDRA`).
    Ram,
    /// A shift register: the output the place that is chosen (`A0` to `A3`).
    Shift,
    /// The clock decides.
    Clocked,
}

fn through(kind: &str) -> Option<Through> {
    Some(match kind {
        "INV" | "MUXF7" | "MUXF8" | "MUXF9" => Through::All(0),
        "CARRY4" | "CARRY8" => Through::Chain,
        "RAM32M" | "RAM64M" | "RAM32M16" | "RAM64M8" | "RAM32X16DR8" => Through::Ram,
        "SRL16E" => Through::Shift,
        _ if kind.starts_with("LUT") => Through::All(1),
        _ if ["FD", "RAMB", "URAM", "DSP"]
            .iter()
            .any(|start| kind.starts_with(start)) =>
        {
            Through::Clocked
        }
        // known to `takes`, but not how it is read
        _ => return None,
    })
}

/// The longest way to a net: look-up tables, carry chains, and the net before.
#[derive(Clone, Copy, Default, PartialEq)]
struct Way {
    luts: u32,
    carries: u32,
    before: Option<u32>,
}

struct Walk<'a> {
    module: &'a Module,
    /// Cell, port and bit that drive a net.
    driver: HashMap<u32, (&'a str, &'a str, usize)>,
    ways: HashMap<u32, Way>,
}

impl<'a> Walk<'a> {
    fn new(module: &'a Module) -> Self {
        let mut driver = HashMap::new();
        for (name, cell) in &module.cells {
            let outputs = cell.connections.iter().filter(|(port, _)| is(cell, port, "output"));
            for (port, bits) in outputs {
                let nets = bits.iter().enumerate();
                driver.extend(nets.filter_map(|(bit, net)| Some((net.net()?, (name.as_str(), port.as_str(), bit)))));
            }
        }
        Self {
            module,
            driver,
            ways: HashMap::new(),
        }
    }

    /// Nets that a net follows within the clock, with look-up tables and carry chains in between.
    fn inputs(&self, net: u32) -> Result<Vec<(u32, Way)>, Error> {
        let Some(&(name, port, bit)) = self.driver.get(&net) else {
            return Ok(Vec::new());
        };
        let cell = &self.module.cells[name];
        let mut found = Vec::new();
        let mut add = |bits: &[Bit], luts, carries| {
            let way = Way {
                luts,
                carries,
                before: None,
            };
            found.extend(bits.iter().filter_map(Bit::net).map(|net| (net, way)));
        };
        let inputs = cell.connections.iter().filter(|(port, _)| is(cell, port, "input"));
        match through(&cell.kind).ok_or_else(|| unknown(&cell.kind))? {
            Through::Clocked => {}
            Through::All(luts) => inputs.for_each(|(_, bits)| add(bits, luts, 0)),
            Through::Chain => inputs.for_each(|(input, bits)| match input.as_str() {
                "S" | "DI" => add(&bits[..bits.len().min(bit + 1)], 0, 1),
                _ => add(bits, 0, 1),
            }),
            Through::Shift => {
                let inputs = inputs.filter(|(input, _)| input.starts_with('A'));
                inputs.for_each(|(_, bits)| add(bits, 1, 0));
            }
            Through::Ram => {
                let address = port.replacen("DO", "ADDR", 1);
                let inputs = inputs.filter(|(input, _)| **input == address);
                inputs.for_each(|(_, bits)| add(bits, 1, 0));
            }
        }
        Ok(found)
    }

    /// The longest way to a net.
    fn way(&mut self, net: u32) -> Result<Way, Error> {
        let mut stack = vec![net];
        let mut open = std::collections::HashSet::new();
        while let Some(&at) = stack.last() {
            if self.ways.contains_key(&at) {
                stack.pop();
                continue;
            }
            let inputs = self.inputs(at)?;
            let unknown = |(net, _): &&(u32, Way)| !self.ways.contains_key(net);
            let missing: Vec<u32> = inputs.iter().filter(unknown).map(|(net, _)| *net).collect();
            if missing.is_empty() {
                let longest = inputs.iter().map(|(net, step)| Way {
                    luts: self.ways[net].luts + step.luts,
                    carries: self.ways[net].carries + step.carries,
                    before: Some(*net),
                });
                let longest = longest.max_by_key(|way| (way.luts, way.carries)).unwrap_or_default();
                self.ways.insert(at, longest);
                stack.pop();
            } else if open.insert(at) {
                stack.extend(missing);
            } else {
                return Err(Error::Check {
                    what: format!("logic in a circle: {} depends on itself", self.name(at)),
                });
            }
        }
        Ok(self.ways[&net])
    }

    /// The cell that drives a net, or that it comes from outside.
    fn name(&self, net: u32) -> String {
        let cell = self.driver.get(&net).map(|(name, ..)| *name);
        cell.map_or_else(|| "a port".into(), |name| register(self.module, name))
    }
}

/// Name of a cell as the source has it: that of a net it drives, since Yosys numbers cells of this technology.
fn register(module: &Module, cell: &str) -> String {
    let outputs = |name: &str| {
        let cell = module.cells.get(name)?;
        let outputs = cell.connections.iter().filter(|(port, _)| is(cell, port, "output"));
        let nets: Vec<u32> = outputs.flat_map(|(_, bits)| bits).filter_map(Bit::net).collect();
        Some(nets)
    };
    let nets = outputs(cell).unwrap_or_default();
    let names = module.netnames.iter().filter(|(_, net)| net.hide_name == 0);
    let mut names = names.filter(|(_, net)| net.bits.iter().filter_map(Bit::net).any(|net| nets.contains(&net)));
    source_name(names.next().map_or(cell, |(name, _)| name))
}

fn is(cell: &Cell, port: &str, direction: &str) -> bool {
    cell.port_directions.get(port).is_some_and(|d| d == direction)
}

/// The path with most look-up tables, and among those the one with most carry chains.
fn depth(module: &Module) -> Result<Depth, Error> {
    let mut walk = Walk::new(module);
    let mut deepest: Option<(Way, u32, &str)> = None;
    let mut counts = Vec::new();
    for (name, cell) in &module.cells {
        if cell.kind.starts_with('$') {
            continue;
        }
        let data = match through(&cell.kind).ok_or_else(|| unknown(&cell.kind))? {
            Through::Clocked | Through::Ram | Through::Shift => cell.connections.iter(),
            Through::All(_) | Through::Chain => continue,
        };
        let mut luts = 0;
        let ends = data
            .filter(|(port, _)| is(cell, port, "input"))
            .flat_map(|(_, bits)| bits);
        for net in ends.filter_map(Bit::net) {
            let way = walk.way(net)?;
            luts = luts.max(way.luts as usize);
            let key = |way: &Way| (way.luts, way.carries);
            if deepest.as_ref().is_none_or(|(before, ..)| key(before) < key(&way)) {
                deepest = Some((way, net, name));
            }
        }
        if counts.len() <= luts {
            counts.resize(luts + 1, 0);
        }
        counts[luts] += 1;
    }
    let (way, net, end) = deepest.ok_or_else(|| Error::Missing {
        what: "a path between registers".into(),
    })?;
    let mut start = net;
    while let Some(before) = walk.ways[&start].before {
        start = before;
    }
    Ok(Depth {
        luts: way.luts,
        carries: way.carries,
        from: walk.name(start),
        to: register(module, end),
        ends: counts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Register a, two tables, a carry chain, a table, register b; a second register to the lowest bit of the chain only; a RAM.
    const NETLIST: &str = r#"{"modules": {"t": {"cells": {
        "a": {"type": "FDRE", "port_directions": {"D": "input", "Q": "output"}, "connections": {"D": [1], "Q": [2]}},
        "l1": {"type": "LUT2", "port_directions": {"I0": "input", "I1": "input", "O": "output"},
               "connections": {"I0": [2], "I1": ["1"], "O": [3]}},
        "l2": {"type": "LUT1", "port_directions": {"I0": "input", "O": "output"}, "connections": {"I0": [3], "O": [4]}},
        "c": {"type": "CARRY8", "port_directions": {"CI": "input", "S": "input", "DI": "input", "O": "output"},
              "connections": {"CI": ["0"], "S": [2, 4], "DI": ["0", "0"], "O": [5, 6]}},
        "l3": {"type": "LUT1", "port_directions": {"I0": "input", "O": "output"}, "connections": {"I0": [6], "O": [7]}},
        "m": {"type": "MUXF7", "port_directions": {"I0": "input", "S": "input", "O": "output"},
              "connections": {"I0": [7], "S": [2], "O": [8]}},
        "b": {"type": "FDSE", "port_directions": {"D": "input", "CE": "input", "Q": "output"},
              "connections": {"D": [8], "CE": [5], "Q": [9]}},
        "r": {"type": "RAM32M16", "port_directions": {"ADDRA": "input", "ADDRH": "input", "DIA": "input", "DOA": "output"},
              "connections": {"ADDRA": [2, 9], "ADDRH": [8], "DIA": [9], "DOA": [10]}},
        "e": {"type": "RAMB18E2", "port_directions": {"ADDRARDADDR": "input"}, "connections": {"ADDRARDADDR": [10]}},
        "s": {"type": "SRL16E", "port_directions": {"A0": "input", "D": "input", "Q": "output"},
              "connections": {"A0": ["1"], "D": [10], "Q": [11]}},
        "k": {"type": "CARRY4", "port_directions": {"CYINIT": "input", "CO": "output"}, "connections": {"CYINIT": [11], "CO": [12]}},
        "scope": {"type": "$scopeinfo", "port_directions": {}, "connections": {}}
        }, "netnames": {"endpoint.x.a": {"bits": [2]}, "endpoint.y.b$q": {"bits": [9]}, "hidden": {"hide_name": 1, "bits": [8]}}}}}"#;

    fn module(text: &str) -> Module {
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        serde_json::from_value(value["modules"]["t"].clone()).unwrap()
    }

    #[test]
    fn cells_are_counted_as_what_they_take() {
        let cells = count(&module(NETLIST));
        assert!(!cells.contains_key("$scopeinfo"));
        let used = used(&cells, &PARTS[0]).unwrap();
        let of = |what: &str| used.iter().find(|resource| resource.what == what).unwrap().used;
        assert_eq!((of(LUT), of(LUTRAM), of(REGISTER)), (3 + 8 + 1, 8 + 1, 2));
        assert_eq!((of(RAM36), of(CARRY)), (1, 2), "half a block RAM takes a whole one");
        assert_eq!((of(URAM), of(DSP)), (0, 0));
        let mut odd = cells;
        odd.insert("GTYE4_CHANNEL".into(), 1);
        let told = super::used(&odd, &PARTS[0]).unwrap_err().to_string();
        assert!(told.contains("GTYE4_CHANNEL"), "{told}");
    }

    #[test]
    fn the_deepest_path_has_most_tables() {
        // l1, l2, the chain, l3, and the multiplexer that is no level; the chain's lowest bit has no table before it
        let want = Depth {
            luts: 3,
            carries: 1,
            from: "endpoint.x.a".into(),
            to: "endpoint.y.b.q".into(),
            // a, none; e and s, the RAM that is read; b and the written place of the RAM
            ends: vec![1, 2, 0, 2],
        };
        assert_eq!(depth(&module(NETLIST)).unwrap(), want);
        let shallow = NETLIST.replace(r#""D": [8], "CE": [5]"#, r#""D": ["0"], "CE": [5]"#);
        let shallow = shallow.replace(r#""ADDRH": [8]"#, r#""ADDRH": ["0"]"#);
        let found = depth(&module(&shallow)).unwrap();
        assert_eq!((found.luts, found.carries), (1, 0), "RAM that is read: {found:?}");
    }

    #[test]
    fn circles_and_unknown_cells_are_errors() {
        let circle = NETLIST.replace(r#""I0": [2], "I1": ["1"]"#, r#""I0": [2], "I1": [7]"#);
        let told = depth(&module(&circle)).unwrap_err().to_string();
        assert!(told.contains("circle"), "{told}");
        let odd = NETLIST.replace("MUXF7", "ODD");
        let told = depth(&module(&odd)).unwrap_err().to_string();
        assert!(told.contains("ODD"), "{told}");
    }

    #[test]
    fn a_table_of_other_verilog_is_stale() {
        let folder = std::env::temp_dir().join(format!("nat64-resources-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(TABLE);
        let mut sources: BTreeMap<String, String> = VERILOG
            .iter()
            .map(|name| (name.to_string(), format!("of {name}")))
            .collect();
        let table = Table {
            what: String::new(),
            part: String::new(),
            date: String::new(),
            commit: String::new(),
            modified: false,
            tool: String::new(),
            command: String::new(),
            verilog_sha256: sources.clone(),
            depth: depth(&module(NETLIST)).unwrap(),
            resources: Vec::new(),
            cells: BTreeMap::new(),
        };
        std::fs::write(&path, toml::to_string_pretty(&table).unwrap()).unwrap();
        assert_eq!(problems(&path, &sources).unwrap(), Vec::<String>::new());
        sources.insert(VERILOG[1].into(), "another".into());
        let told = problems(&path, &sources).unwrap();
        assert!(
            told.len() == 1 && told[0].contains("nat64_us.v was of nat64_us."),
            "{told:?}"
        );
        std::fs::write(&path, "what = 1").unwrap();
        assert!(problems(&path, &sources).is_err());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
