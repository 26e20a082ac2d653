//! Random requests: whatever a client sends, the daemon answers in the usual shape or hangs up, and lives.
//!
//! For two seconds as a test; `cargo xtask fuzz-api` for ten minutes. The seed is printed; `NAT64_FUZZ_SEED` sets it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nat64_host::api::routes::RouteId;
use nat64_host::api::{ErrorCode, Method, Route, ROUTES};
use nat64_xlate::keyed::Random;
use serde_json::{json, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::rig::{client_address, server, Client, Rig, SEED};

fn pick<'a, T>(random: &mut Random, all: &'a [T]) -> &'a T {
    &all[random.below(all.len() as u32) as usize]
}

/// Values that are at home somewhere in the API, and some that are nowhere.
fn value(random: &mut Random) -> Value {
    let texts = [
        "",
        "0",
        "x",
        "2001:db8::1",
        "2001:db8::/96",
        "203.0.113.1",
        "203.0.113.0/24",
        "::/0",
        "0.0.0.0/0",
        "1/33",
        "tcp",
        "udp",
        "icmp",
        "6",
        "sset-nat64",
        "src-pool-nat64",
        "stateful-nat64",
        "ms-0/1/0",
        "card0",
        "override",
        "merge",
        "set",
        "exclusive",
        "private",
        "shared",
        "curly",
        "json",
        "services nat",
        "services nat pool src-pool-nat64",
        "set services nat pool q address 198.51.100.0/24",
        "delete services nat pool q",
        "set services service-set sset-nat64 max-flows 77",
        "annotate services \"x\"",
        "rename services to x",
        "\u{0}",
        "\"",
        "\\",
        "🦀",
        "set \"",
        "}",
        "{",
        "/* ",
        "syn",
        "ack",
        "port-0.0",
        "endpoint-independent",
        "NoRule",
        "99",
        "-1",
        "1e9",
        "18446744073709551616",
    ];
    match random.below(10) {
        0 => json!(random.below(u32::MAX)),
        1 => json!(random.draw()),
        2 => json!(-1),
        3 => Value::Bool(random.below(2) == 0),
        4 => Value::Null,
        5 => json!([value_text(random, &texts), value_text(random, &texts)]),
        6 => json!({ value_text(random, &texts): 1 }),
        7 => json!("x".repeat(random.below(5000) as usize)),
        _ => json!(value_text(random, &texts)),
    }
}

fn value_text<'a>(random: &mut Random, texts: &[&'a str]) -> &'a str {
    texts[random.below(texts.len() as u32) as usize]
}

const FIELDS: &[&str] = &[
    "edit",
    "mode",
    "text",
    "commands",
    "n",
    "comment",
    "confirmed",
    "at",
    "card",
    "kind",
    "pool",
    "service-set",
    "private",
    "private-port",
    "public",
    "public-port",
    "protocol",
    "address",
    "port",
    "host",
    "stop",
    "interface",
    "source",
    "source-port",
    "destination",
    "destination-port",
    "flags",
    "length",
    "hop-limit",
    "source-prefix",
    "destination-prefix",
    "offload",
    "extensive",
    "cursor",
    "limit",
    "format",
    "path",
    "rollback",
    "name",
    "severity",
    "all",
    "punts",
    "interval",
    "unknown",
];

/// A body that a route could take, some of it replaced.
fn body(random: &mut Random, route: &Route, edit: &str) -> Vec<u8> {
    let mut object = match route.id {
        RouteId::Commands => json!({"edit": edit, "commands": [value(random), value(random)]}),
        RouteId::Load => json!({"edit": edit, "mode": "merge", "text": value(random)}),
        RouteId::Rollback => json!({"edit": edit, "n": random.below(60)}),
        RouteId::Commit => json!({"edit": edit}),
        RouteId::Check => json!({"edit": edit}),
        RouteId::Drain => json!({"pool": "src-pool-nat64", "address": "203.0.113.7", "stop": random.below(2) == 0}),
        RouteId::TestPacket => json!({"protocol": *pick(random, &["tcp", "udp", "icmp"]), "source": "2001:db8::1",
            "source-port": random.below(70_000), "destination": "64:ff9b::c000:201",
            "destination-port": random.below(70_000), "length": random.below(10_000)}),
        _ => json!({}),
    };
    if let Value::Object(object) = &mut object {
        for _ in 0..random.below(3) {
            object.insert((*pick(random, FIELDS)).into(), value(random));
        }
    }
    let mut bytes = serde_json::to_vec(&object).unwrap();
    match random.below(20) {
        0 => bytes.truncate(random.below(bytes.len() as u32 + 1) as usize),
        1 => {
            let at = random.below(bytes.len() as u32) as usize;
            bytes[at] = random.draw() as u8;
        }
        2 => bytes = vec![b'['; random.below(100_000) as usize],
        3 => bytes = (0..random.below(1000)).map(|_| random.draw() as u8).collect(),
        _ => {}
    }
    bytes
}

