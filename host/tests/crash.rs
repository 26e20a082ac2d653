//! Power that is cut at every operation of the file system, errors at every operation, and processes killed at random
//! moments: what comes back is the old configuration or the new one, whole.

#[path = "common/card.rs"]
mod card;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use card::Card;
use nat64_host::config::{BuildOptions, EditPath, LoadMode};
use nat64_host::store::{CommitError, CommitRequest, Disk, Engine, Event, Files, Opened, Sharing, UnixTime};

const SEED: &str = include_str!("../../examples/seed.conf");
const NOW: UnixTime = UnixTime(1_764_000_000_000);

/// The worked example with the pool called `name`.
fn text(name: &str) -> String {
    SEED.replace("src-pool-nat64", name)
}

/// What of a name on disk is certain, and what may be lost with the power.
#[derive(Clone, Default)]
struct State {
    /// Contents by inode: what a reader sees, and what is on disk for certain.
    data: Vec<(Vec<u8>, Vec<u8>)>,
    names: BTreeMap<String, usize>,
    synced: BTreeMap<String, usize>,
    /// Changes of names since the last sync of the directory: a name, and what it has become.
    pending: Vec<Vec<(String, Option<usize>)>>,
    operations: usize,
    /// From this operation on nothing works.
    cut: Option<usize>,
    /// This operation fails, the others work.
    fault: Option<usize>,
}

/// A directory in memory.
#[derive(Clone, Default)]
struct Memory(Rc<RefCell<State>>);

impl Memory {
    fn operation<T>(&self, work: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.0.borrow_mut();
        let now = state.operations;
        state.operations += 1;
        if state.cut.is_some_and(|cut| now >= cut) || state.fault == Some(now) {
            return Err(io::Error::other("no power"));
        }
        work(&mut state)
    }

    /// What may be found after the power was cut: every prefix of the changes of names, and each alone; and of contents
    /// that were not synced nothing, half, all, or zeros.
    fn survivors(&self) -> Vec<Memory> {
        let state = self.0.borrow();
        let count = state.pending.len();
        let mut kept: Vec<Vec<usize>> = (0..=count).map(|n| (0..n).collect()).collect();
        kept.extend((0..count).map(|one| vec![one]));
        let mut out = Vec::new();
        for kept in kept {
            for loss in 0..4 {
                let mut names = state.synced.clone();
                for change in kept.iter().flat_map(|at| &state.pending[*at]) {
                    match change.1 {
                        Some(inode) => drop(names.insert(change.0.clone(), inode)),
                        None => drop(names.remove(&change.0)),
                    }
                }
                let data = state.data.iter().map(|(seen, certain)| {
                    let found = match (seen == certain, loss) {
                        (true, _) | (_, 0) => certain.clone(),
                        (_, 1) => seen[..seen.len() / 2].to_vec(),
                        (_, 2) => seen.clone(),
                        _ => vec![0; seen.len()],
                    };
                    (found.clone(), found)
                });
                out.push(Memory(Rc::new(RefCell::new(State {
                    data: data.collect(),
                    synced: names.clone(),
                    names,
                    ..State::default()
                }))));
            }
        }
        out
    }
}

impl Files for Memory {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.borrow().names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let state = self.0.borrow();
        let inode = state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(state.data[*inode].0.clone())
    }

    fn write(&mut self, name: &str, contents: &[u8]) -> io::Result<()> {
        self.operation(|state| {
            let inode = match state.names.get(name) {
                Some(inode) => *inode,
                None => {
                    state.data.push((Vec::new(), Vec::new()));
                    let inode = state.data.len() - 1;
                    state.names.insert(name.into(), inode);
                    state.pending.push(vec![(name.into(), Some(inode))]);
                    inode
                }
            };
            state.data[inode].0 = contents.to_vec();
            Ok(())
        })
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.operation(|state| {
            let inode = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
            state.data[inode].1 = state.data[inode].0.clone();
            Ok(())
        })
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.operation(|state| {
            let inode = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            state.names.insert(to.into(), inode);
            // One entry of the journal: both or neither.
            state.pending.push(vec![(from.into(), None), (to.into(), Some(inode))]);
            Ok(())
        })
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.operation(|state| {
            state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
            state.pending.push(vec![(name.into(), None)]);
            Ok(())
        })
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        self.operation(|state| {
            state.synced = state.names.clone();
            state.pending.clear();
            Ok(())
        })
    }
}

