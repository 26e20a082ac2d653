//! A configuration of about 100,000 lines, as an access network might have: many service sets, long prefix lists.

use std::fmt::Write;

/// Service sets of [`text`].
pub const SETS: usize = 1000;
/// Prefix lists of [`text`], 1,000 prefixes each.
pub const LISTS: usize = 60;

/// The configuration in curly form.
pub fn text() -> String {
    let mut out = String::with_capacity(4 << 20);
    let o = &mut out;
    let _ = writeln!(o, "policy-options {{");
    for list in 0..LISTS {
        let _ = writeln!(o, "    prefix-list customers-{list} {{");
        for i in 0..1000 {
            let _ = writeln!(
                o,
                "        2001:db8:{:x}:{:x}::/56;",
                0x1000 + list * 8 + i / 256,
                (i % 256) << 8
            );
        }
        let _ = writeln!(o, "    }}");
    }
    let _ = writeln!(o, "}}\nservices {{\n    nat {{");
    for set in 0..SETS {
        let (a, b) = (set / 256, set % 256);
        let _ = write!(
            o,
            "        pool pool-{set} {{
            address 100.{a}.{b}.0/28;
            port {{
                automatic {{
                    random-allocation;
                }}
            }}
            mapping-timeout 300;
        }}
"
        );
    }
    for set in 0..SETS {
        let _ = write!(
            o,
            "        rule rule-{set} {{
            match-direction input;
            term t1 {{
                from {{
                    source-{} {{
                        {};
                    }}
                    destination-address {{
                        64:ff9b::/96;
                    }}
                }}
                then {{
                    translated {{
                        source-pool pool-{set};
                        destination-prefix 64:ff9b::/96;
                        translation-type {{
                            stateful-nat64;
                        }}
                    }}
                }}
            }}
        }}
",
            if set < LISTS { "prefix-list" } else { "address" },
            if set < LISTS {
                format!("customers-{set}")
            } else {
                format!("2001:db8:{set:x}::/48")
            },
        );
    }
    let _ = writeln!(o, "    }}");
    for set in 0..SETS {
        let _ = write!(
            o,
            "    service-set set-{set} {{
        nat-rules rule-{set};
        interface-service {{
            service-interface ms-0/1/0.{set};
        }}
    }}
"
        );
    }
    let _ = writeln!(o, "}}\nnat64-nic {{");
    for port in 0..2 {
        let _ = writeln!(o, "    port {port} {{");
        for set in 0..SETS {
            let _ = write!(
                o,
                "        unit {set} {{
            vlan-tags outer {} inner {};
            service-set set-{set};
        }}
",
                1 + set / 1000,
                1 + set % 1000
            );
        }
        let _ = writeln!(o, "    }}");
    }
    let _ = writeln!(o, "}}");
    out
}
