// SPDX-License-Identifier: EUPL-1.2
//! The start of an audit at a state root.
//!
//! A start says what the ledger was at a moment a little after a state root: `folded` entries are spoken of by the root, `size` are before the
//! first that is replayed. Proven of it is:
//!
//! - The tree: from the peaks at `folded` and the leaves of the changes behind it follows the root of a cosigned checkpoint.
//! - The registry, whole: governance entries are never erased, each names the one before it, and all of them are replayed from genesis. What
//!   they come to is what stands under the state root, no more and no less.
//! - All that stands under the root: the root follows from the values, and its `state-root` entry lies in that tree.
//! - What stands in lists: the items of each list lead from its base to its head. Whose the entries are and when what they say ceased is taken
//!   as told; the next root behind a cut follows from it, or the audit stops there.
//! - What entries behind the root changed: the next state root follows from it, or the audit stops there.
//!
//! Times never fall from one index to the next, over all that a start tells of; and the cuts that stand are those that follow from the orders.
//!
//! What admission reads beyond that is taken as told, as far as it does not contradict what is proven: [`Beyond`] says which judgements rest
//! on it. Nothing is said of how the entries before the start were judged.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::{Audit, Beyond, Evidence, Fed, GOVERNANCE, Head, LOCAL, Place, Report, StartLine};
use crate::{
    body::{Body, Content, EntryType},
    bytes::{
        ListValue,
        sides::FirstTold,
        state::{self, StateKey, kind},
    },
    checkpoint::Checkpoint,
    consent::ConsentState,
    entry::Verifier,
    erasure,
    finding::Finding,
    fold::{Change, MemoryFold, list_key},
    hash::Hash,
    merkle::{Frontier, verify_inclusion},
    number::{EntryIndex, TreeSize},
    policy::PolicySet,
    retention::{self, Cut, Cuts},
    state::{
        MemoryState,
        registry::{self, LastStateRoot},
        sealed::SealedEntry,
    },
};

mod compare;

/// A start that is being taken, line by line; [`Beginning::end`] makes an audit of it.
pub struct Beginning {
    /// Governance alone, replayed.
    registry: Audit,
    head: Option<Head>,
    /// Root of the tree at the state root's size.
    folded_root: Hash,
    /// The checkpoint was met by the tree.
    met: bool,
    tree: Frontier,
    /// The cuts that stand at the state root.
    cuts: Cuts,
    last_cut: Option<EntryIndex>,
    /// When each entry that is told of was accepted, by index.
    times: BTreeMap<u64, u64>,
    /// What stands in lists, and what the lists come to, by map key.
    held: Vec<Change>,
    lists: BTreeMap<Hash, Vec<Hash>>,
    changes: Vec<Change>,
    /// Changes behind the state root whose entries are there.
    opened: usize,
    /// Indexes of changes that touch the registry, whose entries were not met yet.
    governed: BTreeSet<u64>,
    last_record: Option<EntryIndex>,
    state_root: Option<LastStateRoot>,
    last_key: Option<StateKey>,
    values: BTreeMap<Hash, Vec<u8>>,
    /// How many of them are lists'.
    list_values: usize,
    state: MemoryState,
    lines: u64,
    stage: Stage,
}

/// Which lines are next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Head,
    Cuts,
    Held,
    Changes,
    Records,
    Values,
    End,
}

impl Beginning {
    /// Begins before the first line. The registry's genesis and the checkpoint are held against these policies.
    pub fn new(policies: PolicySet) -> Beginning {
        Beginning {
            registry: Audit::begin(policies),
            head: None,
            folded_root: Hash::ZERO,
            met: false,
            tree: Frontier::default(),
            cuts: Cuts::default(),
            last_cut: None,
            times: BTreeMap::new(),
            held: Vec::new(),
            lists: BTreeMap::new(),
            changes: Vec::new(),
            opened: 0,
            governed: BTreeSet::new(),
            last_record: None,
            state_root: None,
            last_key: None,
            values: BTreeMap::new(),
            list_values: 0,
            state: MemoryState::default(),
            lines: 0,
            stage: Stage::Head,
        }
    }

