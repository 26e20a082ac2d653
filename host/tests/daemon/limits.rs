//! What a client cannot do to the daemon, and what a listing cannot do to the packets.

use std::time::{Duration, Instant};

use nat64_host::api::sessions::{Session, SessionsCleared};
use nat64_host::api::{Class, Page};
use nat64_host::daemon::server::Limits;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::example::wait_for;
use super::rig::{client_address, options, server, udp6, Rig, SEED};

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_refused_with_an_error_of_the_usual_shape() {
    let rig = Rig::with(SEED).await;
    let client = rig.client();
    for (method, path, body, status, says) in [
        ("GET", "/v1/nowhere", "", 404, "/v1/nowhere"),
        ("DELETE", "/v1/sessions", "", 405, "DELETE"),
        ("GET", "/v1/sessions?source-prot=1", "", 400, "source-prot"),
        ("GET", "/v1/sessions?source-prefix=somewhere", "", 400, "somewhere"),
        ("GET", "/v1/sessions?protocol=gre", "", 400, "gre"),
        (
            "GET",
            "/v1/sessions?application-protocol=ftp",
            "",
            400,
            "no application gateway for `ftp`",
        ),
        (
            "GET",
            "/v1/sessions?application-protocol=gopher",
            "",
            400,
            "`gopher` is no application protocol",
        ),
        ("GET", "/v1/log?newest=many", "", 400, "query cannot be read"),
        ("GET", "/v1/sessions?limit=0", "", 400, "limit"),
        ("GET", "/v1/sessions?cursor=x", "", 400, "cursor"),
        ("GET", "/v1/sessions?card=card7", "", 404, "card7"),
        ("GET", "/v1/cards/card7/registers", "", 404, "card7"),
        ("GET", "/v1/configuration/rollback/99", "", 404, "99"),
        ("GET", "/v1/configuration/active?path=servces", "", 400, "servces"),
        ("GET", "/v1/names?kind=unicorn", "", 400, "unicorn"),
        (
            "POST",
            "/v1/sessions/clear",
            "{\"source-prfix\": \"::/0\"}",
            400,
            "source-prfix",
        ),
        ("POST", "/v1/sessions/clear", "{", 400, "body"),
        ("POST", "/v1/sessions/clear", "[]", 400, "body"),
        (
            "POST",
            "/v1/configuration/edit",
            "{\"mode\": \"secret\"}",
            400,
            "secret",
        ),
        ("POST", "/v1/configuration/commit", "{\"edit\": \"7-7\"}", 404, "edit"),
        ("GET", "/v1/configuration/candidate?edit=7-7", "", 404, "edit"),
        ("GET", "/v1/configuration/candidate/compare?edit=7-7", "", 404, "edit"),
        (
            "POST",
            "/v1/configuration/candidate/check",
            "{\"edit\": \"7-7\"}",
            404,
            "edit",
        ),
        ("POST", "/v1/configuration/candidate/update", "{}", 404, "edit"),
    ] {
        let (found, answer) = client.send(method, path, body.into()).await;
        let text = String::from_utf8_lossy(&answer).into_owned();
        assert_eq!(found.as_u16(), status, "{method} {path}: {text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}: {text}"));
        let message = value["error"]["message"].as_str().unwrap();
        assert!(message.contains(says), "{method} {path}: {message}");
    }
    let long = vec![b' '; (64 << 10) + 1];
    let (status, _) = client.send("POST", "/v1/sessions/clear", long).await;
    assert_eq!(status.as_u16(), 413);
    rig.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_and_heads_have_limits() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path(), Some(Class::SuperUser));
    options.limits = Limits {
        connections: 8,
        connections_per_user: 4,
        head: 8 << 10,
        head_time: Duration::from_millis(200),
        ..Limits::default()
    };
    let rig = Rig::start_with(options, None).await;
    let connect = || tokio::net::UnixStream::connect(&rig.socket);
    // A head that does not come: the connection ends by itself.
    let mut slow = connect().await.unwrap();
    slow.write_all(b"GET /v1/whoami HTTP/1.1\r\nx: ").await.unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), slow.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the connection stays open");
    // A head without end.
    let mut long = connect().await.unwrap();
    let head = vec![b'x'; 64 << 10];
    let _ = long.write_all(b"GET /v1/whoami HTTP/1.1\r\nx: ").await;
    let _ = long.write_all(&head).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), long.read_to_end(&mut answer)).await;
    assert!(
        !answer.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    // Rubbish.
    let mut rubbish = connect().await.unwrap();
    let _ = rubbish.write_all(&[0xff; 100]).await;
    let _ = tokio::time::timeout(Duration::from_secs(5), rubbish.read_to_end(&mut Vec::new())).await;
    // Too many connections of one user: the fifth is told so.
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(connect().await.unwrap());
    }
    let (status, answer) = wait_for(|| async {
        let answer = rig.client().send("GET", "/v1/whoami", Vec::new()).await;
        Some(answer).filter(|(status, _)| status.as_u16() == 429)
    })
    .await;
    assert_eq!(status.as_u16(), 429, "{}", String::from_utf8_lossy(&answer));
    drop(held);
    wait_for(|| async {
        let (status, _) = rig.client().send("GET", "/v1/whoami", Vec::new()).await;
        Some(()).filter(|()| status.is_success())
    })
    .await;
    rig.running.stop().await;
}

