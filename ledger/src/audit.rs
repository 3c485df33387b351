// SPDX-License-Identifier: EUPL-1.2
//! The auditor: replays a ledger from its first entry, with nothing of the server's, and recomputes all that the ledger says of itself.
//!
//! What is fed ([`Line`]) is what nodes keep: the entries with their salts, and the published checkpoints. Recomputed are every signature,
//! the admission and the findings, the leaf, what each entry changes under the state root, the tree, each state root at its size, and for
//! each checkpoint its root and whether a majority of the nodes in force cosigned it. The first contradiction ends the audit, with
//! [`Evidence`]: what was said, and what it should have been.
//!
//! An audit begins at genesis, or at a published state root with what [`Beginning`] is fed.
//!
//! Of an erased entry the judgement cannot be made again. Its leaf stands, and what it changed under the root is taken as it is told
//! ([`Change`]) and proven right by the next state root. It is counted as *not recomputable*, and so is what depended on what is gone.
//!
//! Of an entry that a cut took out of its lists even that is gone. Lists and state roots are recomputed up to it ([`Retired`]); all else goes
//! on, and at its end the audit has met for each of these entries the order that took it and a state root behind that order, or it is a lie.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};

use crate::{
    admission::{self, Applied, LedgerInfo, Stamp},
    body::{Body, Content, EntryType},
    bytes::Meta,
    entry::{self, Remembered, Stop, VerifiedEntry, Verifier},
    erasure::is_erasable,
    finding::{Finding, Findings},
    fold::{Change, MemoryFold},
    hash::Hash,
    merkle::Frontier,
    number::{EntryIndex, TreeSize},
    policy::PolicySet,
    refusal::{Refusal, Refused},
    state::{MemoryState, StateError, registry},
};

mod begin;
mod beyond;
mod line;
mod missing;
mod progress;
mod published;
mod report;
mod start;
mod told;

pub use begin::Beginning;
pub use beyond::{Beyond, Ranges, Unproven};
pub use line::{Fed, Line, NoLine};
use missing::Missing;
pub use progress::Damaged;
pub use report::{Evidence, Place, Report, Retired};
pub use start::{GOVERNANCE, Head, LOCAL, StartLine};

/// An audit under way: the ledger as recomputed so far.
#[derive(Clone, Debug)]
pub struct Audit {
    policies: PolicySet,
    /// Known from entry 0 on.
    ledger: Option<LedgerInfo>,
    /// Digest of entry 0; zero before it.
    genesis: Hash,
    state: MemoryState,
    tree: Frontier,
    fold: MemoryFold,
    /// Changes that are not folded yet, the oldest first.
    pending: Vec<Change>,
    last_accepted_ms: u64,
    /// Entries of which something is gone, and no order to erase it was met yet.
    unordered: BTreeMap<u64, Missing>,
    /// Entries of which it is not known who seals them, or from whom: they are gone, or rest on what is.
    unsealed: Ranges,
    /// Signatures over batches that hold, and keys met.
    remembered: Remembered,
    /// Where it began, if not at genesis.
    beyond: Option<Beyond>,
    report: Report,
}

/// Findings that are judged by other entries, which may be erased since. Delegations are not: what they rest on stays.
const JUDGED_BY_OTHERS: [Finding; 7] = [
    Finding::ConsentMissing,
    Finding::ConsentWithdrawn,
    Finding::ConsentExpired,
    Finding::ConsentOutOfScope,
    Finding::StreamGap,
    Finding::StreamFork,
    Finding::ExchangeAgain,
];
/// Those of them that are judged by the numbers of a stream alone.
const BY_NUMBERS: [Finding; 2] = [Finding::StreamGap, Finding::StreamFork];

fn within(findings: Findings, of: &[Finding]) -> bool {
    let of: Findings = of.iter().copied().collect();
    findings.0 & !of.0 == 0
}

/// Whether an entry can be refused for what is erased now. Only releases are judged by what may be: the entry that they refer to, and
/// the notes and releases on it.
fn refused_by_others(entry_type: EntryType, refusal: Refusal) -> bool {
    entry_type == EntryType::Release
        && matches!(
            refusal,
            Refusal::RefersTo | Refusal::NotAuthorised | Refusal::Registry
        )
}

