//! The card before any daemon has it: found and bound by `nat64ctl`, opened by the driver, tested.

use std::time::Duration;

use nat64_driver::pci::Address;
use nat64_driver::{open, self_test, Card, CardOptions, CardSpec, Transport as _, VfioTransport};
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};
use serde_json::Value;

use crate::daemon::ctl;
use crate::{check, fail, Failed};

/// The one card of this machine as `nat64ctl card list` has it.
pub fn listed() -> Result<Value, Failed> {
    let cards = ctl("card list")?;
    match cards.as_array().map(Vec::as_slice) {
        Some([card]) => Ok(card.clone()),
        _ => fail(format!("one card is expected, not {cards}")),
    }
}

/// `card list` of a card without a driver.
fn list() -> Result<(Address, String), Failed> {
    let card = listed()?;
    let address: Address = card["address"].as_str().unwrap_or_default().parse()?;
    let group = card["iommu-group"].as_u64();
    if group.is_none() || !card["driver"].is_null() || card["abi"] != "not bound" {
        return fail(format!("a card without a driver, in a group, is expected, not {card}"));
    }
    Ok((address, card.to_string()))
}

/// Asks for something that must be refused with a certain word.
pub fn must_say(wanted: &str, result: Result<impl Sized, impl Into<Failed>>) -> Result<String, Failed> {
    match result.map_err(Into::into) {
        Ok(_) => fail("it was done"),
        Err(Failed(text)) if text.contains(wanted) => Ok(text),
        Err(Failed(text)) => fail(format!("it should say {wanted:?} and says: {text}")),
    }
}

fn bind(address: Address) -> Result<String, Failed> {
    let bound = ctl(&format!("card bind {address}"))?;
    let card = listed()?;
    if card["driver"] != "vfio-pci" || card["abi"] != "matches" {
        return fail(format!("{bound}; listed as {card}"));
    }
    Ok(format!("{bound}; listed as {card}"))
}

/// A process that may lock a page and no more. In a thread: limits are those of the process, and are put back.
fn memlock(spec: &CardSpec) -> Result<String, Failed> {
    let before = getrlimit(Resource::Memlock);
    let little = Rlimit {
        current: Some(4096),
        maximum: before.maximum,
    };
    setrlimit(Resource::Memlock, little)?;
    let opened = without_ipc_lock(spec);
    setrlimit(Resource::Memlock, before)?;
    must_say("ulimit -l unlimited", opened)
}

/// Opens the card on a thread that has no CAP_IPC_LOCK, which would lift the limit.
fn without_ipc_lock(spec: &CardSpec) -> Result<(), Failed> {
    let spec = spec.clone();
    let thread = std::thread::spawn(move || -> Result<(), Failed> {
        caps::drop(None, caps::CapSet::Effective, caps::Capability::CAP_IPC_LOCK)?;
        Card::open(open(&spec)?, CardOptions::default())?;
        Ok(())
    });
    match thread.join() {
        Ok(result) => result,
        Err(_) => fail("the thread panicked"),
    }
}

/// A card that is held is as it was left, over the end of its transport and a new one; let go, it is reset.
fn held(address: Address) -> Result<String, Failed> {
    use nat64_layout::regs::Scratch;
    use nat64_layout::Bar;
    const MARK: u32 = 0x5ca1_ab1e;
    let mut first = VfioTransport::open(address)?;
    let held = first.hold()?;
    first.write32(Bar::Bar0, Scratch::OFFSET, MARK)?;
    let kept = first.dma_alloc(1 << 20)?;
    drop((first, kept));
    let mut second = VfioTransport::resume(&held)?;
    let found = second.read32(Bar::Bar0, Scratch::OFFSET)?;
    // At the same bus addresses: what the first had is not mapped any more.
    second.dma_alloc(1 << 20)?;
    let tests = self_test(&mut second, Duration::from_secs(20));
    second.write32(Bar::Bar0, Scratch::OFFSET, MARK)?;
    drop(second);
    must_say("in use", VfioTransport::open(address))?;
    drop(held);
    let mut third = VfioTransport::open(address)?;
    let after = third.read32(Bar::Bar0, Scratch::OFFSET)?;
    if let Some(bad) = tests.iter().find(|test| !test.passed()) {
        return fail(format!("{bad:?}"));
    }
    if (found, after) != (MARK, 0) {
        return fail(format!(
            "the mark was {found:#x} while it was held, {after:#x} afterwards"
        ));
    }
    Ok("its registers stay over two transports; the kernel resets it when the last descriptor is closed".into())
}

/// All that is done without a daemon; the card's address when it can go on.
pub fn before_the_daemon() -> Option<Address> {
    let (address, text) = match list() {
        Ok(found) => found,
        Err(failed) => {
            check("card list", Err(failed));
            return None;
        }
    };
    check("card list", Ok(text));
    let spec = CardSpec::Vfio(address);
    check(
        "an unbound card is refused with the remedy",
        must_say("card bind", open(&spec)),
    );
    if !check("card bind", bind(address)) {
        return None;
    }
    match VfioTransport::open(address) {
        Err(error) => {
            check("open /dev/vfio", Err(error.into()));
            return None;
        }
        Ok(mut transport) => {
            check("open /dev/vfio", Ok("type 1 IOMMU, BARs mapped".into()));
            for one in self_test(&mut transport, Duration::from_secs(20)) {
                check(&format!("self test, {}", one.name), one.result.map_err(Failed));
            }
            check("a card in use is refused", must_say("in use", open(&spec)));
            let state = listed().and_then(|card| match card["abi"] == "in use" {
                true => must_say("in use", ctl(&format!("card unbind {address}"))),
                false => fail(card.to_string()),
            });
            check("a card in use is listed so, and not unbound", state);
        }
    }
    check("too little locked memory is refused with the remedy", memlock(&spec));
    check("a held card outlives its driver", held(address));
    Some(address)
}
