//! Writes random traffic to captures: `traffic SEED COUNT DIR [INSIDE_VID OUTSIDE_VID PERCENT]`.
use nat64_tests::capture::write_ethernet;
use nat64_tests::traffic::{Mix, Side, Traffic};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize| args.get(i).and_then(|a| a.parse::<u64>().ok());
    let (Some(seed), Some(count), Some(dir)) = (number(0), number(1), args.get(2)) else {
        eprintln!("usage: traffic SEED COUNT DIR [INSIDE_VID OUTSIDE_VID PERCENT]");
        std::process::exit(2);
    };
    let vlans = number(3)
        .zip(number(4))
        .zip(number(5))
        .map(|((i, o), p)| (i as u16, o as u16, p as u32));
    let frames: Vec<_> = Traffic::new(
        seed,
        Mix {
            vlans,
            ..Mix::default()
        },
    )
    .take(count as usize)
    .collect();
    for (name, side) in [("inside", Side::Inside), ("outside", Side::Outside)] {
        let file = std::path::Path::new(dir).join(format!("{name}.pcap"));
        let list = frames
            .iter()
            .filter(|f| f.side == side)
            .map(|f| (f.time, f.bytes.clone()));
        if let Err(error) = write_ethernet(&file, list) {
            eprintln!("{}: {error}", file.display());
            std::process::exit(1);
        }
    }
}
