//! `nat64d` on the card, as its operator sees it: everything is asked of `nat64ctl`.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use nat64_driver::pci::Address;
use nat64_host::api::card::{Card, CardState};
use nat64_host::api::sessions::Session;
use nix::sys::signal::Signal;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::card::{listed, must_say};
use crate::service::Service;
use crate::{check, fail, tell, until, Failed};

/// Sessions that the host's side opens.
const FLOWS: usize = 4;
/// How long the card is left without a daemon.
const ALONE: Duration = Duration::from_secs(3);
/// Seconds a UDP session lives without packets while ageing is looked at: the least that can be configured.
const SHORT: u64 = 4;

/// One command of `nat64ctl`, and its answer.
pub fn ctl(command: &str) -> Result<Value, Failed> {
    let output = Command::new("/bin/nat64ctl")
        .arg("--json")
        .args(command.split(' '))
        .stdin(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        return Ok(serde_json::from_str(&text)?);
    }
    let error = String::from_utf8_lossy(&output.stderr);
    fail(format!("nat64ctl {command}: {} {text} {error}", output.status))
}

fn ask<T: DeserializeOwned>(command: &str) -> Result<T, Failed> {
    Ok(serde_json::from_value(ctl(command)?)?)
}

/// Commands of configuration mode, then a commit.
fn commit(commands: &str) -> Result<String, Failed> {
    let mut child = Command::new("/bin/nat64ctl")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        write!(input, "configure\n{commands}\ncommit\n")?;
    }
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && text.contains("commit complete") {
        return Ok(text.into_owned());
    }
    let error = String::from_utf8_lossy(&output.stderr);
    fail(format!("{commands}: {} {text} {error}", output.status))
}

fn card() -> Result<Card, Failed> {
    let cards: Vec<Card> = ask("show chassis card")?;
    match <[Card; 1]>::try_from(cards) {
        Ok([card]) => Ok(card),
        Err(cards) => fail(format!("one card is expected, not {cards:?}")),
    }
}

fn used(card: &Card, table: &str) -> u64 {
    card.tables
        .iter()
        .find(|row| row.table == table)
        .map_or(0, |row| row.used)
}

fn sessions() -> Result<Vec<Session>, Failed> {
    let mut all: Vec<Session> = ask("show services sessions")?;
    all.sort_by_key(|session| session.client_port);
    Ok(all)
}

/// What must stay of a session: the client's end and the public one.
fn ends(sessions: &[Session]) -> Vec<String> {
    let one = |s: &Session| format!("{} -> {}:{}", s.client_port, s.nat_address, s.nat_port);
    sessions.iter().map(one).collect()
}

/// Waits until every flow is a session in the card, and the card has translated `more` packets since now.
fn in_the_card(more: u64) -> Result<(Vec<Session>, Duration), Failed> {
    let before = card()?.translated_by_card;
    until("translation by the card", || {
        // A card that is away says so in place of an answer.
        let (all, card) = match (sessions(), card()) {
            (Ok(all), Ok(card)) => (all, card),
            (Err(Failed(text)), _) | (_, Err(Failed(text))) => return Ok(Err(text)),
        };
        let carried = all.iter().filter(|session| session.offload).count();
        // A card that was reset counts from the beginning.
        let counted = card
            .translated_by_card
            .checked_sub(before)
            .unwrap_or(card.translated_by_card);
        if carried == FLOWS && all.len() == FLOWS && counted >= more {
            return Ok(Ok(all));
        }
        Ok(Err(format!(
            "{carried} of {} sessions in the card, {card:?}",
            all.len()
        )))
    })
}

/// How often each MSI-X vector of a card has interrupted this machine.
fn interrupts(address: Address) -> Result<Vec<u64>, Failed> {
    let text = std::fs::read_to_string("/proc/interrupts")?;
    let ours = |line: &&str| line.contains("vfio-msix") && line.contains(&address.to_string());
    let count = |line: &str| -> u64 {
        let numbers = line.split_whitespace().skip(1);
        numbers.map_while(|word| word.parse::<u64>().ok()).sum()
    };
    Ok(text.lines().filter(ours).map(count).collect())
}

