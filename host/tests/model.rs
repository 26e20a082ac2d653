//! Commit checks: every problem is told, with its place; and what statements become in the model.

#[path = "model/problems.rs"]
mod problems;
#[path = "model/values.rs"]
mod values;

use nat64_driver::GatewayConfig;
use nat64_host::config::{self, BuildOptions, Problem, Tree, Warning};
use nat64_xlate::config::{Action, Translate};
use nat64_xlate::policy::Policy;

const SEED: &str = include_str!("../../examples/seed.conf");
const POOL: &str = "services nat pool src-pool-nat64";
const TERM: &str = "services nat rule stateful-nat64 term t1";
const SET: &str = "services service-set sset-nat64";
const OWN: &str = "nat64-nic service-set sset-nat64";

/// The worked example after some commands; `{pool}`, `{term}`, `{set}` and `{own}` stand for the paths of the example.
fn changed(commands: &[&str]) -> Tree {
    let mut tree = config::parse_curly(SEED, "seed.conf").unwrap();
    for command in commands {
        let command = [("{pool}", POOL), ("{term}", TERM), ("{set}", SET), ("{own}", OWN)]
            .iter()
            .fold(command.to_string(), |text, (from, to)| text.replace(from, to));
        config::apply_command(&mut tree, &command).unwrap_or_else(|error| panic!("{error}"));
    }
    tree
}

fn built(commands: &[&str]) -> (GatewayConfig, Vec<Warning>) {
    let built = config::build(&changed(commands), BuildOptions::default()).unwrap_or_else(|problems| {
        panic!(
            "{commands:?}\n{}",
            problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
        )
    });
    // What the checks let pass the translator takes: they do not ask it.
    if let Err(error) = Policy::new(built.0.xlate.clone()) {
        panic!("{commands:?}: the translator says {error}");
    }
    built
}

fn translate(gateway: &GatewayConfig) -> &Translate {
    match &gateway.xlate.service_sets[0].terms[0].then {
        Action::Translate(translate) => translate,
        other => panic!("{other:?}"),
    }
}

/// Units for the service sets `sset-nat64` and `two`.
const TWO_SETS: [&str; 4] = [
    "set nat64-nic port 0 unit 1 vlan-id 1 service-set sset-nat64",
    "set nat64-nic port 1 unit 1 vlan-id 1 service-set sset-nat64",
    "set nat64-nic port 0 unit 2 vlan-id 2 service-set two",
    "set nat64-nic port 1 unit 2 vlan-id 2 service-set two",
];
