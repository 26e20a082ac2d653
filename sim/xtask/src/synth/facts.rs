//! What the tools say, read: facts of a board, timing and utilization of a run of nextpnr, where the cells are.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::Deserialize;

use crate::run::Error;

/// Reads a file of JSON.
pub fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T, Error> {
    let file = std::fs::File::open(path).map_err(|e| Error::file(path, e))?;
    serde_json::from_reader(std::io::BufReader::new(file)).map_err(|source| Error::Json {
        path: path.to_path_buf(),
        source,
    })
}

/// A clock of a board.
#[derive(Clone, Deserialize)]
pub struct Clock {
    /// Port it enters by.
    pub net: String,
    /// Constraint, MHz.
    pub mhz: f64,
    /// What it has on the board, MHz.
    pub runs: f64,
    /// What runs on it.
    pub what: String,
}

/// A board, as `hdl/src/board` describes it.
#[derive(Deserialize)]
pub struct Board {
    /// Name.
    pub name: String,
    /// A sentence.
    pub what: String,
    /// The maker's name of the part.
    pub part: String,
    /// Options of nextpnr.
    pub device: Vec<String>,
    /// Options of openFPGALoader that reach the board; none for a harness.
    pub loader: Vec<String>,
    /// Bus width, bits.
    pub width: u32,
    /// Sessions of the table.
    pub sessions: u32,
    /// Hash over the contract.
    pub abi_hash: u32,
    /// Top module.
    pub top: String,
    /// Clocks.
    pub clocks: Vec<Clock>,
}

impl Board {
    /// Reads what `emit` wrote.
    pub fn read(path: &Path) -> Result<Self, Error> {
        read(path)
    }

    /// What stands in for a board when a block is timed alone: the part and the constraint of `ecp5-85f`.
    pub fn for_block(name: &str) -> Self {
        Self {
            name: name.to_string(),
            what: "a block alone".into(),
            part: "LFE5UM5G-85F-8BG381".into(),
            device: ["--um5g-85k", "--package", "CABGA381", "--speed", "8"]
                .map(str::to_string)
                .into(),
            loader: Vec::new(),
            width: 64,
            sessions: 0,
            abi_hash: 0,
            top: "board".into(),
            clocks: vec![Clock {
                net: "clk".into(),
                mhz: 156.25,
                runs: 156.25,
                what: String::new(),
            }],
        }
    }
}

#[derive(Deserialize)]
struct Fmax {
    achieved: f64,
}

#[derive(Deserialize)]
struct Used {
    available: u64,
    used: u64,
}

#[derive(Deserialize)]
struct End {
    #[serde(default)]
    cell: String,
    #[serde(default)]
    port: String,
}

#[derive(Deserialize)]
struct Hop {
    delay: f64,
    from: End,
    to: End,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    net: String,
}

impl Hop {
    fn step(self) -> Step {
        Step {
            name: if self.net.is_empty() {
                let end = if self.to.cell.is_empty() { self.from } else { self.to };
                format!("{} ({})", source_name(&end.cell), end.port)
            } else {
                source_name(&self.net)
            },
            kind: self.kind,
            ns: self.delay,
        }
    }
}

#[derive(Deserialize)]
struct CriticalPath {
    from: String,
    to: String,
    path: Vec<Hop>,
}

#[derive(Deserialize)]
struct Report {
    fmax: HashMap<String, Fmax>,
    utilization: BTreeMap<String, Used>,
    #[serde(default)]
    critical_paths: Vec<CriticalPath>,
}

/// One clock of one run.
pub struct Reached {
    /// The board's name of the clock.
    pub net: String,
    /// Constraint, MHz.
    pub constraint: f64,
    /// Reached, MHz.
    pub mhz: f64,
}

/// One step of a path.
pub struct Step {
    /// `logic`, `routing`, `clk-to-q`, `setup`.
    pub kind: String,
    /// Its delay, ns.
    pub ns: f64,
    /// The net that is routed, or the cell that is passed, as named in the RustHDL source.
    pub name: String,
}

/// A critical path.
pub struct TimedPath {
    /// Clock and edge it starts at.
    pub from: String,
    /// Clock and edge it ends at.
    pub to: String,
    /// Its steps.
    pub steps: Vec<Step>,
}

impl TimedPath {
    /// Sum of the delays, ns.
    pub fn ns(&self) -> f64 {
        self.steps.iter().map(|step| step.ns).sum()
    }

    /// Whether it is between registers of one clock, not from or to a pin.
    pub fn within_a_clock(&self) -> bool {
        self.from == self.to
    }

    /// Register or pin it starts at, with the port.
    pub fn first(&self) -> &str {
        self.steps.first().map_or("", |step| &step.name)
    }

    /// Register or pin it ends at, with the port.
    pub fn last(&self) -> &str {
        self.steps.last().map_or("", |step| &step.name)
    }

    /// Levels of logic: cells one behind the other, those that are wired inside a slice and a carry chain as one.
    pub fn levels(&self) -> usize {
        self.steps.iter().filter(|step| step.kind == "logic").count()
    }

