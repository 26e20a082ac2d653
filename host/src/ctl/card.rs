//! `card list | bind | unbind`: PCI devices of this machine, without the daemon.

use nat64_driver::pci::{Address, Function, Sysfs, DRIVER};
use nat64_driver::transport::{identify, CardIdentity};
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
    abi_of(identify(&CardSpec::Vfio(card.address)))
}

fn abi_of(identity: Result<CardIdentity, OpenError>) -> String {
    match identity {
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use nat64_layout::{pci, regs::MAGIC, ABI_HASH};

    use super::super::output::{Captured, Format};
    use super::*;

    /// A machine with a card of ours in the hands of vfio-pci, one without a driver, and a disk.
    fn machine() -> (tempfile::TempDir, Sysfs) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("sys");
        let add = |at: &str, id: (u16, u16), driver: Option<&str>, group: Option<u32>| {
            let device = root.join("bus/pci/devices").join(at);
            fs::create_dir_all(&device).unwrap();
            fs::write(device.join("vendor"), format!("{:#06x}\n", id.0)).unwrap();
            fs::write(device.join("device"), format!("{:#06x}\n", id.1)).unwrap();
            fs::write(device.join("class"), "0x020000\n").unwrap();
            if let Some(driver) = driver {
                symlink(Path::new("/nowhere").join(driver), device.join("driver")).unwrap();
            }
            if let Some(group) = group {
                symlink(format!("/nowhere/{group}"), device.join("iommu_group")).unwrap();
            }
        };
        add("0000:00:1f.2", (0x8086, 0x2922), Some("ahci"), Some(1));
        add("0000:03:00.0", (pci::VENDOR_ID, pci::DEVICE_ID), Some(DRIVER), Some(7));
        add("0000:04:00.0", (pci::VENDOR_ID, pci::DEVICE_ID), None, None);
        let sysfs = Sysfs::at(root, folder.path().join("dev"));
        (folder, sysfs)
    }

    fn listed(format: Format, identity: impl Fn() -> Result<CardIdentity, OpenError>) -> String {
        let (_folder, sysfs) = machine();
        let mut screen = Captured::default();
        let mut out = Output::new(&[], format, &mut screen).unwrap();
        let abi = |card: &Function| match card.driver {
            Some(_) => abi_of(identity()),
            None => abi(card),
        };
        list_of(&sysfs, abi, &mut out).unwrap();
        out.finish().unwrap();
        screen.text
    }

    #[test]
    fn cards_are_listed_with_what_can_be_known_of_their_abi() {
        let ours = |abi_hash, ident| CardIdentity { ident, abi_hash };
        let path = std::path::PathBuf::from("/dev/vfio/7");
        let in_use = path.clone();
        for (identity, wanted) in [
            (
                Box::new(move || Ok(ours(ABI_HASH, MAGIC))) as Box<dyn Fn() -> Result<CardIdentity, OpenError>>,
                "matches".to_owned(),
            ),
            (
                Box::new(move || Ok(ours(!ABI_HASH, MAGIC))),
                format!("differs ({:#010x})", !ABI_HASH),
            ),
            (
                Box::new(move || Err(OpenError::InUse { path: in_use.clone() })),
                "in use".into(),
            ),
            (
                Box::new(move || Err(OpenError::Permission { path: path.clone() })),
                "no permission".into(),
            ),
        ] {
            let text = listed(Format::Text, &identity);
            let lines: Vec<&str> = text.lines().collect();
            let line = |address: &str| {
                lines
                    .iter()
                    .find(|line| line.contains(address))
                    .copied()
                    .unwrap_or_default()
            };
            assert!(line("0000:03:00.0").contains(&wanted), "{wanted}\n{text}");
            assert!(line("0000:03:00.0").contains("ready for nat64d"), "{text}");
            assert!(line("0000:04:00.0").contains("not bound"), "{text}");
            assert!(line("0000:04:00.0").contains("card bind makes it ready"), "{text}");
            assert!(!text.contains("1f.2"), "a disk is no card\n{text}");
            let json: Value = serde_json::from_str(&listed(Format::Json, &identity)).unwrap();
            assert_eq!(json[0]["abi"], Value::from(wanted));
            assert_eq!(json[0]["iommu-group"], 7);
            assert_eq!(json[1]["driver"], Value::Null);
        }
    }
}