fn open(files: Memory) -> (Engine<Memory>, Opened) {
    Engine::open(files, BuildOptions::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

/// What must be the old or the new after a cut.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    active: String,
    pending: bool,
    scheduled: bool,
}

fn seen(engine: &Engine<Memory>) -> Seen {
    Seen {
        active: engine.active().to_curly(),
        pending: engine.confirm_by().is_some(),
        scheduled: engine.scheduled().is_some(),
    }
}

/// A step of the life of a daemon; `false`: it failed.
type Step = fn(&mut Engine<Memory>, &mut Card, UnixTime) -> bool;

fn commit(engine: &mut Engine<Memory>, card: &mut Card, now: UnixTime, name: &str, request: &CommitRequest) -> bool {
    let session = engine.enter("alice", "cli", Sharing::Shared, now).unwrap();
    engine
        .load(session, &EditPath::top(), LoadMode::Override, false, &text(name), "t")
        .unwrap();
    let done = engine.commit(session, card, request, now);
    engine.leave(session);
    match done {
        Ok(_) => true,
        Err(CommitError::Store { back, .. }) => {
            assert_eq!(back, None);
            false
        }
        Err(error) => panic!("{error}"),
    }
}

fn ticks(events: &[Event]) -> bool {
    events.iter().all(|event| {
        matches!(
            event,
            Event::RolledBack { result: Ok(_), .. } | Event::Scheduled { result: Ok(_), .. }
        )
    })
}

/// Steps, each ten minutes after the one before.
const STEPS: &[Step] = &[
    |e, c, now| commit(e, c, now, "first", &CommitRequest::default()),
    |e, c, now| commit(e, c, now, "second", &CommitRequest::default()),
    // A commit that is confirmed.
    |e, c, now| {
        let request = CommitRequest {
            confirmed: Some(60),
            ..CommitRequest::default()
        };
        commit(e, c, now, "third", &request)
    },
    |e, c, now| commit(e, c, now, "third", &CommitRequest::default()),
    // One that is not.
    |e, c, now| commit(e, c, now, "fourth", &CommitRequest::confirmed()),
    |e, c, now| ticks(&e.tick(c, now)),
    // One that waits.
    |e, c, now| {
        let request = CommitRequest {
            at: Some(now.plus(minutes(9))),
            ..CommitRequest::default()
        };
        commit(e, c, now, "fifth", &request)
    },
    |e, c, now| ticks(&e.tick(c, now)),
    // One that waits and is dropped.
    |e, c, now| {
        let request = CommitRequest {
            at: Some(now.plus(minutes(90))),
            ..CommitRequest::default()
        };
        commit(e, c, now, "sixth", &request)
    },
    |e, _, _| e.unschedule().is_ok(),
];

fn time_of(step: usize) -> UnixTime {
    NOW.plus(minutes(10 * step as u64))
}

/// What is seen after each step when nothing goes wrong, and how many operations it all takes.
fn clean_run() -> (Vec<Seen>, usize) {
    let files = Memory::default();
    let (mut engine, _) = open(files.clone());
    let mut card = Card::default();
    let mut all = vec![seen(&engine)];
    for (index, step) in STEPS.iter().enumerate() {
        assert!(step(&mut engine, &mut card, time_of(index)), "step {index}");
        all.push(seen(&engine));
    }
    let operations = files.0.borrow().operations;
    (all, operations)
}

#[test]
fn power_cut_at_every_operation() {
    let (expected, operations) = clean_run();
    assert!(operations > 30, "{operations}");
    let mut reopened = 0;
    for cut in 0..operations {
        let files = Memory::default();
        files.0.borrow_mut().cut = Some(cut);
        let (mut engine, _) = open(files.clone());
        let mut card = Card::default();
        let mut step = 0;
        while step < STEPS.len()
            && STEPS[step](&mut engine, &mut card, time_of(step))
            && files.0.borrow().operations <= cut
        {
            step += 1;
        }
        assert!(step < STEPS.len(), "cut {cut} was never reached");
        let (old, new) = (&expected[step], &expected[step + 1]);
        drop(engine);
        for files in files.survivors() {
            let what = format!("cut {cut} in step {step}: {:?}", files.0.borrow().names.keys());
            let (mut engine, opened) = open(files);
            let found = seen(&engine);
            reopened += 1;
            assert!([old, new].iter().any(|s| s.active == found.active), "{what}\n{found:?}");
            assert!([old, new].iter().any(|s| s.pending == found.pending), "{what}");
            assert!([old, new].iter().any(|s| s.scheduled == found.scheduled), "{what}");
            assert!(opened.torn.is_empty(), "{what}: {:?}", opened.torn);
            // It goes on: what is due is done once, and commits are taken.
            let mut card = Card::default();
            let before = engine.history().len();
            let events = engine
                .start(&mut card, time_of(step))
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(ticks(&events), "{what}: {events:?}");
            assert!(engine.history().len() <= before + 1, "{what}");
            let now = seen(&engine);
            assert!([old, new].iter().any(|s| s.active == now.active), "{what}");
            assert!(engine.tick(&mut card, time_of(step)).is_empty(), "{what}");
            engine.unschedule().unwrap();
            assert!(
                commit(&mut engine, &mut card, time_of(step), "last", &CommitRequest::default()),
                "{what}"
            );
            assert_eq!(card.pool().as_deref(), Some("last"));
        }
    }
    assert!(reopened > 300, "{reopened}");
}

#[test]
fn an_error_at_every_operation() {
    let (expected, operations) = clean_run();
    for fault in 0..operations {
        let files = Memory::default();
        files.0.borrow_mut().fault = Some(fault);
        let (mut engine, _) = open(files.clone());
        let mut card = Card::default();
        for (index, step) in STEPS.iter().enumerate() {
            let before = files.0.borrow().operations;
            let done = step(&mut engine, &mut card, time_of(index));
            let hit = (before..files.0.borrow().operations).contains(&fault);
            assert!(done || hit, "fault {fault}, step {index}");
            if hit {
                // What was not done left everything; the card runs on what is active.
                let now = seen(&engine).active;
                let allowed = [&expected[index].active, &expected[index + 1].active];
                assert!(allowed.contains(&&now), "fault {fault}, step {index}");
                let pool = engine.active().root().at(&["services", "nat", "pool"]);
                let running = card.pool();
                assert_eq!(
                    running.as_deref(),
                    pool.map(|pool| pool.value()),
                    "fault {fault}, step {index}"
                );
                // The disk says the same.
                let (again, opened) = open(files.survivors().swap_remove(0));
                assert!(opened.torn.is_empty());
                assert!(allowed.contains(&&seen(&again).active), "fault {fault}, step {index}");
                break;
            }
        }
    }
}

#[test]
fn a_torn_file_is_named_and_the_last_good_one_used() {
    let files = Memory::default();
    let (mut engine, _) = open(files.clone());
    let mut card = Card::default();
    for name in ["a", "b", "c"] {
        assert!(commit(&mut engine, &mut card, NOW, name, &CommitRequest::default()));
    }
    drop(engine);
    let whole = files.0.borrow().clone();
    let newest = whole.names["0000000003.commit"];
    let length = whole.data[newest].0.len();
    type Tear = fn(&mut Vec<u8>);
    let tears: &[Tear] = &[
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| bytes.clear(),
        |bytes| bytes.iter_mut().for_each(|byte| *byte = 0),
        |bytes| bytes.extend_from_slice(b"more"),
        |bytes| {
            let at = bytes.len() - 20;
            bytes[at] ^= 1;
        },
        |bytes| bytes[13] = b'9',
    ];
    for (index, tear) in tears.iter().enumerate() {
        let state = Rc::new(RefCell::new(whole.clone()));
        tear(&mut state.borrow_mut().data[newest].0);
        let (mut engine, opened) = open(Memory(state));
        assert_eq!(opened.torn.len(), 1, "tear {index}");
        assert_eq!(opened.torn[0].file, "0000000003.commit");
        assert!(!opened.torn[0].reason.is_empty());
        assert_eq!(opened.active.map(|info| info.number), Some(2));
        let mut card = Card::default();
        engine.start(&mut card, NOW).unwrap();
        assert_eq!(card.pool().as_deref(), Some("b"));
        // The next commit is newer than the torn one.
        assert!(commit(&mut engine, &mut card, NOW, "d", &CommitRequest::default()));
        assert_eq!(engine.history()[0].number, 4);
    }
    assert!(length > 500);
}

/// Set in the process that is to be killed: the directory it commits to.
const CHILD: &str = "NAT64_CRASH_CHILD";

/// Commits for ever; says each number before and after.
fn child(directory: &str) -> ! {
    let mut card = Card::default();
    let disk = loop {
        // The one that was killed may still hold the lock for a moment.
        match Disk::open(directory.as_ref()) {
            Ok(disk) => break disk,
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    let (mut engine, opened) = Engine::open(disk, BuildOptions::default()).unwrap();
    assert!(opened.torn.is_empty(), "{:?}", opened.torn);
    engine.start(&mut card, NOW).unwrap();
    let session = engine.enter("alice", "cli", Sharing::Shared, NOW).unwrap();
    let mut number = opened.active.map_or(0, |info| info.number);
    loop {
        number += 1;
        println!("try {number}");
        let text = text(&format!("pool-{number}"));
        engine
            .load(session, &EditPath::top(), LoadMode::Override, false, &text, "t")
            .unwrap();
        let request = CommitRequest {
            confirmed: number.is_multiple_of(3).then_some(10),
            ..CommitRequest::default()
        };
        engine.commit(session, &mut card, &request, NOW).unwrap();
        println!("done {number}");
    }
}

#[test]
fn killed_at_two_hundred_random_moments() {
    if let Ok(directory) = std::env::var(CHILD) {
        child(&directory);
    }
    let directory = tempfile::tempdir().unwrap();
    let seed = 0x6e61_7436_3400_0001_u64;
    println!("seed {seed:#x}");
    let mut random = seed;
    let mut killed_while_trying = 0;
    for round in 0..200 {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed_at_two_hundred_random_moments", "--nocapture"])
            .env(CHILD, directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        // Let it begin, then wait a random moment of up to about three commits.
        let mut told: Vec<String> = Vec::new();
        for line in lines.by_ref() {
            let line = line.unwrap();
            let begun = line.starts_with("try");
            told.push(line);
            if begun {
                break;
            }
        }
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_micros((random >> 33) % 6000));
        process.kill().unwrap();
        process.wait().unwrap();
        told.extend(lines.map_while(Result::ok));
        let last = |word: &str| {
            let numbers = told.iter().filter_map(|line| line.strip_prefix(word));
            numbers.filter_map(|text| text.trim().parse::<u64>().ok()).max()
        };
        let tried = last("try ").unwrap_or_else(|| panic!("round {round}: it did not begin: {told:?}"));
        let done = last("done ").unwrap_or(tried - 1);
        killed_while_trying += usize::from(done < tried);
        let disk = Disk::open(directory.path()).unwrap();
        let (engine, opened) = Engine::open(disk, BuildOptions::default()).unwrap();
        assert!(opened.torn.is_empty(), "round {round}: {:?}", opened.torn);
        let number = opened.active.map_or(0, |info| info.number);
        assert!(
            (done..=tried).contains(&number),
            "round {round}: {number} of {done}..={tried}"
        );
        if number > 0 {
            let pool = engine.active().root().at(&["services", "nat", "pool"]).unwrap();
            assert_eq!(pool.value(), format!("pool-{number}"), "round {round}");
            let wanted = nat64_host::config::parse(&text(pool.value()), "t").unwrap();
            assert_eq!(*engine.active(), wanted, "round {round}");
            assert_eq!(engine.confirm_by().is_some(), number.is_multiple_of(3), "round {round}");
        }
    }
    println!("{killed_while_trying} of 200 were killed in a commit");
    assert!(killed_while_trying > 20, "{killed_while_trying}");
}