    /// The share of the delay that is routing.
    pub fn routing(&self) -> f64 {
        let routing: f64 = self.steps.iter().filter(|s| s.kind == "routing").map(|s| s.ns).sum();
        routing / self.ns().max(f64::EPSILON)
    }
}

/// Steps with the cells of a slice and of a carry chain as one: a wire without delay between two of them is no routing.
pub fn joined(steps: Vec<Step>) -> Vec<Step> {
    let mut joined: Vec<Step> = Vec::new();
    for mut step in steps {
        // the cell that leads a carry out of its chain is nextpnr's, and has no name of the source
        if let (Some(port), Some(before)) = (step.name.strip_prefix(".nextpnr"), joined.last()) {
            let name = before.name.split(" (").next().unwrap_or_default();
            step.name = format!("{name}{port}");
        }
        if let [.., before, wire] = joined.as_mut_slice() {
            if step.kind == "logic" && wire.kind == "routing" && wire.ns == 0.0 && before.kind == "logic" {
                before.ns += step.ns;
                before.name = step.name;
                joined.pop();
                continue;
            }
        }
        joined.push(step);
    }
    joined
}

/// Whether a tool's name of a clock is the one that enters by port `net`: nextpnr names a clock after the net behind its buffers,
/// `posedge $glbnet$clk$TRELLIS_IO_IN`.
pub fn is_clock(name: &str, net: &str) -> bool {
    name.split(['$', ' ']).any(|part| part == net)
}

/// Timing of one run.
pub struct Timing {
    /// By clock, in the board's order.
    pub clocks: Vec<Reached>,
    /// The critical path of each clock and between clocks, worst first.
    pub paths: Vec<TimedPath>,
}

/// A name as a reader of the source knows it: the instance path without the suffixes of synthesis.
///
/// Synthesis names what it makes after the net it drives (`u.cam.hit_LUT4_Z_3_PFUMX_Z`), and RustHDL writes `$` where the
/// source has a dot.
pub fn source_name(name: &str) -> String {
    let made = [
        "_LUT4_",
        "_PFUMX_",
        "_L6MUX21_",
        "_CCU2C_",
        "_TRELLIS_",
        "_DP16KD",
        "_PDPW16KD",
        "$DPRAM_COMB",
        "$RAMW_",
        "$TRELLIS_IO_",
        "$tr_io",
        "$abc$",
        "$auto$",
    ];
    let end = made
        .iter()
        .filter_map(|suffix| name.find(suffix))
        .min()
        .unwrap_or(name.len());
    let name = &name[..end];
    let name = name.strip_prefix("uut.").unwrap_or(name);
    name.replace('$', ".").trim_end_matches('.').to_string()
}

/// The first two parts of a name as the source has it: the block of the core and what is in it.
pub fn block(name: &str) -> String {
    name.split('.').take(2).collect::<Vec<_>>().join(".")
}

impl Timing {
    /// Reads the report of a run.
    pub fn read(path: &Path, board: &Board) -> Result<Self, Error> {
        let report: Report = read(path)?;
        let clocks = board
            .clocks
            .iter()
            .map(|clock| {
                let found = report.fmax.iter().find(|(name, _)| is_clock(name, &clock.net));
                let reached = found.map(|(_, fmax)| fmax.achieved).ok_or_else(|| Error::Missing {
                    what: format!("clock {} in {}", clock.net, path.display()),
                })?;
                Ok(Reached {
                    net: clock.net.clone(),
                    constraint: clock.mhz,
                    mhz: reached,
                })
            })
            .collect::<Result<_, Error>>()?;
        let mut paths: Vec<TimedPath> = report
            .critical_paths
            .into_iter()
            .map(|path| TimedPath {
                from: path.from,
                to: path.to,
                steps: joined(path.path.into_iter().map(Hop::step).collect()),
            })
            .collect();
        paths.sort_by(|a, b| b.ns().total_cmp(&a.ns()));
        Ok(Self { clocks, paths })
    }

    /// How far the clock that is worst off is from its constraint: 1 and more is met.
    pub fn margin(&self) -> f64 {
        self.clocks
            .iter()
            .map(|c| c.mhz / c.constraint)
            .fold(f64::INFINITY, f64::min)
    }

    /// A line for the terminal.
    pub fn line(&self) -> String {
        let clock = |c: &Reached| format!("   {} {:.1} MHz of {}", c.net, c.mhz, c.constraint);
        self.clocks.iter().map(clock).collect::<Vec<_>>().join("\n")
    }
}

/// What a build uses of the part: kind of cell, used, available.
pub struct Utilization(pub Vec<(String, u64, u64)>);

impl Utilization {
    /// Reads the report of a run; kinds that are not used are left out.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let report: Report = read(path)?;
        let used = report.utilization.into_iter().filter(|(_, used)| used.used > 0);
        Ok(Self(used.map(|(kind, u)| (kind, u.used, u.available)).collect()))
    }

    /// Cells of a kind in use.
    pub fn used(&self, kind: &str) -> u64 {
        self.0
            .iter()
            .find(|(name, ..)| name == kind)
            .map_or(0, |(_, used, _)| *used)
    }
}

