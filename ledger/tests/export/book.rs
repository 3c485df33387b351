// SPDX-License-Identifier: EUPL-1.2
//! A small ledger in memory, kept like a real one: entries admitted, folded, rooted, published under cosignatures, and exported.
//! The verifier's tests, and whoever needs example exports, take them from here.

use std::collections::{BTreeMap, BTreeSet};

use ledger::{
    admission::RowKind,
    audit::{Fed, GOVERNANCE, Head as StartHead, LOCAL, StartLine},
    body::{
        Body, Content, Disclosed, EntryType,
        system::{Erasure, Ground, Link, StateRoot},
    },
    bytes::{CodeKind, ListValue},
    checkpoint::Checkpoint,
    cosignature,
    disclosure::Disclosure,
    entry::StoredEntry,
    erasure::{self, Carried},
    export::{
        About, AboutKind, Audience, Binding, Erased, Export, Fact, Head, Item, List, ListHead,
        NotOpened, Opened, Why, Withheld,
    },
    fold::{Change, MemoryFold, list_key},
    hash::Hash,
    household::{Composition, Spell, membership},
    id::NodeNumber,
    merkle::{self, Frontier, MemoryNodes, prove_inclusion},
    note::{KeyName, Note, SignatureLine, SignatureType, VerifierKey},
    number::{EntryIndex, TreeSize},
    oprf::{Blinding, Evaluated, LinkProof, OprfSecretKey},
    policy::{Policy, PolicySet},
    retention::{self, Cut, RETENTION_MS, Reach, Terms},
    state::{State, StateKey, registry},
    state_map::{self, MapProof},
};

use crate::town::{Said, Saying, Town, institution, key};

/// Institutions of the small ledger; each runs a node and has keys of every use.
pub(crate) const INSTITUTIONS: [&str; 4] = ["inps", "c_m109", "asl_pv", "garante"];

/// The small ledger.
pub(crate) struct Book {
    pub(crate) town: Town,
    tree: MemoryNodes,
    fold: MemoryFold,
    /// Entries below are folded.
    folded: usize,
    lists: BTreeMap<(RowKind, Hash), Vec<u64>>,
    /// By erased entry: the order.
    erased: BTreeMap<u64, u64>,
    root: Option<Rooted>,
}

/// A state root and where it stands.
#[derive(Clone, Copy)]
struct Rooted {
    at: u64,
    said: (u64, Hash),
}

/// What an export is asked for.
pub(crate) struct Wanted {
    pub(crate) about: About,
    /// Members whose lists stay closed.
    pub(crate) closed: Vec<Hash>,
}

impl Wanted {
    pub(crate) fn subject(of: Hash) -> Wanted {
        Wanted {
            about: About {
                kind: AboutKind::Subject,
                of,
            },
            closed: Vec::new(),
        }
    }

    pub(crate) fn household(of: Hash, closed: &[Hash]) -> Wanted {
        Wanted {
            about: About {
                kind: AboutKind::Household,
                of,
            },
            closed: closed.to_vec(),
        }
    }
}

impl Book {
    /// Founded, and nothing else told yet.
    pub(crate) fn begin() -> Book {
        let town = Town::new();
        let roles = [
            ("c_m109", "registry-anagrafica"),
            ("garante", "authority"),
            ("garante", "dpo"),
        ]
        .map(|(of, role)| (of.to_owned(), role.to_owned()));
        let mut genesis = town.genesis(2, &INSTITUTIONS.map(str::to_owned), &roles, true);
        genesis.oprf_key = Some(Hash(*oprf_key().public().as_bytes()));
        let mut book = Book {
            town,
            tree: MemoryNodes::default(),
            fold: MemoryFold::new(),
            folded: 0,
            lists: BTreeMap::new(),
            erased: BTreeMap::new(),
            root: None,
        };
        book.say(
            Content::Genesis(Box::new(genesis)),
            Vec::new(),
            "inps",
            &["inps.governance", "asl_pv.governance"],
        );
        book
    }

    /// Signs a content with named keys and has it admitted; answers with its index.
    pub(crate) fn say(
        &mut self,
        content: Content,
        disclosures: Vec<String>,
        speaks: &str,
        signers: &[&str],
    ) -> u64 {
        let governed = matches!(
            content.entry_type(),
            EntryType::Institution | EntryType::Delegation | EntryType::Key | EntryType::Role
        );
        let saying = Saying {
            institution: speaks.to_owned(),
            signers: signers.iter().map(|&name| name.to_owned()).collect(),
            refers_to: self.town.governed().filter(|_| governed),
            ..Saying::default()
        };
        self.say_so(content, disclosures, &saying)
    }

