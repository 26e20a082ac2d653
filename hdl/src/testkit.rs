//! Steps a block without RustHDL's testbench threads, records its ports, and replays the record on the exported Verilog.
//!
//! A clock is: set inputs, [`Bench::settle`] (outputs now show what this clock's inputs give), [`Bench::edge`].
//! [`Bench::tick`] does both. Ports are recorded just before each edge; [`Bench::agrees_with_verilog`] drives the same
//! inputs into the emitted Verilog under iverilog and compares every output of every clock.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use crate::prelude::*;
use rust_hdl::core::atom::{Atom, AtomKind};

use crate::prim::{Clocked, Domains};

mod netlist;

/// Updates a block until nothing moves.
///
/// Panics after 1,000 passes: the block has a combinational loop.
#[inline]
pub fn settle<B: Block + ?Sized>(uut: &mut B) {
    for _ in 0..1000 {
        uut.update_all();
        if !uut.has_changed() {
            return;
        }
    }
    panic!("the block does not settle: combinational loop");
}

/// A block under test.
pub struct Bench<B: Clocked> {
    /// The block; set `.next` of its inputs.
    pub uut: Box<B>,
    /// Clocks stepped.
    pub clocks: u64,
    record: bool,
    lines: Vec<String>,
}

/// Ports of a connected block: names and widths in bits, in the order of their declaration.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    /// Inputs but for the clock.
    pub(crate) inputs: Vec<(String, usize)>,
    /// Outputs.
    pub(crate) outputs: Vec<(String, usize)>,
    /// The input named `clock`.
    pub(crate) clock: Option<String>,
    depth: usize,
    /// Values in hexadecimal, in the order of `inputs`, then of `outputs`.
    values: [Vec<String>; 2],
}

impl Ports {
    /// Without these inputs.
    fn without(mut self, names: &[&str]) -> Self {
        let kept: Vec<bool> = self
            .inputs
            .iter()
            .map(|(name, _)| !names.contains(&name.as_str()))
            .collect();
        let mut keep = kept.iter();
        self.values[0].retain(|_| keep.next().copied().unwrap_or(true));
        self.inputs.retain(|(name, _)| !names.contains(&name.as_str()));
        self
    }

    /// Looks at a block.
    pub(crate) fn of<B: Block>(block: &B) -> Self {
        let mut ports = Self::default();
        block.accept("uut", &mut ports);
        ports
    }
}

impl Probe for Ports {
    fn visit_start_scope(&mut self, _name: &str, _node: &dyn Block) {
        self.depth += 1;
    }
    fn visit_end_scope(&mut self, _name: &str, _node: &dyn Block) {
        self.depth -= 1;
    }
    fn visit_atom(&mut self, name: &str, signal: &dyn Atom) {
        if self.depth != 1 {
            return;
        }
        let (list, values) = match signal.kind() {
            AtomKind::InputParameter if name == "clock" => {
                self.clock = Some(name.to_string());
                return;
            }
            AtomKind::InputParameter => (&mut self.inputs, &mut self.values[0]),
            AtomKind::OutputParameter => (&mut self.outputs, &mut self.values[1]),
            _ => return,
        };
        let literal = format!("{:x}", signal.verilog());
        list.push((name.to_string(), signal.bits()));
        values.push(literal.rsplit('h').next().unwrap_or("0").to_string());
    }
}

impl<B: Clocked> Bench<B> {
    /// Connects the block and lets it settle; records its ports from now on.
    pub fn new(block: B) -> Self {
        Self::from_box(Box::new(block))
    }

    /// The same for a block that is too large for the stack.
    pub fn from_box(mut uut: Box<B>) -> Self {
        uut.connect_all();
        settle(uut.as_mut());
        Self {
            uut,
            clocks: 0,
            record: true,
            lines: Vec::new(),
        }
    }

    /// Stops recording: for long runs that are not replayed.
    pub fn without_record(mut self) -> Self {
        self.record = false;
        self
    }

    /// Lets the inputs set so far take effect.
    pub fn settle(&mut self) {
        settle(self.uut.as_mut());
    }

    /// The rising edge; ports must have settled.
    pub fn edge(&mut self) {
        if self.record {
            self.lines.push(Ports::of(self.uut.as_ref()).values.concat().join(" "));
        }
        self.uut.toggle_clock();
        settle(self.uut.as_mut());
        self.clocks += 1;
    }

    /// One clock with the inputs set so far.
    pub fn tick(&mut self) {
        self.settle();
        self.edge();
    }

    /// The block's Verilog, after RustHDL's own checks.
    pub fn verilog(&self) -> String {
        generate_verilog(self.uut.as_ref())
    }