impl Audit {
    /// Begins before entry 0. Checkpoints are also held against these policies, where one holds for their size.
    pub fn begin(policies: PolicySet) -> Audit {
        Audit {
            policies,
            ledger: None,
            genesis: Hash::ZERO,
            state: MemoryState::default(),
            tree: Frontier::default(),
            fold: MemoryFold::new(),
            pending: Vec::new(),
            last_accepted_ms: 0,
            unordered: BTreeMap::new(),
            unsealed: Ranges::new(),
            remembered: Remembered::default(),
            beyond: None,
            report: Report::default(),
        }
    }

    /// The state root at which it began, if it did not begin at genesis.
    pub fn beyond(&self) -> Option<&Beyond> {
        self.beyond.as_ref()
    }

    /// The root of all values under the state root, as folded last.
    pub fn state_root(&self) -> Hash {
        self.fold.root()
    }

    /// Entries replayed: the next one to feed.
    pub fn size(&self) -> TreeSize {
        self.tree.size()
    }

    /// What was recomputed so far.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The policies that checkpoints are held against.
    pub fn policies(&self) -> &PolicySet {
        &self.policies
    }

    /// The ledger's name and shard; unknown before entry 0.
    pub fn ledger(&self) -> Option<&LedgerInfo> {
        self.ledger.as_ref()
    }

    /// Says whether the audit may end here: what is gone was ordered to be, and what was fed is there and published to its end.
    ///
    /// # Errors
    /// The first entry of which something is gone that no order names, and that waits for no state root ([`Audit::waiting`]); a feed that is
    /// empty, or ends behind its last checkpoint.
    pub fn end(&self) -> Result<(), Evidence> {
        let mut unordered = self.unordered.iter();
        let unnamed =
            unordered.find(|(index, missing)| !missing.named && !self.waits(**index, missing));
        if let Some((index, missing)) = unnamed {
            let (said, computed) = if missing.retired {
                (
                    "out of its lists",
                    "taken by no cut that a state root holds",
                )
            } else {
                ("erased", "named by no order to erase it")
            };
            return Err(Evidence {
                at: Place::Entry(EntryIndex(*index)),
                what: "an entry",
                said: said.into(),
                computed: computed.into(),
            });
        }
        let size = self.size();
        if size.0 == 0 || self.report.published != size.0 {
            return Err(Evidence {
                at: Place::Checkpoint(size),
                what: "the end",
                said: format!("after {size} entries"),
                computed: format!("published up to {} alone", self.report.published),
            });
        }
        Ok(())
    }

    /// Takes the next line.
    ///
    /// # Errors
    /// The first contradiction: the audit ends here.
    pub fn take(&mut self, line: &Line) -> Result<(), Evidence> {
        match line {
            Line::Entry(fed) => self.take_entry(fed),
            Line::Checkpoint(note) => self.take_checkpoint(note),
        }
    }

    fn take_entry(&mut self, fed: &Fed) -> Result<(), Evidence> {
        let lie = |what, said: String, computed: String| Evidence {
            at: Place::Entry(fed.index),
            what,
            said,
            computed,
        };
        let next = self.size().next_index();
        if fed.index != next {
            return Err(lie("the index", fed.index.to_string(), next.to_string()));
        }
        if fed.meta.accepted_at_ms < self.last_accepted_ms {
            let (said, last) = (fed.meta.accepted_at_ms, self.last_accepted_ms);
            return Err(lie(
                "the time of acceptance",
                said.to_string(),
                format!("{last} or later"),
            ));
        }
        let change = self.replay(fed)?;
        if let Some(beyond) = &mut self.beyond {
            let writes = change.as_ref().map_or(&[][..], |change| &change.writes);
            beyond.took(fed.meta.accepted_at_ms, writes);
        }
        self.last_accepted_ms = fed.meta.accepted_at_ms;
        let leaf_hash = change.as_ref().map(|change| change.leaf_hash);
        let leaf_hash = leaf_hash.unwrap_or_else(|| fed.leaf_hash());
        self.tree.append(leaf_hash, |_, _, _| {});
        *self.report.types.entry(fed.meta.entry_type).or_default() += 1;
        for finding in fed.meta.findings.iter() {
            *self.report.findings.entry(finding).or_default() += 1;
        }
        // Once nothing is folded any more, cuts alone wait for the root that holds them.
        let folds = |change: &Change| self.report.retired.is_none() || change.reach.is_some();
        self.pending.extend(change.filter(folds));
        if fed.meta.entry_type == EntryType::StateRoot {
            self.check_state_root(fed.index)?;
        }
        Ok(())
    }

