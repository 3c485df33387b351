// SPDX-License-Identifier: EUPL-1.2
//! What an export proves, in numbers and in sentences.

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};

use super::{
    AboutKind, Head, NotOpened, Restricted, Why,
    lists::Counted,
    since::Gone,
    verify::{Bound, Remark},
};
use crate::{
    admission::RowKind,
    finding::{Finding, Findings},
    household::Spell,
    id::InstitutionId,
    number::{EntryIndex, TreeSize},
    policy::{Cosigned, VerifiedCheckpoint},
    retention::RETENTION_MS,
    time::format_timestamp,
};

/// What *complete* cannot mean, said wherever it is said.
pub const HONEST: &str = "A call that nobody logged is in no ledger: it shows only as an unpaired side, a gap in a writer's stream, or a difference to the counts of PDND.";

/// An export that holds. Only [`super::verify`] makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    pub(super) head: Head,
    pub(super) checkpoint: VerifiedCheckpoint,
    pub(super) size: TreeSize,
    pub(super) version: u64,
    pub(super) root_index: EntryIndex,
    pub(super) time_ms: u64,
    pub(super) lists: Vec<Counted>,
    pub(super) ordered: BTreeMap<InstitutionId, u64>,
    pub(super) spells: Vec<Spell>,
    pub(super) facts: usize,
    pub(super) records: usize,
    pub(super) not_opened: Vec<NotOpened>,
    pub(super) restricted: Vec<Restricted>,
    pub(super) bound: Bound,
    pub(super) not_compared: Gone,
    pub(super) remarks: Vec<Remark>,
}

impl Verified {
    /// What was said before the lists; all of it holds.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The checkpoint, and who cosigned it when.
    pub fn checkpoint(&self) -> &VerifiedCheckpoint {
        &self.checkpoint
    }

    /// Complete as of this size: no entry among the first so many is left out.
    pub fn size(&self) -> TreeSize {
        self.size
    }

    /// When the ledger took the state root of that size, ms since the epoch.
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// Number of the state root, and where its entry stands.
    pub fn state_root(&self) -> (u64, EntryIndex) {
        (self.version, self.root_index)
    }

    /// The lists, each counted.
    pub fn lists(&self) -> &[Counted] {
        &self.lists
    }

    /// For a household: who belonged when.
    pub fn spells(&self) -> &[Spell] {
        &self.spells
    }

    /// Members whose lists are not in here; why is the exporter's word.
    pub fn not_opened(&self) -> &[NotOpened] {
        &self.not_opened
    }

    /// Restrictions that may be told: the exporter's word.
    pub fn restricted(&self) -> &[Restricted] {
        &self.restricted
    }

    /// Whether the ref was shown to be a code's.
    pub fn bound(&self) -> Bound {
        self.bound
    }

    /// Of the items of the earlier export that it was held against: those that retention removed since, so that nothing is left to compare.
    pub fn not_compared(&self) -> u64 {
        self.not_compared.count
    }

    /// Of these, those that the earlier export withheld and whose age it does not show: that they were old enough is the ledger's word.
    pub fn not_compared_unseen(&self) -> u64 {
        self.not_compared.unseen
    }

    /// What the export leaves open though it holds.
    pub fn remarks(&self) -> &[Remark] {
        &self.remarks
    }

    /// Items that are opened, in all lists.
    pub fn opened(&self) -> u64 {
        self.lists.iter().map(|list| list.opened).sum()
    }

    /// Items that were erased, in all lists.
    pub fn erased(&self) -> u64 {
        self.lists.iter().map(|list| list.erased).sum()
    }

    /// Items that are withheld, in all lists, by the reason given.
    pub fn withheld(&self) -> BTreeMap<Option<Why>, u64> {
        let mut withheld = BTreeMap::new();
        for (why, count) in self.lists.iter().flat_map(|list| &list.withheld) {
            *withheld.entry(*why).or_default() += count;
        }
        withheld
    }

    /// Accesses that show their findings, how many of them are covered, and how many carry each finding. An access in two lists counts
    /// in both.
    pub fn accesses(&self) -> (u64, u64, BTreeMap<Finding, u64>) {
        let (mut all, mut covered, mut by_finding) = (0, 0, BTreeMap::new());
        for (bits, count) in self.lists.iter().flat_map(|list| &list.accesses) {
            all += count;
            if *bits == 0 {
                covered += count;
            }
            for finding in Findings(*bits).iter() {
                *by_finding.entry(finding).or_default() += count;
            }
        }
        (all, covered, by_finding)
    }

