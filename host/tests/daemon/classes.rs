//! Every route as every class, and as a user who has none.

use nat64_host::api::routes::RouteId;
use nat64_host::api::{Class, Method, Route, ROUTES};
use serde_json::{json, Value};

use super::rig::{client_address, options, server, Client, Rig, SEED};

/// A request of a route that would do something if it were let.
fn body(route: &Route, edit: &str) -> Value {
    match route.id {
        RouteId::Commands => json!({"edit": edit, "commands": ["delete services"]}),
        RouteId::Load => json!({"edit": edit, "mode": "override", "text": ""}),
        RouteId::Rollback => json!({"edit": edit, "n": 1}),
        RouteId::Commit | RouteId::Update => json!({"edit": edit}),
        RouteId::Drain => json!({"pool": "src-pool-nat64", "address": "203.0.113.1"}),
        RouteId::TestPacket => json!({"protocol": "udp", "source": "2001:db8::1", "source-port": 1,
            "destination": "64:ff9b::c000:201", "destination-port": 53}),
        _ => json!({}),
    }
}

fn path(route: &Route, edit: &str) -> String {
    let path = route
        .path
        .replace("{edit}", edit)
        .replace("{n}", "0")
        .replace("{card}", "card0");
    match route.id {
        RouteId::Names => format!("{path}?kind=pool"),
        RouteId::Deterministic => format!("{path}?host=2001:db8::1"),
        _ => path,
    }
}

