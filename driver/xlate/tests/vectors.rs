//! Translation vectors made with scapy, one case per file: see `vectors/make.py`.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::str::FromStr;

use nat64_layout::Reason;
use nat64_xlate::icmp::{error_four_to_six, error_six_to_four};
use nat64_xlate::packet::{lengths, Packet4, Packet6, Transport};
use nat64_xlate::translate::{four_to_six, six_to_four, Options4, Options6, To4, To6};

/// One file, by keyword.
struct Vector {
    name: String,
    lines: Vec<(String, Vec<String>)>,
}

impl Vector {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| {
                let mut words = line.split_whitespace().map(str::to_owned);
                (words.next().unwrap(), words.collect())
            })
            .collect();
        Self {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            lines,
        }
    }

    fn all(&self, keyword: &str) -> Vec<&[String]> {
        self.lines
            .iter()
            .filter(|line| line.0 == keyword)
            .map(|line| &line.1[..])
            .collect()
    }

    fn word(&self, keyword: &str, index: usize) -> &str {
        &self.all(keyword)[0][index]
    }

    fn option<T: FromStr>(&self, name: &str) -> Option<T> {
        let lines = self.all("options");
        let value = lines
            .first()?
            .iter()
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))?;
        Some(value.parse().unwrap_or_else(|_| panic!("{}: {name}", self.name)))
    }

    /// The two addresses and two ports of `to` or `quote`.
    fn tuple<A: FromStr>(&self, keyword: &str) -> (A, A, u16, u16) {
        let address = |index| {
            self.word(keyword, index)
                .parse()
                .unwrap_or_else(|_| panic!("{}: {keyword}", self.name))
        };
        let port = |index| self.word(keyword, index).parse().unwrap();
        (address(0), address(1), port(2), port(3))
    }

    fn to4(&self, keyword: &str) -> To4 {
        let (src, dst, src_port, dst_port) = self.tuple::<Ipv4Addr>(keyword);
        To4 {
            src,
            dst,
            src_port,
            dst_port,
        }
    }

    fn to6(&self, keyword: &str) -> To6 {
        let (src, dst, src_port, dst_port) = self.tuple::<Ipv6Addr>(keyword);
        To6 {
            src,
            dst,
            src_port,
            dst_port,
        }
    }

    fn translate(&self, packet: &[u8]) -> Result<Vec<u8>, Reason> {
        let (mtu4, mtu6) = (self.option("mtu4").unwrap_or(1500), self.option("mtu6").unwrap_or(1500));
        let (tos_override, mss) = (self.option("tos"), self.option("mss"));
        let mut out = b"left alone".to_vec();
        let count = if self.word("direction", 0) == "six_to_four" {
            let df_clear_max = self
                .option("df_clear_max")
                .unwrap_or(nat64_layout::RFC7915_DF_CLEAR_MAX);
            let options = Options4 {
                df_clear_max,
                tos_override,
                ident: 0x1234,
                mtu4,
                mtu6,
                mss,
            };
            let packet = Packet6::parse(packet).expect("readable");
            let to = self.to4("to");
            match packet.transport {
                Transport::IcmpError { .. } => packet
                    .quote()
                    .and_then(|_| error_six_to_four(&packet, &to, &self.to4("quote"), &options, &mut out))
                    .map(|()| 1),
                _ => six_to_four(&packet, &to, &options, &mut out),
            }
        } else {
            let lowest_mtu = self.option("lowest").unwrap_or(1280);
            let options = Options6 {
                tos_override,
                lowest_mtu,
                mtu6,
                mtu4,
                mss,
                keep_whole: self.option("keep_whole").unwrap_or(false),
            };
            let packet = Packet4::parse(packet).expect("readable");
            let to = self.to6("to");
            match packet.transport {
                Transport::IcmpError { .. } => packet
                    .quote()
                    .and_then(|_| error_four_to_six(&packet, &to, &self.to6("quote"), &options, &mut out))
                    .map(|()| 1),
                _ => four_to_six(&packet, &to, &options, &mut out),
            }
        };
        let packets = out.strip_prefix(b"left alone").expect("what was in the arena stays");
        match count {
            Ok(count) => assert_eq!(lengths(packets).count(), count, "{}", self.name),
            Err(_) => assert!(packets.is_empty(), "{}: refused and yet written", self.name),
        }
        count.map(|_| packets.to_vec())
    }

    /// What went wrong, if anything.
    fn check(&self) -> Result<(), String> {
        let got = self.translate(&unhex(self.word("in", 0)));
        let want: Vec<String> = self.all("out").iter().map(|words| words[0].clone()).collect();
        match got {
            Ok(bytes) => {
                let mut rest = &bytes[..];
                let got: Vec<String> = lengths(&bytes)
                    .map(|length| {
                        let (packet, behind) = rest.split_at(length);
                        rest = behind;
                        hex(packet)
                    })
                    .collect();
                if got == want && rest.is_empty() {
                    Ok(())
                } else {
                    Err(format!("got  {got:?}\nwant {want:?}"))
                }
            }
            Err(reason) if want.is_empty() && self.word("refused", 0) == reason.name() => Ok(()),
            Err(reason) => Err(format!("refused: {}", reason.name())),
        }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[test]
fn vectors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    assert!(paths.len() > 150, "vectors are missing: {}", paths.len());
    let mut failures = String::new();
    for path in &paths {
        let vector = Vector::read(path);
        if let Err(what) = vector.check() {
            let _ = writeln!(failures, "{}:\n{what}", vector.name);
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
