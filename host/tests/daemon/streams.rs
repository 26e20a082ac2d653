//! Monitors, syslog, metrics, the end of the daemon.

use std::time::Duration;

use http_body_util::BodyExt;
use nat64_host::api::monitor::Event;
use nat64_host::api::Class;
use serde_json::json;

use super::example::wait_for;
use super::rig::{client_address, openers, options, server, syn, Rig, Wire, SEED};
use nat64_host::daemon::journal::LogBuffer;
use nat64_host::daemon::service::{Running, StartError, Stored};

/// The next line of a stream that is no sign of life.
async fn next(stream: &mut hyper::body::Incoming, rest: &mut Vec<u8>) -> Event {
    loop {
        if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            match serde_json::from_slice(&line).unwrap() {
                Event::Idle(_) => continue,
                event => return event,
            }
        }
        let frame = tokio::time::timeout(Duration::from_secs(20), stream.frame()).await;
        let frame = frame.expect("a line within 20 s").expect("the stream goes on").unwrap();
        rest.extend_from_slice(&frame.into_data().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_drops_are_monitored_as_they_happen() {
    let rig = Rig::with(SEED).await;
    let client = rig.client();
    let path = "/v1/monitor/sessions?source-prefix=2001:db8::1";
    let response = client.open("GET", path, Vec::new()).await;
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let (mut sessions, mut rest) = (response.into_body(), Vec::new());
    let path = "/v1/monitor/drops?interval=100";
    let (mut drops, mut drops_rest) = (client.open("GET", path, Vec::new()).await.into_body(), Vec::new());
    // Another client's session does not match the filter.
    rig.open_session(client_address(2), 40_000, server(), 80);
    rig.open_session(client_address(1), 40_001, server(), 80);
    let Event::SessionOpen(opened) = next(&mut sessions, &mut rest).await else {
        panic!()
    };
    assert_eq!((opened.client_address, opened.client_port), (client_address(1), 40_001));
    assert_eq!(opened.service_set_name, "sset-nat64");
    client.post("/v1/sessions/clear", &json!({})).await.unwrap();
    let Event::SessionClose(closed) = next(&mut sessions, &mut rest).await else {
        panic!()
    };
    assert_eq!((closed.session_id, closed.six_to_four.packets), (opened.session_id, 1));

    tokio::time::sleep(Duration::from_millis(300)).await;
    for _ in 0..3 {
        rig.wire
            .arrive(0, syn("2001:db8:ffff::1".parse().unwrap(), 1, server(), 80));
    }
    let mut found = 0;
    while found < 3 {
        let Event::Drops(event) = next(&mut drops, &mut drops_rest).await else {
            panic!()
        };
        assert_eq!(event.reasons[0].reason, "NoRule");
        found += event.reasons[0].packets;
    }
    assert_eq!(found, 3);
    // The end of the daemon is the end of the streams.
    rig.running.stop().await;
    assert!(sessions.frame().await.is_none_or(|end| end.is_err()));
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_told_to_syslog_hosts_and_what_is_held_back_is_counted() {
    let host = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = host.local_addr().unwrap().port();
    let rig = Rig::with(SEED).await;
    let client = rig.client();
    let edit = client.post("/v1/configuration/edit", &json!({})).await.unwrap();
    let edit = edit["edit"].as_str().unwrap();
    let set = "set services service-set sset-nat64";
    let commands = [
        format!("{set} syslog host 127.0.0.1 services any"),
        format!("{set} syslog host 127.0.0.1 port {port}"),
        format!("{set} syslog host 127.0.0.1 facility-override local3"),
        format!("{set} syslog host 127.0.0.1 log-prefix nat"),
        format!("{set} syslog message-rate-limit 4"),
        format!("{set} service-set-options enable-descriptive-session-syslog"),
    ];
    let body = json!({"edit": edit, "commands": commands});
    client
        .post("/v1/configuration/candidate/commands", &body)
        .await
        .unwrap();
    client
        .post("/v1/configuration/commit", &json!({"edit": edit}))
        .await
        .unwrap();
    let receive = || async {
        let mut buffer = vec![0; 2048];
        let received = tokio::time::timeout(Duration::from_secs(10), host.recv(&mut buffer)).await;
        let length = received.expect("a message within 10 s").unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    rig.open_session(client_address(1), 40_000, server(), 80);
    let open = receive().await;
    // local3 is 19, informational 6.
    assert!(open.starts_with("<158>1 20"), "{open}");
    let told = "JSERVICES_SESSION_OPEN: application:tcp, ";
    assert!(open.contains(" nat64d "), "{open}");
    assert!(
        open.contains(&format!(" JSERVICES_SESSION_OPEN - nat: {told}")),
        "{open}"
    );
    assert!(open.contains("2001:db8::1:40000 [203.0.113."), "{open}");
    assert!(open.ends_with("] -> [192.0.2.1] 64:ff9b::c000:201:80 (TCP)"), "{open}");
    let matched = receive().await;
    assert!(
        matched.contains("Match NAT rule-set: (null), rule: stateful-nat64, term: t1"),
        "{matched}"
    );
    client.post("/v1/sessions/clear", &json!({})).await.unwrap();
    let close = receive().await;
    assert!(close.contains("JSERVICES_SESSION_CLOSE: "), "{close}");
    assert!(close.contains("forward packets: 1, forward bytes: "), "{close}");
    // More than four a second: some are held back, and it is told how many.
    for n in 0..10 {
        rig.open_session(client_address(10 + n), 40_000, server(), 80);
    }
    let totals = wait_for(|| async {
        let totals = rig.running.daemon.syslog.totals();
        // They are made one after another: the first that is held back is not yet all of them.
        Some(totals).filter(|totals| totals.limited >= 10)
    })
    .await;
    assert_eq!(totals.failed, 0);
    tokio::time::sleep(Duration::from_millis(600)).await;
    rig.open_session(client_address(30), 40_000, server(), 80);
    let mut suppressed = receive().await;
    while !suppressed.contains("JSERVICES_SYSLOG_SUPPRESSED") {
        suppressed = receive().await;
    }
    assert!(
        suppressed.contains("messages held back by message-rate-limit"),
        "{suppressed}"
    );
    rig.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_served_where_they_are_configured_and_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start_with(options(dir.path(), Some(Class::SuperUser)), None).await;
    rig.commit(SEED).await.unwrap();
    rig.open_session(client_address(1), 40_000, server(), 80);
    let (status, text) = rig.client().send("GET", "/metrics", Vec::new()).await;
    assert!(status.is_success());
    let text = String::from_utf8(text.to_vec()).unwrap();
    for line in [
        "nat64_card_up{card=\"card0\"} 1.0",
        "nat64_sessions{card=\"card0\",service_set=\"sset-nat64\"} 1.0",
        "nat64_translated_packets_total{card=\"card0\",direction=\"six-to-four\",by=\"host\"} 1",
        "nat64_pool_ports_in_use{card=\"card0\",pool=\"src-pool-nat64\",protocol=\"tcp\"} 1.0",
        "nat64_originated_packets_total{card=\"card0\",kind=\"discovery-request\"} 1",
        "nat64_consumed_packets_total{card=\"card0\",kind=\"discovery\"} 1",
        "nat64_waiting_packets{card=\"card0\",for=\"next-hop\"} 0.0",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    // Nothing listens on the network.
    let listening = || listening_ports();
    assert_eq!(listening(), [] as [u16; 0]);
    // The configuration names an address: it is served there, and not any more when the statement is gone.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let client = rig.client();
    let edit = client.post("/v1/configuration/edit", &json!({})).await.unwrap();
    let edit = edit["edit"].as_str().unwrap();
    let commit = |commands: Vec<String>| {
        let client = client.clone();
        async move {
            let body = json!({"edit": edit, "commands": commands});
            client
                .post("/v1/configuration/candidate/commands", &body)
                .await
                .unwrap();
            client
                .post("/v1/configuration/commit", &json!({"edit": edit}))
                .await
                .unwrap();
        }
    };
    commit(vec![format!("set nat64-nic metrics listen 127.0.0.1 port {port}")]).await;
    let scraped = wait_for(|| async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok()?;
        Some(text)
    })
    .await;
    assert!(scraped.contains("nat64_card_up"), "{scraped}");
    assert_eq!(listening(), [port]);
    commit(vec!["delete nat64-nic metrics".into()]).await;
    wait_for(|| async { Some(()).filter(|()| listening().is_empty()) }).await;
    rig.running.stop().await;
}

/// TCP ports this process listens on.
fn listening_ports() -> Vec<u16> {
    let mut inodes = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").unwrap().flatten() {
        if let Ok(target) = std::fs::read_link(entry.path()) {
            if let Some(inode) = target
                .to_str()
                .and_then(|t| t.strip_prefix("socket:[")?.strip_suffix(']'))
            {
                inodes.push(inode.to_owned());
            }
        }
    }
    let mut ports = Vec::new();
    for file in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        let Ok(text) = std::fs::read_to_string(file) else {
            continue;
        };
        for line in text.lines().skip(1) {
            let columns: Vec<&str> = line.split_whitespace().collect();
            if columns[3] == "0A" && inodes.contains(&columns[9].to_owned()) {
                let port = columns[1].rsplit(':').next().unwrap();
                ports.push(u16::from_str_radix(port, 16).unwrap());
            }
        }
    }
    ports
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_is_refused_and_the_next_one_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start_with(options(dir.path(), Some(Class::SuperUser)), None).await;
    rig.commit(SEED).await.unwrap();
    assert!(matches!(Stored::open(&rig.folder), Err(StartError::InUse { .. })));
    // Another folder, the same socket.
    let other = tempfile::tempdir().unwrap();
    let mut second = options(other.path(), Some(Class::SuperUser));
    second.socket = rig.socket.clone();
    let stored = Stored::open(&second.folder).unwrap();
    let started = Running::start(second, stored, Some(openers(&Wire::default())), LogBuffer::default()).await;
    assert!(matches!(started, Err(StartError::Socket { .. })));
    // What is no socket is not removed.
    let mut third = options(other.path(), Some(Class::SuperUser));
    third.folder = other.path().join("third");
    third.socket = other.path().join("precious");
    std::fs::write(&third.socket, "text").unwrap();
    let stored = Stored::open(&third.folder).unwrap();
    let started = Running::start(third, stored, Some(openers(&Wire::default())), LogBuffer::default()).await;
    assert!(matches!(started, Err(StartError::Socket { .. })));
    assert_eq!(std::fs::read(other.path().join("precious")).unwrap(), b"text");

    let socket = rig.socket.clone();
    rig.running.stop().await;
    assert!(!socket.exists());
    let rig = Rig::start_with(options(dir.path(), Some(Class::SuperUser)), None).await;
    let system: nat64_host::api::system::System = rig.client().get_as("/v1/system").await;
    assert_eq!((system.commit, system.alarms), (Some(1), vec![]));
    rig.open_session(client_address(1), 40_000, server(), 80);
    rig.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn support_information_has_everything_in_one_text() {
    let rig = Rig::with(SEED).await;
    let (status, text) = rig.client().send("POST", "/v1/support", Vec::new()).await;
    assert!(status.is_success());
    let text = String::from_utf8(text.to_vec()).unwrap();
    for part in [
        "nat64d ",
        "=== active configuration ===\nservices {",
        "=== card card0",
        "=== metrics ===",
        "=== log ===",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    rig.running.stop().await;
}