async fn ask(client: &Client, route: &Route, edit: &str) -> (u16, Value) {
    let body = match route.method {
        Method::Post => serde_json::to_vec(&body(route, edit)).unwrap(),
        Method::Get | Method::Delete => Vec::new(),
    };
    let response = client.open(route.method.name(), &path(route, edit), body).await;
    let status = response.status().as_u16();
    if matches!(route.id, RouteId::MonitorDrops | RouteId::MonitorSessions) && status == 200 {
        // A stream has no end.
        return (status, Value::Null);
    }
    use http_body_util::BodyExt;
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

/// A daemon with the worked example, one session and one clean edit, restarted with another class for this user.
async fn as_class(class: Option<Class>) -> (Rig, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start_with(options(dir.path(), Some(Class::SuperUser)), None).await;
    rig.commit("").await.unwrap();
    rig.commit(SEED).await.unwrap();
    rig.running.stop().await;
    let rig = Rig::start_with(options(dir.path(), class), None).await;
    rig.open_session(client_address(1), 40_000, server(), 80);
    (rig, dir)
}

/// Someone with every right and nothing begun.
fn stranger() -> nat64_host::daemon::access::Caller {
    nat64_host::daemon::access::Caller {
        user: "stranger".into(),
        uid: 60_001,
        class: Class::SuperUser,
    }
}

/// What can be changed, as the daemon's own code sees it.
async fn state(rig: &Rig) -> (String, String, usize, usize, u64) {
    let configuration = &rig.running.daemon.configuration;
    let text = |text: Result<nat64_host::api::configuration::Text, _>| text.unwrap().text;
    let card = &rig.running.daemon.cards()[0];
    let (sessions, drains) = card
        .ask(|dataplane| Ok((dataplane.counters()?.sessions, dataplane.drains()?.len())))
        .await
        .unwrap();
    (
        text(configuration.active(&Default::default())),
        text(configuration.candidate(&stranger(), &Default::default())),
        configuration.commits().commits.len(),
        configuration.commits().editors.len() + drains,
        sessions,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_user_sees_everything_and_changes_nothing() {
    let (rig, _dir) = as_class(Some(Class::ReadOnly)).await;
    let before = state(&rig).await;
    for route in ROUTES {
        let (status, answer) = ask(&rig.client(), route, "1-0").await;
        if route.class == Class::ReadOnly {
            // The software on a wire has no registers; that is not a matter of class.
            let expected = if route.id == RouteId::Registers { 501 } else { 200 };
            assert_eq!(status, expected, "{route:?}: {answer}");
        } else {
            assert_eq!(status, 403, "{route:?}: {answer}");
            assert_eq!(answer["error"]["code"], "forbidden", "{route:?}");
        }
        assert_eq!(state(&rig).await, before, "{route:?}");
    }
    rig.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_clears_and_drains_but_does_not_configure() {
    let (rig, _dir) = as_class(Some(Class::Operator)).await;
    let before = state(&rig).await;
    for route in ROUTES.iter().filter(|route| route.class > Class::ReadOnly) {
        let (status, answer) = ask(&rig.client(), route, "1-0").await;
        let expected = if route.class == Class::SuperUser { 403 } else { 200 };
        assert_eq!(status, expected, "{route:?}: {answer}");
    }
    let after = state(&rig).await;
    assert_eq!((&after.0, &after.1, after.2), (&before.0, &before.1, before.2));
    assert_eq!(
        (after.3, after.4),
        (1, 0),
        "the address is drained, the session is gone"
    );
    rig.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_super_user_may_do_everything_with_an_edit_of_its_own() {
    let (rig, _dir) = as_class(Some(Class::SuperUser)).await;
    let client = rig.client();
    let edit = client.post("/v1/configuration/edit", &json!({})).await.unwrap();
    let edit = edit["edit"].as_str().unwrap().to_owned();
    for route in ROUTES {
        let (status, answer) = ask(&client, route, &edit).await;
        let expected: &[u16] = match route.id {
            RouteId::Registers => &[501],
            // There is none.
            RouteId::CommitCancel => &[404],
            // `EditEnd` came before in the list, so the edit is over.
            RouteId::Commands | RouteId::Load | RouteId::Rollback | RouteId::Update | RouteId::Commit => &[404],
            _ => &[200],
        };
        assert!(expected.contains(&status), "{route:?}: {status} {answer}");
    }
    rig.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_a_class_gets_nothing() {
    let (rig, _dir) = as_class(None).await;
    let before = state(&rig).await;
    for route in ROUTES {
        let (status, answer) = ask(&rig.client(), route, "1-0").await;
        assert_eq!(status, 403, "{route:?}: {answer}");
        assert!(
            answer["error"]["message"].as_str().unwrap().contains("has no class"),
            "{answer}"
        );
    }
    // Not even whether something exists.
    let (status, _) = rig.client().send("GET", "/v1/nowhere", Vec::new()).await;
    assert_eq!(status.as_u16(), 403);
    assert_eq!(state(&rig).await, before);
    rig.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_belongs_to_who_began_it_and_an_exclusive_one_keeps_others_away() {
    let rig = Rig::with(SEED).await;
    let client = rig.client();
    let mine = client
        .post("/v1/configuration/edit", &json!({"mode": "exclusive"}))
        .await
        .unwrap();
    let mine = mine["edit"].as_str().unwrap().to_owned();
    let other = client.post("/v1/configuration/edit", &json!({})).await;
    let locked = match other {
        Err(error) => error,
        Ok(edit) => {
            let body = json!({"edit": edit["edit"], "commands": ["delete services"]});
            client
                .post("/v1/configuration/candidate/commands", &body)
                .await
                .unwrap_err()
        }
    };
    assert_eq!(locked["code"], "conflict", "{locked}");
    let stranger = stranger();
    let configuration = &rig.running.daemon.configuration;
    assert!(configuration.touch(&stranger, &mine).is_err());
    assert!(configuration.end(&stranger, &mine).is_err());
    client.get(&format!("/v1/configuration/edit/{mine}")).await.unwrap();
    client.delete(&format!("/v1/configuration/edit/{mine}")).await.unwrap();
    client.get(&format!("/v1/configuration/edit/{mine}")).await.unwrap_err();
    rig.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn private_edits_have_candidates_of_their_own() {
    let rig = Rig::with(SEED).await;
    let client = rig.client();
    let begin = || async {
        let edit = client.post("/v1/configuration/edit", &json!({"mode": "private"})).await;
        edit.unwrap()["edit"].as_str().unwrap().to_owned()
    };
    let (one, two) = (begin().await, begin().await);
    let plain = client.post("/v1/configuration/edit", &json!({})).await.unwrap_err();
    assert_eq!(plain["code"], "conflict", "{plain}");
    let change = |edit: &str, command: &str| {
        let body = json!({"edit": edit, "commands": [command]});
        let client = client.clone();
        async move {
            client
                .post("/v1/configuration/candidate/commands", &body)
                .await
                .unwrap()
        }
    };
    let timeout = "set services nat pool src-pool-nat64 mapping-timeout";
    change(&one, &format!("{timeout} 200")).await;
    change(&two, &format!("{timeout} 300")).await;
    change(&two, "set services service-set sset-nat64 max-flows 77").await;
    let shown = |edit: &str| {
        let path = format!("/v1/configuration/candidate/compare?edit={edit}");
        let client = client.clone();
        async move { client.get(&path).await.unwrap()["text"].as_str().unwrap().to_owned() }
    };
    let (first, second) = (shown(&one).await, shown(&two).await);
    assert!(
        first.contains("mapping-timeout 200") && !first.contains("77"),
        "{first}"
    );
    assert!(
        second.contains("mapping-timeout 300") && second.contains("max-flows 77"),
        "{second}"
    );
    let shared = client.get("/v1/configuration/candidate/compare").await.unwrap();
    assert_eq!(shared["differs"], false, "{shared}");

    client
        .post("/v1/configuration/commit", &json!({"edit": one}))
        .await
        .unwrap();
    let clash = client
        .post("/v1/configuration/commit", &json!({"edit": two}))
        .await
        .unwrap_err();
    assert_eq!(clash["code"], "conflict", "{clash}");
    let said = clash["places"][0]["message"].as_str().unwrap();
    assert!(
        said.contains("mapping-timeout 300") && said.contains("mapping-timeout 200"),
        "{said}"
    );
    let updated = client
        .post("/v1/configuration/candidate/update", &json!({"edit": two}))
        .await
        .unwrap();
    assert_eq!(updated["warnings"].as_array().unwrap().len(), 1, "{updated}");
    client
        .post("/v1/configuration/commit", &json!({"edit": two}))
        .await
        .unwrap();
    let active = client.get("/v1/configuration/active?format=set").await.unwrap();
    let text = active["text"].as_str().unwrap();
    assert!(
        text.contains("mapping-timeout 300") && text.contains("max-flows 77"),
        "{text}"
    );
    for edit in [one, two] {
        client.delete(&format!("/v1/configuration/edit/{edit}")).await.unwrap();
    }
    let plain = client.post("/v1/configuration/edit", &json!({})).await.unwrap();
    let plain = plain["edit"].as_str().unwrap();
    let update = client
        .post("/v1/configuration/candidate/update", &json!({"edit": plain}))
        .await
        .unwrap_err();
    assert!(update["message"].as_str().unwrap().contains("private"), "{update}");
    rig.running.stop().await;
}
