//! The commit engine on a real directory: commits, rollbacks, confirmation, time, locks, refusals.

#[path = "common/card.rs"]
mod card;

use std::time::Duration;

use card::Card;
use nat64_host::config::{BuildOptions, EditPath, LoadMode};
use nat64_host::store::{
    Changes, CommitError, CommitRequest, Disk, Engine, EngineError, Event, SessionId, Sharing, StoreError, UnixTime,
    ROLLBACKS,
};

const SEED: &str = include_str!("../../examples/seed.conf");

struct Bench {
    directory: tempfile::TempDir,
    engine: Engine<Disk>,
    card: Card,
    session: SessionId,
    now: UnixTime,
}

fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

impl Bench {
    /// A daemon with the worked example committed.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let now = UnixTime(1_764_000_000_000);
        let (mut engine, opened) =
            Engine::open(Disk::open(directory.path()).unwrap(), BuildOptions::default()).unwrap();
        assert_eq!(opened, Default::default());
        let mut card = Card::default();
        assert!(engine.start(&mut card, now).unwrap().is_empty());
        let session = engine.enter("alice", "cli", Sharing::Shared, now).unwrap();
        let mut bench = Self {
            directory,
            engine,
            card,
            session,
            now,
        };
        bench.load(SEED);
        bench.commit(&CommitRequest::default()).unwrap();
        bench
    }

    fn load(&mut self, text: &str) {
        self.engine
            .load(self.session, &EditPath::top(), LoadMode::Override, false, text, "t")
            .unwrap();
    }

    fn edit(&mut self, line: &str) {
        self.engine.edit(self.session, &EditPath::top(), line).unwrap();
    }

    /// Gives the pool another name, everywhere.
    fn name_pool(&mut self, name: &str) {
        let old = self.candidate_pool();
        self.edit(&format!("replace pattern {old} with {name}"));
    }

    fn candidate_pool(&self) -> String {
        let nat = self.engine.candidate().root().at(&["services", "nat", "pool"]);
        nat.unwrap().value().to_string()
    }

    fn commit(&mut self, request: &CommitRequest) -> Result<nat64_host::store::CommitReport, CommitError> {
        self.engine.commit(self.session, &mut self.card, request, self.now)
    }

    fn tick(&mut self, later: Duration) -> Vec<Event> {
        self.now = self.now.plus(later);
        self.engine.tick(&mut self.card, self.now)
    }

    /// The daemon dies and comes back.
    fn restart(self) -> (Self, Vec<Event>) {
        let Self {
            directory, engine, now, ..
        } = self;
        drop(engine);
        let (mut engine, opened) =
            Engine::open(Disk::open(directory.path()).unwrap(), BuildOptions::default()).unwrap();
        assert!(opened.torn.is_empty(), "{:?}", opened.torn);
        let mut card = Card::default();
        let events = engine.start(&mut card, now).unwrap();
        let session = engine.enter("bob", "cli", Sharing::Shared, now).unwrap();
        let bench = Self {
            directory,
            engine,
            card,
            session,
            now,
        };
        (bench, events)
    }
}

#[test]
fn commits_are_kept_and_come_back() {
    let mut bench = Bench::new();
    bench.name_pool("second");
    let request = CommitRequest {
        comment: Some("another \"name\"\nfor the pool".into()),
        ..CommitRequest::default()
    };
    let report = bench.commit(&request).unwrap();
    assert_eq!((report.commit.unwrap().number, report.applied.sessions_kept), (2, 7));
    assert_eq!(bench.card.pool().as_deref(), Some("second"));
    // Nothing to do: nothing is written.
    assert!(bench.commit(&CommitRequest::default()).unwrap().commit.is_none());

    let (mut bench, events) = bench.restart();
    assert!(events.is_empty());
    assert_eq!(bench.card.pool().as_deref(), Some("second"));
    let history = bench.engine.history();
    let told: Vec<_> = history
        .iter()
        .map(|c| (c.number, c.user.as_str(), c.comment.as_deref()))
        .collect();
    assert_eq!(
        told,
        [(2, "alice", Some("another \"name\"\nfor the pool")), (1, "alice", None)]
    );

    bench.engine.rollback(bench.session, 1).unwrap();
    assert!(!bench.engine.compare(None, 0).unwrap().is_empty());
    assert!(bench.engine.compare(None, 1).unwrap().is_empty());
    bench.commit(&CommitRequest::default()).unwrap();
    assert_eq!(bench.card.pool().as_deref(), Some("src-pool-nat64"));
    assert!(matches!(
        bench.engine.rollback(bench.session, 3),
        Err(Changes::Store(StoreError::NoSuchRollback { number: 3, count: 3 }))
    ));
}

