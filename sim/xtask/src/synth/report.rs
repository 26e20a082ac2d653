//! `bitstreams/BOARD/report.html`: one page without scripts or outside files, to be looked at in any browser.

use std::collections::BTreeMap;
use std::path::Path;

use askama::Template;

use super::facts::{Board, Placement, TimedPath, Utilization};
use super::manifest::Manifest;
use super::Seed;
use crate::run::Error;

/// Paths shown.
const PATHS: usize = 10;
/// Blocks that have a colour of their own in the floorplan; the rest share one.
const COLOURS: [&str; 10] = [
    "#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#76b7b2", "#edc948", "#9c755f", "#ff9da7", "#86bcb6",
];
/// Colour of the other blocks.
const OTHER: &str = "#bab0ac";

struct Bar {
    seed: u32,
    mhz: f64,
    met: bool,
    /// Length in percent of the drawing.
    length: f64,
}

struct ClockView<'a> {
    net: &'a str,
    what: &'a str,
    constraint: f64,
    /// Where the constraint's line stands, percent.
    line: f64,
    bars: Vec<Bar>,
}

struct BlockView {
    name: String,
    colour: &'static str,
    luts: u64,
    registers: u64,
    block_rams: u64,
    /// Of all look-up tables, percent.
    share: f64,
}

struct UseView<'a> {
    kind: &'a str,
    used: u64,
    available: u64,
    percent: f64,
}

struct StepView<'a> {
    kind: &'a str,
    name: &'a str,
    ns: f64,
}

struct PathView<'a> {
    seed: u32,
    from: &'a str,
    to: &'a str,
    first: &'a str,
    last: &'a str,
    ns: f64,
    routing: f64,
    logic_steps: usize,
    steps: Vec<StepView<'a>>,
}

struct Dot {
    x: u32,
    y: u32,
    colour: &'static str,
    opacity: f64,
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    board: &'a Board,
    manifest: &'a Manifest,
    clocks: Vec<ClockView<'a>>,
    uses: Vec<UseView<'a>>,
    blocks: Vec<BlockView>,
    paths: Vec<PathView<'a>>,
    dots: Vec<Dot>,
    width: u32,
    height: u32,
    met: bool,
}

/// Writes the page.
pub fn write(
    path: &Path,
    manifest: &Manifest,
    board: &Board,
    seeds: &[Seed],
    utilization: &Utilization,
    placement: &Placement,
) -> Result<(), Error> {
    let blocks = blocks(placement);
    let (dots, width, height) = dots(placement, &blocks);
    let page = Page {
        board,
        manifest,
        clocks: clocks(manifest, seeds),
        uses: uses(utilization),
        paths: paths(seeds),
        blocks,
        dots,
        width,
        height,
        met: manifest.clocks.iter().all(|clock| clock.met),
    };
    let text = page.render().map_err(|e| Error::Missing {
        what: format!("a page that can be written ({e})"),
    })?;
    std::fs::write(path, text).map_err(|e| Error::file(path, e))
}

fn clocks<'a>(manifest: &'a Manifest, seeds: &[Seed]) -> Vec<ClockView<'a>> {
    let view = |clock: &'a super::manifest::ClockEntry| {
        let most = clock.best_mhz.max(clock.constraint_mhz) * 1.05;
        ClockView {
            net: &clock.net,
            what: &clock.what,
            constraint: clock.constraint_mhz,
            line: clock.constraint_mhz / most * 100.0,
            bars: seeds
                .iter()
                .zip(&clock.seeds_mhz)
                .map(|(seed, &mhz)| Bar {
                    seed: seed.seed,
                    mhz,
                    met: mhz >= clock.constraint_mhz,
                    length: mhz / most * 100.0,
                })
                .collect(),
        }
    };
    manifest.clocks.iter().map(view).collect()
}

fn uses(utilization: &Utilization) -> Vec<UseView<'_>> {
    utilization
        .0
        .iter()
        .map(|(kind, used, available)| UseView {
            kind,
            used: *used,
            available: *available,
            percent: *used as f64 / (*available).max(1) as f64 * 100.0,
        })
        .collect()
}

fn blocks(placement: &Placement) -> Vec<BlockView> {
    let of = |cells: &BTreeMap<&str, u64>, kind: &str| cells.get(kind).copied().unwrap_or(0);
    let by_block = placement.by_block();
    let all: u64 = by_block.values().map(|cells| of(cells, "TRELLIS_COMB")).sum();
    let mut views: Vec<BlockView> = by_block
        .iter()
        .map(|(name, cells)| BlockView {
            name: (*name).to_string(),
            colour: OTHER,
            luts: of(cells, "TRELLIS_COMB"),
            registers: of(cells, "TRELLIS_FF"),
            block_rams: of(cells, "DP16KD"),
            share: of(cells, "TRELLIS_COMB") as f64 / all.max(1) as f64 * 100.0,
        })
        .collect();
    views.sort_by(|a, b| {
        (b.luts + b.registers)
            .cmp(&(a.luts + a.registers))
            .then_with(|| a.name.cmp(&b.name))
    });
    views
        .iter_mut()
        .zip(COLOURS)
        .for_each(|(view, colour)| view.colour = colour);
    views
}

/// One dot for each tile that has logic, in the colour of the block that has most of it; a few kilobytes for the largest part.
fn dots(placement: &Placement, blocks: &[BlockView]) -> (Vec<Dot>, u32, u32) {
    let mut tiles: BTreeMap<(u32, u32), BTreeMap<&str, u32>> = BTreeMap::new();
    for cell in &placement.0 {
        *tiles
            .entry((cell.x, cell.y))
            .or_default()
            .entry(&cell.block)
            .or_default() += 1;
    }
    let colour = |name: &str| blocks.iter().find(|b| b.name == name).map_or(OTHER, |b| b.colour);
    let width = tiles.keys().map(|(x, _)| x + 1).max().unwrap_or(1);
    let height = tiles.keys().map(|(_, y)| y + 1).max().unwrap_or(1);
    let dot = |((x, y), cells): (&(u32, u32), &BTreeMap<&str, u32>)| {
        let total: u32 = cells.values().sum();
        let most = cells.iter().max_by_key(|(_, n)| **n).map_or("", |(name, _)| name);
        Dot {
            x: *x,
            y: *y,
            colour: colour(most),
            opacity: (f64::from(total) / 16.0).clamp(0.25, 1.0),
        }
    };
    (tiles.iter().map(dot).collect(), width, height)
}

fn paths(seeds: &[Seed]) -> Vec<PathView<'_>> {
    let mut all: Vec<(u32, &TimedPath)> = seeds
        .iter()
        .flat_map(|seed| seed.timing.paths.iter().map(|path| (seed.seed, path)))
        .collect();
    all.sort_by(|a, b| b.1.ns().total_cmp(&a.1.ns()));
    all.truncate(PATHS);
    all.into_iter()
        .map(|(seed, path)| PathView {
            seed,
            from: &path.from,
            to: &path.to,
            first: path.steps.first().map_or("", |step| &step.name),
            last: path.steps.last().map_or("", |step| &step.name),
            ns: path.ns(),
            routing: path.routing() * 100.0,
            logic_steps: path.steps.iter().filter(|step| step.kind == "logic").count(),
            steps: path
                .steps
                .iter()
                .map(|step| StepView {
                    kind: &step.kind,
                    name: &step.name,
                    ns: step.ns,
                })
                .collect(),
        })
        .collect()
}
