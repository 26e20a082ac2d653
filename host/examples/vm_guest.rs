//! What `cargo xtask vm-test` runs inside the virtual machine: the card is found, bound, opened through `/dev/vfio` and
//! used, and every check is a line of its own on standard output.
//!
//! ```text
//!   vm_guest first    list, bind, self test, translation, interrupts, activity, ageing, function reset under load
//!   vm_guest second   as a driver that was started again: opens the card once more and translates
//! ```
//!
//! Lines that begin with `VM:` tell the host's side when frames are wanted: `VM: traffic`, `VM: pause`, `VM: reset`.
//! `PASS name: ...` and `FAIL name: ...` are the results.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use nat64_driver::pci::{Address, Sysfs};
use nat64_driver::transport::{identify, IRQ_EXCEPTION, IRQ_PROGRESS};
use nat64_driver::{open, self_test, Card, CardOptions, CardSpec, Gateway, LinkType};
use nat64_host::config::{self, BuildOptions};
use nat64_xlate::SessionId;

/// Sessions that the host's side opens.
const FLOWS: usize = 4;
/// How long one check may take: an emulated processor is slow.
const LIMIT: Duration = Duration::from_secs(60);

struct Failed(String);

impl<E: std::error::Error> From<E> for Failed {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        Self(text)
    }
}

fn fail<T>(text: impl Into<String>) -> Result<T, Failed> {
    Err(Failed(text.into()))
}

fn check(name: &str, result: Result<String, Failed>) -> bool {
    match result {
        Ok(text) => {
            println!("PASS {name}: {text}");
            true
        }
        Err(Failed(text)) => {
            println!("FAIL {name}: {text}");
            false
        }
    }
}

fn list() -> Result<(Address, String), Failed> {
    let cards = Sysfs::default().cards()?;
    let [card] = &cards[..] else {
        return fail(format!("{} cards found, 1 expected", cards.len()));
    };
    let Some(group) = card.group else {
        return fail("the card has no IOMMU group");
    };
    Ok((
        card.address,
        format!("{} {}, IOMMU group {group}", card.address, card.name()),
    ))
}

fn open_card(spec: &CardSpec) -> Result<Card, Failed> {
    Ok(Card::open(open(spec)?, CardOptions::default())?)
}

struct Machine {
    gateway: Gateway,
    clock: (Instant, u64),
    irqs: [u64; 2],
}

impl Machine {
    fn new(spec: &CardSpec, config_text: &str) -> Result<Self, Failed> {
        let tree = config::parse(config_text, "nat64.conf")?;
        let options = BuildOptions {
            link_type: LinkType::Raw,
            ..BuildOptions::default()
        };
        let (config, _) = match config::build(&tree, options) {
            Ok(built) => built,
            Err(problems) => return fail(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
        };
        let mut card = open_card(spec)?;
        let clock = (Instant::now(), card.time()?);
        let gateway = Gateway::new(config, Some(card), 1)?;
        let irqs = [0; 2];
        Ok(Self { gateway, clock, irqs })
    }

    fn now(&self) -> u64 {
        self.clock.1 + self.clock.0.elapsed().as_nanos() as u64
    }

    fn work(&mut self) -> Result<(), Failed> {
        let now = self.now();
        self.gateway.poll(now)?;
        if self.gateway.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.gateway.advance(now)?;
        }
        if let Some(card) = self.gateway.card_mut() {
            let fired = card.wait(Duration::from_millis(20))?;
            self.irqs[0] += u64::from(fired & IRQ_EXCEPTION != 0);
            self.irqs[1] += u64::from(fired & IRQ_PROGRESS != 0);
        }
        Ok(())
    }