struct Rig {
    address: Address,
    service: Service,
}

impl Rig {
    fn start(&mut self) -> Result<String, Failed> {
        let text = self.service.start()?;
        let card = card()?;
        if card.location != format!("vfio:{}", self.address) || card.taken != "opened" {
            return fail(format!("{card:?}"));
        }
        if self.service.stored() != 2 {
            return fail(format!("{} descriptors are in the store", self.service.stored()));
        }
        Ok(format!("{text}; the card is {}", card.taken))
    }

    fn example(&mut self, config: &str) -> Result<String, Failed> {
        let text = commit(&format!("load override {config}"))?;
        match card()?.state {
            CardState::Online => Ok(text),
            state => fail(format!("the card is {state:?}")),
        }
    }

    fn translation(&mut self) -> Result<String, Failed> {
        tell("pace gentle");
        let (all, took) = in_the_card(40)?;
        Ok(format!("{took:.1?}: {}", ends(&all).join(", ")))
    }

    fn interrupts(&mut self) -> Result<String, Failed> {
        let counts = interrupts(self.address)?;
        match counts[..] {
            [exception, progress] if exception > 0 && progress > 0 => Ok(format!(
                "/proc/interrupts has {exception} of the exception vector and {progress} of the progress vector"
            )),
            _ => fail(format!("/proc/interrupts has {counts:?}")),
        }
    }

    /// Packets and bytes of each session, which only the card has counted.
    fn activity(&mut self) -> Result<String, Failed> {
        let all: Vec<Session> = ask("show services sessions extensive")?;
        let counts: Vec<[u64; 2]> = all
            .iter()
            .map(|s| [s.six_to_four.packets, s.four_to_six.packets])
            .collect();
        if all.len() != FLOWS || counts.iter().flatten().any(|&count| count < 3) {
            return fail(format!("{counts:?}"));
        }
        Ok(format!("packets of each session, both ways: {counts:?}"))
    }

    /// The daemon ends while packets go through, and another one takes the card up.
    fn restart(&mut self, signal: Signal) -> Result<String, Failed> {
        let (before, _) = in_the_card(8)?;
        self.service.end(signal)?;
        tell(&format!("begin without nat64d after {signal}"));
        std::thread::sleep(ALONE);
        tell(&format!("end without nat64d after {signal}"));
        let text = self.service.start()?;
        let card = card()?;
        let (after, took) = in_the_card(20)?;
        if card.taken != "adopted" || ends(&after) != ends(&before) {
            return fail(format!("{}: {:?}, then {:?}", card.taken, ends(&before), ends(&after)));
        }
        Ok(format!(
            "{text}; {} with {} sessions, at work {took:.1?} later",
            card.taken,
            after.len()
        ))
    }

    /// Sessions live as long as packets of theirs go through the card, and end when they do not.
    fn ageing(&mut self) -> Result<String, Failed> {
        let statement = "services service-set sset-nat64 service-set-options inactivity-non-tcp-timeout";
        commit(&format!("set {statement} {SHORT}"))?;
        in_the_card(8)?;
        let before = sessions()?;
        let by_host = card()?.translated_by_host;
        std::thread::sleep(Duration::from_secs(SHORT * 2));
        let (after, card_after) = (sessions()?, card()?);
        let by_host = card_after.translated_by_host - by_host;
        let ids = |all: &[Session]| all.iter().map(|s| s.session_id).collect::<Vec<_>>();
        if ids(&before) != ids(&after) || by_host > 0 {
            let (before, after) = (ids(&before), ids(&after));
            return fail(format!(
                "{before:?}, after {} s of traffic {after:?}; {by_host} packets by the host",
                SHORT * 2
            ));
        }
        tell("pace silent");
        let (_, took) = until("the end of the sessions", || {
            let card = card()?;
            let left = [card.sessions, used(&card, "card-sessions"), used(&card, "card-tags")];
            Ok(if left == [0; 3] {
                Ok(())
            } else {
                Err(format!("{left:?} left"))
            })
        })?;
        if took < Duration::from_secs(SHORT - 2) {
            return fail(format!(
                "they ended {took:.1?} after the last packet, their time is {SHORT} s"
            ));
        }
        commit(&format!("delete {statement}"))?;
        Ok(format!(
            "{} sessions lived through {} s of packets that only the card saw, and ended {took:.1?} after the last, in \
             the card too",
            after.len(),
            SHORT * 2
        ))
    }

