//! `card list | bind | unbind`: PCI devices of this machine, without the daemon.

use nat64_driver::pci::{Address, Function, Sysfs, DRIVER};
use nat64_driver::transport::identify;
use nat64_driver::{CardSpec, OpenError};
use serde_json::{json, Value};

use super::error::CtlError;
use super::output::Output;
use super::render::table;

/// Addresses of the cards of this machine, for completion.
pub fn addresses() -> Vec<String> {
    let cards = Sysfs::default().cards().unwrap_or_default();
    cards.iter().map(|card| card.address.to_string()).collect()
}

fn address(text: &str) -> Result<Address, CtlError> {
    text.parse()
        .map_err(|error| CtlError::Usage(format!("`{text}`: {error}")))
}

fn to_json(function: &Function) -> Value {
    json!({
        "address": function.address.to_string(),
        "vendor": format!("{:04x}", function.vendor),
        "device": format!("{:04x}", function.device),
        "name": function.name(),
        "driver": function.driver,
        "iommu-group": function.group,
    })
}

/// `card list`.
///
/// # Errors
/// The PCI bus cannot be read, or output fails.
pub fn list(out: &mut Output<'_>) -> Result<(), CtlError> {
    list_of(&Sysfs::default(), abi, out)
}

/// Whether the card is built from the contract this program knows, as far as it can be asked now: a card that is not
/// bound, or is in use, cannot.
fn abi(card: &Function) -> String {
    if card.driver.as_deref() != Some(DRIVER) {
        return "not bound".into();
    }
    match identify(&CardSpec::Vfio(card.address)) {
        Ok(identity) if identity.matches() => "matches".into(),
        Ok(identity) => format!("differs ({:#010x})", identity.abi_hash),
        Err(OpenError::InUse { .. }) => "in use".into(),
        Err(OpenError::Permission { .. }) => "no permission".into(),
        Err(error) => error.to_string(),
    }
}

fn list_of(sysfs: &Sysfs, abi: impl Fn(&Function) -> String, out: &mut Output<'_>) -> Result<(), CtlError> {
    let cards = sysfs.cards().map_err(|why| CtlError::File {
        file: "/sys/bus/pci/devices".into(),
        why,
    })?;
    let abis: Vec<String> = cards.iter().map(abi).collect();
    let with_abi = |(card, abi): (&Function, &String)| {
        let mut value = to_json(card);
        value["abi"] = json!(abi);
        value
    };
    let answer: Vec<Value> = cards.iter().zip(&abis).map(with_abi).collect();
    out.answer(&answer, |_| {
        if cards.is_empty() {
            return "No NAT64 card is in this machine.\n".into();
        }
        let rows: Vec<Vec<String>> = cards
            .iter()
            .zip(&abis)
            .map(|(card, abi)| {
                let driver = card.driver.as_deref().unwrap_or("none");
                let state = if driver == DRIVER {
                    "ready for nat64d"
                } else {
                    "card bind makes it ready"
                };
                vec![
                    card.address.to_string(),
                    card.name(),
                    driver.to_string(),
                    card.group.map_or_else(|| "none".into(), |group| group.to_string()),
                    abi.clone(),
                    state.to_string(),
                ]
            })
            .collect();
        table(&["Address", "Name", "Driver", "IOMMU group", "ABI", "State"], &rows)
    })?;
    Ok(())
}

/// `card bind`.
///
/// # Errors
/// No such card, a group it may not be taken from, no right to do so.
pub fn bind(device: &str, out: &mut Output<'_>) -> Result<(), CtlError> {
    let address = address(device)?;
    let companions = Sysfs::default()
        .bind(address)
        .map_err(|error| CtlError::Card(error.to_string()))?;
    let answer = json!({
        "address": address.to_string(),
        "driver": DRIVER,
        "companions": companions.iter().map(to_json).collect::<Vec<_>>(),
    });
    out.answer(&answer, |_| format!("{address} is bound to {DRIVER}\n"))?;
    Ok(())
}

/// `card unbind`.
///
/// # Errors
/// No such card, not bound, in use, no right to do so.
pub fn unbind(device: &str, out: &mut Output<'_>) -> Result<(), CtlError> {
    let address = address(device)?;
    Sysfs::default()
        .unbind(address)
        .map_err(|error| CtlError::Card(error.to_string()))?;
    let answer = json!({ "address": address.to_string() });
    out.answer(&answer, |_| format!("{address} is no longer bound to {DRIVER}\n"))?;
    Ok(())
}