    /// Judges an entry anew, as far as it is there; its writes are performed. Answers with what it changes under the root, unless retention
    /// left nothing that tells.
    fn replay(&mut self, fed: &Fed) -> Result<Option<Change>, Evidence> {
        let lie = |what, said: String, computed: String| Evidence {
            at: Place::Entry(fed.index),
            what,
            said,
            computed,
        };
        let Some((body_salt, submitted)) = &fed.body else {
            return self.bridge(fed);
        };
        self.begin_ledger(fed)?;
        let Some(ledger) = self.ledger.clone() else {
            return Err(lie(
                "the first entry",
                "no genesis".into(),
                "a genesis".into(),
            ));
        };
        let refused =
            |refused: Refused| lie("an entry", "accepted".into(), format!("refused: {refused}"));
        let verified = if fed.index == EntryIndex(0) {
            // The registry is empty yet: a genesis brings its own keys.
            let keys = entry::genesis_keys(submitted).map_err(refused)?;
            entry::verify(submitted.clone(), &ledger.name, &keys).map_err(|stop| match stop {
                Stop::Refused(refused) => refused,
                Stop::Failed(never) => match never {},
            })
        } else {
            let keys = registry::RegisteredKeys(&self.state);
            let remembered = core::mem::take(&mut self.remembered);
            let mut verifier = Verifier::resume(&ledger.name, &keys, remembered);
            let verified = verifier.verify_replayed(submitted.clone());
            self.remembered = verifier.remember();
            match verified {
                Ok(entry) => Ok(entry),
                Err(Stop::Refused(refused)) => Err(refused),
                Err(Stop::Failed(error)) => return Err(unsound(fed.index, &error)),
            }
        };
        let whole = match verified {
            Ok(entry) => Some(entry),
            // Told only when all signatures hold. A person's disclosure was erased: whose list the entry stands in must be told.
            Err(why) if why.refusal == Refusal::DisclosureMissing && fed.change.is_some() => None,
            Err(why) => return Err(refused(why)),
        };
        self.report.signatures += submitted.sigs().rows().len() as u64;
        let Some(entry) = whole else {
            return self.bridge(fed);
        };
        let on = match &self.beyond {
            Some(beyond) => beyond
                .rests_on(&self.state, entry.body(), fed)
                .map_err(|error| unsound(fed.index, &error))?,
            None => Vec::new(),
        };
        let judged = self.judge(fed, entry, *body_salt, &ledger);
        let change = judged.map_err(|lie| beyond::resting(lie, &on))?;
        self.report.rest(fed.index, &on);
        Ok(Some(change))
    }

    /// Judges a verified entry; its writes are performed.
    fn judge(
        &mut self,
        fed: &Fed,
        entry: VerifiedEntry,
        body_salt: [u8; 32],
        ledger: &LedgerInfo,
    ) -> Result<Change, Evidence> {
        let lie = |what, said: String, computed: String| Evidence {
            at: Place::Entry(fed.index),
            what,
            said,
            computed,
        };
        let refused =
            |refused: Refused| lie("an entry", "accepted".into(), format!("refused: {refused}"));
        let stamp = Stamp {
            index: fed.index,
            accepted_at_ms: fed.meta.accepted_at_ms,
            body_salt,
        };
        let effects = match admission::apply(&self.state, entry, stamp, ledger) {
            Ok(Applied::Accepted(effects)) => *effects,
            Ok(Applied::Known { index }) => {
                let why = format!("the same as entry {index}");
                return Err(lie("an entry", "new".into(), why));
            }
            Ok(Applied::Refused(why)) if refused_by_others(fed.meta.entry_type, why.refusal) => {
                return self.unjudged(fed, None, refused(why));
            }
            Ok(Applied::Refused(why)) => return Err(refused(why)),
            Err(error) => return Err(unsound(fed.index, &error)),
        };
        let computed = *effects.entry.meta();
        // Bit by bit: a reserved one is nobody's judgement.
        let other = Findings(computed.findings.0 ^ fed.meta.findings.0);
        let otherwise = if computed == fed.meta {
            if effects.entry.leaf_hash() != fed.leaf_hash() {
                let (said, computed) = (fed.leaf_hash(), effects.entry.leaf_hash());
                return Err(lie("the leaf", said.to_string(), computed.to_string()));
            }
            None
        } else {
            let evidence = lie("what its leaf says", told(&fed.meta), told(&computed));
            let findings = fed.meta.findings;
            let as_told = Meta {
                findings,
                ..computed
            };
            if as_told != fed.meta || !within(other, &JUDGED_BY_OTHERS) {
                return Err(evidence);
            }
            Some(evidence)
        };
        self.take_order(fed, &effects)?;
        // Of numbers that a cut took nothing is told; all else that it changes is computed none the less.
        let numbers = self.report.retired.is_some() && within(other, &BY_NUMBERS);
        match otherwise {
            Some(evidence) if !numbers => self.unjudged(fed, Some(effects), evidence),
            otherwise => self.settle(fed, effects, otherwise),
        }
    }

