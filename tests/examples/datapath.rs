//! The data path measured on its pins, as JSON.

use nat64_tests::datapath;
use serde_json::json;

fn main() {
    let mut rig = datapath::rig();
    let mut rows = Vec::new();
    for length in [64, 128, 256, 512, 1024, 1494] {
        for (port, direction) in [(0, "six-to-four"), (1, "four-to-six")] {
            let (clocks, latency) = datapath::measure(&mut rig, port, length);
            let bytes = datapath::frame(port, length).len();
            rows.push(json!({
                "direction": direction,
                "frame_bytes": bytes,
                "clocks_per_packet": clocks,
                "latency_clocks": latency,
                "bits_per_clock": 8.0 * bytes as f64 / clocks,
            }));
        }
    }
    println!("{}", json!({ "width": 64, "rows": rows }));
}
