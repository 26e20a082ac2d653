//! The namespaces, links and addresses of the lab, made with `ip` and `sysctl`.

use std::process::Command;

use nat64_host::soft::sys::Tap;

use super::{LabEngine, LabError, LabOptions, CLIENT, SERVER};

/// Links of the gateway, by port.
pub const PORTS: [&str; 2] = ["inside", "outside"];
/// The link-local address of port 0's default MAC address, which answers whatever the configuration says.
const GATEWAY6: &str = "fe80::4e:36ff:fe34:0";
/// The pool of the worked example.
const POOL: &str = "203.0.113.0/24";

/// The network, as far as it is there before the card runs.
pub struct Network {
    /// TAP devices whose packets are complete, for a simulated card.
    pub taps: Option<[Tap; 2]>,
}

fn run(command: &str) -> Result<(), LabError> {
    let mut words = command.split_whitespace();
    let program = words.next().unwrap_or_default();
    let fail = |said: String| LabError::Step {
        command: command.to_string(),
        said,
    };
    let out = Command::new(program)
        .args(words)
        .output()
        .map_err(|e| fail(e.to_string()))?;
    if out.status.success() {
        Ok(())
    } else {
        Err(fail(String::from_utf8_lossy(&out.stderr).trim().to_string()))
    }
}

fn all(commands: &str) -> Result<(), LabError> {
    commands
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .try_for_each(run)
}

/// Puts a number in `/proc/sys` of a namespace. Some do not exist on every kernel; then the default has to do.
fn set(namespace: &str, key: &str, value: u8) {
    let _ = run(&format!("ip netns exec {namespace} sysctl -qw {key}={value}"));
}

impl Network {
    /// Namespaces, and the links of the gateway where it does not make them itself.
    pub fn build(options: &LabOptions) -> Result<Self, LabError> {
        run("mount -t tmpfs tmpfs /run")?;
        run("ip link set lo up")?;
        let mut names = vec!["client", "server"];
        names.extend(options.client_link_mtu.iter().flat_map(|_| ["router6", "far6"]));
        names.extend(options.server_link_mtu.iter().flat_map(|_| ["router4", "far4"]));
        for name in names {
            run(&format!("ip netns add {name}"))?;
            // Addresses are used at once, and nobody else is there to have them.
            set(name, "net.ipv6.conf.default.accept_dad", 0);
            set(name, "net.ipv6.conf.all.accept_dad", 0);
            run(&format!("ip -n {name} link set lo up"))?;
        }
        let mut taps = None;
        match options.engine {
            LabEngine::Soft { tap: false, .. } if options.capture.is_none() => {
                for port in PORTS {
                    run(&format!("ip link add {port} type veth peer name {port}-peer"))?;
                    run(&format!("ip link set {port} up"))?;
                }
                // Nothing but the card speaks on these.
                let _ = run("sysctl -qw net.ipv6.conf.inside.disable_ipv6=1 net.ipv6.conf.outside.disable_ipv6=1");
            }
            LabEngine::Soft { .. } if options.capture.is_none() => {}
            // The daemon makes them.
            _ if options.daemon => {}
            _ => {
                let open = |name: &str| {
                    Tap::open(name, true, false, false).map_err(|source| LabError::Tap {
                        name: name.into(),
                        source,
                    })
                };
                taps = Some([open(PORTS[0])?, open(PORTS[1])?]);
            }
        }
        Ok(Self { taps })
    }
}

/// Moves the other ends of the gateway's links to where they belong, and gives everything addresses.
pub fn address(options: &LabOptions) -> Result<(), LabError> {
    let veth = matches!(options.engine, LabEngine::Soft { tap: false, .. }) && options.capture.is_none();
    let link = |port: usize| {
        if veth {
            format!("{}-peer", PORTS[port])
        } else {
            PORTS[port].to_string()
        }
    };
    match options.client_link_mtu {
        None => all(&format!(
            "ip link set {0} netns client name eth0
             ip -n client link set eth0 up
             ip -n client addr add {CLIENT}/96 dev eth0 nodad
             ip -n client route add 64:ff9b::/96 via {GATEWAY6} dev eth0",
            link(0)
        ))?,
        Some(mtu) => {
            all(&format!(
                "ip link set {0} netns router6 name eth0
                 ip -n router6 link add eth1 mtu {mtu} type veth peer name eth1 mtu {mtu} netns far6
                 ip -n far6 link add eth0 type veth peer name eth0 netns client
                 ip -n router6 link set eth0 up
                 ip -n router6 link set eth1 up
                 ip -n far6 link set eth1 up
                 ip -n far6 link set eth0 up
                 ip -n client link set eth0 up
                 ip -n router6 addr add fe80::6:1/64 dev eth1 nodad
                 ip -n far6 addr add fe80::6:2/64 dev eth1 nodad
                 ip -n far6 addr add 2001:db8::fe/96 dev eth0 nodad
                 ip -n router6 addr add 2001:db8:0:6::1/128 dev lo nodad
                 ip -n client addr add {CLIENT}/96 dev eth0 nodad
                 ip -n client route add default via 2001:db8::fe
                 ip -n far6 route add default via fe80::6:1 dev eth1
                 ip -n router6 route add 2001:db8::/96 via fe80::6:2 dev eth1
                 ip -n router6 route add 64:ff9b::/96 via {GATEWAY6} dev eth0",
                link(0)
            ))?;
            set("far6", "net.ipv6.conf.all.forwarding", 1);
            set("router6", "net.ipv6.conf.all.forwarding", 1);
        }
    }
    match options.server_link_mtu {
        None => all(&format!(
            "ip link set {0} netns server name eth0
             ip -n server link set eth0 up
             ip -n server addr add {1}/24 dev eth0
             ip -n server route add {POOL} dev eth0",
            link(1),
            SERVER.0
        ))?,
        Some(mtu) => {
            all(&format!(
                "ip link set {0} netns router4 name eth0
                 ip -n router4 link add eth1 mtu {mtu} type veth peer name eth1 mtu {mtu} netns far4
                 ip -n far4 link add eth0 type veth peer name eth0 netns server
                 ip -n router4 link set eth0 up
                 ip -n router4 link set eth1 up
                 ip -n far4 link set eth1 up
                 ip -n far4 link set eth0 up
                 ip -n server link set eth0 up
                 ip -n far4 addr add 192.0.2.254/24 dev eth0
                 ip -n far4 addr add 10.64.0.2/30 dev eth1
                 ip -n router4 addr add 10.64.0.1/30 dev eth1
                 ip -n router4 addr add 198.51.100.1/24 dev eth0
                 ip -n server addr add {1}/24 dev eth0
                 ip -n server route add default via 192.0.2.254
                 ip -n far4 route add default via 10.64.0.1
                 ip -n router4 route add 192.0.2.0/24 via 10.64.0.2
                 ip -n router4 route add {POOL} dev eth0",
                link(1),
                SERVER.0
            ))?;
            set("far4", "net.ipv4.ip_forward", 1);
            set("router4", "net.ipv4.ip_forward", 1);
            // The gateway takes every server to be on its link.
            set("router4", "net.ipv4.conf.eth0.proxy_arp", 1);
            set("router4", "net.ipv4.conf.eth0.rp_filter", 0);
            set("router4", "net.ipv4.conf.all.rp_filter", 0);
        }
    }
    Ok(())
}
