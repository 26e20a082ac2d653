//! `bitstreams/BOARD/report.html`: one page without scripts or outside files, to be looked at in any browser.

use std::collections::BTreeMap;
use std::path::Path;

use askama::Template;

use super::facts::{Board, Placement, TimedPath, Utilization};
use super::manifest::Manifest;
use super::sdf::Paths;
use super::Seed;
use crate::run::Error;

/// Paths shown, here and in the manifest.
pub const PATHS: usize = 10;
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
    runs: f64,
    image: f64,
    safe: bool,
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
    from: &'a str,
    to: &'a str,
    first: &'a str,
    last: &'a str,
    ns: f64,
    routing: f64,
    levels: usize,
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
    /// Within clocks.
    paths: Vec<PathView<'a>>,
    /// From pins, to pins and from clock to clock.
    others: Vec<PathView<'a>>,
    /// Path ends within clocks that are late.
    late: usize,
    /// All of them.
    ends: usize,
    /// Pins of falling edges, which are in neither.
    falling: usize,
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
    paths: &Paths,
) -> Result<(), Error> {
    let blocks = blocks(placement);
    let (dots, width, height) = dots(placement, &blocks);
    let page = Page {
        board,
        manifest,
        clocks: clocks(manifest, seeds),
        uses: uses(utilization),
        paths: paths.worst.iter().take(PATHS).map(view).collect(),
        others: others(seeds, manifest.seed),
        late: paths.late,
        ends: paths.ends,
        falling: paths.falling,
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
            runs: clock.runs_mhz,
            image: clock.image_mhz,
            safe: clock.safe(),
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

/// The longest path of the image's seed between each two that are not one clock.
fn others(seeds: &[Seed], image: u32) -> Vec<PathView<'_>> {
    let of_image = seeds.iter().filter(|seed| seed.seed == image);
    let paths = of_image.flat_map(|seed| &seed.timing.paths);
    paths.filter(|path| !path.within_a_clock()).map(view).collect()
}

fn view(path: &TimedPath) -> PathView<'_> {
    PathView {
        from: &path.from,
        to: &path.to,
        first: path.first(),
        last: path.last(),
        ns: path.ns(),
        routing: path.routing() * 100.0,
        levels: path.levels(),
        steps: path
            .steps
            .iter()
            .map(|step| StepView {
                kind: &step.kind,
                name: &step.name,
                ns: step.ns,
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::facts::{Cell, Timing};
    use super::super::tools::Tools;
    use super::*;

    #[test]
    fn the_page_has_every_path_with_its_steps() {
        // made by the tools: see the tests of `sdf`
        let fixture = |end: &str| PathBuf::from(format!("{}/tests/synth/way.{end}", env!("CARGO_MANIFEST_DIR")));
        let mut board = Board::for_block("way");
        board.clocks[0].net = "clock".into();
        let timing = Timing::read(&fixture("report.json"), &board).unwrap();
        let paths = Paths::read(&fixture("sdf"), &board, PATHS).unwrap();
        let utilization = Utilization::read(&fixture("report.json")).unwrap();
        let seeds = [Seed { seed: 3, timing }];
        let folder = std::env::temp_dir();
        let manifest = Manifest::new(
            &folder,
            &board,
            &Tools::for_tests(),
            &seeds,
            3,
            &utilization,
            "verilog",
            "image",
        )
        .with_paths(&paths);
        let cell = |block: &str| Cell {
            block: block.into(),
            kind: "TRELLIS_COMB".into(),
            x: 3,
            y: 4,
        };
        let placement = Placement(vec![cell("a<b"), cell("a<b")]);
        let file = folder.join(format!("nat64-report-{}.html", std::process::id()));
        write(&file, &manifest, &board, &seeds, &utilization, &placement, &paths).unwrap();
        let page = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();

        assert_eq!(manifest.worst_paths.len(), paths.worst.len());
        assert!(!manifest.worst_paths.is_empty() && manifest.path_ends > manifest.worst_paths.len());
        for entry in &manifest.worst_paths {
            let line = format!("<code>{}</code> to <code>{}</code>", entry.from, entry.to);
            assert!(page.contains(&line), "{line}");
            assert!(page.contains(&format!("<b>{:.2} ns</b>", entry.ns)), "{}", entry.ns);
        }
        // the paths from and to the pins are there, but not among those
        let others = seeds[0].timing.paths.iter().filter(|path| !path.within_a_clock());
        assert_eq!(page.matches("<details>").count(), paths.worst.len() + others.count());
        assert!(page.contains("0 of ") && page.contains("seed 3"));
        assert!(!page.contains("a<b") && page.contains("a&#60;b"), "names are no markup");
    }
}
