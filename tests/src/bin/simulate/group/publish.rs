// SPDX-License-Identifier: EUPL-1.2
//! Rounds of publishing: all are asked, a majority signs, the checkpoint is committed through Raft.

use super::{Event, Group, MESSAGE_BYTES, RaftEntry, Work, nodes::Message};
use crate::engine::ns;

/// Bytes of a checkpoint with its cosignatures.
const NOTE_BYTES: u64 = 1_000;

/// The round that is under way.
#[derive(Debug)]
pub(super) struct Round {
    number: u32,
    size: u64,
    lines: usize,
}

impl Group<'_> {
    /// Begins one if anything is applied that is not published, not before it is due, nor, for a moment, before what is under way is applied.
    pub(super) fn begin_round(&mut self) {
        if !self.leads() {
            // Who leads next begins to wait anew.
            self.gathering = None;
            return;
        }
        let leader = &self.nodes[0];
        if self.round.is_some() || leader.size <= leader.published {
            return;
        }
        let now = self.agenda.now();
        let gathered = match self.gathering {
            _ if now < self.next_round => self.next_round,
            None if self.queued + self.under_way() > 0 => {
                let until = now + self.limits.publish_gather;
                self.gathering = Some(until);
                until
            }
            Some(until) if self.queued + self.under_way() > 0 => until,
            _ => now,
        };
        if now < gathered {
            if self.round_noted != gathered {
                self.round_noted = gathered;
                self.agenda.at(gathered, Event::RoundDue);
            }
            return;
        }
        self.gathering = None;
        let size = leader.size;
        self.rounds += 1;
        let number = self.rounds as u32;
        self.next_round = now + self.limits.publish_interval;
        self.round = Some(Round {
            number,
            size,
            lines: 0,
        });
        for node in 1..self.nodes.len() {
            let question = Message::Cosign {
                round: number,
                size,
            };
            self.send(0, node, MESSAGE_BYTES, question);
        }
        self.asked_to_cosign(0, number, size);
    }

    /// Signs, if so much is applied here; else when it is.
    pub(super) fn asked_to_cosign(&mut self, node: usize, round: u32, size: u64) {
        if self.nodes[node].size < size {
            self.nodes[node].asked = Some((round, size));
            return;
        }
        self.nodes[node].signing = round;
        let sign = self.costs.sign;
        self.work(node, sign, Work::Signed { node: node as u8 });
    }

    /// What was signed is remembered on disk before it leaves.
    pub(super) fn signed(&mut self, node: usize) {
        let length = self.costs.sync.roll(&mut self.dice);
        let node = node as u8;
        self.agenda.after(ns(length), Event::CosignSynced { node });
    }

    pub(super) fn cosign_synced(&mut self, node: usize) {
        let round = self.nodes[node].signing;
        match node {
            0 => self.line(round),
            _ => self.send(node, 0, MESSAGE_BYTES, Message::Line { round }),
        }
    }

    pub(super) fn line(&mut self, round: u32) {
        self.work(0, self.costs.verify, Work::Checked(round));
    }

    pub(super) fn checked(&mut self, number: u32) {
        let majority = self.majority();
        let leads = self.leads();
        let Some(round) = &mut self.round else { return };
        if round.number != number {
            return;
        }
        round.lines += 1;
        if round.lines != majority {
            return;
        }
        if !leads {
            self.round = None;
            return;
        }
        let note = Some(round.size);
        self.append(RaftEntry {
            items: Vec::new(),
            entries: 0,
            bytes: NOTE_BYTES,
            note,
        });
    }

    /// A checkpoint is applied at a node: who waits there for a receipt has it.
    pub(super) fn shown(&mut self, node: usize, size: u64) {
        self.nodes[node].published = self.nodes[node].published.max(size);
        let waiting = std::mem::take(&mut self.readers[node]);
        for request in waiting {
            if self.requests[request as usize].size <= size {
                self.is_published(request);
            } else {
                self.readers[node].push(request);
            }
        }
        if node == 0 {
            self.round = None;
            self.begin_round();
        }
    }
}