    /// Compiles the emitted Verilog under `iverilog -Wall`, which must say nothing, and replays the recorded clocks.
    ///
    /// Panics with the first clock and port that differ, or with what iverilog said. Needs iverilog (`cargo xtask setup`).
    pub fn agrees_with_verilog(&self, name: &str) {
        let ports = Ports::of(self.uut.as_ref());
        let clock = ports.clock.expect("the block has a clock");
        replay_in_iverilog(
            name,
            &self.verilog(),
            &clock,
            &ports.inputs,
            &ports.outputs,
            &self.lines,
        );
    }

    /// Replays the first recorded clocks on what synthesis for an ECP5 makes of the Verilog, in the cells of that part.
    ///
    /// Panics as [`Bench::agrees_with_verilog`] does. Needs yosys, too.
    pub fn agrees_with_netlist(&self, name: &str) {
        let ports = Ports::of(self.uut.as_ref());
        let clock = ports.clock.expect("the block has a clock");
        let lines: Vec<String> = self.lines.iter().map(|line| format!("1 {line}")).collect();
        netlist::replay(name, &self.verilog(), &[&clock], &ports.inputs, &ports.outputs, &lines);
    }
}

/// A block with several clocks under test. A record's line begins with the clocks that rise, bit `i` the one of that place in
/// [`Domains::CLOCKS`].
pub struct DomainBench<B: Domains> {
    /// The block; set `.next` of its inputs.
    pub uut: Box<B>,
    record: bool,
    lines: Vec<String>,
}

impl<B: Domains> DomainBench<B> {
    /// Connects the block and lets it settle; records its ports from now on.
    pub fn new(block: B) -> Self {
        let mut uut = Box::new(block);
        uut.connect_all();
        settle(uut.as_mut());
        Self {
            uut,
            record: true,
            lines: Vec::new(),
        }
    }

    /// Stops recording: for long runs that are not replayed.
    pub fn without_record(mut self) -> Self {
        self.record = false;
        self
    }

    /// Lets the inputs set so far take effect.
    pub fn settle(&mut self) {
        settle(self.uut.as_mut());
    }

    /// Rising edges, at one moment, of the clocks in `mask`.
    pub fn edge(&mut self, mask: u32) {
        self.settle();
        if self.record {
            let ports = Ports::of(self.uut.as_ref()).without(B::CLOCKS);
            self.lines.push(format!("{mask:x} {}", ports.values.concat().join(" ")));
        }
        for clock in 0..B::CLOCKS.len() {
            if mask >> clock & 1 != 0 {
                self.uut.edge_of(clock);
            }
        }
        self.settle();
    }

    /// The block's Verilog, after RustHDL's own checks.
    pub fn verilog(&self) -> String {
        generate_verilog(self.uut.as_ref())
    }

    /// See [`Bench::agrees_with_verilog`].
    pub fn agrees_with_verilog(&self, name: &str) {
        let ports = Ports::of(self.uut.as_ref()).without(B::CLOCKS);
        replay(
            name,
            &self.verilog(),
            B::CLOCKS,
            &ports.inputs,
            &ports.outputs,
            &self.lines,
        );
    }

    /// See [`Bench::agrees_with_netlist`].
    pub fn agrees_with_netlist(&self, name: &str) {
        let ports = Ports::of(self.uut.as_ref()).without(B::CLOCKS);
        netlist::replay(
            name,
            &self.verilog(),
            B::CLOCKS,
            &ports.inputs,
            &ports.outputs,
            &self.lines,
        );
    }
}

/// Replays a record on Verilog text whose top module is `top`, under iverilog.
///
/// `inputs` and `outputs` are names and widths; a line of the record is one clock: the values of all inputs, then of all
/// outputs just before the rising edge, in hexadecimal. Panics as [`Bench::agrees_with_verilog`] does.
pub fn replay_in_iverilog(
    name: &str,
    verilog: &str,
    clock: &str,
    inputs: &[(String, usize)],
    outputs: &[(String, usize)],
    lines: &[String],
) {
    let lines: Vec<String> = lines.iter().map(|line| format!("1 {line}")).collect();
    replay(name, verilog, &[clock], inputs, outputs, &lines);
}

/// The same for several clocks; a line begins with those that rise.
fn replay(
    name: &str,
    verilog: &str,
    clocks: &[&str],
    inputs: &[(String, usize)],
    outputs: &[(String, usize)],
    lines: &[String],
) {
    let scratch = Scratch::new(name, verilog, clocks, inputs, outputs, lines);
    let (ok, said) = scratch.run("iverilog", &["-g2005", "-Wall", "-t", "null", "-s", "top", "uut.v"]);
    let said: Vec<&str> = said.lines().filter(|l| !tolerated(l)).collect();
    assert!(ok && said.is_empty(), "{name}: iverilog: {}", said.join("\n"));
    scratch.agrees(&["uut.v"]);
}

