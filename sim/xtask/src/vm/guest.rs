//! QEMU, a kernel and an initramfs, from Debian's packages and our own programs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{failed, Place};
use crate::run::{Error, Step};

/// Modules of VFIO, in the order they are loaded; those a kernel does not have are built in or not needed.
const MODULES: [&str; 7] = [
    "irqbypass",
    "vfio",
    "vfio_virqfd",
    "iommufd",
    "vfio_iommu_type1",
    "vfio-pci-core",
    "vfio-pci",
];
/// Programs of ours in the guest, below `target/debug`.
const PROGRAMS: [&str; 3] = ["nat64d", "nat64ctl", "examples/vm_guest"];
/// Megabytes of memory of the guest.
const MEMORY: &str = "512M";

/// What runs first in the guest.
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev; mount -t proc proc /proc; mount -t sysfs sys /sys
mount -t tmpfs run /run
for m in MODULES; do [ -e /mod/$m.ko ] && { insmod /mod/$m.ko || echo "FAIL module $m: insmod"; }; done
/bin/vm_guest /nat64.conf
echo "VM: lspci"
nat64ctl card bind $(lspci -D -d VENDOR: | cut -d ' ' -f 1)
lspci -vvv -d VENDOR:
echo "VM: lspci is over"
sed 's/^/nat64d: /' /run/nat64d.log | tail -60
dmesg | grep -iE "vfio|dmar|fault|BUG|Oops" | tail -20
poweroff -f
"#;

fn text(program: &str, arguments: &[&str]) -> Result<String, Error> {
    let command = || format!("{program} {}", arguments.join(" "));
    let output = Command::new(program)
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| Error::Start {
            command: command(),
            source,
        })?;
    if !output.status.success() {
        let (command, status) = (command(), output.status);
        return Err(Error::Failed { command, status });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The Debian mirror of this machine: where its own release comes from.
fn mirror() -> Result<String, Error> {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let codename = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .unwrap_or_default();
    let format = [
        "indextargets",
        "--format",
        "$(REPO_URI) $(CODENAME)",
        "Created-By: Packages",
    ];
    let list = text("apt-get", &format)?;
    let found = list.lines().find_map(|line| {
        let (uri, name) = line.rsplit_once(' ')?;
        (name == codename).then(|| uri.trim_end_matches('/').to_string())
    });
    found.ok_or_else(|| {
        failed(format!(
            "apt of this machine has no Debian mirror for its release ({codename:?})"
        ))
    })
}

/// Fetches QEMU and the kernel, unless they are there.
pub fn fetch(place: &Place) -> Result<(), Error> {
    let qemu = place.at("qemu");
    if !qemu.join("usr/bin/qemu-system-x86_64").exists() {
        let mirror = mirror()?;
        // What an interrupted run left behind.
        if qemu.exists() {
            std::fs::remove_dir_all(&qemu).map_err(|error| Error::file(&qemu, error))?;
        }
        let half = place.at("qemu.part");
        if half.exists() {
            std::fs::remove_dir_all(&half).map_err(|error| Error::file(&half, error))?;
        }
        println!("vm-test: fetching QEMU from Debian's trixie-backports with this machine's mirror");
        let source = |suite: &str| format!("deb {mirror} {suite} main");
        let output = Command::new("mmdebstrap")
            .args([
                "--quiet",
                "--variant=extract",
                "--include=qemu-system-x86",
                "--aptopt=Acquire::Check-Valid-Until \"false\"",
                // Without it the dependencies resolve to trixie's own QEMU, which is too old, and fail.
                "--aptopt=APT::Default-Release \"trixie-backports\"",
                "trixie",
            ])
            .arg(&half)
            .args([source("trixie"), source("trixie-backports")])
            .status()
            .map_err(|source| Error::Start {
                command: "mmdebstrap".into(),
                source,
            })?;
        if !output.success() {
            return Err(failed(format!(
                "QEMU 10.1 or later cannot be had: mmdebstrap ended with {output} (it needs root and a Debian mirror with \
                 trixie-backports)"
            )));
        }
        std::fs::rename(&half, &qemu).map_err(|error| Error::file(&qemu, error))?;
    }
    if !place.at("vmlinuz").exists() {
        kernel(place)?;
    }
    Ok(())
}

/// The newest kernel for clouds of this machine's Debian, and its modules.
fn kernel(place: &Place) -> Result<(), Error> {
    let depends = text("apt-cache", &["depends", "linux-image-cloud-amd64"])?;
    let package = depends
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
        .ok_or_else(|| failed("apt knows no linux-image-cloud-amd64"))?
        .to_string();
    let version = package.trim_start_matches("linux-image-").to_string();
    println!("vm-test: fetching the kernel {version}");
    Step::new("apt-get", ["download", "-qq", &package], &place.folder).run()?;
    let modules = place.at("modules");
    std::fs::create_dir_all(&modules).map_err(|error| Error::file(&modules, error))?;
    let script = format!(
        "dpkg-deb --fsys-tarfile {package}_*.deb | tar -x -C modules ./boot/vmlinuz-{version} \
         ./lib/modules/{version}/kernel/drivers/vfio ./lib/modules/{version}/kernel/virt/lib \
         && rm -f {package}_*.deb && mv modules/boot/vmlinuz-{version} vmlinuz"
    );
    Step::new("sh", ["-c", &script], &place.folder).run()
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).map_err(|error| Error::file(folder, error))?;
    }
    std::fs::copy(from, to)
        .map(|_| ())
        .map_err(|error| Error::file(from, error))
}

