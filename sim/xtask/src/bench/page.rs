//! The page and its pictures.

use std::fmt::Write as _;

use serde_json::Value;

use super::{median, CONTENDERS, FIGURES};

/// Horizontal bars, each with its figure, on white: a page may be shown on black.
fn bars(title: &str, unit: &str, values: &[(String, f64)]) -> String {
    let most = values
        .iter()
        .map(|v| v.1)
        .filter(|v| v.is_finite())
        .fold(f64::MIN_POSITIVE, f64::max);
    let names = values.iter().map(|v| v.0.len()).max().unwrap_or(0);
    let left = 12 + 7 * names;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<title>{title}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"4\" y=\"18\">{title}</text>\n",
        left + 420,
        40 + 26 * values.len()
    );
    for (i, (name, value)) in values.iter().enumerate() {
        let (y, width) = (32 + 26 * i, value / most * 300.0);
        // Writing to a string does not fail.
        let _ = writeln!(
            svg,
            "<text x=\"4\" y=\"{}\">{name}</text><rect x=\"{left}\" y=\"{y}\" width=\"{width:.0}\" height=\"18\" \
             fill=\"#47a\"/><text x=\"{:.0}\" y=\"{}\">{value:.2} {unit}</text>",
            y + 14,
            left as f64 + 6.0 + width,
            y + 14
        );
    }
    svg + "</svg>\n"
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Who was measured, ours first.
fn contenders(figures: &Value) -> Vec<&'static str> {
    CONTENDERS
        .into_iter()
        .filter(|name| figures["runs"][name].is_array())
        .collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The pictures: file names without ending, and SVG.
pub fn plots(figures: &Value) -> Vec<(&'static str, String)> {
    let contenders = |key| -> Vec<(String, f64)> {
        let all = contenders(figures).into_iter();
        all.map(|name| (name.to_string(), median(figures, name, key))).collect()
    };
    let of = |unit| {
        let all = list(&figures["translator"])
            .iter()
            .filter(move |row| word(&row["unit"]) == unit);
        all.map(|row| (word(&row["name"]).to_string(), number(&row["figure"])))
            .collect::<Vec<_>>()
    };
    let rates: Vec<(String, f64)> = list(&figures["datapath"]["rows"])
        .iter()
        .map(|row| {
            let name = format!("{} {}", word(&row["direction"]), row["frame_bytes"]);
            (name, number(&row["bits_per_clock"]))
        })
        .collect();
    vec![
        (
            "bench-tcp",
            bars(
                "TCP for one second of processor time",
                "Gbit",
                &contenders("tcp_gbits_per_cpu"),
            ),
        ),
        (
            "bench-udp",
            bars(
                "Processor time for a packet of 64 bytes of UDP",
                "us",
                &contenders("udp_us_per_packet"),
            ),
        ),
        (
            "bench-translator",
            bars("The translator, processor time", "ns", &of("ns")),
        ),
        (
            "bench-datapath",
            bars("Bits of a frame for each clock, 64 bits of bus", "bits", &rates),
        ),
    ]
}

fn card(figures: &Value) -> String {
    let mut text = String::from(
        "## The card\n\n\
         Counted on the core's pins in the simulator, bursts of equal frames of one session on one port \
         (`tests/src/datapath.rs`). A clock moves 64 bits; what is between 64 and the figure is the part of the last word that a frame \
         leaves empty, or what it is longer by on the other side.\n\n\
         | direction | frame (bytes) | clocks a packet | bits a clock | port to port (clocks) |\n|---|---|---|---|---|\n",
    );
    for row in list(&figures["datapath"]["rows"]) {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "| {} | {} | {:.2} | {:.1} | {} |",
            word(&row["direction"]),
            row["frame_bytes"],
            number(&row["clocks_per_packet"]),
            number(&row["bits_per_clock"]),
            row["latency_clocks"]
        );
    }
    text += "\n![Bits for each clock](docs/bench-datapath.svg)\n\n";
    let boards = list(&figures["boards"]);
    if boards.is_empty() {
        text += "No board has been placed and routed: there is no clock rate to multiply this with.\n";
    } else {
        text += "| board | bus (bits) | sessions | seeds | worst clock (MHz) | asked for (MHz) | bus (Gbit/s) |\n|---|---|---|---|---|---|---|\n";
        for board in boards {
            let _ = writeln!(
                text,
                "| `{}` | {} | {} | {} | {:.1} | {:.1} | {:.2} |",
                word(&board["board"]),
                board["width"],
                board["sessions"],
                board["seeds"],
                number(&board["mhz"]),
                number(&board["constraint_mhz"]),
                number(&board["gbits"])
            );
        }
    }
    text
}