    /// As [`Book::say`], with everything around the content.
    pub(crate) fn say_so(
        &mut self,
        content: Content,
        disclosures: Vec<String>,
        saying: &Saying,
    ) -> u64 {
        let submitted = self.town.sign(content, disclosures, saying);
        self.admit(submitted)
    }

    /// Has a signed entry admitted.
    pub(crate) fn admit(&mut self, submitted: ledger::entry::SubmittedEntry) -> u64 {
        let said = self.town.submit(submitted);
        let Said::Accepted(index) = said else {
            panic!("not accepted: {said:?}");
        };
        let effects = &self.town.entry(index).effects;
        self.tree.push(effects.entry.leaf_hash());
        for row in effects.rows.iter().filter(|row| row.kind.under_root()) {
            self.lists
                .entry((row.kind, row.of))
                .or_default()
                .push(index);
        }
        index
    }

    /// The body of an entry is gone, by this order.
    pub(crate) fn erase(&mut self, index: u64, by: u64) {
        self.erased.insert(index, by);
    }

    /// An institution cuts what is old enough now; answers with the order's index.
    pub(crate) fn cut(&mut self, speaks: &str) -> u64 {
        let cut = Erasure {
            entries: Vec::new(),
            subject: None,
            before: Some(self.town.size()),
            types: Vec::new(),
            ground: Ground::RetentionEnded,
        };
        let key = format!("{speaks}.entry");
        let by = self.say(Content::Erasure(cut), Vec::new(), speaks, &[key.as_str()]);
        let state = &self.town.state;
        let order = erasure::order(state, EntryIndex(by)).unwrap().unwrap();
        for index in 0..by {
            let (at, mut stored) = (EntryIndex(index), self.stored(index));
            let ceased = retention::ceased(state, at, stored.meta.entry_type).unwrap();
            let carried = order.carry_out(at, &mut stored, ceased).unwrap();
            if matches!(carried, Carried::Now(_)) {
                self.erased.entry(index).or_insert(by);
            }
        }
        by
    }

    /// Whether an order took the body of an entry.
    pub(crate) fn is_erased(&self, index: u64) -> bool {
        self.erased.contains_key(&index)
    }

    /// Folds as if the authority had cut everything before an index, long after it is old enough: what a cluster of liars may do.
    pub(crate) fn fold_early_cut(&mut self, before: u64) {
        let cut = Change {
            index: EntryIndex(self.town.size()),
            accepted_at_ms: self.town.now_ms + 3 * RETENTION_MS,
            meta_salt: Hash::ZERO,
            leaf_hash: Hash::ZERO,
            terms: Terms {
                entry_type: EntryType::Erasure,
                institution: institution("garante"),
                held: None,
            },
            reach: Some(Reach {
                before,
                authority: true,
                types: Vec::new(),
            }),
            left: 0,
            lists: Vec::new(),
            writes: Vec::new(),
        };
        self.fold.apply(&cut);
    }

    /// Folds an entry once more, into lists that it has left: liars, too.
    pub(crate) fn fold_again(&mut self, index: u64) {
        self.fold
            .apply(&Change::of(&self.town.entry(index).effects));
    }

    /// Folds what came since the last state root, and roots it.
    pub(crate) fn root(&mut self) {
        let mut changes = Vec::new();
        for accepted in self.town.accepted.iter().skip(self.folded) {
            changes.push(Change::of(&accepted.effects));
        }
        self.fold.apply_all(&changes);
        let root = self.fold.root();
        let size = self.town.size();
        self.folded = self.town.accepted.len();
        let (version, previous) = self.root.map_or((0, state_map::EMPTY), |root| root.said);
        let said = StateRoot {
            size,
            version: version + 1,
            root,
            previous,
        };
        let at = self.say(Content::StateRoot(said), Vec::new(), "inps", &["inps.node"]);
        self.root = Some(Rooted {
            at,
            said: (version + 1, root),
        });
    }

