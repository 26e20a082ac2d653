//! The longest paths of a netlist before it is placed, as an estimate: in a minute where place and route takes twenty, and
//! all of them where nextpnr's report has one for each clock.
//!
//! Delays are those nextpnr-ecp5 0.11 shows for speed grade 8 (look-up table 0.14 ns, register 0.31 ns, two bits of a carry chain
//! 0.04 ns, ...); a net's is 0.42 ns and 0.17 ns more for each doubling of its fan-out, which is what routed nets of the core came to on
//! the whole. A single figure is off by a nanosecond either way; which blocks stand at the top is not.

use std::collections::HashMap;
use std::path::Path;

use super::facts::{block, source_name};
use super::netlist::{Bit, Cell, Module, Netlist};
use crate::run::Error;

/// From a block RAM's clock to its output, without its output register, ns.
const RAM: f64 = 3.9;
/// From a register's clock to its output, ns.
const REGISTER: f64 = 0.31;

/// One path.
#[derive(Debug)]
pub struct LongPath {
    /// Its estimated delay, ns.
    pub ns: f64,
    /// The register or RAM it starts at.
    pub from: String,
    /// The register or RAM it ends at.
    pub to: String,
    /// Look-up tables and carry chains on the way.
    pub levels: usize,
}

/// Paths of a netlist.
pub struct Estimate {
    /// The longest path of each pair of blocks, longest first.
    pub paths: Vec<LongPath>,
    /// Ends of paths that are longer than the limit, by block, most first.
    pub over: Vec<(String, usize)>,
    /// Ends of paths.
    pub ends: usize,
}

/// The latest a net is settled, and the net that decides it.
type Arrival = (f64, Option<u32>);

struct Graph<'a> {
    module: &'a Module,
    fan_out: HashMap<u32, u32>,
    /// Cell and port that drive a net.
    driver: HashMap<u32, (&'a str, &'a str)>,
    names: HashMap<u32, String>,
    arrivals: HashMap<u32, Arrival>,
}

impl<'a> Graph<'a> {
    fn new(module: &'a Module) -> Self {
        let mut fan_out = HashMap::new();
        let mut driver = HashMap::new();
        for (name, cell) in &module.cells {
            for (port, bits) in &cell.connections {
                let drives = cell.port_directions.get(port).is_some_and(|d| d == "output");
                for net in bits.iter().filter_map(Bit::net) {
                    if drives {
                        driver.insert(net, (name.as_str(), port.as_str()));
                    } else {
                        *fan_out.entry(net).or_default() += 1;
                    }
                }
            }
        }
        let mut names = HashMap::new();
        for (name, net) in &module.netnames {
            for bit in net.bits.iter().filter_map(Bit::net) {
                // a name of the source goes before one that synthesis made
                if net.hide_name == 0 || !names.contains_key(&bit) {
                    names.insert(bit, name.clone());
                }
            }
        }
        Self {
            module,
            fan_out,
            driver,
            names,
            arrivals: HashMap::new(),
        }
    }

    fn route(&self, net: u32) -> f64 {
        let fan_out = self.fan_out.get(&net).copied().unwrap_or(1).max(1);
        0.42 + 0.17 * f64::from(fan_out).log2()
    }

    /// The nets an output depends on within a clock, with the cell's delay; nothing for registers and RAMs.
    fn inputs(&self, cell: &Cell, port: &str) -> Option<Vec<(u32, f64)>> {
        let nets = |name: &str| cell.connections.get(name).into_iter().flatten().filter_map(Bit::net);
        let of = |names: &[(&str, f64)]| -> Vec<(u32, f64)> {
            names
                .iter()
                .flat_map(|(name, delay)| nets(name).map(move |net| (net, *delay)).collect::<Vec<_>>())
                .collect()
        };
        match cell.kind.as_str() {
            "LUT4" => Some(of(&[("A", 0.14), ("B", 0.14), ("C", 0.14), ("D", 0.14)])),
            "PFUMX" => Some(of(&[("ALUT", 0.1), ("BLUT", 0.1), ("C0", 0.24)])),
            "L6MUX21" => Some(of(&[("D0", 0.1), ("D1", 0.1), ("SD", 0.24)])),
            "TRELLIS_DPR16X4" => Some(of(&[("RAD", 0.14)])),
            "CCU2C" => {
                let low = ["A0", "B0", "C0", "D0"];
                let high = ["A1", "B1", "C1", "D1"];
                let (from_low, from_high, carry) = match port {
                    "S0" => (0.14, None, 0.2),
                    "S1" => (0.45, Some(0.14), 0.23),
                    _ => (0.32, Some(0.28), 0.04),
                };
                let mut found = of(&low.map(|name| (name, from_low)));
                if let Some(delay) = from_high {
                    found.extend(of(&high.map(|name| (name, delay))));
                }
                found.extend(of(&[("CIN", carry)]));
                Some(found)
            }
            _ => None,
        }
    }