    /// Takes the next line.
    ///
    /// # Errors
    /// The first contradiction: there is no audit from this start.
    pub fn take(&mut self, line: StartLine) -> Result<(), Evidence> {
        let stage = match &line {
            StartLine::Head(_) => Stage::Head,
            StartLine::Cut(_) => Stage::Cuts,
            StartLine::Held(_) => Stage::Held,
            StartLine::Change(_) => Stage::Changes,
            StartLine::Record(..) => Stage::Records,
            StartLine::Value(..) => Stage::Values,
            StartLine::End(_) => Stage::End,
        };
        let ended = self.stage == Stage::End;
        if ended || stage < self.stage || (self.head.is_none() && stage != Stage::Head) {
            let said = format!("a line of {stage:?}");
            let computed = format!("due before {:?}", self.stage);
            return Err(self.lie("its order", said, computed));
        }
        self.stage = stage;
        match line {
            StartLine::Head(head) => self.take_head(head)?,
            StartLine::Cut(cut) => self.take_cut(cut)?,
            StartLine::Held(change) => self.take_held(*change)?,
            StartLine::Change(change) => self.take_change(*change)?,
            StartLine::Record(fed, path) => self.take_record(&fed, &path)?,
            StartLine::Value(key, value) => self.take_value(key, value)?,
            StartLine::End(lines) => {
                if lines != self.lines {
                    let (said, computed) = (lines.to_string(), self.lines.to_string());
                    return Err(self.lie("its number of lines", said, computed));
                }
            }
        }
        self.lines += 1;
        Ok(())
    }

    fn lie(&self, what: &'static str, said: String, computed: String) -> Evidence {
        let size = self.head.as_ref().map_or(TreeSize::EMPTY, |head| head.size);
        Evidence {
            at: Place::Start(size),
            what,
            said,
            computed,
        }
    }

    fn take_head(&mut self, head: Head) -> Result<(), Evidence> {
        let at = self.head.replace(head.clone());
        if at.is_some() {
            return Err(self.lie("its order", "a second head".into(), "one".into()));
        }
        let tree = Frontier::of_peaks(head.folded, head.peaks.clone());
        let Some(tree) = tree.filter(|_| head.folded.0 > 0 && head.folded <= head.size) else {
            let said = format!("of {} entries, folded {}", head.size, head.folded);
            return Err(self.lie("its size", said, "another".into()));
        };
        self.folded_root = tree.root();
        self.tree = tree;
        self.meet_checkpoint()
    }