fn path(random: &mut Random, route: &Route, edit: &str) -> String {
    let number = random.below(60).to_string();
    let part = match random.below(4) {
        0 => "%2e%2e%2f",
        1 => "x",
        _ => edit,
    };
    let mut path = route.path.replace("{edit}", part).replace("{n}", &number);
    path = path.replace("{card}", if random.below(4) == 0 { "nowhere" } else { "card0" });
    let mut separator = '?';
    for _ in 0..random.below(4) {
        let text = match value(random) {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let pair = serde_urlencoded::to_string([(*pick(random, FIELDS), text)]).unwrap();
        path.push(separator);
        path.push_str(&pair[..pair.len().min(4000)]);
        separator = '&';
    }
    path
}

/// One request. What comes back is in the usual shape.
async fn ask(client: &Client, random: &mut Random, edit: &str, errors: &AtomicU64) {
    let route = pick(random, ROUTES);
    // A commit that rolls back by itself, or one at a time to come, would only make the rest less random.
    let body = match route.method {
        Method::Get | Method::Delete if random.below(8) != 0 => Vec::new(),
        _ => body(random, route, edit),
    };
    let method = if random.below(20) == 0 {
        *pick(random, &["PUT", "HEAD", "PATCH", "OPTIONS", "DELETE", "POST", "GET"])
    } else {
        route.method.name()
    };
    let path = path(random, route, edit);
    let response = client.open(method, &path, body.clone()).await;
    let status = response.status().as_u16();
    let stream = matches!(route.id, RouteId::MonitorDrops | RouteId::MonitorSessions);
    if stream && status == 200 {
        return;
    }
    use http_body_util::BodyExt;
    let text = response.into_body().collect().await.unwrap().to_bytes();
    if status >= 400 && method != "HEAD" {
        errors.fetch_add(1, Ordering::Relaxed);
        let answer: Value = serde_json::from_slice(&text).unwrap_or_else(|e| {
            panic!(
                "{method} {path} {}: {status}: {e}: {text:?}",
                String::from_utf8_lossy(&body)
            )
        });
        let code: ErrorCode = serde_json::from_value(answer["error"]["code"].clone()).unwrap();
        assert_eq!(code.status(), status);
        assert_ne!(
            code,
            ErrorCode::Internal,
            "{method} {path} {}: {answer}",
            String::from_utf8_lossy(&body)
        );
    }
}

/// Bytes that are no request, or half of one.
async fn shout(client: &Client, random: &mut Random) {
    let Ok(mut stream) = tokio::net::UnixStream::connect(&client.0).await else {
        return;
    };
    let mut bytes = b"POST /v1/sessions/clear HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n{}".to_vec();
    match random.below(4) {
        0 => bytes.truncate(random.below(bytes.len() as u32) as usize),
        1 => bytes = (0..random.below(2000)).map(|_| random.draw() as u8).collect(),
        2 => bytes = b"GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n".to_vec(),
        _ => {
            for _ in 0..4 {
                let at = random.below(bytes.len() as u32) as usize;
                bytes[at] = random.draw() as u8;
            }
        }
    }
    let _ = stream.write_all(&bytes).await;
    let _ = stream.shutdown().await;
    let mut rest = vec![0; 4096];
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut rest)).await;
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_ends_the_daemon() {
    let seconds = number("NAT64_FUZZ_SECONDS").unwrap_or(2);
    let seed = number("NAT64_FUZZ_SEED").unwrap_or_else(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.unwrap().as_nanos() as u64
    });
    eprintln!("NAT64_FUZZ_SEED={seed} for {seconds} s");
    let rig = Rig::with(SEED).await;
    let panics = Arc::new(AtomicU64::new(0));
    let counted = panics.clone();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // Other tests run in this process; only the daemon's own code counts.
        if info.location().is_some_and(|at| at.file().contains("src/daemon")) {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        eprintln!("{info}");
    }));
    let until = Instant::now() + Duration::from_secs(seconds);
    let (requests, errors) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut tasks = Vec::new();
    for worker in 0..4u64 {
        let (client, requests, errors) = (rig.client(), requests.clone(), errors.clone());
        tasks.push(tokio::spawn(async move {
            let mut random = Random::new(seed ^ worker);
            let mut edit = String::from("0-0");
            while Instant::now() < until {
                if random.below(50) == 0 {
                    let mode = if worker == 0 && random.below(8) == 0 {
                        "exclusive"
                    } else {
                        "shared"
                    };
                    if let Ok(begun) = client.post("/v1/configuration/edit", &json!({"mode": mode})).await {
                        let _ = client.delete(&format!("/v1/configuration/edit/{edit}")).await;
                        edit = begun["edit"].as_str().unwrap().to_owned();
                    }
                }
                if random.below(20) == 0 {
                    shout(&client, &mut random).await;
                } else {
                    ask(&client, &mut random, &edit, &errors).await;
                }
                requests.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    // Packets go on meanwhile.
    let mut port = 1024u16;
    while Instant::now() < until {
        rig.wire
            .arrive(0, super::rig::udp6(client_address(1), port, server(), 53));
        port = port.wrapping_add(1).max(1024);
        rig.wire.forget();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for task in tasks {
        let ended = tokio::time::timeout(Duration::from_secs(60), task).await;
        ended.expect("a request hangs").unwrap();
    }
    std::panic::set_hook(before);
    assert_eq!(panics.load(Ordering::Relaxed), 0);
    // It lives, and is as it should be: whoever edits has gone, the worked example can be committed.
    let commits = rig.client().get("/v1/configuration/commits").await.unwrap();
    assert!(commits["commits"].as_array().unwrap().len() <= 50);
    assert!(rig.running.is_alive());
    let resident = nat64_host::daemon::resident_bytes().unwrap_or(0) >> 20;
    eprintln!(
        "{} requests, {} of them refused, {resident} MiB resident",
        requests.load(Ordering::Relaxed),
        errors.load(Ordering::Relaxed)
    );
    assert!(resident < 1024, "{resident} MiB");
    rig.running.stop().await;
}
