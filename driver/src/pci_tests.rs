//! Binding against a tree that looks like sysfs. Links and files are real; what the kernel does when `unbind` and
//! `drivers_probe` are written is played by a test that looks at what was written.

use std::os::unix::fs::{symlink, PermissionsExt};

use super::*;

struct Tree {
    folder: tempfile::TempDir,
    sysfs: Sysfs,
}

const CARD: &str = "0000:03:00.0";

fn address(text: &str) -> Address {
    text.parse().expect("address")
}

impl Tree {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let (root, dev) = (folder.path().join("sys"), folder.path().join("dev"));
        for name in ["bus/pci/devices", "bus/pci/drivers/vfio-pci", "kernel/iommu_groups"] {
            fs::create_dir_all(root.join(name)).expect("folder");
        }
        fs::create_dir_all(dev.join("vfio")).expect("folder");
        fs::write(dev.join("vfio/vfio"), "").expect("file");
        let sysfs = Sysfs::at(root, dev);
        Self { folder, sysfs }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("sys")
    }

    fn add(&self, at: &str, id: (u16, u16), class: u32, driver: Option<&str>, group: Option<u32>) {
        let folder = self.root().join("bus/pci/devices").join(at);
        fs::create_dir_all(&folder).expect("folder");
        fs::write(folder.join("vendor"), format!("{:#06x}\n", id.0)).expect("file");
        fs::write(folder.join("device"), format!("{:#06x}\n", id.1)).expect("file");
        fs::write(folder.join("class"), format!("{class:#08x}\n")).expect("file");
        fs::write(folder.join("driver_override"), "(null)\n").expect("file");
        if let Some(driver) = driver {
            let target = self.root().join("bus/pci/drivers").join(driver);
            fs::create_dir_all(&target).expect("folder");
            symlink(target, folder.join("driver")).expect("link");
        }
        if let Some(group) = group {
            let members = self.root().join("kernel/iommu_groups").join(group.to_string());
            fs::create_dir_all(members.join("devices")).expect("folder");
            symlink(&folder, members.join("devices").join(at)).expect("link");
            symlink(members, folder.join("iommu_group")).expect("link");
            fs::write(self.sysfs.group_file(group), "").expect("file");
        }
    }

    fn card(&self, driver: Option<&str>, group: Option<u32>) {
        self.add(CARD, (pci::VENDOR_ID, pci::DEVICE_ID), 0x02_00_00, driver, group);
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.root().join(name)).unwrap_or_default()
    }
}

#[test]
fn addresses_are_read_as_lspci_writes_them() {
    for (text, shown) in [
        ("0000:03:00.0", "0000:03:00.0"),
        ("03:00.0", "0000:03:00.0"),
        ("10000:e1:1f.7", "10000:e1:1f.7"),
    ] {
        assert_eq!(address(text).to_string(), shown);
    }
    for text in [
        "",
        "3:0.0",
        "0000:03:00",
        "0000:03:20.0",
        "0000:03:00.8",
        "+000:03:00.0",
        "0000:03:00.0 ",
        "a:b:c:d.0",
    ] {
        assert_eq!(text.parse::<Address>(), Err(AddressError), "{text}");
    }
}

#[test]
fn a_scan_finds_cards_with_driver_and_group() {
    let tree = Tree::new();
    tree.card(Some("vfio-pci"), Some(7));
    tree.add("0000:00:1f.2", (0x8086, 0x2922), 0x01_06_01, Some("ahci"), Some(8));
    fs::create_dir_all(tree.root().join("bus/pci/devices/not-an-address")).expect("folder");
    let all = tree.sysfs.scan().expect("scan");
    assert_eq!(all.len(), 2);
    assert!(all[0].name().contains("Intel"), "{}", all[0].name());
    let cards = tree.sysfs.cards().expect("scan");
    assert_eq!(cards.len(), 1);
    assert_eq!((cards[0].address, cards[0].group), (address(CARD), Some(7)));
    assert_eq!(cards[0].driver.as_deref(), Some("vfio-pci"));
    let empty = Sysfs::at(tree.folder.path().join("nothing"), "/dev");
    assert_eq!(empty.cards().expect("no PCI, no cards"), []);
}