    /// Whether the way to an input is wired inside a slice.
    fn inside(&self, kind: &str, net: u32) -> bool {
        let Some((_, port)) = self.driver.get(&net) else {
            return false;
        };
        match kind {
            "CCU2C" => *port == "COUT",
            "PFUMX" | "L6MUX21" => *port == "Z" && self.fan_out.get(&net) == Some(&1),
            _ => false,
        }
    }

    fn arrival(&mut self, net: u32) -> Arrival {
        let mut stack = vec![net];
        while let Some(&at) = stack.last() {
            if self.arrivals.contains_key(&at) {
                stack.pop();
                continue;
            }
            let source = self.driver.get(&at).copied();
            let source = source.and_then(|(name, port)| Some((self.module.cells.get(name)?, port)));
            let arrival = match source {
                None => Some((0.0, None)),
                Some((cell, port)) => match self.inputs(cell, port) {
                    None => Some((if cell.kind == "DP16KD" { RAM } else { REGISTER }, None)),
                    Some(inputs) => {
                        let unknown: Vec<u32> = inputs
                            .iter()
                            .map(|(input, _)| *input)
                            .filter(|input| !self.arrivals.contains_key(input) && !stack.contains(input))
                            .collect();
                        if unknown.is_empty() {
                            Some(self.latest(&cell.kind, &inputs))
                        } else {
                            stack.extend(unknown);
                            None
                        }
                    }
                },
            };
            if let Some(arrival) = arrival {
                self.arrivals.insert(at, arrival);
                stack.pop();
            }
        }
        self.arrivals.get(&net).copied().unwrap_or_default()
    }

    fn latest(&self, kind: &str, inputs: &[(u32, f64)]) -> Arrival {
        inputs
            .iter()
            .map(|&(input, delay)| {
                let before = self.arrivals.get(&input).copied().unwrap_or_default().0;
                let way = if self.inside(kind, input) {
                    0.0
                } else {
                    self.route(input)
                };
                (before + way + delay, Some(input))
            })
            .fold((0.0, None), |a, b| if b.0 > a.0 { b } else { a })
    }

    /// Nets at the data, enable and reset inputs of registers and at the inputs of RAMs.
    fn ends(&self) -> Vec<(String, u32, bool)> {
        let mut found = Vec::new();
        for (name, cell) in &self.module.cells {
            let wanted = |port: &str| match cell.kind.as_str() {
                "TRELLIS_FF" => ["DI", "CE", "LSR"].contains(&port),
                "TRELLIS_DPR16X4" => ["DI", "WAD", "WRE"].contains(&port),
                "DP16KD" => !port.starts_with("CLK") && cell.port_directions.get(port).is_some_and(|d| d == "input"),
                _ => false,
            };
            for (port, bits) in cell.connections.iter().filter(|(port, _)| wanted(port)) {
                let data = cell.kind == "TRELLIS_FF" && port == "DI";
                found.extend(bits.iter().filter_map(Bit::net).map(|net| (name.clone(), net, data)));
            }
        }
        found
    }

    fn name(&self, net: u32) -> String {
        self.names.get(&net).map(|name| source_name(name)).unwrap_or_default()
    }
}

/// Estimates the paths of module `top` of a netlist that Yosys wrote; `limit` in ns, one entry for each pair of blocks.
pub fn estimate(netlist: &Path, top: &str, limit: f64) -> Result<Estimate, Error> {
    let parsed = Netlist::read(netlist)?;
    let module = parsed.module(top, netlist)?;
    let mut graph = Graph::new(module);
    let mut over: HashMap<String, usize> = HashMap::new();
    let mut longest: HashMap<(String, String), (f64, String, u32)> = HashMap::new();
    let ends = graph.ends();
    for (cell, net, data) in &ends {
        let settled = graph.arrival(*net).0;
        // a table and the register behind it share a slice
        let alone = graph.fan_out.get(net) == Some(&1);
        let ns = settled + if *data && alone { 0.1 } else { graph.route(*net) };
        let to = source_name(cell);
        if ns > limit {
            *over.entry(block(&to)).or_default() += 1;
        }
        let from = graph.name(start(&graph, *net));
        let entry = longest.entry((block(&from), block(&to))).or_default();
        if ns > entry.0 {
            *entry = (ns, to, *net);
        }
    }
    let mut paths: Vec<LongPath> = longest
        .into_values()
        .map(|(ns, to, net)| LongPath {
            ns,
            from: graph.name(start(&graph, net)),
            to,
            levels: levels(&graph, net),
        })
        .collect();
    paths.sort_by(|a, b| b.ns.total_cmp(&a.ns).then_with(|| a.to.cmp(&b.to)));
    let mut over: Vec<(String, usize)> = over.into_iter().collect();
    over.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    Ok(Estimate {
        paths,
        over,
        ends: ends.len(),
    })
}