    /// Roots what is not the fold of what came before; answers with the index.
    pub(crate) fn root_wrongly(&mut self) -> u64 {
        let root = self.root.unwrap();
        let said = StateRoot {
            size: self.town.size(),
            version: root.said.0 + 1,
            root: Hash([5; 32]),
            previous: root.said.1,
        };
        self.say(Content::StateRoot(said), Vec::new(), "inps", &["inps.node"])
    }

    /// What a node tells an auditor who begins here, at the last state root, under the checkpoint of a size.
    pub(crate) fn start(&self, published: TreeSize) -> Vec<StartLine> {
        let rooted = self.root.unwrap();
        let folded = TreeSize(self.folded as u64);
        let change = |index: u64| Change::of(&self.town.entry(index).effects);
        let mut lines = vec![StartLine::Head(StartHead {
            size: self.size(),
            folded,
            peaks: Frontier::read(folded, &self.tree).unwrap().peaks().to_vec(),
            checkpoint: self.checkpoint_at(published, 3),
        })];
        let mut cuts: Vec<Cut> = self.fold.cuts().iter().cloned().collect();
        cuts.sort_by_key(|cut| cut.index);
        lines.extend(cuts.into_iter().map(StartLine::Cut));
        let held = self.fold.held().map(|(change, _)| change.clone());
        lines.extend(held.map(|change| StartLine::Held(Box::new(change))));
        let since = folded.0..self.size().0;
        lines.extend(
            since
                .clone()
                .map(|at| StartLine::Change(Box::new(change(at)))),
        );
        for index in 0..self.size().0 {
            let stored = self.stored(index);
            if GOVERNANCE.contains(&stored.meta.entry_type) || index == rooted.at {
                let path = prove_inclusion(EntryIndex(index), folded, &self.tree);
                let fed = Fed::of(EntryIndex(index), &stored, None);
                lines.push(StartLine::Record(Box::new(fed), path.unwrap_or_default()));
            }
        }
        let lists = self.lists.keys().map(|(kind, of)| list_key(*kind, of));
        let state = self.town.state.iter().map(|(key, _)| key.clone());
        let gone = since.flat_map(|at| change(at).writes).map(|(key, _)| key);
        let names: BTreeSet<StateKey> = lists.chain(state).chain(gone).collect();
        for key in names {
            let value = if key.under_root() {
                self.fold.value(&key).map(<[u8]>::to_vec)
            } else if LOCAL.contains(&key.kind) {
                self.town.state.get(&key).unwrap()
            } else {
                None
            };
            lines.extend(value.map(|value| StartLine::Value(key, value)));
        }
        lines.push(StartLine::End(lines.len() as u64));
        lines
    }

    /// An entry as a start tells it.
    pub(crate) fn told_record(&self, index: u64, start: &[StartLine]) -> StartLine {
        let Some(StartLine::Head(head)) = start.first() else {
            panic!("no head");
        };
        let path = prove_inclusion(EntryIndex(index), head.folded, &self.tree);
        let fed = Fed::of(EntryIndex(index), &self.stored(index), None);
        StartLine::Record(Box::new(fed), path.unwrap_or_default())
    }

    /// The policy file of this ledger.
    pub(crate) fn policies(&self) -> PolicySet {
        let log = VerifierKey::new(self.origin(), SignatureType::Ed25519, key("log").public());
        let nodes: Vec<_> = (1..)
            .zip(INSTITUTIONS)
            .map(|(number, name)| {
                let cosign = key(&format!("{name}.cosign")).public();
                let key = VerifierKey::new(self.node(number), SignatureType::Cosignature, cosign);
                (NodeNumber(number), key)
            })
            .collect();
        let genesis = Hash::of(&[self.town.entry(0).submitted.pae()]);
        PolicySet::from(Policy::majority(&log, &nodes).unwrap()).with_genesis(genesis)
    }

    fn origin(&self) -> KeyName {
        let ledger = &self.town.ledger;
        KeyName::parse(&format!("{}/{}", ledger.name, ledger.shard)).unwrap()
    }

    fn node(&self, number: u64) -> KeyName {
        KeyName::parse(&format!("{}/node/{number}", self.town.ledger.name)).unwrap()
    }

    /// The newest tree, signed by the log and cosigned by these many nodes.
    pub(crate) fn checkpoint(&self, nodes: usize) -> Note {
        self.checkpoint_at(self.size(), nodes)
    }