fn engines(figures: &Value) -> String {
    let mut text = String::from(
        "## The simulated card\n\n`nat64-sim bench-engine --engine E --width W`; wall clock.\n\n\
         | engine | bus (bits) | clocks simulated a second |\n|---|---|---|\n",
    );
    for row in list(&figures["engines"]) {
        let _ = writeln!(
            text,
            "| {} | {} | {:.0} |",
            word(&row["engine"]),
            row["width"],
            number(&row["clocks_per_second"])
        );
    }
    text
}

fn translator(figures: &Value) -> String {
    let rows = list(&figures["translator"]);
    let mut text = String::from(
        "## The translator\n\n\
         `cargo bench -p nat64-xlate`: processor time of one thread, the least of several rounds; the names are explained in \
         `driver/xlate/benches/engine.rs`, the limits are those the project has set itself.\n\n\
         | figure | | limit |\n|---|---|---|\n",
    );
    for row in rows {
        let (unit, limit) = (word(&row["unit"]), number(&row["limit"]));
        let _ = writeln!(
            text,
            "| `{}` | {:.1} {unit} | {limit:.0} {unit} |",
            word(&row["name"]),
            number(&row["figure"])
        );
    }
    text += "\n![The translator](docs/bench-translator.svg)\n\n";
    let rate = |name: &str| {
        let row = rows.iter().find(|row| word(&row["name"]) == name);
        row.map(|row| format!("{:.2} million a second", 1000.0 / number(&row["figure"])))
    };
    text += "In the terms of RFC 9693 (section 4), for the translator alone on one core, not for a device on a network:\n\n";
    for (term, names) in [
        (
            "connection establishment rate",
            ["life1m-setup-batch", "life100k-setup-batch"],
        ),
        (
            "connection tear-down rate, by timeout",
            ["life1m-expire-batch", "life100k-expire-batch"],
        ),
    ] {
        for name in names {
            let said = rate(name).unwrap_or_else(|| "not measured in a quick run".into());
            let _ = writeln!(text, "* {term} (`{name}`): {said}");
        }
    }
    text
}

/// What the table of connections holds, and what its end costs: measured once, so the last round that has it.
fn table(figures: &Value) -> String {
    let runs = list(&figures["runs"]["soft"]);
    let Some(table) = runs
        .iter()
        .rev()
        .map(|run| &run["table"])
        .find(|table| table.is_object())
    else {
        return String::new();
    };
    let figure = |key: &str| number(&table[key]);
    format!(
        "* connection tear-down rate, by timeout: {:.1} million for a second of processor time ({:.2} us each);\n\
         * connection tracking table capacity: {} held of {} that were offered, which is what the configuration allows \
         (`nat64-nic limits sessions`), at {:.0} bytes of resident memory each, the pool's among them.\n\n",
        1.0 / figure("teardown_us"),
        figure("teardown_us"),
        table["held"],
        table["offered"],
        figure("bytes_per_session")
    )
}

fn network(figures: &Value) -> String {
    let rows = [
        ("TCP, one stream, wall clock (Gbit/s)", "tcp_gbits"),
        ("TCP for a second of processor time (Gbit)", "tcp_gbits_per_cpu"),
        (
            "processor time for a packet of 64 bytes of UDP (us)",
            "udp_us_per_packet",
        ),
        ("round trip of a ping, median (us)", "rtt_p50_us"),
        ("round trip of a ping, 99 % (us)", "rtt_p99_us"),
        ("the same beside the UDP, median (us)", "busy_rtt_p50_us"),
        ("the same beside the UDP, 99 % (us)", "busy_rtt_p99_us"),
    ];
    let contenders = contenders(figures);
    let mut table_text = String::from("## The software card beside others\n\n| | software card |");
    for other in contenders.iter().skip(1) {
        let shown = if *other == "tayga" { "Tayga" } else { other };
        let version = word(&figures["versions"][other]);
        let _ = write!(table_text, " {shown} {version} | ratio |");
    }
    table_text += "\n|---|---|";
    table_text += &"---|---|".repeat(contenders.len().saturating_sub(1));
    table_text += "\n";
    for (name, key) in rows {
        let soft = median(figures, "soft", key);
        let _ = write!(table_text, "| {name} | {soft:.2} |");
        for other in contenders.iter().skip(1) {
            let figure = median(figures, other, key);
            let _ = write!(table_text, " {figure:.2} | {:.2} |", soft / figure);
        }
        table_text += "\n";
    }
    let set_up = median(figures, "soft", "setup_us");
    let _ = writeln!(
        table_text,
        "\nIn the terms of RFC 9693, of the software card between its interfaces, one worker, UDP:\n\n\
         * connection establishment rate: {:.2} million for a second of processor time ({set_up:.2} us each, the first packet's way \
         through included);",
        1.0 / set_up
    );
    let missing = if contenders.contains(&"protomask") {
        ""
    } else {
        "; protomask was not there"
    };
    table_text
        + &table(figures)
        + &format!(
            "![TCP](docs/bench-tcp.svg)\n\n![UDP](docs/bench-udp.svg)\n\n\
             Medians of {} rounds of {} s each, contenders in turn. Client, gateway and server are namespaces joined by veth pairs with all \
             offloads on. TCP is one stream of iperf3; super-segments reach the software card whole, and the kernel cuts \
             them for the others, which read packets from a TUN device. UDP is iperf3 with 64 bytes of payload at 50 Mbit/s \
             offered (98,000 packets a second); the time is divided by the packets that arrived. A worker of the software card \
             naps for up to 0.3 ms between rounds under such a stream, which the pings beside it show. Processor time is that of \
             the gateway's process, user and system. The software card's has everything between the two interfaces in it, \
             also the kernel's sending and the receiver's soft interrupt; the others' lacks the kernel's routing between the \
             interfaces and their device, so their figures flatter them. Tayga and protomask translate without ports and without \
             state for each flow. Connections are datagrams from 60,000 ports of a client, each the first of its connection, with a \
             mapping of its own; those that came through count. For the table a million sessions of 60 s are filled from sixteen \
             clients and left alone until all have ended; what the program takes when idle is subtracted. VPP and Jool are not in \
             Debian's archive and have not been measured{missing}.\n",
            figures["rounds"], figures["seconds"]
        )
}