#[test]
fn fifty_commits_are_kept() {
    let mut bench = Bench::new();
    for i in 0..ROLLBACKS + 5 {
        bench.name_pool(&format!("pool-{i}"));
        bench.commit(&CommitRequest::default()).unwrap();
    }
    assert_eq!(bench.engine.history().len(), ROLLBACKS);
    let files = std::fs::read_dir(bench.directory.path()).unwrap().count();
    assert_eq!(files, ROLLBACKS + 1, "and the lock");
    let (bench, _) = bench.restart();
    assert_eq!(bench.engine.history().len(), ROLLBACKS);
    let oldest = bench.engine.rollback_tree(ROLLBACKS - 1).unwrap();
    assert!(oldest.to_set().contains("pool pool-5 "), "{}", oldest.to_set());
}

#[test]
fn an_unconfirmed_commit_goes_away() {
    let mut bench = Bench::new();
    bench.name_pool("risky");
    bench.commit(&CommitRequest::confirmed()).unwrap();
    assert_eq!(bench.engine.next_due(), Some(bench.now.plus(minutes(10))));
    assert!(bench.tick(minutes(9)).is_empty());
    assert_eq!(bench.card.pool().as_deref(), Some("risky"));
    let events = bench.tick(minutes(1));
    assert!(
        matches!(&events[..], [Event::RolledBack { from, result: Ok(_) }] if from.number == 2),
        "{events:?}"
    );
    assert_eq!(bench.card.pool().as_deref(), Some("src-pool-nat64"));
    assert_eq!(bench.candidate_pool(), "src-pool-nat64");
    assert_eq!(bench.engine.next_due(), None);
    assert_eq!(
        bench.engine.history()[0].comment.as_deref(),
        Some("commit 2 was not confirmed; back to 1")
    );
    let (bench, events) = bench.restart();
    assert!(events.is_empty());
    assert_eq!(bench.card.pool().as_deref(), Some("src-pool-nat64"));
}

#[test]
fn it_goes_away_while_the_daemon_is_not_there_too() {
    let mut bench = Bench::new();
    bench.name_pool("risky");
    bench.commit(&CommitRequest::confirmed()).unwrap();
    bench.now = bench.now.plus(minutes(11));
    let (bench, events) = bench.restart();
    assert!(
        matches!(&events[..], [Event::RolledBack { result: Ok(_), .. }]),
        "{events:?}"
    );
    assert_eq!(bench.card.pool().as_deref(), Some("src-pool-nat64"));

    // Not yet due: the deadline survives.
    let mut bench = Bench::new();
    bench.name_pool("risky");
    bench.commit(&CommitRequest::confirmed()).unwrap();
    bench.now = bench.now.plus(minutes(4));
    let (mut bench, events) = bench.restart();
    assert!(events.is_empty());
    assert_eq!(bench.card.pool().as_deref(), Some("risky"));
    assert_eq!(bench.tick(minutes(6)).len(), 1);
    assert_eq!(bench.card.pool().as_deref(), Some("src-pool-nat64"));
}

