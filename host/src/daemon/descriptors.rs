//! Cards that outlive the daemon: while it is restarted, its service manager keeps their descriptors.
//!
//! ```text
//!   nat64d --FDSTORE=1, FDNAME=nat64-0000_03_00.0-device--> service manager     a card behind VFIO was opened
//!   nat64d ends, by TERM or by KILL                          the card goes on: the kernel resets what nobody has open
//!   nat64d <--LISTEN_FDS, LISTEN_FDNAMES-- service manager   the next one takes the card up with its sessions
//! ```
//!
//! systemd does so for a unit with `FileDescriptorStoreMax=` (sd_notify(3), "FDSTORE=1"); `systemctl stop` empties its store,
//! and the cards are reset then. Without a service manager, or with one that keeps nothing, a card ends with its daemon.

use std::collections::HashMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nat64_driver::pci::Address;
use nat64_driver::{CardSpec, Held, OpenError, Transport, VfioTransport};
use sd_notify::NotifyState;

/// What every name begins with.
const PREFIX: &str = "nat64-";
/// What the names of a card's descriptors end with, in the order of [`Held::descriptors`].
const PARTS: [&str; 2] = ["device", "container"];

/// Tells the service manager, with descriptors.
type Notify = Box<dyn Fn(&[NotifyState<'_>], &[BorrowedFd<'_>]) -> io::Result<()> + Send + Sync>;

/// See the module documentation.
#[derive(Default)]
pub struct DescriptorStore {
    cards: Mutex<HashMap<Address, Held>>,
    notify: Option<Notify>,
}

impl std::fmt::Debug for DescriptorStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DescriptorStore")
            .field("cards", &self.cards())
            .field("kept", &self.notify.is_some())
            .finish()
    }
}

/// Name of a descriptor; a colon would end it.
fn name(address: Address, part: &str) -> String {
    format!("{PREFIX}{}-{part}", address.to_string().replace(':', "_"))
}

/// Card and part that a name stands for.
fn parse(name: &str) -> Option<(Address, usize)> {
    let (address, part) = name.strip_prefix(PREFIX)?.rsplit_once('-')?;
    let part = PARTS.iter().position(|known| *known == part)?;
    Some((address.replace('_', ":").parse().ok()?, part))
}

/// The descriptors the service manager passed to this process, with their names.
#[allow(unsafe_code)]
fn passed() -> io::Result<Vec<(String, OwnedFd)>> {
    use std::os::fd::FromRawFd;
    use std::sync::atomic::{AtomicBool, Ordering};
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    let passed = sd_notify::listen_fds_with_names()?;
    // SAFETY: LISTEN_PID names this process, so descriptors 3 and following are there and ours (sd_listen_fds(3)), and each
    // was found open when it was set to close on exec. Nothing else in this program takes them, and this is the only time.
    Ok(passed
        .map(|(fd, name)| (name, unsafe { OwnedFd::from_raw_fd(fd) }))
        .collect())
}