/// The page.
pub fn page(figures: &Value) -> String {
    format!(
        "<!-- Made by `cargo xtask bench`; do not edit. -->\n# Benchmarks\n\n\
         Measured {} at commit {}, on {}, by `cargo xtask bench{}` as root. Wall-clock figures depend on what else the machine does: \
         compare figures and ratios of one run. What may not grow is counted in instructions (`cargo xtask budget`). All \
         figures: [{FIGURES}]({FIGURES}).\n\n{}\n{}\n{}\n{}",
        word(&figures["date"]),
        word(&figures["commit"]),
        word(&figures["machine"]),
        if figures["quick"] == true { " --quick" } else { "" },
        card(figures),
        engines(figures),
        translator(figures),
        network(figures)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_page_has_medians_and_ratios_and_makes_nothing_up() {
        let run = |x: f64| json!({"tcp_gbits": x, "tcp_gbits_per_cpu": x, "udp_us_per_packet": x, "rtt_p50_us": x, "setup_us": x});
        let mut last = run(4.0);
        last["table"] = json!({"offered": 12, "held": 10, "bytes_per_session": 300.0, "teardown_us": 0.5});
        let figures = json!({
            "runs": {
                "soft": [run(9.0), run(1.0), last],
                "tayga": [run(2.0), run(2.0), run(2.0)],
            },
            "translator": [{"name": "life1m-setup-batch", "figure": 500.0, "unit": "ns", "limit": 500.0}],
            "boards": [],
        });
        let page = page(&figures);
        for line in [
            "| TCP, one stream, wall clock (Gbit/s) | 4.00 | 2.00 | 2.00 |",
            "| `life1m-setup-batch` | 500.0 ns | 500 ns |",
            "* connection establishment rate (`life1m-setup-batch`): 2.00 million a second",
            "* connection tear-down rate, by timeout (`life1m-expire-batch`): not measured in a quick run",
            "No board has been placed and routed",
            "* connection establishment rate: 0.25 million for a second of processor time (4.00 us each",
            "* connection tear-down rate, by timeout: 2.0 million for a second of processor time (0.50 us each)",
            "capacity: 10 held of 12 that were offered",
            "protomask was not there",
            "NaN",
        ] {
            assert!(page.contains(line), "{line} in {page}");
        }
        let plots = plots(&figures);
        assert!(plots[0].1.contains("width=\"300\""), "{}", plots[0].1);
        assert!(plots[0].1.contains("fill=\"#fff\""), "black letters on a black page");
        for (name, _) in plots {
            assert!(page.contains(&format!("docs/{name}.svg")), "{name}");
        }
    }

    #[test]
    fn boards_show_what_their_worst_clock_carries() {
        let figures = json!({"boards": [{"board": "b", "width": 64, "sessions": 2048, "seeds": 1, "mhz": 125.0, "constraint_mhz": 156.25, "gbits": 8.0}]});
        assert!(
            page(&figures).contains("| `b` | 64 | 2048 | 1 | 125.0 | 156.2 | 8.00 |"),
            "{}",
            page(&figures)
        );
    }
}
