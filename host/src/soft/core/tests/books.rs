//! The books of all workers together, and what senders are told of next hops that do not answer.

use super::*;

impl Rig {
    /// The books of all workers.
    pub(super) fn books(&self) -> Books {
        let mut books = Books::default();
        for (number, core) in self.cores.iter().enumerate() {
            books.add(&core.books(number == 0));
        }
        books
    }

    /// Lets time come to the neighbours and to every translator.
    fn pass(&mut self, time: Time) -> Vec<Sent> {
        self.now += time;
        let now = self.now;
        let mut sent = Vec::new();
        let mut handed = Vec::new();
        for (number, core) in self.cores.iter_mut().enumerate() {
            let mut tx = Tx::default();
            core.begin();
            core.advance(now, &mut tx);
            if number == 0 {
                core.advance_neighbours(now, &mut tx);
            }
            core.advance_fragments(now);
            sent.extend(gather(&tx, core, &[]));
            handed.append(&mut tx.handed);
        }
        for (to, frame) in handed {
            let core = &mut self.cores[usize::from(to)];
            let mut tx = Tx::default();
            core.begin();
            core.handed(now, 0, &frame, &mut tx);
            sent.extend(gather(&tx, core, &frame.bytes));
            assert!(tx.handed.is_empty());
        }
        sent
    }
}

/// A server no frame ever came from.
const NOBODY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 99);

#[test]
fn a_next_hop_that_does_not_answer_is_told_to_the_sender_by_whoever_has_the_session() {
    for workers in [1, 4] {
        let mut rig = Rig::new(workers, "");
        for n in 1..=8 {
            let worker = usize::from(n) % workers;
            let sent = rig.packet(
                worker,
                0,
                client_mac(n),
                &udp6((client(n), 7), (NOBODY, 53), b"anyone?"),
            );
            // The first asks for the address of all.
            assert_eq!(sent.len(), usize::from(n == 1), "{workers} workers");
        }
        assert_eq!((rig.books().waiting, rig.books().difference()), (8, 0));
        let mut sent = Vec::new();
        for _ in 0..3 {
            sent.extend(rig.pass(SECOND));
        }
        let mut told: Vec<(Ipv6Addr, u16)> = (sent.iter().filter(|sent| sent.port == 0))
            .map(|sent| {
                let packet = sent.packet();
                assert_eq!((packet[6], packet[40], packet[41]), (58, 1, 3), "address unreachable");
                let quoted = etherparse::Ipv6Header::from_slice(&packet[48..]).expect("a quote").0;
                assert_eq!(quoted.destination, embedded(NOBODY).octets());
                (quoted.source.into(), u16::from_be_bytes([packet[88], packet[89]]))
            })
            .collect();
        told.sort();
        let wanted: Vec<(Ipv6Addr, u16)> = (1..=8).map(|n| (client(n), 7)).collect();
        assert_eq!(told, wanted, "{workers} workers");
        assert_eq!(rig.count(Reason::NeighbourUnreachable), 8);
        let books = rig.books();
        assert_eq!(
            (books.waiting, books.difference()),
            (0, 0),
            "{workers} workers: {books}"
        );
    }
}

#[test]
fn a_client_that_does_not_answer_is_told_to_the_server() {
    for workers in [1, 4] {
        let mut rig = Rig::new(workers, "");
        let sent = rig.packet(0, 0, client_mac(1), &udp6((client(1), 7), (SERVER, 53), b"question"));
        let (from, _, port, ..) = read(&sent[0].packets()[0]);
        // The client is forgotten, while its session lives.
        let mut units = rig.cores[0].shared.lock().units().to_vec();
        units[0].auto_last_hop = false;
        let mut out = Output::default();
        rig.cores[0].shared.lock().reconfigure(units, &mut out);
        rig.cores[0].shared.forget();
        let outside = rig.cores[0].config.xlate.service_sets[0].outside_unit;
        rig.cores[0]
            .shared
            .lock()
            .add_fixed(0, outside, SERVER.into(), SERVER_MAC, &mut out);
        let answer = udp4((SERVER, 53), (four(from), port), b"answer");
        rig.packet(workers - 1, 1, SERVER_MAC, &answer);
        assert_eq!(rig.books().waiting, 1, "{workers} workers");
        let mut sent = Vec::new();
        for _ in 0..3 {
            sent.extend(rig.pass(SECOND));
        }
        let told: Vec<&Sent> = sent.iter().filter(|sent| sent.port == 1).collect();
        assert_eq!(told.len(), 1, "{workers} workers");
        let packet = told[0].packet();
        assert_eq!((packet[9], packet[20], packet[21]), (1, 3, 1), "host unreachable");
        assert_eq!(packet[16..20], SERVER.octets());
        assert_eq!(rig.books().difference(), 0, "{}", rig.books());
    }
}