fn find(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    for entry in std::fs::read_dir(folder).map_err(|error| Error::file(folder, error))? {
        let path = entry.map_err(|error| Error::file(folder, error))?.path();
        if path.is_dir() {
            find(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

/// A program with the libraries it wants.
fn with_libraries(program: &Path, tree: &Path) -> Result<(), Error> {
    let name = program.file_name().unwrap_or_default();
    copy(program, &tree.join("bin").join(name))?;
    let path = program.display().to_string();
    for word in text("ldd", &[&path])?
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        copy(Path::new(word), &tree.join(word.trim_start_matches('/')))?;
    }
    Ok(())
}

/// Builds the card's server and the programs of the guest. As members of the workspace, since the features of what they
/// depend on are then those of `cargo test --workspace`: after that there is nothing left to compile.
pub fn build(place: &Place) -> Result<(), Error> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = vec!["build", "--quiet", "--workspace"];
    for bin in ["nat64-sim", "nat64d", "nat64ctl"] {
        build.extend(["--bin", bin]);
    }
    build.extend(["--example", "vm_guest"]);
    Step::new(&cargo, build, &place.root).run()
}

/// Packs the initramfs.
pub fn pack(place: &Place) -> Result<(), Error> {
    let tree = place.at("tree");
    if tree.exists() {
        std::fs::remove_dir_all(&tree).map_err(|error| Error::file(&tree, error))?;
    }
    for name in ["bin", "dev", "proc", "sys", "mod", "run", "tmp", "var/lib"] {
        let folder = tree.join(name);
        std::fs::create_dir_all(&folder).map_err(|error| Error::file(&folder, error))?;
    }
    copy(Path::new("/bin/busybox"), &tree.join("bin/busybox"))?;
    for program in PROGRAMS {
        with_libraries(&place.root.join("target/debug").join(program), &tree)?;
    }
    let lspci = text("sh", &["-c", "command -v lspci"])?;
    with_libraries(Path::new(lspci.trim()), &tree)?;
    if Path::new("/usr/share/misc/pci.ids").exists() {
        copy(
            Path::new("/usr/share/misc/pci.ids"),
            &tree.join("usr/share/misc/pci.ids"),
        )?;
    }
    copy(&place.root.join("examples/seed.conf"), &tree.join("nat64.conf"))?;
    let mut files = Vec::new();
    find(&place.at("modules"), &mut files)?;
    for module in MODULES {
        let name = format!("{module}.ko");
        for file in &files {
            let file_name = file.file_name().unwrap_or_default().to_string_lossy();
            if file_name == name {
                copy(file, &tree.join("mod").join(&name))?;
            } else if file_name == format!("{name}.xz") {
                let unpacked = tree.join("mod").join(&name);
                let script = format!("xz -dc '{}' > '{}'", file.display(), unpacked.display());
                Step::new("sh", ["-c", &script], &place.folder).run()?;
            }
        }
    }
    let init = INIT
        .replace("MODULES", &MODULES.join(" "))
        .replace("VENDOR", &format!("{:04x}", nat64_layout::pci::VENDOR_ID));
    let path = tree.join("init");
    std::fs::write(&path, init).map_err(|error| Error::file(&path, error))?;
    let script = "chmod +x tree/init && strip tree/bin/nat64d tree/bin/nat64ctl tree/bin/vm_guest && \
                  (cd tree && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0) | gzip -1 > initrd.gz";
    Step::new("sh", ["-c", script], &place.folder).run()
}

/// The virtual machine: it has the card, an IOMMU and a serial line. QEMU hangs when its card's server dies, so `timeout`
/// watches.
pub fn qemu(place: &Place, limit: Duration) -> Command {
    let usr = place.at("qemu/usr");
    let libraries = usr.join("lib/x86_64-linux-gnu");
    let mut command = Command::new("timeout");
    command.arg("--kill-after=5").arg(limit.as_secs().to_string());
    command
        .arg(libraries.join("ld-linux-x86-64.so.2"))
        .arg("--library-path")
        .arg(&libraries);
    command.arg(usr.join("bin/qemu-system-x86_64"));
    for folder in ["share/qemu", "share/seabios"] {
        command.arg("-L").arg(usr.join(folder));
    }
    command.args([
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-serial",
        "stdio",
        "-no-reboot",
    ]);
    // Emulated, not virtualised: it runs everywhere, and Debian's kernels do not start on every nested KVM.
    command.args([
        "-machine",
        "q35,accel=tcg,memory-backend=m0",
        "-cpu",
        "max",
        "-smp",
        "1",
        "-m",
        MEMORY,
    ]);
    // The card's server maps the guest's memory from its file.
    command
        .arg("-object")
        .arg(format!("memory-backend-memfd,id=m0,size={MEMORY},share=on"));
    command.args(["-device", "intel-iommu,intremap=on,caching-mode=on,aw-bits=48"]);
    command
        .arg("-kernel")
        .arg(place.at("vmlinuz"))
        .arg("-initrd")
        .arg(place.at("initrd.gz"));
    command.args(["-append", "console=ttyS0 panic=-1 quiet intel_iommu=on iommu=nopt"]);
    let socket = place.at("card.sock");
    command.arg("-device").arg(format!(
        "{{\"driver\":\"vfio-user-pci\",\"socket\":{{\"type\":\"unix\",\"path\":\"{}\"}}}}",
        socket.display()
    ));
    command
}