/// A folder with Verilog, a record, and the bench that replays it.
struct Scratch<'a> {
    name: &'a str,
    dir: PathBuf,
    clocks: usize,
}

impl<'a> Scratch<'a> {
    fn new(
        name: &'a str,
        verilog: &str,
        clocks: &[&str],
        inputs: &[(String, usize)],
        outputs: &[(String, usize)],
        lines: &[String],
    ) -> Self {
        assert!(!lines.is_empty(), "{name}: nothing was recorded");
        let dir = scratch(name);
        std::fs::write(dir.join("uut.v"), verilog).unwrap();
        std::fs::write(dir.join("ports.txt"), lines.join("\n") + "\n").unwrap();
        std::fs::write(dir.join("bench.v"), bench_text(clocks, inputs, outputs)).unwrap();
        Self {
            name,
            dir,
            clocks: lines.len(),
        }
    }

    /// Whether a program ends well here, and what it says.
    fn run(&self, program: &str, args: &[&str]) -> (bool, String) {
        let out = Command::new(program)
            .args(args)
            .current_dir(&self.dir)
            .output()
            .unwrap_or_else(|e| panic!("{program}: {e}; run `cargo xtask setup`"));
        (
            out.status.success(),
            String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned(),
        )
    }

    /// Replays the record on the `top` of these sources and removes the folder.
    fn agrees(self, sources: &[&str]) {
        let name = self.name;
        let arguments = [&["-g2005", "-o", "bench.vvp", "-s", "bench", "bench.v"], sources].concat();
        let (ok, said) = self.run("iverilog", &arguments);
        assert!(ok, "{name}: iverilog: {said}");
        let (ok, said) = self.run("vvp", &["-n", "bench.vvp"]);
        let end = format!("AGREE {}", self.clocks);
        assert!(
            ok && said.contains(&end),
            "{name}: simulator and Verilog differ: {}",
            said.trim()
        );
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// What iverilog says about text that RustHDL always emits and that means nothing: no time unit is given, and a
/// memory in an `always @(*)` is watched word by word.
pub(crate) fn tolerated(line: &str) -> bool {
    line.contains("timescale") || line.contains("sensitive to all")
}

fn scratch(name: &str) -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("nat64-{name}-{}-{n}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

fn bench_text(clocks: &[&str], inputs: &[(String, usize)], outputs: &[(String, usize)]) -> String {
    let mut t = format!(
        "module bench;\nreg [{0}:0] clk = 0;\nreg [{0}:0] rise = 0;\n",
        clocks.len() - 1
    );
    for (n, w) in inputs {
        let _ = writeln!(t, "reg [{}:0] i_{n} = 0;", w - 1);
    }
    for (n, w) in outputs {
        let _ = writeln!(t, "wire [{0}:0] o_{n};\nreg [{0}:0] e_{n};", w - 1);
    }
    let pins: Vec<String> = clocks
        .iter()
        .enumerate()
        .map(|(i, clock)| format!(".{clock}(clk[{i}])"))
        .collect();
    let _ = write!(t, "top uut({}", pins.join(", "));
    for (n, _) in inputs {
        let _ = write!(t, ", .{n}(i_{n})");
    }
    for (n, _) in outputs {
        let _ = write!(t, ", .{n}(o_{n})");
    }
    t += ");\ninteger f, n, got;\ninitial begin\n  f = $fopen(\"ports.txt\", \"r\");\n  n = 0;\n";
    t += "  got = 1;\n  while (got > 0) begin\n    got = $fscanf(f, \"";
    t += &vec!["%h"; 1 + inputs.len() + outputs.len()].join(" ");
    t += "\", rise";
    for (n, _) in inputs {
        let _ = write!(t, ", i_{n}");
    }
    for (n, _) in outputs {
        let _ = write!(t, ", e_{n}");
    }
    t += ");\n    if (got > 0) begin\n      #1;\n";
    for (n, _) in outputs {
        let _ = writeln!(
            t,
            "      if (o_{n} !== e_{n}) begin $display(\"clock %0d: {n} is %h, expected %h\", n, o_{n}, e_{n}); $finish; end"
        );
    }
    t += "      clk = rise; #1; clk = 0; #1; n = n + 1;\n    end\n  end\n  $display(\"AGREE %0d\", n);\n  $finish;\nend\nendmodule\n";
    t
}
