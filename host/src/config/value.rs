//! Kinds of values, how each is checked and how each is written back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The kind of a value in the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// A name of 1 to 63 characters.
    Name,
    /// Any text.
    Text,
    /// A number from the first to the second, both included.
    Number(u64, u64),
    /// A number from the first to the second, `k` or `m` behind it for thousands or millions.
    Count(u64, u64),
    /// One of these words.
    Word(&'static [&'static str]),
    /// An IPv4 prefix; an address alone is a /32.
    Prefix4,
    /// An IPv6 prefix; an address alone is a /128.
    Prefix6,
    /// An IPv4 or IPv6 prefix.
    Prefix,
    /// An IPv6 prefix or `any-unicast`.
    Prefix6OrAny,
    /// An IPv4 address.
    Address4,
    /// An IPv6 address.
    Address6,
    /// An IPv4 address with a prefix length; the address is a host's, not the network's.
    Host4,
    /// An IPv6 address with a prefix length; the address is a host's, not the network's.
    Host6,
    /// An Ethernet address.
    Mac,
    /// An IPv4 or IPv6 address.
    Address,
    /// A TCP or UDP port, or a range `LOW-HIGH`, or the name of a port.
    Ports,
    /// A PCI function such as `0000:03:00.0`; the domain may be left out.
    Pci,
    /// A path that begins with a slash.
    Path,
    /// A services interface such as `ms-0/1/0` or `ms-0/1/0.1`.
    Interface,
}

/// A number in decimal digits; no sign, no space, no overflow.
pub(crate) fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// A [`Value::Count`]: digits, then possibly `k` or `m`.
pub(crate) fn count(text: &str) -> Option<u64> {
    let (digits, scale) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 1_000),
        b'm' | b'M' => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    };
    number(digits)?.checked_mul(scale)
}

/// Address and prefix length; an address alone has the length of its family.
pub(crate) fn prefix(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address.parse::<IpAddr>().ok()?, Some(number(length)?)),
        None => (text.parse::<IpAddr>().ok()?, None),
    };
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let length = length.unwrap_or(longest);
    (length <= longest).then_some((address, length as u8))
}

/// An address in the spelling of RFC 5952, as `to_string` gives it and several times as quick: there are many.
fn canonical(address: IpAddr) -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let six = match address {
        IpAddr::V6(six) if six.to_ipv4_mapped().is_none() => six,
        other => return other.to_string(),
    };
    let groups = six.segments();
    // The first of the longest runs of zeros, if it has two or more.
    let (mut run, mut longest) = (0..0, 0..0);
    for (at, group) in groups.iter().enumerate() {
        run = match group {
            0 if run.end == at => run.start..at + 1,
            0 => at..at + 1,
            _ => 0..0,
        };
        if run.len() > longest.len() {
            longest = run.clone();
        }
    }
    if longest.len() < 2 {
        longest = 8..8;
    }
    // Room for a length behind it.
    let mut out = String::with_capacity(43);
    let mut at = 0;
    while at < 8 {
        if at == longest.start {
            out.push_str("::");
            at = longest.end;
            continue;
        }
        if at > 0 && at != longest.end {
            out.push(':');
        }
        let group = groups[at];
        for shift in [12, 8, 4, 0] {
            if shift == 0 || group >> shift != 0 {
                out.push(char::from(HEX[usize::from(group >> shift & 15)]));
            }
        }
        at += 1;
    }
    out
}

/// An IPv4 prefix.
pub(crate) fn prefix4(text: &str) -> Option<(Ipv4Addr, u8)> {
    match prefix(text)? {
        (IpAddr::V4(address), length) => Some((address, length)),
        _ => None,
    }
}

/// An IPv6 prefix.
pub(crate) fn prefix6(text: &str) -> Option<(Ipv6Addr, u8)> {
    match prefix(text)? {
        (IpAddr::V6(address), length) => Some((address, length)),
        _ => None,
    }
}