#[test]
fn a_commit_confirms() {
    let mut bench = Bench::new();
    bench.name_pool("risky");
    bench.commit(&CommitRequest::confirmed()).unwrap();
    let report = bench.commit(&CommitRequest::default()).unwrap();
    assert!(report.confirmed && report.commit.is_none());
    assert!(bench.tick(minutes(60)).is_empty());
    let (mut bench, events) = bench.restart();
    assert!(events.is_empty() && bench.engine.confirm_by().is_none());
    // With other changes in between, too.
    bench.name_pool("second");
    bench.commit(&CommitRequest::confirmed()).unwrap();
    bench.name_pool("third");
    assert!(bench.commit(&CommitRequest::default()).unwrap().confirmed);
    assert!(bench.tick(minutes(60)).is_empty());
    assert_eq!(bench.card.pool().as_deref(), Some("third"));
    // Two unconfirmed ones in a row both go.
    for name in ["fourth", "fifth"] {
        bench.name_pool(name);
        bench.commit(&CommitRequest::confirmed()).unwrap();
    }
    assert_eq!(bench.tick(minutes(10)).len(), 1);
    assert_eq!(bench.card.pool().as_deref(), Some("third"));
}

#[test]
fn the_first_commit_unconfirmed_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let now = UnixTime(1_764_000_000_000);
    let (mut engine, _) = Engine::open(Disk::open(directory.path()).unwrap(), BuildOptions::default()).unwrap();
    let mut card = Card::default();
    let session = engine.enter("alice", "cli", Sharing::Shared, now).unwrap();
    engine
        .load(session, &EditPath::top(), LoadMode::Override, false, SEED, "t")
        .unwrap();
    engine
        .commit(session, &mut card, &CommitRequest::confirmed(), now)
        .unwrap();
    let events = engine.tick(&mut card, now.plus(minutes(10)));
    assert!(
        matches!(&events[..], [Event::RolledBack { result: Ok(_), .. }]),
        "{events:?}"
    );
    assert!(card.running.unwrap().cards.is_empty());
    assert!(engine.active().root().children().is_empty());
}

#[test]
fn a_commit_waits_for_its_time() {
    let mut bench = Bench::new();
    bench.name_pool("later");
    let at = |bench: &Bench, n| CommitRequest {
        at: Some(bench.now.plus(minutes(n))),
        ..CommitRequest::default()
    };
    let request = at(&bench, 5);
    assert_eq!(bench.commit(&request).unwrap().scheduled, request.at);
    assert_eq!(bench.card.pool().as_deref(), Some("src-pool-nat64"));
    assert!(matches!(
        bench.commit(&CommitRequest::default()),
        Err(CommitError::Engine(EngineError::Scheduled { .. }))
    ));
    let (mut bench, events) = bench.restart();
    assert!(events.is_empty());
    assert!(bench.tick(minutes(4)).is_empty());
    let events = bench.tick(minutes(1));
    assert!(
        matches!(&events[..], [Event::Scheduled { result: Ok(_), .. }]),
        "{events:?}"
    );
    assert_eq!(bench.card.pool().as_deref(), Some("later"));
    assert_eq!(bench.engine.history()[0].user, "alice");
    let (mut bench, events) = bench.restart();
    assert!(events.is_empty() && bench.engine.scheduled().is_none());

    bench.name_pool("never");
    let request = at(&bench, 5);
    bench.commit(&request).unwrap();
    assert!(bench.engine.unschedule().unwrap() && !bench.engine.unschedule().unwrap());
    assert!(bench.tick(minutes(9)).is_empty());
    assert!(matches!(
        bench.commit(&CommitRequest {
            at: Some(bench.now),
            ..CommitRequest::default()
        }),
        Err(CommitError::Past)
    ));
}

