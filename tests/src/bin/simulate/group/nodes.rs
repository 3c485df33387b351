// SPDX-License-Identifier: EUPL-1.2
//! Append, commit and apply.

use super::{APPEND_SYNCS, Event, Group, MESSAGE_BYTES, RaftEntry, Work};
use crate::engine::{Time, ns};

/// What nodes tell each other.
#[derive(Clone, Copy, Debug)]
pub(super) enum Message {
    /// A request that another node took.
    Forward(u32),
    /// The answer to it.
    Answer(u32),
    /// raft_entries up to a number, and how far is committed.
    Append { upto: u32, committed: u32 },
    /// A follower has so many on disk.
    Ack { from: u8, upto: u32 },
    /// The leader asks for a cosignature of a size.
    Cosign { round: u32, size: u64 },
    /// A cosignature.
    Line { round: u32 },
}

/// A node. Of raft_entries it says how many; of the tree, its size.
#[derive(Debug, Default)]
pub(super) struct Node {
    received: usize,
    synced: usize,
    /// What is being written, up to which.
    writing: bool,
    /// Of each received raft_entry, how many chunks are still to be verified.
    unverified: Vec<u32>,
    committed: usize,
    pub(super) applied: usize,
    applying: bool,
    pub(super) size: u64,
    pub(super) published: u64,
    /// The round and size of a cosignature that waits until so much is applied.
    pub(super) asked: Option<(u32, u64)>,
    /// The round of the cosignature that is being made.
    pub(super) signing: u32,
    pub(super) sends_until: Time,
}

/// The leader's way to a follower: one append at a time.
#[derive(Debug, Default)]
pub(super) struct Stream {
    busy: bool,
    sent: usize,
    committed_sent: usize,
    acknowledged: usize,
}