    /// As [`Book::checkpoint`], of an earlier size.
    pub(crate) fn checkpoint_at(&self, size: TreeSize, nodes: usize) -> Note {
        let checkpoint = Checkpoint {
            origin: self.origin(),
            size,
            root: merkle::root(size, &self.tree).unwrap(),
        };
        let text = checkpoint.to_text();
        let mut lines = vec![SignatureLine::sign(&self.origin(), &key("log"), &text)];
        for (number, name) in (1..).zip(INSTITUTIONS).take(nodes) {
            let cosign = key(&format!("{name}.cosign"));
            let time_s = self.town.now_ms / 1000;
            lines.push(cosignature::cosign(
                &self.node(number),
                &cosign,
                &text,
                time_s,
            ));
        }
        Note::new(text, lines).unwrap()
    }

    /// As [`Book::export`], of the person with this tax code, bound to it.
    pub(crate) fn export_bound(&self, code: &str) -> Export {
        let (of, binding) = bound(code);
        let mut export = self.export(&Wanted::subject(of));
        export.head.binding = Some(binding);
        export
    }

    /// An export under the last state root.
    pub(crate) fn export(&self, wanted: &Wanted) -> Export {
        let mut export = Export {
            head: Head {
                origin: self.origin(),
                audience: Audience::Citizen,
                about: wanted.about,
                binding: None,
                checkpoint: self.checkpoint(3),
                state_root: self.record(self.root.unwrap().at),
            },
            lists: Vec::new(),
            facts: Vec::new(),
            records: vec![self.record(0)],
            not_opened: Vec::new(),
            restricted: Vec::new(),
        };
        match wanted.about.kind {
            AboutKind::Subject => {
                let own = BTreeSet::from([wanted.about.of]);
                export
                    .lists
                    .push(self.list(RowKind::Subject, wanted.about.of, &own, None));
            }
            AboutKind::Household => self.fill_household(wanted, &mut export),
        }
        let erasures: BTreeSet<u64> = export
            .lists
            .iter()
            .flat_map(|list| &list.items)
            .filter_map(|item| match item {
                Item::Erased(erased) => Some(erased.by.0),
                _ => None,
            })
            .collect();
        export
            .records
            .extend(erasures.into_iter().map(|by| self.record(by)));
        export.facts = self.facts_of(&export);
        export
    }

    fn fill_household(&self, wanted: &Wanted, export: &mut Export) {
        let spells = membership(&self.compositions(&wanted.about.of));
        let members: BTreeSet<Hash> = spells.iter().map(|spell| spell.person).collect();
        export
            .lists
            .push(self.list(RowKind::Household, wanted.about.of, &members, None));
        for member in &members {
            if wanted.closed.contains(member) {
                export.not_opened.push(NotOpened {
                    of: *member,
                    why: "adult-without-mandate".to_owned(),
                });
            } else {
                let spells: Vec<Spell> = spells
                    .iter()
                    .filter(|spell| spell.person == *member)
                    .copied()
                    .collect();
                for of in self.linked(*member) {
                    let own = BTreeSet::from([of]);
                    let list = self.list(RowKind::Subject, of, &own, Some(&spells));
                    export.lists.push(list);
                }
            }
        }
    }

    /// A ref, and those that links join to it by one step.
    fn linked(&self, of: Hash) -> Vec<Hash> {
        let mut refs = vec![of];
        let indexes = self.lists.get(&(RowKind::Subject, of));
        for index in indexes.into_iter().flatten() {
            if let Content::Link(link) = &self.body(*index).content {
                let joined = [link.old.value, link.new.value].into_iter().flatten();
                refs.extend(joined.filter(|other| *other != of));
            }
        }
        refs
    }

    /// The registry joins two refs of one person.
    pub(crate) fn link(&mut self, old: Hash, new: Hash) -> u64 {
        let evaluated = |code: &str| {
            let random = Hash::of(&[b"link", code.as_bytes()]).0;
            let blinding = Blinding::new(CodeKind::Cf, code, &random).unwrap();
            let answer = oprf_key().evaluate(&[blinding.blinded()], &random).unwrap();
            Evaluated {
                blinded: blinding.blinded(),
                evaluated: answer.evaluated[0],
                proof: answer.proof,
            }
        };
        let proof = LinkProof {
            old: evaluated("RSSMRA85T10A562S"),
            new: evaluated("RSSMRA85T50A562W"),
        };
        let mut told = Vec::new();
        let link = Link {
            old: self.town.seal(old, &mut told),
            new: self.town.seal(new, &mut told),
            proof: proof.to_text(),
        };
        self.say(Content::Link(link), told, "c_m109", &["c_m109.entry"])
    }