    /// Somebody resets the function while packets arrive.
    fn reset(&mut self) -> Result<String, Failed> {
        tell("pace load");
        let (before, _) = in_the_card(8)?;
        let reset = format!("/sys/bus/pci/devices/{}/reset", self.address);
        std::fs::write(&reset, "1")?;
        let (after, took) = in_the_card(20)?;
        tell("pace gentle");
        if ends(&before) != ends(&after) {
            return fail(format!("sessions before {:?}, after {:?}", ends(&before), ends(&after)));
        }
        Ok(format!(
            "{took:.1?} later {} sessions are in the card again and it translates",
            after.len()
        ))
    }

    /// The card is pulled while packets go through, and put back.
    fn removal(&mut self) -> Result<String, Failed> {
        in_the_card(8)?;
        let device = format!("/sys/bus/pci/devices/{}", self.address);
        // It waits until nobody has the card open.
        let file = format!("{device}/remove");
        let removing = std::thread::spawn(move || std::fs::write(file, "1"));
        let (fault, took) = until("the end of the card", || {
            let card = card()?;
            let gone = !std::path::Path::new(&device).exists();
            Ok(match (card.state, card.fault, gone) {
                (CardState::Fault, Some(fault), true) => Ok(fault),
                (state, fault, gone) => Err(format!("{state:?}, {fault:?}, gone: {gone}")),
            })
        })?;
        match removing.join() {
            Ok(done) => done?,
            Err(_) => return fail("the thread panicked"),
        }
        std::fs::write("/sys/bus/pci/rescan", "1")?;
        ctl(&format!("card bind {}", self.address))?;
        let (_, back) = in_the_card(8)?;
        Ok(format!(
            "{took:.1?}: {fault}; put back and bound, it translates {back:.1?} later"
        ))
    }

    /// The daemon is stopped for good.
    fn end(&mut self) -> Result<String, Failed> {
        must_say("in use", ctl(&format!("card unbind {}", self.address)))?;
        self.service.end(Signal::SIGTERM)?;
        // Kept open for the next daemon.
        must_say("in use", ctl(&format!("card unbind {}", self.address)))?;
        self.service.empty();
        ctl(&format!("card unbind {}", self.address))?;
        let card = listed()?;
        match card["driver"].is_null() {
            true => Ok(card.to_string()),
            false => fail(card.to_string()),
        }
    }
}

/// Every check with a daemon; whether all are good.
pub fn all(address: Address, config: &str) -> bool {
    let arguments = [
        "--card",
        &format!("vfio:{address}"),
        "--folder",
        "/var/lib/nat64d",
        "--run",
        "/run/nat64d",
    ];
    let service = match Service::new("/bin/nat64d", arguments.map(str::to_owned).to_vec()) {
        Ok(service) => service,
        Err(failed) => return check("nat64d on /dev/vfio", Err(failed)),
    };
    let mut rig = Rig { address, service };
    if !check("nat64d on /dev/vfio", rig.start()) || !check("the worked example is committed", rig.example(config)) {
        return false;
    }
    if !check("translation", rig.translation()) {
        return false;
    }
    let mut good = check("MSI-X", rig.interrupts());
    good &= check("activity", rig.activity());
    good &= check(
        "nat64d stopped and started, the card adopted",
        rig.restart(Signal::SIGTERM),
    );
    good &= check(
        "nat64d killed and started, the card adopted",
        rig.restart(Signal::SIGKILL),
    );
    good &= check("ageing", rig.ageing());
    good &= check("function reset under load", rig.reset());
    good &= check("a card that is removed and comes back", rig.removal());
    tell("pace silent");
    good & check("nat64d stopped for good, card unbind", rig.end())
}