impl DescriptorStore {
    /// That of the service manager that started this process, with what it kept; without one, nothing is kept. To be
    /// called before anything else opens files.
    pub fn of_service_manager() -> Self {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Self::default();
        }
        let passed = passed().unwrap_or_else(|error| {
            tracing::error!(%error, "what the service manager passed cannot be used");
            Vec::new()
        });
        Self::with(passed, Box::new(sd_notify::notify_with_fds))
    }

    fn with(passed: Vec<(String, OwnedFd)>, notify: Notify) -> Self {
        let store = Self {
            cards: Mutex::default(),
            notify: Some(notify),
        };
        let mut found: HashMap<Address, [Option<OwnedFd>; 2]> = HashMap::new();
        for (name, fd) in passed {
            match parse(&name) {
                // Of two of a name the last is the newest.
                Some((address, part)) => found.entry(address).or_default()[part] = Some(fd),
                None => tracing::warn!(name, "the service manager passed something unknown, it is closed"),
            }
        }
        for (address, parts) in found {
            let held = match parts {
                [Some(device), Some(container)] => Held::new(address, [device, container]),
                _ => Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    "one of two descriptors is missing",
                )),
            };
            match held {
                Ok(held) => {
                    tracing::info!(%address, "the service manager kept a card");
                    store.cards().insert(address, held);
                }
                Err(error) => {
                    tracing::warn!(%address, %error, "the card that the service manager kept cannot be used");
                    store.forget(address);
                }
            }
        }
        store
    }

    fn cards(&self) -> MutexGuard<'_, HashMap<Address, Held>> {
        self.cards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, states: &[NotifyState<'_>], fds: &[BorrowedFd<'_>]) {
        if let Some(Err(error)) = self.notify.as_ref().map(|notify| notify(states, fds)) {
            tracing::warn!(%error, "the service manager was not told of a card's descriptors");
        }
    }

    /// Opens a card, or takes it up as it was left, and keeps it from here on where that is possible.
    ///
    /// # Errors
    /// As [`nat64_driver::open`].
    pub fn open(&self, spec: &CardSpec) -> Result<Box<dyn Transport>, OpenError> {
        let CardSpec::Vfio(address) = *spec else {
            return nat64_driver::open(spec);
        };
        if self.notify.is_none() {
            return nat64_driver::open(spec);
        }
        let held = self.cards().get(&address).map(Held::try_clone);
        match held {
            Some(Ok(held)) if !held.is_wanted_back() => match VfioTransport::resume(&held) {
                Ok(transport) => return Ok(Box::new(transport)),
                Err(error) => {
                    tracing::warn!(%address, %error, "the card that was kept cannot be taken up, it is opened anew");
                }
            },
            _ => {}
        }
        self.forget(address);
        let mut transport = VfioTransport::open(address)?;
        match transport.hold() {
            Ok(held) => self.keep(held),
            Err(error) => tracing::warn!(%address, %error, "the card will not outlive the daemon"),
        }
        Ok(Box::new(transport))
    }

    fn keep(&self, held: Held) {
        for (fd, part) in held.descriptors().into_iter().zip(PARTS) {
            let name = name(held.address(), part);
            self.tell(&[NotifyState::FdStore, NotifyState::FdName(&name)], &[fd]);
        }
        self.cards().insert(held.address(), held);
    }

    /// Keeps a card no longer: once its transport is gone too, the kernel resets it.
    pub fn forget(&self, address: Address) {
        // The service manager's copies of an earlier daemon may be there without ours.
        self.cards().remove(&address);
        for part in PARTS {
            let name = name(address, part);
            self.tell(&[NotifyState::FdStoreRemove, NotifyState::FdName(&name)], &[]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn null() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    /// What a store told the service manager: text and number of descriptors.
    type Said = Arc<Mutex<Vec<(String, usize)>>>;

    /// A store whose messages are noted.
    fn noted(passed: Vec<(String, OwnedFd)>) -> (DescriptorStore, Said) {
        let said = Said::default();
        let heard = said.clone();
        let notify = move |states: &[NotifyState<'_>], fds: &[BorrowedFd<'_>]| {
            let text: Vec<String> = states.iter().map(ToString::to_string).collect();
            heard.lock().unwrap().push((text.join(" "), fds.len()));
            Ok(())
        };
        (DescriptorStore::with(passed, Box::new(notify)), said)
    }

    #[test]
    fn names_have_no_colon_and_are_read_back() {
        for text in ["0000:03:00.0", "10000:e1:1f.7"] {
            let address: Address = text.parse().unwrap();
            for (index, part) in PARTS.into_iter().enumerate() {
                let name = name(address, part);
                assert!(!name.contains(':') && name.is_ascii(), "{name}");
                assert_eq!(parse(&name), Some((address, index)), "{name}");
            }
        }
        for name in [
            "",
            "nat64-",
            "nat64-0000_03_00.0",
            "nat64-0000_03_00.0-group",
            "x-0000_03_00.0-device",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_closed_here_and_there() {
        let address: Address = "0000:03:00.0".parse().unwrap();
        let passed = |parts: &[&str]| {
            parts
                .iter()
                .map(|part| (name(address, part), null()))
                .collect::<Vec<_>>()
        };
        // A file that is no card; a card without its container; something of somebody else.
        for parts in [&PARTS[..], &PARTS[..1]] {
            let mut passed = passed(parts);
            passed.push(("other".into(), null()));
            let (store, said) = noted(passed);
            assert!(store.cards().is_empty());
            let removed = PARTS.map(|part| (format!("FDSTOREREMOVE=1 FDNAME={}", name(address, part)), 0));
            assert_eq!(*said.lock().unwrap(), removed);
        }
    }

    #[test]
    fn a_card_that_is_not_there_is_refused_as_without_a_store() {
        let spec: CardSpec = "vfio:ffff:ff:1f.7".parse().unwrap();
        let (store, _) = noted(Vec::new());
        for store in [store, DescriptorStore::default()] {
            let error = store.open(&spec).map(drop).unwrap_err();
            assert!(matches!(error, OpenError::NoDevice { .. }), "{error}");
        }
    }
}