    /// Works until `done`.
    fn until(
        &mut self,
        what: &str,
        mut done: impl FnMut(&mut Self) -> Result<bool, Failed>,
    ) -> Result<Duration, Failed> {
        let start = Instant::now();
        let mut looked = start;
        loop {
            self.work()?;
            // Looking costs register reads.
            if looked.elapsed() > Duration::from_millis(200) {
                looked = Instant::now();
                if done(self)? {
                    return Ok(start.elapsed());
                }
            }
            if start.elapsed() > LIMIT {
                let stats = self.gateway.stats();
                let counters = self.gateway.card_counters()?.unwrap_or_default();
                return fail(format!(
                    "{what} did not happen in {LIMIT:?}: frames from the card {:?}, to it {:?}, sessions in the card {}, \
                     waiting {}, card translated {:?}, host {:?}, card's reasons {:?}",
                    stats.frames_in,
                    stats.frames_out,
                    stats.installed,
                    stats.deferred,
                    counters.translated(),
                    stats.translated,
                    counters.reasons
                ));
            }
        }
    }

    fn translated(&mut self) -> Result<[u64; 2], Failed> {
        Ok(self.gateway.card_counters()?.unwrap_or_default().translated())
    }

    fn ids(&self) -> Vec<SessionId> {
        self.gateway.translator().sessions().map(|info| info.flow.id).collect()
    }

    fn translation(&mut self) -> Result<String, Failed> {
        let took = self.until("translation by the card", |m| {
            let counted = m.translated()?;
            Ok(m.gateway.stats().installed >= FLOWS && counted.iter().all(|&n| n >= 20))
        })?;
        let counted = self.translated()?;
        Ok(format!(
            "{} sessions in the card, which translated {} packets to IPv4 and {} to IPv6 in {took:.1?}",
            self.gateway.stats().installed,
            counted[0],
            counted[1]
        ))
    }

    fn interrupts(&mut self) -> Result<String, Failed> {
        match self.irqs {
            [0, _] | [_, 0] => fail(format!("vectors fired {:?} times", self.irqs)),
            [exception, progress] => Ok(format!(
                "exception vector {exception} times, progress vector {progress} times"
            )),
        }
    }

    fn activity(&mut self) -> Result<String, Failed> {
        let ids = self.ids();
        let Some(card) = self.gateway.card_mut() else {
            return fail("there is no card");
        };
        let entries = card.activity(&ids)?;
        let packets: u32 = entries.iter().flat_map(|(_, e)| e.packets).sum();
        if entries.len() < FLOWS || entries.iter().any(|(_, e)| e.packets.contains(&0)) {
            return fail(format!("{entries:?}"));
        }
        Ok(format!(
            "{} sessions with {packets} packets, copied by DMA",
            entries.len()
        ))
    }

    /// The peers are silent; time that passes for the gateway ends every session, and the card is told.
    fn ageing(&mut self) -> Result<String, Failed> {
        let mut before = [u64::MAX; 2];
        self.until("silence", |m| {
            let counted = m.translated()?;
            Ok(std::mem::replace(&mut before, counted) == counted)
        })?;
        let sessions = self.gateway.translator().session_count();
        // Not yet over: the activity read from the card says so.
        let now = self.now();
        self.gateway.advance(now + 200_000_000_000)?;
        let kept = self.gateway.translator().session_count();
        self.gateway.advance(now + 700_000_000_000)?;
        let left = self.gateway.translator().session_count();
        let installed = self.gateway.stats().installed;
        if sessions < FLOWS || kept != sessions || left != 0 || installed != 0 {
            return fail(format!(
                "{sessions} sessions, {kept} after 200 s, {left} after 700 s, {installed} still in the card"
            ));
        }
        Ok(format!(
            "{sessions} sessions lived through 200 s of silence and ended after 700 s, in the card too"
        ))
    }

