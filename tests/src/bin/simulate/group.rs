// SPDX-License-Identifier: EUPL-1.2
//! One Raft group, from a request at a node's door to the checkpoint that covers it, event by event.
//!
//! The way of an entry is that of the code: the node that takes the request verifies it and hands it to the leader; the leader verifies what
//! came from elsewhere, gathers batches (`cluster/src/propose.rs`), fsyncs each and then sends it (openraft 0.9 does one after the other, and
//! has one append at a time under way to each follower); followers verify while they fsync; what a majority has is committed and applied, in
//! order and by one thread a node, and learnt of by followers with the next append; the leader collects cosignatures and has the checkpoint
//! committed (`cluster/src/publish/`); the node that took the request answers when it has applied that.
//!
//! Not in the model: the way from the client to the node, TLS handshakes, lost packets, snapshots. Folds, compaction and RocksDB's threads are
//! in the CPU time of an entry.

use std::collections::VecDeque;

use ::tests::figures::stats::Latency;

use crate::{
    costs::Costs,
    engine::{Agenda, Dice, Pool, Time, ns, seconds},
    limits::Limits,
};

mod nodes;
mod publish;
#[cfg(test)]
mod tests;

use nodes::{Message, Node, Stream};

/// fdatasync calls of an append: the Raft log's WAL, then the high-water mark.
const APPEND_SYNCS: u32 = 2;
/// Bytes of a message beside its entries.
const MESSAGE_BYTES: u64 = 256;
/// An outbox sends again after this what was refused as overload.
const RETRY: f64 = 1.0;

/// A link between any two nodes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// Seconds one way.
    pub(crate) one_way: f64,
    /// Up to this share longer, at random.
    pub(crate) jitter: f64,
    /// What a node can send, to all others together.
    pub(crate) bytes_per_s: f64,
}

/// What clients send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) entries: u32,
    /// One signature over all of them.
    pub(crate) batch_signed: bool,
}

/// When clients send.
#[derive(Clone, Debug)]
pub(crate) enum Load {
    /// At random, whether or not earlier requests are answered.
    Open { entries_per_s: f64 },
    /// So many clients, each with one request under way.
    Closed { clients: u32, until_published: bool },
    /// At these times, ascending.
    Given(Vec<Time>),
}

/// A group, and what is done to it.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) nodes: usize,
    /// Cores of a node; of all nodes and the clients together, if shared.
    pub(crate) cores: usize,
    pub(crate) shared: bool,
    pub(crate) link: Link,
    pub(crate) kind: Kind,
    pub(crate) load: Load,
    /// Seconds that are not counted, and seconds that are.
    pub(crate) warm_up: f64,
    pub(crate) counted: f64,
    /// From when to when nobody leads.
    pub(crate) no_leader: Option<(f64, f64)>,
    pub(crate) seed: u64,
}

/// A request's times; 0 is not yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) arrived: Time,
    /// When the answer that it is durable was there.
    pub(crate) committed: Time,
    /// When the receipt was there.
    pub(crate) published: Time,
    door: u8,
    /// Chunks still to be verified, then entries still to be applied.
    left: u32,
    /// The tree's size with its last entry.
    size: u64,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) requests: Vec<Request>,
    /// Entries committed while it was counted, a second.
    pub(crate) entries_per_s: f64,
    /// From arrival to durable, to the receipt, and from the one to the other.
    pub(crate) commit: Latency,
    pub(crate) receipt: Latency,
    pub(crate) publish: Latency,
    /// Requests refused as overload and sent again.
    pub(crate) refused: u64,
    /// What share of the busiest node's cores was busy.
    pub(crate) cpu: f64,
    /// Entries in the leader's tree, and those that are still somewhere on the way there.
    pub(crate) applied: u64,
    pub(crate) waiting: u64,
}

/// Jobs of cores, and what follows each.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// A chunk was verified, or the rest done, where the request was taken.
    Door(u32),
    /// The same at the leader, for what another node took.
    Leader(u32),
    /// A chunk of a raft_entry was verified at a node.
    Verified { node: u8, raft_entry: u32 },
    /// What nobody waits for.
    Aside,
    /// A raft_entry was applied.
    Applied { node: u8 },
    /// A node signed a checkpoint.
    Signed { node: u8 },
    /// The leader checked a cosignature.
    Checked(u32),
    /// A client has read its answer.
    Client,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Arrive,
    Again(u32),
    Done { pool: u8, work: Work },
    Deliver { to: u8, message: Message },
    Synced { node: u8 },
    CosignSynced { node: u8 },
    RoundDue,
    Leads,
}