/// Sessions in the listing test; a million with `NAT64_LISTING=1000000`.
fn how_many() -> u32 {
    let asked = std::env::var("NAT64_LISTING").ok();
    asked.map_or(100_000, |text| text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_listing_does_not_hold_up_the_packets() {
    let rig = Rig::with(SEED).await;
    let client = rig.client();
    let many = how_many();
    // 60,000 ports of each client.
    let flows = (0..many).map(|n| udp6(client_address(1 + n / 60_000), 1024 + (n % 60_000) as u16, server(), 53));
    for frame in flows {
        rig.wire.arrive(0, frame);
    }
    // With them the answer to an ARP request.
    rig.drain(u64::from(many) + 1);
    rig.wire.forget();
    let drops = client.get("/v1/drops").await.unwrap();
    let card = &rig.running.daemon.cards()[0];
    let sessions = card.ask(|dataplane| Ok(dataplane.counters()?.sessions)).await.unwrap();
    assert_eq!(sessions, u64::from(many), "{drops}");

    // Every session once, while packets go on.
    let hold = rig.running.daemon.cards()[0].load().longest_hold;
    let start = Instant::now();
    let (mut seen, mut cursor, mut pages) = (std::collections::HashSet::new(), String::new(), 0);
    loop {
        let page: Page<Session> = client.get_as(&format!("/v1/sessions?protocol=udp{cursor}")).await;
        pages += 1;
        for session in &page.items {
            assert!(
                seen.insert((session.client_address, session.client_port)),
                "{session:?}"
            );
        }
        match page.cursor {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let listed = start.elapsed();
    assert_eq!(seen.len(), many as usize);
    // A filter that finds nothing walks the whole table in one request.
    let start = Instant::now();
    let none: Page<Session> = client.get_as("/v1/sessions?source-prefix=2001:db8:1::/48").await;
    let searched = start.elapsed();
    assert!(none.items.is_empty());
    let longest = rig.running.daemon.cards()[0].load().longest_hold;
    eprintln!(
        "{many} sessions: {pages} pages in {listed:?}, searched in {searched:?}, longest hold {longest:?} ({hold:?} before)"
    );
    // A slice takes a quarter of a millisecond; the rest is a loaded machine's.
    assert!(longest < Duration::from_millis(100), "{longest:?}");

    let start = Instant::now();
    let cleared = client.post("/v1/sessions/clear", &json!({})).await.unwrap();
    let cleared: Vec<SessionsCleared> = serde_json::from_value(cleared).unwrap();
    assert_eq!(cleared[0].sess_marked_for_deletion, u64::from(many));
    let longest = rig.running.daemon.cards()[0].load().longest_hold;
    eprintln!("cleared in {:?}, longest hold {longest:?}", start.elapsed());
    assert!(longest < Duration::from_millis(100), "{longest:?}");
    rig.running.stop().await;
}

/// Two cards, each with a service set of its own.
const TWO: &str = "
set nat64-nic card card0 soft
set nat64-nic card card0 service-interface ms-0/1/0
set nat64-nic card card1 soft
set nat64-nic card card1 service-interface ms-0/2/0
set services nat pool second address 198.51.100.0/24
set services nat rule two match-direction input
set services nat rule two term t1 from destination-address 64:ff9b::/96
set services nat rule two term t1 then translated source-pool second
set services nat rule two term t1 then translated destination-prefix 64:ff9b::/96
set services nat rule two term t1 then translated translation-type stateful-nat64
set services service-set two nat-rules two
set services service-set two interface-service service-interface ms-0/2/0
";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_slow_card_holds_up_nobody_elses_requests() {
    let rig = Rig::start().await;
    let seed = nat64_host::config::parse(SEED, "seed.conf").unwrap().to_set();
    rig.commit(&format!("{seed}{TWO}")).await.unwrap();
    let cards = rig.running.daemon.cards();
    let slow = cards.iter().find(|card| *card.name == *"card1").unwrap().clone();
    let hold = Duration::from_secs(6);
    let begin = Instant::now();
    let held = tokio::spawn(async move {
        let asked = slow.ask(move |_| {
            std::thread::sleep(hold);
            Ok(())
        });
        asked.await
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    // Of the other card everything is told at once, of both as soon as it is plain that one does not answer.
    let client = rig.client();
    for path in [
        "/v1/sessions?card=card0",
        "/v1/nat/mappings?card=card0",
        "/v1/drops?card=card0",
        "/v1/neighbours?card=card0",
        "/v1/cards?card=card0",
        "/v1/configuration/active",
        "/v1/names?kind=card",
    ] {
        let start = Instant::now();
        client.get(path).await.unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(
            start.elapsed() < Duration::from_millis(900),
            "{path}: {:?}",
            start.elapsed()
        );
    }
    let start = Instant::now();
    let (cards, metrics) = tokio::join!(client.get("/v1/cards"), client.send("GET", "/metrics", Vec::new()));
    let took = start.elapsed();
    let cards = cards.unwrap();
    let of = |name: &str| {
        cards
            .as_array()
            .unwrap()
            .iter()
            .find(|card| card["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(of("card0")["state"], "online", "{cards}");
    let fault = of("card1")["fault"]
        .as_str()
        .unwrap_or_else(|| panic!("{cards}"))
        .to_owned();
    assert!(fault.contains("no answer within 1 s"), "{fault}");
    assert!(metrics.0.is_success() && String::from_utf8_lossy(&metrics.1).contains("card=\"card0\""));
    assert!(begin.elapsed() < hold, "all of it while the card was slow");
    assert!(took < Duration::from_secs(3), "{took:?}");
    held.await.unwrap().unwrap();
    wait_for(|| async { (client.get("/v1/cards").await.unwrap()[1]["state"] == "online").then_some(()) }).await;
    rig.running.stop().await;
}