    /// Takes the ledger's name from its genesis, and holds that against the policy file.
    fn begin_ledger(&mut self, fed: &Fed) -> Result<(), Evidence> {
        let (EntryIndex(0), Some((_, submitted))) = (fed.index, &fed.body) else {
            return Ok(());
        };
        let digest = Hash::of(&[submitted.pae()]);
        if let Some(expected) = self
            .policies
            .genesis()
            .filter(|expected| *expected != digest)
        {
            return Err(Evidence {
                at: Place::Entry(fed.index),
                what: "the genesis",
                said: digest.to_string(),
                computed: format!("{expected}, as the policy file names it"),
            });
        }
        self.genesis = digest;
        if let Ok(body) = Body::parse(submitted.payload(), submitted.disclosures())
            && let Content::Genesis(genesis) = &body.content
        {
            self.ledger = Some(LedgerInfo {
                name: body.common.ledger.clone(),
                shard: genesis.shard,
            });
        }
        Ok(())
    }

    /// Of an entry that is not whole any more, what it changed is taken as told; the next state root proves or refutes it. Of one that left
    /// its lists it is not told whole, or not at all.
    fn bridge(&mut self, fed: &Fed) -> Result<Option<Change>, Evidence> {
        let left = fed.change.as_ref().is_none_or(|change| change.left > 0);
        let retired = fed.body.is_none() && left;
        let change = match &fed.change {
            None if retired => None,
            _ => Some(self.told_change(fed, retired)?),
        };
        if !is_erasable(fed.meta.entry_type) {
            return Err(Evidence {
                at: Place::Entry(fed.index),
                what: "an entry",
                said: "erased".into(),
                computed: format!("a {}, which stays", fed.meta.entry_type.as_str()),
            });
        }
        self.report.erased += 1;
        let first = registry::key(&self.state, &fed.meta.first_key)
            .map_err(|error| unsound(fed.index, &error))?;
        let missing = Missing {
            entry_type: fed.meta.entry_type,
            accepted_at_ms: fed.meta.accepted_at_ms,
            whole: fed.body.is_none(),
            institution: first.map(|key| key.institution),
            named: false,
            retired,
        };
        self.unordered.insert(fed.index.0, missing);
        self.lose_seal(fed);
        if let Some(change) = &change {
            self.state.write(&change.writes);
        }
        if !retired {
            return Ok(change);
        }
        let retired = self.report.retired.get_or_insert(Retired {
            first: fed.index,
            count: 0,
            until_ms: 0,
            state_roots: 0,
        });
        retired.count += 1;
        retired.until_ms = fed.meta.accepted_at_ms;
        self.pending.retain(|change| change.reach.is_some());
        Ok(None)
    }
}

/// The replayed state contradicts itself: what was taken as told was no state.
fn unsound(index: EntryIndex, error: &StateError) -> Evidence {
    Evidence {
        at: Place::Entry(index),
        what: "the state",
        said: "sound".into(),
        computed: error.to_string(),
    }
}

/// What a leaf says, for evidence.
fn told(meta: &Meta) -> String {
    format!(
        "{} at {} ms, rule set {}, {}, first key {}",
        meta.entry_type.as_str(),
        meta.accepted_at_ms,
        meta.rules,
        meta.findings,
        meta.first_key
    )
}