#[derive(Deserialize)]
struct PlacedCell {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    attributes: HashMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct PlacedModule {
    cells: HashMap<String, PlacedCell>,
}

#[derive(Deserialize)]
struct Placed {
    modules: HashMap<String, PlacedModule>,
}

/// One placed cell.
pub struct Cell {
    /// Block of the design it belongs to: first part of its name.
    pub block: String,
    /// Kind.
    pub kind: String,
    /// Column.
    pub x: u32,
    /// Row.
    pub y: u32,
}

/// Where the cells are.
pub struct Placement(pub Vec<Cell>);

impl Placement {
    /// Reads what nextpnr wrote with `--write`.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let placed: Placed = read(path)?;
        let cells = placed
            .modules
            .into_values()
            .flat_map(|module| module.cells)
            .filter_map(|(name, cell)| {
                let (x, y) = location(cell.attributes.get("NEXTPNR_BEL")?.as_str()?)?;
                Some(Cell {
                    block: block_of(&name),
                    kind: cell.kind,
                    x,
                    y,
                })
            });
        let mut cells: Vec<Cell> = cells.collect();
        cells.sort_by(|a, b| (a.x, a.y, &a.kind, &a.block).cmp(&(b.x, b.y, &b.kind, &b.block)));
        Ok(Self(cells))
    }

    /// Cells by block and kind.
    pub fn by_block(&self) -> BTreeMap<&str, BTreeMap<&str, u64>> {
        let mut blocks: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
        for cell in &self.0 {
            *blocks.entry(&cell.block).or_default().entry(&cell.kind).or_default() += 1;
        }
        blocks
    }
}

/// Column and row of `X56/Y29/SLICEA.LUT0`.
fn location(bel: &str) -> Option<(u32, u32)> {
    let mut parts = bel.split('/');
    let x = parts.next()?.strip_prefix('X')?.parse().ok()?;
    let y = parts.next()?.strip_prefix('Y')?.parse().ok()?;
    Some((x, y))
}

/// The block of the core a cell belongs to: `uut.cam.hit_LUT4_Z` is of `cam`; what has no path is of the harness.
fn block_of(name: &str) -> String {
    let name = source_name(name);
    match name.split_once('.') {
        Some((block, _)) if !block.is_empty() => block.to_string(),
        _ => "harness".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_what_synthesis_added() {
        assert_eq!(source_name("uut.cam.way$0.hit_LUT4_Z_3_PFUMX_Z"), "cam.way.0.hit");
        assert_eq!(source_name("uut.rewrite.sum"), "rewrite.sum");
        assert_eq!(
            source_name("uut.counters.reader.mem.0.7$DPRAM_COMB1"),
            "counters.reader.mem.0.7"
        );
        assert_eq!(
            source_name("uut.counters.reader.mem.0.7$RAMW_SLICE"),
            "counters.reader.mem.0.7"
        );
        assert_eq!(source_name("si$tr_io"), "si");
        assert_eq!(block_of("uut.cam.record.mem.0.0"), "cam");
        assert_eq!(block_of("feed_TRELLIS_FF_Q_4"), "harness");
    }

    #[test]
    fn what_a_wire_without_delay_joins_is_one_level() {
        let step = |kind: &str, ns: f64, name: &str| Step {
            kind: kind.into(),
            ns,
            name: name.into(),
        };
        let path = TimedPath {
            from: String::new(),
            to: String::new(),
            steps: joined(vec![
                step("clk-to-q", 0.3, "a"),
                step("routing", 0.0, "a"),
                step("logic", 0.25, "first"),
                step("routing", 0.0, "first"),
                step("logic", 0.0625, "second"),
                step("routing", 0.0, "second"),
                step("logic", 0.0, &source_name("$nextpnr_CCU2C_77$CCU2_COMB0")),
                step("routing", 0.5, &source_name("$nextpnr_CCU2C_77$CCU2_COMB0")),
                step("logic", 0.14, "table"),
                step("routing", 0.0, "table"),
                step("setup", 0.0, "b"),
            ]),
        };
        let steps: Vec<(&str, f64)> = path.steps.iter().map(|step| (step.name.as_str(), step.ns)).collect();
        let want = [
            ("a", 0.3),
            ("a", 0.0),
            ("second", 0.3125),
            ("second", 0.5),
            ("table", 0.14),
            ("table", 0.0),
            ("b", 0.0),
        ];
        assert_eq!(steps, want);
        assert_eq!((path.levels(), path.first(), path.last()), (2, "a", "b"));
    }

    #[test]
    fn clocks_are_known_by_their_port() {
        assert!(is_clock("posedge $glbnet$clk$TRELLIS_IO_IN", "clk"));
        assert!(is_clock("$gbuf$clk$TRELLIS_IO_IN", "clk") && is_clock("posedge clk$tr_io", "clk"));
        assert!(!is_clock("posedge $glbnet$clk2$TRELLIS_IO_IN", "clk") && !is_clock("<async>", "clk"));
    }

    #[test]
    fn locations_are_read() {
        assert_eq!(location("X56/Y29/SLICEA.LUT0"), Some((56, 29)));
        assert_eq!(location("nowhere"), None);
    }
}