/// A raft_entry.
#[derive(Debug)]
struct RaftEntry {
    /// Of each request its number and how many of its entries.
    items: Vec<(u32, u32)>,
    entries: u32,
    bytes: u64,
    /// The size of the checkpoint that it carries.
    note: Option<u64>,
}

struct Group<'c> {
    setup: Setup,
    costs: &'c Costs,
    limits: Limits,
    agenda: Agenda<Event>,
    dice: Dice,
    pools: Vec<Pool<Work>>,
    nodes: Vec<Node>,
    streams: Vec<Stream>,
    requests: Vec<Request>,
    /// Which of the given loads, or doors, is next.
    next: usize,
    /// At the leader: requests and how many of their entries wait.
    queue: VecDeque<(u32, u32)>,
    queued: u64,
    /// Entries that arrived and are not in the leader's queue yet.
    on_the_way: u64,
    in_flight: u32,
    log: Vec<RaftEntry>,
    committed: usize,
    round: Option<publish::Round>,
    next_round: Time,
    /// Until when the next round waits for what is under way.
    gathering: Option<Time>,
    /// For which moment a look at it is noted.
    round_noted: Time,
    rounds: u64,
    refused: u64,
    /// Requests that found no leader.
    homeless: Vec<u32>,
    /// Those who wait at each node for a receipt.
    readers: Vec<Vec<u32>>,
}

/// Runs it.
pub(crate) fn run(setup: &Setup, costs: &Costs, limits: Limits) -> Outcome {
    let pools = if setup.shared { 1 } else { setup.nodes };
    let mut group = Group {
        setup: setup.clone(),
        costs,
        limits,
        agenda: Agenda::new(),
        dice: Dice::new(setup.seed),
        pools: (0..pools).map(|_| Pool::new(setup.cores)).collect(),
        nodes: (0..setup.nodes).map(|_| Node::default()).collect(),
        streams: (0..setup.nodes).map(|_| Stream::default()).collect(),
        requests: Vec::new(),
        next: 0,
        queue: VecDeque::new(),
        queued: 0,
        on_the_way: 0,
        in_flight: 0,
        log: Vec::new(),
        committed: 0,
        round: None,
        next_round: 0,
        gathering: None,
        round_noted: 0,
        rounds: 0,
        refused: 0,
        homeless: Vec::new(),
        readers: vec![Vec::new(); setup.nodes],
    };
    group.start();
    let end = ns(setup.warm_up + setup.counted);
    while let Some(event) = group.agenda.next(end) {
        group.handle(event);
    }
    let outcome = group.outcome(end);
    // A model that loses or doubles an entry is no model.
    let entries = outcome.requests.len() as u64 * u64::from(setup.kind.entries);
    assert_eq!(entries, outcome.applied + outcome.waiting);
    outcome
}