#[test]
fn binding_writes_what_the_kernel_wants() {
    let tree = Tree::new();
    tree.card(None, Some(7));
    tree.add("0000:00:01.0", (0x8086, 0x1901), 0x06_04_00, Some("pcieport"), Some(7));
    // Nobody plays the kernel: the card stays without a driver, and that is told.
    let error = tree.sysfs.bind(address(CARD)).expect_err("no kernel");
    assert!(matches!(error, BindError::Refused { driver: None, .. }), "{error}");
    assert_eq!(
        tree.read(&format!("bus/pci/devices/{CARD}/driver_override")),
        "vfio-pci"
    );
    assert_eq!(tree.read("bus/pci/drivers_probe"), CARD);
    let driver = tree.root().join("bus/pci/drivers/vfio-pci");
    symlink(driver, tree.sysfs.device(address(CARD)).join("driver")).expect("link");
    let others = tree.sysfs.bind(address(CARD)).expect("bound already");
    assert_eq!(others.len(), 1, "the bridge is told and left alone");
    assert_eq!(tree.read("bus/pci/drivers/pcieport/unbind"), "");

    tree.sysfs.unbind(address(CARD)).expect("bound");
    assert_eq!(tree.read(&format!("bus/pci/devices/{CARD}/driver_override")), "\n");
    assert_eq!(tree.read("bus/pci/drivers/vfio-pci/unbind"), CARD);
}

#[test]
fn a_shared_group_is_never_broken() {
    let tree = Tree::new();
    tree.card(Some("other"), Some(7));
    tree.add("0000:03:00.1", (0x8086, 0x2922), 0x01_06_01, Some("ahci"), Some(7));
    let error = tree.sysfs.bind(address(CARD)).expect_err("shared").to_string();
    assert!(
        error.contains("0000:03:00.1") && error.contains("ahci") && error.contains("group 7"),
        "{error}"
    );
    assert_eq!(
        tree.read(&format!("bus/pci/devices/{CARD}/driver_override")),
        "(null)\n"
    );
    assert_eq!(tree.read("bus/pci/drivers/other/unbind"), "");
}

#[test]
fn every_refusal_says_what_to_do() {
    let ready = |tree: &Tree| tree.sysfs.ready(address(CARD)).expect_err("not ready").to_string();
    let bind = |tree: &Tree| tree.sysfs.bind(address(CARD)).expect_err("not bound").to_string();
    let tree = Tree::new();
    assert!(ready(&tree).contains("card list") && bind(&tree).contains("card list"));
    tree.card(None, None);
    assert!(ready(&tree).contains("intel_iommu=on") && bind(&tree).contains("intel_iommu=on"));

    let tree = Tree::new();
    tree.card(Some("e1000"), Some(3));
    assert!(ready(&tree).contains("nat64ctl card bind 0000:03:00.0"));
    assert!(tree
        .sysfs
        .unbind(address(CARD))
        .expect_err("other driver")
        .to_string()
        .contains("e1000"));
    fs::remove_dir(tree.root().join("bus/pci/drivers/vfio-pci")).expect("there");
    assert!(bind(&tree).contains("modprobe vfio-pci"));

    let tree = Tree::new();
    tree.card(Some("vfio-pci"), Some(3));
    assert_eq!(tree.sysfs.ready(address(CARD)).expect("ready"), 3);
    fs::remove_file(tree.sysfs.container_file()).expect("there");
    assert!(ready(&tree).contains("modprobe"));

    let tree = Tree::new();
    tree.add(CARD, (0x8086, 0x2922), 0x01_06_01, Some("ahci"), Some(3));
    assert!(ready(&tree).contains("no NAT64 card") && bind(&tree).contains("left alone"));

    // Somebody else of the group has another driver by the time the card is opened.
    let tree = Tree::new();
    tree.card(Some("vfio-pci"), Some(3));
    tree.add("0000:03:00.1", (0x8086, 0x2922), 0x01_06_01, Some("ahci"), Some(3));
    let error = ready(&tree);
    assert!(
        error.contains("not viable") && error.contains("0000:03:00.1") && error.contains("must be bound to vfio-pci"),
        "{error}"
    );
}

#[test]
fn a_user_without_permission_is_told_what_to_do() {
    let tree = Tree::new();
    tree.card(Some("vfio-pci"), Some(3));
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
    mode(tree.folder.path(), 0o755);
    mode(&tree.sysfs.container_file(), 0o666);
    mode(&tree.sysfs.group_file(3), 0o600);
    let sysfs = tree.sysfs.clone();
    // User and capabilities belong to threads: only this one is somebody else, if we are root.
    let refused = std::thread::spawn(move || {
        if rustix::process::geteuid().is_root() {
            let nobody = Some(rustix::fs::Uid::from_raw(65534));
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).expect("root may");
        } else {
            fs::set_permissions(sysfs.group_file(3), fs::Permissions::from_mode(0o000)).expect("ours");
        }
        let opened = sysfs.ready(address(CARD)).expect_err("no permission");
        let bound = sysfs.write(sysfs.device(address(CARD)).join("nothing"), "x");
        (opened, bound.expect_err("no permission"))
    });
    let (opened, bound) = refused.join().expect("no panic");
    assert!(
        matches!(&opened, OpenError::Permission { path } if *path == tree.sysfs.group_file(3)),
        "{opened}"
    );
    assert!(opened.to_string().contains("run as root"), "{opened}");
    if rustix::process::geteuid().is_root() {
        assert!(bound.to_string().contains("binding needs root"), "{bound}");
    }
}