#[test]
fn a_refusal_leaves_everything() {
    let mut bench = Bench::new();
    bench.name_pool("other");
    let files = |bench: &Bench| {
        let mut names: Vec<_> = std::fs::read_dir(bench.directory.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    let before = files(&bench);
    bench.card.refuse = true;
    assert!(matches!(
        bench.commit(&CommitRequest::default()),
        Err(CommitError::Refused(_))
    ));
    assert!(matches!(
        bench.engine.check(Some(bench.session), &mut bench.card),
        Err(CommitError::Refused(_))
    ));
    bench.card.refuse = false;
    bench.card.fail = true;
    assert!(matches!(
        bench.commit(&CommitRequest::default()),
        Err(CommitError::Apply(_))
    ));
    bench.card.fail = false;
    bench.edit("delete services service-set");
    let error = bench.commit(&CommitRequest::default()).unwrap_err();
    assert!(
        matches!(&error, CommitError::Check { problems } if !problems.is_empty()),
        "{error}"
    );
    assert_eq!(files(&bench), before);
    assert_eq!(bench.card.pool().as_deref(), Some("src-pool-nat64"));
    assert_eq!(bench.engine.history().len(), 1);
    assert!(bench.engine.modified());
    bench.engine.rollback(bench.session, 0).unwrap();
    assert!(!bench.engine.modified());
    // A check prepares and forgets.
    let (prepared, aborted) = (bench.card.prepared, bench.card.aborted);
    bench.engine.check(Some(bench.session), &mut bench.card).unwrap();
    assert_eq!((bench.card.prepared, bench.card.aborted), (prepared + 1, aborted + 1));
    assert!(matches!(
        bench.commit(&CommitRequest {
            confirmed: Some(0),
            ..CommitRequest::default()
        }),
        Err(CommitError::Minutes { minutes: 0 })
    ));
}

#[test]
fn exclusive_keeps_others_out() {
    let mut bench = Bench::new();
    let now = bench.now;
    bench.name_pool("half");
    assert_eq!(
        bench.engine.enter("bob", "cli", Sharing::Exclusive, now),
        Err(EngineError::Modified)
    );
    bench.engine.rollback(bench.session, 0).unwrap();
    let bob = bench.engine.enter("bob", "cli", Sharing::Exclusive, now).unwrap();
    let locked = |error: &EngineError| matches!(error, EngineError::Locked { owner } if owner.user == "bob");
    assert!(locked(
        &bench.engine.enter("carol", "api", Sharing::Shared, now).unwrap_err()
    ));
    let edit = bench.engine.edit(bench.session, &EditPath::top(), "delete services");
    assert!(matches!(edit, Err(Changes::Engine(error)) if locked(&error)));
    let commit = bench.commit(&CommitRequest::default());
    assert!(matches!(commit, Err(CommitError::Engine(error)) if locked(&error)));
    bench.engine.edit(bob, &EditPath::top(), "delete services").unwrap();
    bench.engine.leave(bob);
    assert!(!bench.engine.modified(), "what bob did not commit is gone");
    assert!(matches!(
        bench.engine.edit(bob, &EditPath::top(), "delete services"),
        Err(Changes::Engine(EngineError::NoSession))
    ));
    bench.name_pool("mine");
    bench.commit(&CommitRequest::default()).unwrap();
}

#[test]
fn private_candidates_meet_at_commit() {
    let mut bench = Bench::new();
    let now = bench.now;
    let top = EditPath::top();
    let alone = bench.session;
    bench.name_pool("half");
    let private = |bench: &mut Bench, user| bench.engine.enter(user, "cli", Sharing::Private, now);
    assert_eq!(private(&mut bench, "bob"), Err(EngineError::Modified));
    bench.engine.rollback(alone, 0).unwrap();
    let bob = private(&mut bench, "bob").unwrap();
    let carol = private(&mut bench, "carol").unwrap();
    let shared = bench.engine.enter("dave", "cli", Sharing::Shared, now);
    assert_eq!(shared, Err(EngineError::PrivateInUse));

    // Nobody sees the other's changes.
    let pool = "services nat pool src-pool-nat64";
    let edit = |bench: &mut Bench, who, line: &str| bench.engine.edit(who, &top, line).map(drop).unwrap();
    edit(&mut bench, bob, &format!("set {pool} mapping-timeout 200"));
    edit(&mut bench, carol, &format!("set {pool} address 198.51.100.0/24"));
    assert!(!bench.engine.modified() && bench.engine.modified_by(Some(bob)));
    let text = |bench: &Bench, who| {
        let hunks = bench.engine.compare(Some(who), 0).unwrap();
        hunks.iter().map(ToString::to_string).collect::<String>()
    };
    assert_eq!(text(&bench, bob), format!("[edit {pool}]\n+   mapping-timeout 200;\n"));
    let carols = format!("[edit {pool}]\n+   address 198.51.100.0/24;\n");
    assert_eq!(text(&bench, carol), carols);

    // Bob's commit has bob's changes; carol's are hers still, and go on top of bob's.
    let commit = |bench: &mut Bench, who| {
        let request = CommitRequest::default();
        bench.engine.commit(who, &mut bench.card, &request, now)
    };
    assert!(commit(&mut bench, bob).unwrap().commit.is_some());
    assert!(bench.engine.active().to_set().contains("mapping-timeout 200"));
    assert!(!bench.engine.active().to_set().contains("198.51.100.0"));
    assert_eq!(text(&bench, carol), carols);
    assert!(!bench.engine.modified() && !bench.engine.modified_by(Some(bob)));
    commit(&mut bench, carol).unwrap();
    let active = bench.engine.active().to_set();
    assert!(
        active.contains("mapping-timeout 200") && active.contains("198.51.100.0"),
        "{active}"
    );
    assert_eq!(bench.engine.candidate(), bench.engine.active());

    // What both change is a clash, for the check too, until it is settled by `update`.
    edit(&mut bench, bob, &format!("set {pool} mapping-timeout 300"));
    edit(&mut bench, carol, &format!("set {pool} mapping-timeout 400"));
    commit(&mut bench, bob).unwrap();
    for refused in [
        commit(&mut bench, carol).map(drop),
        bench.engine.check(Some(carol), &mut bench.card).map(drop),
    ] {
        let Err(CommitError::Clash { clashes }) = refused else {
            panic!("{refused:?}");
        };
        let texts: Vec<String> = clashes.iter().map(ToString::to_string).collect();
        let wanted = format!("`{pool} mapping-timeout 400` was changed by others too, to `mapping-timeout 300`");
        assert_eq!(texts, [wanted]);
    }
    assert!(bench.engine.active().to_set().contains("mapping-timeout 300"));
    assert_eq!(bench.engine.update(carol).unwrap().len(), 1);
    assert_eq!(bench.engine.update(carol).unwrap(), []);
    commit(&mut bench, carol).unwrap();
    assert!(bench.engine.active().to_set().contains("mapping-timeout 400"));

    // An exclusive edit keeps private ones from committing; what is not committed goes with its edit.
    edit(&mut bench, bob, &format!("set {pool} mapping-timeout 500"));
    let erin = bench.engine.enter("erin", "cli", Sharing::Exclusive, now).unwrap();
    let locked = commit(&mut bench, bob);
    assert!(matches!(locked, Err(CommitError::Engine(EngineError::Locked { .. }))));
    assert_eq!(bench.engine.update(erin), Err(EngineError::NotPrivate));
    bench.engine.leave(erin);
    bench.engine.leave(bob);
    assert!(!bench.engine.active().to_set().contains("mapping-timeout 500"));
    // With the last private edit gone, plain ones are possible; a private commit leaves what is in the shared candidate.
    edit(&mut bench, alone, &format!("set {pool} limit-ports-per-address 64"));
    edit(&mut bench, carol, &format!("set {pool} mapping-timeout 600"));
    commit(&mut bench, carol).unwrap();
    let candidate = bench.engine.candidate().to_set();
    assert!(candidate.contains("limit-ports-per-address 64") && candidate.contains("mapping-timeout 600"));
    assert!(!bench.engine.active().to_set().contains("limit-ports-per-address"));
    bench.engine.leave(carol);
    bench.engine.enter("dave", "cli", Sharing::Shared, now).unwrap();
}

#[test]
fn one_daemon_at_a_time() {
    let bench = Bench::new();
    let error = Disk::open(bench.directory.path()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}