/// Ethernet address: six pairs of hexadecimal digits and colons.
pub(crate) fn mac(text: &str) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        let part = parts.next()?;
        if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(bytes)
}

/// Names of ports that Junos knows, the common ones.
const PORT_NAMES: &[(&str, u16)] = &[
    ("bgp", 179),
    ("domain", 53),
    ("ftp", 21),
    ("http", 80),
    ("https", 443),
    ("imap", 143),
    ("imaps", 993),
    ("ldap", 389),
    ("ntp", 123),
    ("pop3", 110),
    ("pop3s", 995),
    ("smtp", 25),
    ("smtps", 465),
    ("ssh", 22),
    ("telnet", 23),
    ("tftp", 69),
];

/// First and last of a [`Value::Ports`].
pub(crate) fn ports(text: &str) -> Option<(u16, u16)> {
    if let Some((_, port)) = PORT_NAMES.iter().find(|(name, _)| *name == text) {
        return Some((*port, *port));
    }
    let one = |text| number(text).and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0);
    let (low, high) = match text.split_once('-') {
        Some((low, high)) => (one(low)?, one(high)?),
        None => (one(text)?, one(text)?),
    };
    (low <= high).then_some((low, high))
}

/// A PCI function with its domain, in lower case.
fn pci(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split([':', '.']).collect();
    let (domain, bus, device, function) = match parts[..] {
        [bus, device, function] => ("0000", bus, device, function),
        [domain, bus, device, function] => (domain, bus, device, function),
        _ => return None,
    };
    let hex = |text: &str, digits: usize, most: u32| {
        let value = u32::from_str_radix(text, 16).ok()?;
        (text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit()) && value <= most).then_some(value)
    };
    let (domain, bus) = (hex(domain, 4, 0xffff)?, hex(bus, 2, 0xff)?);
    let (device, function) = (hex(device, 2, 0x1f)?, hex(function, 1, 7)?);
    let wanted = format!("{domain:04x}:{bus:02x}:{device:02x}.{function}");
    // The separators stand where they belong.
    let canonical = text.to_ascii_lowercase();
    (wanted == canonical || wanted.strip_prefix("0000:") == Some(&canonical)).then_some(wanted)
}