    /// The card is closed, reset and opened while frames arrive; sessions go back into it.
    fn reset(&mut self, spec: &CardSpec) -> Result<String, Failed> {
        self.until("sessions before the reset", |m| {
            Ok(m.gateway.stats().installed >= FLOWS && m.translated()?.iter().all(|&n| n >= 8))
        })?;
        let pools = |m: &Self| {
            let mut pools: Vec<_> = m
                .gateway
                .translator()
                .sessions()
                .map(|s| (s.flow.client, s.flow.pool))
                .collect();
            pools.sort();
            pools
        };
        let before = pools(self);
        let now = self.now();
        let (card, _) = self.gateway.detach_card(now);
        drop(card);
        let start = Instant::now();
        let mut card = open_card(spec)?;
        self.clock = (Instant::now(), card.time()?);
        let now = self.now();
        let moved = self.gateway.attach_card(now, card)?;
        let took = start.elapsed();
        if pools(self) != before || moved.installed < FLOWS {
            return fail(format!(
                "sessions before {before:?}, after {:?}, {moved:?}",
                pools(self)
            ));
        }
        self.until("translation after the reset", |m| {
            Ok(m.translated()?.iter().all(|&n| n >= 20))
        })?;
        Ok(format!(
            "back in {took:.1?} with {} sessions, which it goes on translating",
            moved.installed
        ))
    }
}

fn run(first: bool, config_text: &str) -> bool {
    let (address, text) = match list() {
        Ok(found) => found,
        Err(failed) => return check("card list", Err(failed)),
    };
    let spec = CardSpec::Vfio(address);
    if first {
        check("card list", Ok(text));
        let refused = match open(&spec) {
            Ok(_) => fail("it opened without being bound"),
            Err(error) if error.to_string().contains("card bind") => Ok(error.to_string()),
            Err(error) => Err(error.into()),
        };
        check("an unbound card is refused with the remedy", refused);
        let bound = Sysfs::default().bind(address);
        let others = |n: usize| format!("{address} has the driver vfio-pci; {n} others in its group");
        if !check(
            "card bind",
            bound.map(|others_| others(others_.len())).map_err(Into::into),
        ) {
            return false;
        }
        let abi = match identify(&spec) {
            Ok(identity) if identity.matches() => Ok(format!("{:#010x}", identity.abi_hash)),
            Ok(other) => fail(format!("{other:08x?}")),
            Err(error) => Err(error.into()),
        };
        check("ABI hash", abi);
        match open(&spec) {
            Err(error) => return check("open /dev/vfio", Err(error.into())),
            Ok(mut transport) => {
                check("open /dev/vfio", Ok("type 1 IOMMU, BARs mapped".into()));
                for one in self_test(transport.as_mut(), Duration::from_secs(20)) {
                    check(&format!("self test, {}", one.name), one.result.map_err(Failed));
                }
                let second = match open(&spec) {
                    Ok(_) => fail("it was opened twice"),
                    Err(error) if error.to_string().contains("in use") => Ok(error.to_string()),
                    Err(error) => Err(error.into()),
                };
                check("a card in use is refused", second);
            }
        }
    }
    let mut machine = match Machine::new(&spec, config_text) {
        Ok(machine) => machine,
        Err(failed) => return check("the worked example", Err(failed)),
    };
    println!("VM: traffic");
    if !first {
        let translated = machine.translation();
        return check("driver restart", translated);
    }
    let mut good = check("translation", machine.translation());
    good &= check("MSI-X", machine.interrupts());
    good &= check("activity", machine.activity());
    println!("VM: pause");
    good &= check("ageing", machine.ageing());
    // Time was moved on for the gateway alone: the next one starts anew.
    drop(machine);
    match Machine::new(&spec, config_text) {
        Ok(mut machine) => {
            println!("VM: reset");
            good &= check("function reset under load", machine.reset(&spec));
        }
        Err(failed) => good &= check("function reset under load", Err(failed)),
    }
    println!("VM: pause");
    good
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, phase, path] = &arguments[..] else {
        eprintln!("usage: vm_guest first|second CONFIG");
        return ExitCode::from(2);
    };
    let config_text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            println!("FAIL configuration: {path}: {error}");
            return ExitCode::FAILURE;
        }
    };
    if run(phase == "first", &config_text) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
