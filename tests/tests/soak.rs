//! The short form of the soak; the example `soak` runs it for as long as wanted.

use nat64_layout::Reason;
use nat64_tests::soak::{run, Engine, Length, Options, Report};

fn short(engine: Engine, cycles: u32) -> Report {
    let seed = std::env::var("NAT64_SEED").ok().and_then(|seed| seed.parse().ok());
    let options = Options::new(engine, seed.unwrap_or(7), Length::Cycles(cycles));
    let report = run(options, &mut |line| println!("{line}"));
    println!("{report}");
    report
}

/// The floods were floods: each of these was met.
fn met(report: &Report, reasons: &[Reason]) {
    for reason in reasons {
        assert!(
            report.reasons.iter().any(|(met, _)| met == reason),
            "{} never: {report}",
            reason.name()
        );
    }
}

/// What every engine meets on its host.
const ALWAYS: &[Reason] = &[
    Reason::FragmentOverlap,
    Reason::FragmentLimit,
    Reason::FragmentTimeout,
    Reason::NoMapping,
    Reason::SynTimeout,
    Reason::SynStoreFull,
    Reason::EmbryonicLimit,
    Reason::IcmpErrorNoSession,
    Reason::TimeExceeded,
    Reason::ErrorRateLimited,
    Reason::NeighbourUnreachable,
    Reason::BadNeighbourMessage,
];

#[test]
fn conversations_go_on_through_every_flood_in_the_software_card() {
    let report = short(Engine::Soft(1), 1);
    met(&report, ALWAYS);
    met(&report, &[Reason::NoUnit, Reason::NoRule]);
    assert!(report.books.merged > 0 && report.books.split > 0, "{report}");
    assert!(report.watched > 10_000, "{report}");
}

#[test]
fn conversations_go_on_through_every_flood_in_several_workers() {
    let report = short(Engine::Soft(3), 1);
    met(&report, ALWAYS);
}

#[test]
fn conversations_go_on_through_every_flood_in_the_compiled_card() {
    let report = short(Engine::Compiled, 1);
    met(&report, ALWAYS);
    met(&report, &[Reason::ExceptionRingFull, Reason::PolicyDrop]);
    assert!(report.offloaded > Some(1000), "{report}");
}