impl Group<'_> {
    /// Into the leader's log.
    pub(super) fn append(&mut self, raft_entry: RaftEntry) {
        self.aside(0, raft_entry.entries);
        self.log.push(raft_entry);
        self.nodes[0].received = self.log.len();
        self.nodes[0].unverified.push(0);
        self.write(0);
    }

    /// What a raft_entry costs on a node beside verifying and applying: encoding, writing, RocksDB's threads, folding.
    fn aside(&mut self, node: usize, entries: u32) {
        let mut left = entries;
        while left > 0 {
            let chunk = left.min(self.limits.verify_chunk);
            self.work(node, f64::from(chunk) * self.costs.entry_aside, Work::Aside);
            left -= chunk;
        }
    }

    /// Begins to write what was received. The leader writes one raft_entry at a time, a follower all of an append.
    fn write(&mut self, node: usize) {
        let of = &mut self.nodes[node];
        if of.writing || of.synced == of.received {
            return;
        }
        of.writing = true;
        let upto = if node == 0 {
            of.synced + 1
        } else {
            of.received
        };
        let bytes: u64 = self.log[of.synced..upto].iter().map(|e| e.bytes).sum();
        let mut length = self.costs.sync_byte * bytes as f64;
        for _ in 0..APPEND_SYNCS {
            length += self.costs.sync.roll(&mut self.dice);
        }
        let node = node as u8;
        self.agenda.after(ns(length), Event::Synced { node });
    }

    pub(super) fn synced(&mut self, node: usize) {
        let of = &mut self.nodes[node];
        of.writing = false;
        if node == 0 {
            of.synced += 1;
            self.write(0);
            self.commit();
            for follower in 1..self.nodes.len() {
                self.pump(follower);
            }
            return;
        }
        of.synced = of.received;
        self.acknowledge(node);
        self.apply(node);
    }

    fn acknowledge(&mut self, node: usize) {
        let upto = self.nodes[node].synced as u32;
        let from = node as u8;
        self.send(node, 0, MESSAGE_BYTES, Message::Ack { from, upto });
    }

    /// Sends a follower what it lacks, if nothing is under way to it.
    pub(super) fn pump(&mut self, follower: usize) {
        let (on_disk, committed) = (self.nodes[0].synced, self.committed);
        let stream = &mut self.streams[follower];
        let news = stream.sent < on_disk || stream.committed_sent < committed;
        if stream.busy || !news || !self.leads() {
            return;
        }
        let stream = &mut self.streams[follower];
        let upto = on_disk.min(stream.sent + self.limits.append_entries_max);
        let sent = &self.log[stream.sent..upto];
        let bytes = MESSAGE_BYTES + sent.iter().map(|e| e.bytes).sum::<u64>();
        stream.busy = true;
        stream.sent = upto;
        stream.committed_sent = committed;
        let message = Message::Append {
            upto: upto as u32,
            committed: committed.min(upto) as u32,
        };
        self.send(0, follower, bytes, message);
    }

    pub(super) fn deliver(&mut self, to: usize, message: Message) {
        match message {
            Message::Forward(request) => {
                self.verify_request(request, 0, 0.0, Work::Leader(request))
            }
            Message::Answer(request) => self.is_committed(request),
            Message::Append { upto, committed } => {
                let (from, upto) = (self.nodes[to].received, upto as usize);
                let news = from < upto;
                for number in from..upto {
                    self.verify_entry(to, number);
                }
                let of = &mut self.nodes[to];
                of.received = upto;
                of.committed = of.committed.max(committed as usize);
                if news {
                    // openraft answers, and goes on to apply, when it is on disk.
                    self.write(to);
                } else {
                    self.acknowledge(to);
                    self.apply(to);
                }
            }
            Message::Ack { from, upto } => {
                let stream = &mut self.streams[usize::from(from)];
                stream.busy = false;
                stream.acknowledged = upto as usize;
                self.commit();
                self.pump(from.into());
            }
            Message::Cosign { round, size } => self.asked_to_cosign(to, round, size),
            Message::Line { round } => self.line(round),
        }
    }

    /// A follower verifies all but what it verified at its own door.
    fn verify_entry(&mut self, node: usize, number: usize) {
        let raft_entry = &self.log[number];
        let foreign = raft_entry
            .items
            .iter()
            .filter(|(request, _)| usize::from(self.requests[*request as usize].door) != node);
        let (pieces, entries) = foreign.fold((0, 0), |(pieces, entries), (_, count)| {
            (pieces + 1, entries + count)
        });
        let chunks = entries.div_ceil(self.limits.verify_chunk);
        // A batch's signature is checked once in each chunk that holds some of it.
        let signatures = if self.setup.kind.batch_signed && entries > 0 {
            (pieces + chunks - 1).min(entries)
        } else {
            entries
        };
        let all = raft_entry.entries;
        self.nodes[node].unverified.push(chunks);
        for _ in 0..chunks {
            let length = f64::from(signatures) * self.costs.verify / f64::from(chunks);
            let work = Work::Verified {
                node: node as u8,
                raft_entry: number as u32,
            };
            self.work(node, length, work);
        }
        self.aside(node, all);
    }

    pub(super) fn verified(&mut self, node: usize, raft_entry: usize) {
        self.nodes[node].unverified[raft_entry] -= 1;
        self.apply(node);
    }

    /// What a majority has on disk is committed.
    fn commit(&mut self) {
        if !self.leads() {
            return;
        }
        let mut on_disk: Vec<usize> = self.streams.iter().map(|s| s.acknowledged).collect();
        on_disk[0] = self.nodes[0].synced;
        on_disk.sort_unstable();
        // A majority has at least what the one in the middle has.
        let majority = on_disk[(on_disk.len() - 1) / 2];
        if majority > self.committed {
            self.committed = majority;
            self.nodes[0].committed = majority;
            self.apply(0);
            for follower in 1..self.nodes.len() {
                self.pump(follower);
            }
        }
    }

    /// Somebody leads again.
    pub(super) fn lead(&mut self) {
        self.commit();
        for follower in 1..self.nodes.len() {
            self.pump(follower);
        }
        self.propose();
        self.begin_round();
    }

    /// Begins to apply the next raft_entry that is committed, on disk here and verified.
    fn apply(&mut self, node: usize) {
        let of = &mut self.nodes[node];
        let next = of.applied;
        if of.applying || next >= of.committed.min(of.synced) || of.unverified[next] > 0 {
            return;
        }
        of.applying = true;
        let raft_entry = &self.log[next];
        let length = match raft_entry.note {
            // The checkpoint's cosignatures are verified.
            Some(_) => self.costs.verify * self.majority() as f64,
            None => self.costs.entry_in_order * f64::from(raft_entry.entries),
        };
        let node = node as u8;
        self.work(node.into(), length, Work::Applied { node });
    }

    pub(super) fn majority(&self) -> usize {
        self.nodes.len() / 2 + 1
    }

    pub(super) fn applied(&mut self, node: usize) {
        let number = self.nodes[node].applied;
        let before = self.nodes[node].size;
        let of = &mut self.nodes[node];
        of.applying = false;
        of.applied += 1;
        of.size += u64::from(self.log[number].entries);
        if let Some(size) = self.log[number].note {
            self.shown(node, size);
        }
        if node == 0 && self.log[number].note.is_none() {
            self.answer_items(number, before);
        }
        if let Some((round, size)) = self.nodes[node].asked.take() {
            self.asked_to_cosign(node, round, size);
        }
        if node == 0 {
            self.begin_round();
        }
        self.apply(node);
    }

    /// Those whose last entry this was are told.
    fn answer_items(&mut self, number: usize, before: u64) {
        let mut size = before;
        for place in 0..self.log[number].items.len() {
            let (request, entries) = self.log[number].items[place];
            size += u64::from(entries);
            let of = &mut self.requests[request as usize];
            of.left -= entries;
            of.size = size;
            match (of.left, of.door) {
                (0, 0) => self.is_committed(request),
                (0, door) => {
                    self.send(0, door.into(), MESSAGE_BYTES, Message::Answer(request));
                }
                _ => {}
            }
        }
        self.in_flight -= 1;
        self.propose();
    }
}