/// The net a path begins with.
fn start(graph: &Graph<'_>, net: u32) -> u32 {
    let mut at = net;
    while let Some((_, Some(before))) = graph.arrivals.get(&at) {
        at = *before;
    }
    at
}

/// Cells between registers, a carry chain as one.
fn levels(graph: &Graph<'_>, net: u32) -> usize {
    let (mut at, mut count) = (net, 0);
    while let Some((_, Some(before))) = graph.arrivals.get(&at) {
        count += usize::from(graph.driver.get(before).is_none_or(|(_, port)| *port != "COUT"));
        at = *before;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Register a, two tables and a carry chain of two cells, register b; a table from a RAM to b's enable.
    const NETLIST: &str = r#"{"modules": {"t": {"cells": {
        "uut.x.a": {"type": "TRELLIS_FF", "port_directions": {"DI": "input", "Q": "output"}, "connections": {"DI": ["0"], "Q": [2]}},
        "l1": {"type": "LUT4", "port_directions": {"A": "input", "Z": "output"}, "connections": {"A": [2], "Z": [3]}},
        "c1": {"type": "CCU2C", "port_directions": {"A0": "input", "COUT": "output"}, "connections": {"A0": [3], "COUT": [4]}},
        "c2": {"type": "CCU2C", "port_directions": {"CIN": "input", "S0": "output"}, "connections": {"CIN": [4], "S0": [5]}},
        "l2": {"type": "LUT4", "port_directions": {"A": "input", "Z": "output"}, "connections": {"A": [5], "Z": [6]}},
        "uut.y.ram": {"type": "DP16KD", "port_directions": {"DOA0": "output"}, "connections": {"DOA0": [7]}},
        "uut.z.b": {"type": "TRELLIS_FF", "port_directions": {"DI": "input", "CE": "input", "Q": "output"},
                    "connections": {"DI": [6], "CE": [7], "Q": [8]}}
        }, "netnames": {"uut.x.a.q": {"bits": [2]}, "uut.y.ram.out": {"bits": [7]}}}}}"#;

    fn of(limit: f64) -> Estimate {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("nat64-estimate-{}-{n}.json", std::process::id()));
        std::fs::write(&path, NETLIST).unwrap();
        let estimate = estimate(&path, "t", limit).unwrap();
        std::fs::remove_file(path).unwrap();
        estimate
    }

    #[test]
    fn delays_add_up_along_the_longest_way() {
        let estimate = of(10.0);
        let [ram, logic] = estimate.paths.as_slice() else {
            panic!("{:?}", estimate.paths)
        };
        // RAM and one net; then register, net, table, net, carry in, carry through, net, table, and the slice's own wire
        assert!((ram.ns - (3.9 + 0.42)).abs() < 1e-9, "{ram:?}");
        let want = 0.31 + 0.42 + 0.14 + 0.42 + 0.32 + 0.2 + 0.42 + 0.14 + 0.1;
        assert!((logic.ns - want).abs() < 1e-9, "{logic:?}");
        assert_eq!(
            (logic.from.as_str(), logic.to.as_str(), logic.levels),
            ("x.a.q", "z.b", 3)
        );
        assert_eq!(
            (ram.from.as_str(), ram.to.as_str(), ram.levels),
            ("y.ram.out", "z.b", 0)
        );
        assert_eq!((estimate.ends, estimate.over.len()), (2, 0));
    }

    #[test]
    fn what_is_over_the_limit_is_counted_by_block() {
        assert_eq!(of(2.6).over, [("z.b".to_string(), 1)]);
        assert_eq!(of(1.0).over, [("z.b".to_string(), 2)]);
    }
}
