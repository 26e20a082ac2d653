//! The exported Verilog of the core is the core: a recorded run of the RustHDL simulator, register writes, DMA and frames
//! of all kinds in it, is replayed on the Verilog under another simulator, and every output of every clock is compared.

use nat64_hdl::export::core_verilog;
use nat64_hdl::testkit::replay_in_iverilog;
use nat64_sim::pins::Beat;
use nat64_tests::rig::{example, Clock, Rig};
use nat64_tests::traffic::{Mix, Side, Traffic};

/// Frames of the recorded run.
const FRAMES: usize = 60;

/// Names and widths in the order of [`line`].
fn names(list: &[(&str, usize)]) -> Vec<(String, usize)> {
    list.iter().map(|(n, w)| (n.to_string(), *w)).collect()
}

fn rx(port: usize) -> Vec<(String, usize)> {
    ["valid", "data", "count", "first", "last", "error"]
        .into_iter()
        .zip([1, 64, 3, 1, 1, 1])
        .map(|(n, w)| (format!("rx{port}_{n}"), w))
        .collect()
}

fn tx(port: usize) -> Vec<(String, usize)> {
    rx(port).into_iter().map(|(n, w)| (n.replace("rx", "tx"), w)).collect()
}

fn inputs() -> Vec<(String, usize)> {
    let mut list = names(&[("time_ns", 64)]);
    for port in 0..2 {
        list.extend(rx(port));
        list.push((format!("tx{port}_ready"), 1));
    }
    list.extend(names(&[
        ("csr_write", 1),
        ("csr_bar2", 1),
        ("csr_addr", 24),
        ("csr_wdata", 32),
        ("csr_read", 1),
        ("csr_raddr", 16),
        ("mw_ready", 1),
        ("mr_ready", 1),
        ("md_valid", 1),
        ("md_data", 64),
        ("md_last", 1),
        ("md_error", 1),
    ]));
    list
}

fn outputs() -> Vec<(String, usize)> {
    let mut list = Vec::new();
    for port in 0..2 {
        list.extend(tx(port));
        list.push((format!("rx{port}_ready"), 1));
    }
    list.extend(names(&[
        ("csr_done", 1),
        ("csr_rdata", 32),
        ("mw_valid", 1),
        ("mw_addr", 64),
        ("mw_data", 64),
        ("mw_first", 1),
        ("mw_last", 1),
        ("mr_valid", 1),
        ("mr_addr", 64),
        ("mr_len", 13),
        ("md_ready", 1),
        ("irq", 2),
        ("idle", 1),
    ]));
    list
}

fn line((i, o): &Clock) -> String {
    let bit = |b| u8::from(b);
    let beat = |valid, b: &Beat| {
        format!(
            "{} {:x} {:x} {} {} {}",
            bit(valid),
            b.data,
            b.count,
            bit(b.first),
            bit(b.last),
            bit(b.error)
        )
    };
    let mut text = format!("{:x}", i.time_ns);
    for port in 0..2 {
        text += &format!(" {} {}", beat(i.rx_valid[port], &i.rx[port]), bit(i.tx_ready[port]));
    }
    text += &format!(
        " {} {} {:x} {:x} {} {:x} {} {} {} {:x} {} {}",
        bit(i.csr_write),
        bit(i.csr_bar2),
        i.csr_addr,
        i.csr_wdata,
        bit(i.csr_read),
        i.csr_raddr,
        bit(i.mw_ready),
        bit(i.mr_ready),
        bit(i.md_valid),
        i.md_data,
        bit(i.md_last),
        bit(i.md_error)
    );
    for port in 0..2 {
        text += &format!(" {} {}", beat(o.tx_valid[port], &o.tx[port]), bit(o.rx_ready[port]));
    }
    text + &format!(
        " {} {:x} {} {:x} {:x} {} {} {} {:x} {:x} {} {:x} {}",
        bit(o.csr_done),
        o.csr_rdata,
        bit(o.mw_valid),
        o.mw_addr,
        o.mw_data,
        bit(o.mw_first),
        bit(o.mw_last),
        bit(o.mr_valid),
        o.mr_addr,
        o.mr_len,
        bit(o.md_ready),
        o.irq,
        bit(o.idle)
    )
}

#[test]
fn the_verilog_of_the_core_follows_the_simulator_clock_by_clock() {
    let mut rig = Rig::new(example("seed.conf"));
    let mut left = 0;
    for frame in Traffic::new(
        11,
        Mix {
            clients: 3,
            servers: 2,
            ports: 1,
            payload: 200,
            ..Mix::default()
        },
    )
    .take(FRAMES)
    {
        let port = u8::from(frame.side == Side::Outside);
        rig.now = rig.now.max(frame.time);
        rig.wire.set_time(rig.now);
        left += rig.send(port, &frame.bytes).len();
    }
    assert!(left > FRAMES / 8, "only {left} frames left the card");
    let record = rig.record.take();
    let lines: Vec<String> = record.iter().map(line).collect();
    let verilog = core_verilog(64).expect("the core exports");
    replay_in_iverilog("core", &verilog, "clock", &inputs(), &outputs(), &lines);
}