    fn compositions(&self, household: &Hash) -> Vec<Composition> {
        let indexes = self.lists.get(&(RowKind::Household, *household));
        indexes
            .into_iter()
            .flatten()
            .filter(|index| !self.erased.contains_key(index))
            .map(|&index| {
                let Content::Household(said) = &self.body(index).content else {
                    panic!("entry {index} is in a household's list");
                };
                Composition {
                    index: EntryIndex(index),
                    valid_from_ms: said.valid_from_ms,
                    members: said
                        .members
                        .iter()
                        .map(|member| member.value.as_ref().unwrap().person)
                        .collect(),
                }
            })
            .collect()
    }

    fn body(&self, index: u64) -> &Body {
        self.town.entry(index).effects.entry.entry().body()
    }

    /// A list as of the last state root. `own`: the persons who may be named in it.
    fn list(
        &self,
        kind: RowKind,
        of: Hash,
        own: &BTreeSet<Hash>,
        spells: Option<&[Spell]>,
    ) -> List {
        let key = list_key(kind, &of);
        let head = ListHead {
            kind,
            of,
            value: self.fold.value(&key).and_then(ListValue::decode),
            proof: self.prove(&key),
        };
        let indexes = self.lists.get(&(kind, of)).into_iter().flatten();
        let indexes: Vec<&u64> = indexes
            .filter(|&&index| index < self.folded as u64)
            .collect();
        // What retention left of it.
        let standing = head.value.map_or(0, |list| list.count - list.base_count);
        let items = indexes[indexes.len() - standing as usize..]
            .iter()
            .map(|&&index| {
                if spells.is_some_and(|spells| !self.belongs(index, spells)) {
                    Item::Withheld(Withheld {
                        item: self.stored(index).item(&of),
                        why: Some(Why::OutsideMembership),
                    })
                } else {
                    self.item(index, own)
                }
            })
            .collect();
        List { head, items }
    }

    /// Whether an entry happened within one of these spells; a link counts at any time, a release when what it releases does.
    fn belongs(&self, index: u64, spells: &[Spell]) -> bool {
        let body = self.body(index);
        let body = match (&body.content, body.common.refers_to) {
            (Content::Link(_), _) => return true,
            (Content::Release(_), Some(of)) => self.body(of.index.0),
            _ => body,
        };
        let at_ms = body.common.occurred_at_ms;
        spells.iter().any(|spell| spell.holds(at_ms))
    }

    fn item(&self, index: u64, own: &BTreeSet<Hash>) -> Item {
        let (stored, path) = (self.stored(index), self.path(index));
        match self.erased.get(&index) {
            Some(&by) => Item::Erased(Box::new(Erased::of(
                EntryIndex(index),
                &stored,
                path,
                EntryIndex(by),
                None,
                Some(self.ground(by)),
            ))),
            None => {
                let shown = shown(self.body(index), own);
                let shows = |one: &Disclosure| shown.contains(&one.digest());
                let opened = Opened::of(EntryIndex(index), &stored, shows, path);
                Item::Opened(Box::new(opened.unwrap()))
            }
        }
    }

    fn ground(&self, order: u64) -> String {
        let order = erasure::order(&self.town.state, EntryIndex(order)).unwrap();
        order.unwrap().ground.as_str().to_owned()
    }

    /// An entry that explains others, with nothing disclosed.
    pub(crate) fn record(&self, index: u64) -> Opened {
        let stored = self.stored(index);
        Opened::of(EntryIndex(index), &stored, |_| false, self.path(index)).unwrap()
    }

    /// What a node keeps of an entry.
    pub(crate) fn stored(&self, index: u64) -> StoredEntry {
        self.town.entry(index).effects.entry.clone().into_stored()
    }

    fn path(&self, index: u64) -> Vec<Hash> {
        prove_inclusion(EntryIndex(index), self.size(), &self.tree).unwrap()
    }

    /// Size of the newest tree.
    pub(crate) fn size(&self) -> TreeSize {
        self.tree.size()
    }

    fn prove(&self, key: &StateKey) -> MapProof {
        self.fold.prove(key)
    }