    /// What is proven, then what the exporter says of it, a sentence a fact, for readers who know no formats.
    pub fn facts(&self) -> Vec<String> {
        let mut facts = Vec::new();
        let checkpoint = self.checkpoint.checkpoint();
        let about = match self.head.about.kind {
            AboutKind::Subject => "this person",
            AboutKind::Household => "this household, and each member while belonging to it,",
        };
        facts.push(format!(
            "Complete as of size {}, time {}: no entry among the first {} of {} that names {about} is left out.",
            self.size,
            format_timestamp(self.time_ms),
            self.size,
            checkpoint.origin,
        ));
        facts.push(HONEST.into());
        facts.push(format!(
            "State root {} (entry {}) stands in the tree of {} entries that the log signed.",
            self.version, self.root_index, checkpoint.size
        ));
        for Cosigned { name, time_s } in self.checkpoint.cosignatures() {
            let time = format_timestamp(time_s.saturating_mul(1000));
            facts.push(format!("{name} cosigned that tree at {time}."));
        }
        self.say_lists(&mut facts);
        self.say_accesses(&mut facts);
        self.say_open_ends(&mut facts);
        facts
    }

    fn say_lists(&self, facts: &mut Vec<String>) {
        for list in &self.lists {
            let of = match list.kind {
                RowKind::Household => "household",
                RowKind::Sealed => "sealed list",
                _ => "person",
            };
            let total = list.count.saturating_sub(list.base_count);
            let withheld: u64 = list.withheld.values().sum();
            let mut fact = format!(
                "List of {of} {}: {total} entries, {} opened, {withheld} withheld, {} erased",
                crate::base64::url_encode(list.of.as_bytes()),
                list.opened,
                list.erased
            );
            if list.base_count > 0 {
                fact.push_str(&format!(
                    "; {} older ones, all from before {}, were removed because their retention ended",
                    list.base_count,
                    format_timestamp(self.time_ms.saturating_sub(RETENTION_MS))
                ));
            }
            fact.push('.');
            facts.push(fact);
        }
    }

    fn say_accesses(&self, facts: &mut Vec<String>) {
        let (all, covered, by_finding) = self.accesses();
        if all > 0 {
            facts.push(format!(
                "Accesses: {all}; the ledger found nothing wrong with {covered}."
            ));
        }
        for (finding, count) in by_finding {
            facts.push(format!(
                "With {count}: {} ({}).",
                finding.meaning(),
                finding.name()
            ));
        }
        facts.push(format!(
            "Every signature shown holds, by a key that was in force ({} facts under the state root, {} entries beside the lists).",
            self.facts, self.records
        ));
    }

    /// What is not proven, and said to be so.
    fn say_open_ends(&self, facts: &mut Vec<String>) {
        for (why, count) in self.withheld() {
            facts.push(match why {
                Some(why) => format!(
                    "NOT PROVEN: {count} entries are withheld as {}; that is the exporter's word.",
                    why.as_str()
                ),
                None => {
                    format!("NOT PROVEN: {count} entries are withheld, and no reason is given.")
                }
            });
        }
        for (institution, count) in &self.ordered {
            facts.push(format!(
                "{count} entries are shown as erased by {}'s order; that the order was good for them is the exporter's word.",
                institution.as_str()
            ));
        }
        for member in &self.not_opened {
            facts.push(format!(
                "NOT IN HERE: the list of member {} ({}, the exporter's word).",
                crate::base64::url_encode(member.of.as_bytes()),
                member.why
            ));
        }
        for restricted in &self.restricted {
            facts.push(format!(
                "NOT IN HERE: {} restricted, by {} (the exporter's word).",
                restricted.count, restricted.ground
            ));
        }
        let Gone { count, unseen } = self.not_compared;
        if count > 0 {
            facts.push(format!(
                "NOT COMPARED: {count} entries of the earlier export, which were removed since because their retention ended."
            ));
        }
        if unseen > 0 {
            facts.push(format!(
                "NOT KNOWN: whether {unseen} of these were old enough: the earlier export withheld them."
            ));
        }
        for remark in &self.remarks {
            facts.push(match remark {
                Remark::MembershipPartial => {
                    "NOT KNOWN: who belonged all the time: compositions, or members in them, are gone.".into()
                }
                Remark::MemberErased { composition, by } => format!(
                    "NOT KNOWN: a member in entry {composition}, whom the order in entry {by} erased."
                ),
                Remark::LinkNotShown(index) => {
                    format!(
                        "NOT IN HERE: the list of a ref that entry {index} joins to this person."
                    )
                }
                Remark::ReleasedNotShown(index) => {
                    format!("NOT SHOWN: what entry {index} released is not in here.")
                }
                Remark::LinksPartial => {
                    "NOT KNOWN: whether a withheld entry joins another ref of this person.".into()
                }
            });
        }
        match self.bound {
            Bound::Yes => facts.push("The ref is that of the code given.".into()),
            Bound::NotAsked => {
                facts.push("NOT CHECKED: whether the ref is yours; give your code.".into())
            }
            Bound::No => facts.push(
                "NOT CHECKED: whose code the ref belongs to; the export does not say.".into(),
            ),
        }
    }
}
