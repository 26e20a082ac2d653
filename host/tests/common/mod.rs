//! Seeded random numbers and random configurations that follow the schema.
#![allow(dead_code)]

use std::fmt::Write;

use nat64_host::config::schema::{Kind, Layout, Statement, Support, Value};

/// xorshift64*: small, seeded, the same everywhere.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() >> 11) as usize % end.max(1)
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// A value of the kind, as a person might write it.
pub fn value(kind: Value, random: &mut Random) -> String {
    match kind {
        Value::Name | Value::Text => {
            let names = [
                "a",
                "pool-1",
                "R2",
                "\"two words\"",
                "x.y",
                "\"quo\\\"te\"",
                "1",
                "\"#no comment\"",
                "\"a;b\"",
            ];
            let name = *random.pick(&names);
            if name.starts_with('"') {
                name.to_string()
            } else {
                format!("{name}{}", random.below(1000))
            }
        }
        Value::Number(low, high) => (low + random.next() % (high - low + 1)).to_string(),
        Value::Count(low, high) => match random.below(3) {
            0 => format!("{}k", (low / 1000 + 1).max(random.below(40) as u64)),
            _ => (low + random.next() % (high - low + 1).min(1_000_000)).to_string(),
        },
        Value::Word(words) => (*random.pick(words)).to_string(),
        Value::Prefix4 | Value::Host4 => {
            format!(
                "{}/{}",
                std::net::Ipv4Addr::from(random.next() as u32),
                random.below(33)
            )
        }
        Value::Address4 => std::net::Ipv4Addr::from(random.next() as u32).to_string(),
        Value::Prefix6 | Value::Host6 => format!("{}/{}", address6(random), random.below(129)),
        Value::Address6 => address6(random),
        Value::Prefix if random.one_in(2) => value(Value::Prefix4, random),
        Value::Prefix => value(Value::Prefix6, random),
        Value::Prefix6OrAny if random.one_in(5) => "any-unicast".into(),
        Value::Prefix6OrAny => value(Value::Prefix6, random),
        Value::Address if random.one_in(2) => value(Value::Address4, random),
        Value::Address => address6(random),
        Value::Ports => match random.below(3) {
            0 => "https".into(),
            1 => (1 + random.below(65_535)).to_string(),
            _ => format!("{}-{}", 1 + random.below(1000), 1000 + random.below(64_000)),
        },
        Value::Pci => format!("{:02X}:{:02x}.{}", random.below(256), random.below(32), random.below(8)),
        Value::Path => format!("/run/card-{}.sock", random.below(100)),
        Value::Mac => format!("02:00:00:00:00:{:02X}", random.below(256)),
        Value::Interface => format!("ms-{}/1/0.{}", random.below(4), random.below(100)),
    }
}

fn address6(random: &mut Random) -> String {
    let spread = u128::from(random.next()) << 64 | u128::from(random.next());
    let address = std::net::Ipv6Addr::from(spread & !(u128::from(u32::MAX) << random.below(90)));
    if random.one_in(2) {
        address.to_string()
    } else {
        address.to_string().to_uppercase()
    }
}

fn values(statement: &Statement, random: &mut Random) -> String {
    let mut out = String::new();
    for field in statement.fields {
        if !field.word.is_empty() {
            let _ = write!(out, " {}", field.word);
        }
        let _ = write!(out, " {}", value(field.value, random));
    }
    out
}

fn marks(random: &mut Random, out: &mut String) {
    if random.one_in(12) {
        out.push_str(["/* a comment */ ", "# to the end of the line\n", "/* two\n lines */ "][random.below(3)]);
    }
    if random.one_in(12) {
        out.push_str("inactive: ");
    }
}

/// Random statements below `parent`, in curly form. Each leaf once, lists several times with random keys.
pub fn statements(parent: &Statement, random: &mut Random, fullness: usize, out: &mut String) {
    for child in parent.children {
        if matches!(child.support, Support::Refused(_)) || random.below(10) >= fullness {
            continue;
        }
        let times = if child.kind == Kind::List {
            1 + random.below(3)
        } else {
            1
        };
        let grouped = child.layout == Layout::Grouped;
        if grouped {
            let _ = writeln!(out, "{} {{", child.name);
        }
        for _ in 0..times {
            marks(random, out);
            if !grouped {
                out.push_str(child.name);
            }
            out.push_str(&values(child, random));
            let mut block = String::new();
            statements(child, random, fullness, &mut block);
            // A key that comes again meets its leaves again: only entries without leaves are safe to repeat.
            if child.children.is_empty() || block.is_empty() {
                out.push_str(";\n");
            } else {
                let _ = writeln!(out, " {{\n{block}}}");
            }
        }
        if grouped {
            out.push_str("}\n");
        }
    }
}