    /// A fact under the last state root.
    pub(crate) fn fact(&self, key: StateKey) -> Fact {
        Fact {
            value: self.fold.value(&key).map(<[u8]>::to_vec),
            proof: self.prove(&key),
            key,
        }
    }

    /// Keys, institutions, delegations and consents that what is opened rests on.
    fn facts_of(&self, export: &Export) -> Vec<Fact> {
        let opened = export.lists.iter().flat_map(|list| {
            list.items.iter().filter_map(move |item| match item {
                Item::Opened(opened) => Some((list.head.of, &**opened)),
                _ => None,
            })
        });
        let records = export.records.iter().chain([&export.head.state_root]);
        let mut keys = BTreeSet::new();
        for (of, opened) in opened.chain(records.map(|record| (Hash::ZERO, record))) {
            let body = self.body(opened.index.0);
            keys.insert(StateKey::institution(&body.common.institution));
            for row in opened.entry.sigs().rows() {
                keys.insert(StateKey::key(&row.key_id));
                let signer = registry::key_terms(&self.town.state, &row.key_id)
                    .unwrap()
                    .unwrap();
                if signer.institution != body.common.institution {
                    keys.insert(StateKey::delegation(
                        &body.common.institution,
                        &signer.institution,
                    ));
                }
            }
            if let Content::Access(access) = &body.content {
                let consents = access.consent_refs.iter();
                keys.extend(consents.map(|record| StateKey::consent(&of, record)));
            }
        }
        keys.into_iter().map(|key| self.fact(key)).collect()
    }
}

/// The key with which this ledger draws pseudonyms.
fn oprf_key() -> OprfSecretKey {
    OprfSecretKey::derive(&Hash::of(&[b"oprf"]).0).unwrap()
}

/// The ref of a tax code, and what binds it to the code.
pub(crate) fn bound(code: &str) -> (Hash, Binding) {
    let random = Hash::of(&[b"blind", code.as_bytes()]).0;
    let blinding = Blinding::new(CodeKind::Cf, code, &random).unwrap();
    let answer = oprf_key().evaluate(&[blinding.blinded()], &random).unwrap();
    let binding = blinding.binding(&answer, &oprf_key().public()).unwrap();
    let of = binding.reference(code, &oprf_key().public()).unwrap();
    (of, binding)
}

/// Digests of what a citizen is shown: the own refs, the reason, the office, the case; not the employee, not the neighbour.
fn shown(body: &Body, own: &BTreeSet<Hash>) -> BTreeSet<Hash> {
    let mut digests = BTreeSet::new();
    let persons = |disclosed: &[Disclosed<Hash>]| {
        let own = disclosed
            .iter()
            .filter(|person| person.value.is_some_and(|person| own.contains(&person)));
        own.map(|person| person.digest).collect::<Vec<_>>()
    };
    match &body.content {
        Content::Access(access) => {
            digests.extend([access.reason.digest, access.user_location.digest]);
            digests.extend(access.case_ref.iter().map(|case| case.digest));
            let subjects = access.subjects.iter().filter(|subject| {
                let subject = subject.value.as_ref();
                subject.is_some_and(|subject| own.contains(&subject.person))
            });
            digests.extend(subjects.map(|subject| subject.digest));
        }
        Content::Consent(consent) => digests.extend([consent.subject.digest]),
        Content::Household(household) => {
            let all = own.len() > 1 || household.members.len() == 1;
            digests.extend([household.household.digest]);
            digests.extend(
                household
                    .members
                    .iter()
                    .filter(|member| {
                        let member = member.value.as_ref();
                        all || member.is_some_and(|member| own.contains(&member.person))
                    })
                    .map(|member| member.digest),
            );
        }
        Content::Note(note) => {
            digests.extend(note.text.iter().map(|text| text.digest));
            digests.extend(persons(&note.subjects));
        }
        Content::Read(read) => digests.extend(persons(&read.subjects)),
        Content::Disclosure(disclosure) => digests.extend(persons(&disclosure.subjects)),
        Content::Release(release) => digests.extend(persons(&release.subjects)),
        Content::Link(link) => digests.extend([link.old.digest, link.new.digest]),
        Content::Erasure(order) => digests.extend(persons(order.subject.as_slice())),
        _ => {}
    }
    digests
}

/// An institution by its short name.
pub(crate) fn of(name: &str) -> ledger::id::InstitutionId {
    institution(name)
}