fn is_name(text: &str) -> bool {
    (1..=63).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

fn is_interface(text: &str) -> bool {
    let (device, unit) = text.split_once('.').unwrap_or((text, "0"));
    let shaped = device
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-/:_".contains(&b));
    !device.is_empty() && device.len() <= 63 && shaped && number(unit).is_some_and(|unit| unit <= 16_384)
}

impl Value {
    /// What a message says was expected.
    pub fn expected(self) -> String {
        match self {
            Self::Name => "a name of 1 to 63 characters".into(),
            Self::Text => "a text".into(),
            Self::Number(low, high) => format!("a number from {low} to {high}"),
            Self::Count(low, high) => format!("a number from {low} to {high} (k and m allowed)"),
            Self::Word(words) => {
                let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
                if words.len() == 1 {
                    words.concat()
                } else {
                    format!("one of {}", words.join(", "))
                }
            }
            Self::Prefix4 => "an IPv4 prefix".into(),
            Self::Prefix6 => "an IPv6 prefix".into(),
            Self::Prefix => "an IPv4 or IPv6 prefix".into(),
            Self::Address => "an IPv4 or IPv6 address".into(),
            Self::Ports => "a port from 1 to 65535, a range such as 80-90, or the name of a port".into(),
            Self::Pci => "a PCI address such as 0000:03:00.0".into(),
            Self::Path => "an absolute path".into(),
            Self::Prefix6OrAny => "an IPv6 prefix or `any-unicast`".into(),
            Self::Address4 => "an IPv4 address".into(),
            Self::Address6 => "an IPv6 address".into(),
            Self::Host4 => "an IPv4 address with a prefix length".into(),
            Self::Host6 => "an IPv6 address with a prefix length".into(),
            Self::Mac => "an Ethernet address such as 02:00:00:00:00:01".into(),
            Self::Interface => "an interface such as ms-0/1/0 or ms-0/1/0.1".into(),
        }
    }

    /// The value as it is kept and written back (addresses in their canonical spelling), or `None` when `text` is
    /// not of this kind or out of range.
    pub fn normalise(self, text: &str) -> Option<String> {
        let prefix_text = |(address, length): (IpAddr, u8)| {
            let mut out = canonical(address);
            out.push('/');
            out.push_str(&length.to_string());
            out
        };
        let same = |good: bool| good.then(|| text.to_string());
        match self {
            Self::Name => same(is_name(text)),
            Self::Text => same(text.len() <= 1024),
            Self::Number(low, high) => number(text).filter(|n| (low..=high).contains(n)).map(|n| n.to_string()),
            Self::Count(low, high) => same(count(text).is_some_and(|n| (low..=high).contains(&n))),
            Self::Word(words) => same(words.contains(&text)),
            Self::Prefix4 | Self::Host4 => prefix(text).filter(|(a, _)| a.is_ipv4()).map(prefix_text),
            Self::Prefix6 | Self::Host6 => prefix(text).filter(|(a, _)| a.is_ipv6()).map(prefix_text),
            Self::Prefix => prefix(text).map(prefix_text),
            Self::Prefix6OrAny if text == "any-unicast" => same(true),
            Self::Prefix6OrAny => Self::Prefix6.normalise(text),
            Self::Address4 => text.parse::<Ipv4Addr>().ok().map(|a| a.to_string()),
            Self::Address6 => text.parse::<Ipv6Addr>().ok().map(|a| canonical(a.into())),
            Self::Mac => same(mac(text).is_some()).map(|text| text.to_ascii_lowercase()),
            Self::Interface => same(is_interface(text)),
            Self::Address => text.parse::<IpAddr>().ok().map(|a| a.to_string()),
            Self::Ports => {
                let (low, high) = ports(text)?;
                let named = PORT_NAMES.iter().any(|(name, _)| *name == text);
                Some(match (named, low == high) {
                    (true, _) => text.to_string(),
                    (false, true) => low.to_string(),
                    (false, false) => format!("{low}-{high}"),
                })
            }
            Self::Pci => pci(text),
            Self::Path => same(text.starts_with('/') && text.len() <= 107 && !text.chars().any(char::is_control)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_in_one_spelling() {
        let norm = |value: Value, text| value.normalise(text);
        assert_eq!(norm(Value::Prefix6, "2001:db8::0/96").as_deref(), Some("2001:db8::/96"));
        assert_eq!(
            norm(Value::Prefix6, "2001:DB8:0:0::1").as_deref(),
            Some("2001:db8::1/128")
        );
        assert_eq!(
            norm(Value::Prefix4, "203.0.113.0/24").as_deref(),
            Some("203.0.113.0/24")
        );
        assert_eq!(norm(Value::Prefix, "203.0.113.7").as_deref(), Some("203.0.113.7/32"));
        assert_eq!(norm(Value::Prefix6OrAny, "any-unicast").as_deref(), Some("any-unicast"));
        assert_eq!(
            norm(Value::Mac, "02:4E:36:34:00:01").as_deref(),
            Some("02:4e:36:34:00:01")
        );
        for bad in [
            "203.0.113.0/33",
            "203.0.113.0/+4",
            "203.0.113.0/",
            "/24",
            "2001:db8::/129",
            "300.1.1.1/8",
            "",
        ] {
            assert_eq!(norm(Value::Prefix, bad), None, "{bad}");
        }
        assert_eq!(norm(Value::Prefix4, "2001:db8::/32"), None);
        assert_eq!(norm(Value::Prefix6, "203.0.113.0/24"), None);
    }

    #[test]
    fn addresses_are_spelled_as_the_standard_library_does() {
        let mut random = 0x6e61_7436_u128;
        for round in 0..20_000 {
            random = random
                .wrapping_mul(0x2d99_787b_26b1_7d4f_6a57_0d2a_47f1_2f6d)
                .wrapping_add(0x1405_7b7e);
            // Groups of zeros everywhere.
            let mut bits = random;
            for group in 0..8 {
                if random >> (100 + group % 4) & 1 == 1 || (round >> group) & 1 == 0 {
                    bits &= !(0xffff << (16 * group));
                }
            }
            let address = Ipv6Addr::from(bits);
            assert_eq!(canonical(address.into()), address.to_string());
        }
        for text in [
            "::",
            "::1",
            "1::",
            "::ffff:192.0.2.1",
            "1:0:0:2:0:0:0:3",
            "0:1:0:1:0:1:0:1",
            "fe80::1:0:0:1",
        ] {
            let address: Ipv6Addr = text.parse().unwrap();
            assert_eq!(canonical(address.into()), address.to_string(), "{text}");
        }
    }

    #[test]
    fn ports_and_pci_functions() {
        let norm = |value: Value, text| value.normalise(text);
        for (text, wanted) in [
            ("80", "80"),
            ("0080", "80"),
            ("80-90", "80-90"),
            ("7-7", "7"),
            ("http", "http"),
        ] {
            assert_eq!(norm(Value::Ports, text).as_deref(), Some(wanted), "{text}");
        }
        assert_eq!(ports("https"), Some((443, 443)));
        for bad in ["0", "0-5", "9-5", "65536", "1-65536", "-", "1-", "gopher", ""] {
            assert_eq!(norm(Value::Ports, bad), None, "{bad}");
        }
        assert_eq!(norm(Value::Pci, "03:00.1").as_deref(), Some("0000:03:00.1"));
        assert_eq!(norm(Value::Pci, "0000:AF:1f.7").as_deref(), Some("0000:af:1f.7"));
        for bad in [
            "03:00",
            "03:20.0",
            "03:00.8",
            "03.00:0",
            "3:0.0",
            "0000:03:00.0.0",
            "+3:00.0",
        ] {
            assert_eq!(norm(Value::Pci, bad), None, "{bad}");
        }
        assert!(norm(Value::Path, "/run/card.sock").is_some());
        for bad in ["run/card.sock", "", "/a\nb"] {
            assert_eq!(norm(Value::Path, bad), None, "{bad}");
        }
    }

    #[test]
    fn numbers_have_edges() {
        let port = Value::Number(1, 65_535);
        assert_eq!(port.normalise("0"), None);
        assert_eq!(port.normalise("1").as_deref(), Some("1"));
        assert_eq!(port.normalise("0065535").as_deref(), Some("65535"));
        assert_eq!(port.normalise("65536"), None);
        for bad in [
            "-1",
            "+1",
            " 1",
            "1 ",
            "",
            "0x10",
            "99999999999999999999999",
            "\u{0661}",
        ] {
            assert_eq!(port.normalise(bad), None, "{bad:?}");
        }
        assert_eq!(count("10k"), Some(10_000));
        assert_eq!(count("2m"), Some(2_000_000));
        for bad in ["k", "", "1kk", "99999999999999999m", "\u{e4}"] {
            assert_eq!(count(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn names_interfaces_and_ethernet_addresses() {
        assert!(Value::Name.normalise(&"n".repeat(63)).is_some());
        assert!(Value::Name.normalise(&"n".repeat(64)).is_none());
        assert!(Value::Name.normalise("").is_none());
        assert!(Value::Interface.normalise("ms-0/1/0.16384").is_some());
        for bad in ["ms-0/1/0.16385", "ms 0", ".1", "", "ms-0/1/0.x"] {
            assert!(Value::Interface.normalise(bad).is_none(), "{bad}");
        }
        for bad in [
            "02:00:00:00:00",
            "02:00:00:00:00:00:00",
            "2:0:0:0:0:0",
            "+2:00:00:00:00:00",
            "gg:00:00:00:00:00",
        ] {
            assert!(mac(bad).is_none(), "{bad}");
        }
    }
}