impl Group<'_> {
    fn start(&mut self) {
        match &self.setup.load {
            Load::Open { .. } => self.agenda.at(0, Event::Arrive),
            Load::Given(times) => {
                if let Some(first) = times.first() {
                    self.agenda.at(*first, Event::Arrive);
                }
            }
            Load::Closed { clients, .. } => {
                for _ in 0..*clients {
                    self.agenda.at(0, Event::Arrive);
                }
            }
        }
        if let Some((_, until)) = self.setup.no_leader {
            self.agenda.at(ns(until), Event::Leads);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrive => self.arrive(),
            Event::Again(request) => self.at_leader(request),
            Event::Done { pool, work } => {
                if let Some((length, work)) = self.pools[pool as usize].free() {
                    self.agenda.after(length, Event::Done { pool, work });
                }
                self.done(work);
            }
            Event::Deliver { to, message } => self.deliver(to as usize, message),
            Event::Synced { node } => self.synced(node as usize),
            Event::CosignSynced { node } => self.cosign_synced(node as usize),
            Event::RoundDue => self.begin_round(),
            Event::Leads => {
                for request in std::mem::take(&mut self.homeless) {
                    self.at_leader(request);
                }
                self.lead();
            }
        }
    }

    fn leads(&self) -> bool {
        let now = self.agenda.now();
        self.setup
            .no_leader
            .is_none_or(|(from, until)| now < ns(from) || now >= ns(until))
    }

    /// Has a node's cores do something.
    fn work(&mut self, node: usize, length: f64, work: Work) {
        let pool = if self.setup.shared { 0 } else { node };
        if let Some((length, work)) = self.pools[pool].submit(ns(length), work) {
            let pool = pool as u8;
            self.agenda.after(length, Event::Done { pool, work });
        }
    }

    fn done(&mut self, work: Work) {
        match work {
            Work::Door(request) => {
                if self.chunk_done(request) {
                    match self.requests[request as usize].door {
                        0 => self.at_leader(request),
                        door => {
                            let bytes = MESSAGE_BYTES + self.request_bytes();
                            self.send(door.into(), 0, bytes, Message::Forward(request));
                        }
                    }
                }
            }
            Work::Leader(request) => {
                if self.chunk_done(request) {
                    self.at_leader(request);
                }
            }
            Work::Verified { node, raft_entry } => self.verified(node.into(), raft_entry as usize),
            Work::Applied { node } => self.applied(node.into()),
            Work::Signed { node } => self.signed(node.into()),
            Work::Checked(round) => self.checked(round),
            Work::Client => self.agenda.after(0, Event::Arrive),
            Work::Aside => {}
        }
    }

    fn chunk_done(&mut self, request: u32) -> bool {
        let request = &mut self.requests[request as usize];
        request.left -= 1;
        request.left == 0
    }

    fn request_bytes(&self) -> u64 {
        u64::from(self.setup.kind.entries) * self.costs.entry_bytes
    }

    fn arrive(&mut self) {
        let number = self.requests.len() as u32;
        match &self.setup.load {
            Load::Open { entries_per_s } => {
                let mean = f64::from(self.setup.kind.entries) / entries_per_s;
                let delay = ns(self.dice.exponential(mean));
                self.agenda.after(delay, Event::Arrive);
            }
            Load::Given(times) => {
                self.next += 1;
                if let Some(next) = times.get(self.next) {
                    self.agenda.at(*next, Event::Arrive);
                }
            }
            Load::Closed { .. } => {}
        }
        self.on_the_way += u64::from(self.setup.kind.entries);
        let door = (number as usize % self.nodes.len()) as u8;
        let chunks = self.setup.kind.entries.div_ceil(self.limits.verify_chunk);
        self.requests.push(Request {
            arrived: self.agenda.now(),
            committed: 0,
            published: 0,
            door,
            left: chunks,
            size: 0,
        });
        self.verify_request(number, door.into(), self.costs.request, Work::Door(number));
    }

    /// In chunks beside each other; `extra` is what else the request costs there.
    fn verify_request(&mut self, request: u32, node: usize, extra: f64, work: Work) {
        let Kind {
            entries,
            batch_signed,
        } = self.setup.kind;
        let chunks = entries.div_ceil(self.limits.verify_chunk);
        self.requests[request as usize].left = chunks;
        let signatures = if batch_signed { chunks } else { entries };
        let each = (f64::from(signatures) * self.costs.verify + extra) / f64::from(chunks);
        for _ in 0..chunks {
            self.work(node, each, work);
        }
    }

    /// Verified; into the leader's queue.
    fn at_leader(&mut self, request: u32) {
        if !self.leads() {
            self.homeless.push(request);
            return;
        }
        let entries = self.setup.kind.entries;
        if self.queued + self.under_way() + u64::from(entries) > self.limits.queue_entries_max {
            self.refused += 1;
            self.agenda.after(ns(RETRY), Event::Again(request));
            return;
        }
        self.requests[request as usize].left = entries;
        self.queue.push_back((request, entries));
        self.on_the_way -= u64::from(entries);
        self.queued += u64::from(entries);
        self.propose();
    }

    /// Entries in the log that the leader has not applied.
    fn under_way(&self) -> u64 {
        let log = self.log[self.nodes[0].applied..].iter();
        log.map(|raft_entry| u64::from(raft_entry.entries)).sum()
    }

    /// While nothing is under way, whatever waits goes at once; else when a batch is full, up to so many at once.
    fn propose(&mut self) {
        let by_bytes = (self.limits.batch_bytes_max / self.costs.entry_bytes.max(1)).max(1);
        let full = u64::from(self.limits.batch_entries_max).min(by_bytes);
        while self.leads()
            && self.queued > 0
            && (self.in_flight == 0
                || (self.queued >= full && self.in_flight < self.limits.in_flight_max))
        {
            let mut items = Vec::new();
            let mut entries = 0;
            while let Some((request, waiting)) = self.queue.front_mut() {
                let taken = (*waiting).min(full as u32 - entries);
                items.push((*request, taken));
                entries += taken;
                *waiting -= taken;
                if *waiting == 0 {
                    self.queue.pop_front();
                }
                if u64::from(entries) == full {
                    break;
                }
            }
            self.queued -= u64::from(entries);
            self.in_flight += 1;
            self.append(RaftEntry {
                items,
                entries,
                bytes: MESSAGE_BYTES + u64::from(entries) * self.costs.entry_bytes,
                note: None,
            });
        }
    }

    /// Over the link: what a node sends goes out one after the other.
    fn send(&mut self, from: usize, to: usize, bytes: u64, message: Message) {
        let Link {
            one_way,
            jitter,
            bytes_per_s,
        } = self.setup.link;
        let now = self.agenda.now();
        let free = self.nodes[from].sends_until.max(now) + ns(bytes as f64 / bytes_per_s);
        self.nodes[from].sends_until = free;
        let way = ns(one_way * (1.0 + jitter * self.dice.share()));
        let to = to as u8;
        self.agenda.at(free + way, Event::Deliver { to, message });
    }

    /// The answer that a request is durable is at its door.
    fn is_committed(&mut self, request: u32) {
        let now = self.agenda.now();
        let of = &mut self.requests[request as usize];
        of.committed = now;
        let (door, size) = (usize::from(of.door), of.size);
        if size <= self.nodes[door].published {
            self.is_published(request);
        } else {
            self.readers[door].push(request);
        }
        if let Load::Closed {
            until_published: false,
            ..
        } = self.setup.load
        {
            self.answer();
        }
    }

    fn is_published(&mut self, request: u32) {
        self.requests[request as usize].published = self.agenda.now();
        if let Load::Closed {
            until_published: true,
            ..
        } = self.setup.load
        {
            self.answer();
        }
    }

    /// A client that shares the cores reads its answer on them.
    fn answer(&mut self) {
        if self.setup.shared {
            let length = self.costs.client_entry * f64::from(self.setup.kind.entries);
            self.work(0, length, Work::Client);
        } else {
            self.agenda.after(0, Event::Arrive);
        }
    }

    fn outcome(self, end: Time) -> Outcome {
        let per_request = self.setup.kind.entries;
        let from = ns(self.setup.warm_up);
        let span = |later: Time, earlier: Time| {
            std::time::Duration::from_nanos(later.saturating_sub(earlier))
        };
        // Of what arrived while it was counted; what is not answered yet has waited until now, like in a paced load.
        let counted = || {
            let arrived = |request: &&Request| request.arrived >= from;
            self.requests.iter().filter(arrived)
        };
        let by = |time: Time| if time == 0 { end } else { time };
        let commit = Latency::of(
            counted()
                .map(|request| span(by(request.committed), request.arrived))
                .collect(),
        );
        let receipt = Latency::of(
            counted()
                .map(|request| span(by(request.published), request.arrived))
                .collect(),
        );
        let publish = Latency::of(
            counted()
                .filter(|request| request.committed > 0)
                .map(|request| span(by(request.published), request.committed))
                .collect(),
        );
        let done = |request: &&Request| request.committed >= from && request.committed > 0;
        let committed = self.requests.iter().filter(done).count() as f64;
        let busiest = self.pools.iter().map(|pool| pool.load(end));
        Outcome {
            entries_per_s: committed * f64::from(per_request) / seconds(end - from),
            commit,
            receipt,
            publish,
            refused: self.refused,
            cpu: busiest.fold(0.0, f64::max),
            applied: self.nodes[0].size,
            waiting: self.on_the_way + self.queued + self.under_way(),
            requests: self.requests,
        }
    }
}