    /// Where the tree has the checkpoint's size, it has its root.
    fn meet_checkpoint(&mut self) -> Result<(), Evidence> {
        let Some(head) = &self.head else {
            return Ok(());
        };
        let checkpoint = match Checkpoint::parse(head.checkpoint.text()) {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                return Err(self.lie("its checkpoint", error.to_string(), "one".into()));
            }
        };
        if checkpoint.size != self.tree.size() {
            return Ok(());
        }
        if checkpoint.root != self.tree.root() {
            let (said, computed) = (checkpoint.root, self.tree.root());
            let what = "the root of the tree";
            return Err(self.lie(what, said.to_string(), computed.to_string()));
        }
        self.met = true;
        Ok(())
    }

    fn take_cut(&mut self, cut: Cut) -> Result<(), Evidence> {
        let (index, at_ms) = (cut.index, cut.accepted_at_ms);
        let ascends = self.last_cut.is_none_or(|last| last < index);
        let stood = self.cuts.iter().count();
        self.cuts.add(cut);
        if !ascends || !self.folded().holds(index) || self.cuts.iter().count() != stood + 1 {
            let said = format!("of entry {index}");
            return Err(self.lie("a cut", said, "none that stands".into()));
        }
        self.last_cut = Some(index);
        self.take_time(index, at_ms)
    }

    /// Two lines may tell of one entry: of one time.
    fn take_time(&mut self, index: EntryIndex, at_ms: u64) -> Result<(), Evidence> {
        match self.times.insert(index.0, at_ms) {
            Some(other) if other != at_ms => {
                let said = format!("{at_ms} of entry {index}");
                Err(self.lie("a time of acceptance", said, format!("also {other}")))
            }
            _ => Ok(()),
        }
    }

    fn take_change(&mut self, change: Change) -> Result<(), Evidence> {
        let next = self.tree.size().next_index();
        let within = self.head.as_ref().is_some_and(|head| head.size.holds(next));
        if change.index != next || !within {
            let (said, computed) = (change.index.to_string(), next.to_string());
            return Err(self.lie("the index of a change", said, computed));
        }
        self.take_time(change.index, change.accepted_at_ms)?;
        self.tree.append(change.leaf_hash, |_, _, _| {});
        if change.writes.iter().any(|(key, _)| of_registry(key)) {
            self.governed.insert(change.index.0);
        }
        self.changes.push(change);
        self.meet_checkpoint()
    }

    fn take_held(&mut self, change: Change) -> Result<(), Evidence> {
        let last = self.held.last().map(|last| last.index);
        let sound = self.folded().holds(change.index)
            && last.is_none_or(|last| last < change.index)
            && !change.lists.is_empty();
        if !sound {
            let said = format!("entry {}", change.index);
            return Err(self.lie("what stands in lists", said, "none that can".into()));
        }
        self.take_time(change.index, change.accepted_at_ms)?;
        for (kind, of) in &change.lists {
            let items = self.lists.entry(list_key(*kind, of).hash()).or_default();
            items.push(change.item(of));
        }
        self.held.push(change);
        Ok(())
    }

    fn folded(&self) -> TreeSize {
        let head = self.head.as_ref();
        head.map_or(TreeSize::EMPTY, |head| head.folded)
    }

    /// The change of an entry behind the state root.
    fn change_of(&self, index: EntryIndex) -> Option<&Change> {
        let place = index.0.checked_sub(self.folded().0)?;
        self.changes.get(usize::try_from(place).ok()?)
    }

    fn take_record(&mut self, fed: &Fed, path: &[Hash]) -> Result<(), Evidence> {
        if self.last_record.is_some_and(|last| last >= fed.index) {
            let said = format!("entry {}", fed.index);
            return Err(self.lie("the order of entries", said, "ascending".into()));
        }
        self.last_record = Some(fed.index);
        let leaf = fed.leaf_hash();
        let mut opened = 0;
        let stands = match self.change_of(fed.index) {
            Some(change) => {
                opened = 1;
                path.is_empty() && change.leaf_hash == leaf
            }
            None => verify_inclusion(fed.index, self.folded(), leaf, path)
                .is_ok_and(|root| root == self.folded_root),
        };
        if !stands {
            let said = format!("entry {} with leaf {leaf}", fed.index);
            return Err(self.lie("an entry", said, "not in the tree".into()));
        }
        self.opened += opened;
        self.take_time(fed.index, fed.meta.accepted_at_ms)?;
        let change = match fed.meta.entry_type {
            EntryType::StateRoot => return self.take_state_root(fed),
            entry_type if GOVERNANCE.contains(&entry_type) => {
                self.seed_stream(fed);
                self.registry.replay(fed)?
            }
            entry_type => {
                let said = format!("entry {}, of type {}", fed.index, entry_type.as_str());
                return Err(self.lie("an entry", said, "none of the registry".into()));
            }
        };
        self.governed.remove(&fed.index.0);
        match self.change_of(fed.index) {
            // Of a stream alone nothing can be told here: its numbers are those of all entries.
            Some(told) if registry_of(Some(told)) != registry_of(change.as_ref()) => {
                let said = format!("{} values of entry {}", told.writes.len(), fed.index);
                let computed = "others".into();
                Err(self.lie("what it changes under the state root", said, computed))
            }
            _ => Ok(()),
        }
    }

    /// Other entries of its stream are not there, so that the finding is taken as the leaf tells it; the registry does not rest on it.
    fn seed_stream(&mut self, fed: &Fed) {
        let Some((_, entry)) = &fed.body else { return };
        let Ok(body) = Body::parse(entry.payload(), entry.disclosures()) else {
            return;
        };
        let Some(place) = &body.common.stream else {
            return;
        };
        let findings = fed.meta.findings;
        let last = if findings.contains(Finding::StreamGap) {
            place.n.saturating_sub(2)
        } else if findings.contains(Finding::StreamFork) {
            place.n
        } else {
            place.n.saturating_sub(1)
        };
        let key = StateKey::stream(&body.common.institution, &place.name);
        let value = state::stream(last, &place.prev);
        self.registry.state.write(&Vec::from([(key, Some(value))]));
    }

    fn take_state_root(&mut self, fed: &Fed) -> Result<(), Evidence> {
        let lie = |what, said: String, computed: String| Evidence {
            at: Place::Entry(fed.index),
            what,
            said,
            computed,
        };
        let (Some((_, submitted)), Some(ledger)) = (&fed.body, self.registry.ledger.clone()) else {
            return Err(lie(
                "the state root",
                "told".into(),
                "without a body or a genesis".into(),
            ));
        };
        let keys = registry::RegisteredKeys(&self.registry.state);
        let verified = Verifier::new(&ledger.name, &keys).verify(submitted.clone());
        let entry = verified
            .map_err(|stop| lie("an entry", "accepted".into(), format!("refused: {stop}")))?;
        let Content::StateRoot(said) = &entry.body().content else {
            return Err(lie("its type", "state-root".into(), "another".into()));
        };
        let mut by_node = false;
        for signer in entry.signers() {
            let node = registry::node_of_key(&self.registry.state, &signer, fed.index)
                .map_err(|error| super::unsound(fed.index, &error))?;
            by_node |= node.is_some();
        }
        let first = entry.signers().next();
        if !by_node || first != Some(fed.meta.first_key) {
            return Err(lie("its signer", "a node".into(), "none in force".into()));
        }
        if said.size != self.folded().0 || fed.index.0 < said.size || self.state_root.is_some() {
            let computed = format!("not the one of a start that is folded to {}", self.folded());
            return Err(lie(
                "the state root",
                format!("of size {}", said.size),
                computed,
            ));
        }
        self.registry.report.signatures += 1;
        self.state_root = Some(LastStateRoot {
            index: fed.index,
            size: TreeSize(said.size),
            version: said.version,
            root: said.root,
        });
        Ok(())
    }

    fn take_value(&mut self, key: StateKey, value: Vec<u8>) -> Result<(), Evidence> {
        if self.last_key.as_ref().is_some_and(|last| *last >= key) {
            let said = described(&key);
            return Err(self.lie("the order of values", said, "ascending".into()));
        }
        self.last_key = Some(key.clone());
        let size = self.head.as_ref().map_or(TreeSize::EMPTY, |head| head.size);
        let before = |index: EntryIndex| size.holds(index);
        let sound = match key.kind {
            kind::SUBJECT | kind::HOUSEHOLD | kind::SEALED => ListValue::decode(&value).is_some(),
            kind::EXCHANGE => FirstTold::decode(&value).is_some_and(|told| before(told.index)),
            kind::CONSENT_FOLD => ConsentState::decode(&value).is_some_and(|of| before(of.index)),
            kind::SEALED_ENTRY => numbered(&key, size) && SealedEntry::decode(&value).is_some(),
            kind::ERASURE => {
                let at = index_of(&key).filter(|index| before(*index));
                at.is_some_and(|at| erasure::Order::decode(at, &value).is_some())
            }
            kind::CEASED => {
                key.ceased_index().is_some_and(before) && retention::decode_ceased(&value).is_some()
            }
            kind::COMPOSITION => key.name.len() == 32 && value.len() == 16,
            kind::CUTS => value.len().is_multiple_of(8),
            kind::LINK => key.name.len() == 32 && value.len().is_multiple_of(32),
            other => other < kind::LOCAL,
        };
        let known = key.under_root() || LOCAL.contains(&key.kind);
        if !sound || !known {
            let said = described(&key);
            return Err(self.lie("a value", said, "none that a start can hold".into()));
        }
        if key.under_root() {
            self.values.insert(key.hash(), value.clone());
        }
        self.list_values += usize::from(matches!(
            key.kind,
            kind::SUBJECT | kind::HOUSEHOLD | kind::SEALED
        ));
        if !matches!(key.kind, kind::SUBJECT | kind::HOUSEHOLD | kind::SEALED) {
            self.state.write(&Vec::from([(key, Some(value))]));
        }
        Ok(())
    }

    /// The audit that begins here, if all of it fits together.
    ///
    /// # Errors
    /// The first contradiction, or a start that was cut short.
    pub fn end(mut self) -> Result<Audit, Evidence> {
        let ended = self.stage == Stage::End;
        let (Some(head), true) = (self.head.take(), ended) else {
            return Err(self.lie("its end", "there".into(), "cut short".into()));
        };
        self.head = Some(head.clone());
        if self.tree.size() != head.size {
            let (said, computed) = (head.size.to_string(), self.tree.size().to_string());
            return Err(self.lie("its size", said, computed));
        }
        if !self.met {
            let computed = "of no size between the state root and the start";
            return Err(self.lie("its checkpoint", "of its tree".into(), computed.into()));
        }
        let checkpoint = Checkpoint::parse(head.checkpoint.text());
        let published = checkpoint.map_or(TreeSize::EMPTY, |checkpoint| checkpoint.size);
        let state_root = self.state_root.filter(|root| published.holds(root.index));
        let Some(state_root) = state_root else {
            let computed = "in no tree that is published";
            return Err(self.lie("its state root", "published".into(), computed.into()));
        };
        if let Some(index) = self.governed.first() {
            let said = format!("without entry {index}");
            return Err(self.lie("the registry", said, "changed by it".into()));
        }
        self.registry
            .check_signatures(&head.checkpoint, published)?;
        self.compare_times()?;
        self.compare_lists()?;
        let values = core::mem::take(&mut self.values);
        let mut fold = MemoryFold::of_values(values).with_cuts(self.cuts.clone());
        self.held.iter().for_each(|change| fold.hold(change));
        for (key, value) in self.state.iter() {
            let at_ms = retention::decode_ceased(value);
            if let Some((index, at_ms)) = key.ceased_index().zip(at_ms) {
                fold.cease(index, at_ms);
            }
        }
        if fold.root() != state_root.root {
            let (said, computed) = (state_root.root.to_string(), fold.root().to_string());
            return Err(self.lie("the state root", said, computed));
        }
        for change in &self.changes {
            self.state.write(&change.writes);
        }
        self.compare_registry()?;
        self.compare_consents()?;
        self.compare_cuts()?;
        Ok(self.into_audit(&head, published, state_root, fold))
    }

    fn into_audit(
        self,
        head: &Head,
        published: TreeSize,
        state_root: LastStateRoot,
        fold: MemoryFold,
    ) -> Audit {
        let registry = self.registry;
        let mut state = self.state;
        let of_registry = registry.state.iter().filter(|(key, _)| !key.under_root());
        let mut writes: Vec<_> = of_registry
            .map(|(key, value)| (key.clone(), Some(value.clone())))
            .collect();
        writes.push((StateKey::state_root(), Some(state_root.encode())));
        state.write(&writes);
        let report = Report {
            signatures: registry.report.signatures,
            state_roots: 1,
            checkpoints: 1,
            published: published.0,
            ..Report::default()
        };
        // What a record opens follows from it; of the others the next state root alone tells whether they are as told.
        let told = self.changes.len() > self.opened;
        let mut beyond = Beyond::new(head.size, state_root, None, &state);
        beyond.told = told;
        Audit {
            beyond: Some(beyond),
            last_accepted_ms: self.times.last_key_value().map_or(0, |(_, at_ms)| *at_ms),
            state,
            tree: self.tree,
            fold,
            pending: self.changes,
            report,
            ..registry
        }
    }
}

/// Whether a value under the root is the registry's.
fn of_registry(key: &StateKey) -> bool {
    key.under_root() && registry::holds(key)
}

fn registry_of(change: Option<&Change>) -> Vec<&(StateKey, Option<Vec<u8>>)> {
    let writes = change.into_iter().flat_map(|change| &change.writes);
    writes.filter(|(key, _)| of_registry(key)).collect()
}

/// The name may be a person's ref: the kind and a digest are told.
fn described(key: &StateKey) -> String {
    format!("kind {:#04x}, map key {}", key.kind, key.hash())
}

fn index_of(key: &StateKey) -> Option<EntryIndex> {
    let index = key.name.as_slice().try_into().ok()?;
    Some(EntryIndex(u64::from_be_bytes(index)))
}

fn numbered(key: &StateKey, size: TreeSize) -> bool {
    index_of(key).is_some_and(|index| size.holds(index))
}
