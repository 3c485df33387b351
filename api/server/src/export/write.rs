// SPDX-License-Identifier: EUPL-1.2
//! Writing `export.json`: item by item into the spool, then the facts and records that the items rest on. Nothing but one entry is in memory.

use std::collections::{BTreeMap, BTreeSet};

use cluster::{Folded, View};
use ledger::{
    admission::RowKind,
    body::{Body, Content, access::Access, system::NoteOpens},
    bytes::{self, ListValue, state::decode_at},
    disclosure::Disclosure,
    erasure::{self, Order, Scope},
    export::{
        Audience, Erased, Fact, Head, Item, ListHead, Opened, Piece, Restricted, Stream, Why,
        Withheld,
    },
    fold::list_key,
    hash::Hash,
    id::{InstitutionId, KeyId},
    note::{KeyName, Note},
    number::EntryIndex,
    state::{StateKey, kind, registry, sealed},
};

use super::{
    Spool,
    ask::Ask,
    lists::Lists,
    plan::{self, Plan, Planned},
};
use crate::{
    access::{self, Opening},
    app::now_ms,
    auth::Reader,
    form::bad,
    present::StoredAt,
    problem::Fault,
    release::READ_SUBJECTS_MAX,
};

/// Most persons whom an export shows: each of them finds the reading in the own list, so they take so many `read` entries that are committed
/// before it leaves. A citizen's shows the own household alone; who sees more than that in bulk queries searches them page by page.
const PERSONS_MAX: usize = 200 * READ_SUBJECTS_MAX;

/// What was written, for what goes with it.
#[derive(Debug, Default)]
pub struct Written {
    /// Entries that are opened in lists, each once.
    pub opened: BTreeSet<EntryIndex>,
    /// All entries whose bodies are in it, those that explain others too.
    pub shown: BTreeSet<EntryIndex>,
    /// Persons whom they show, and who may be told of that.
    pub persons: BTreeSet<Hash>,
    /// Keys that signed what is shown.
    pub keys: BTreeSet<KeyId>,
}

/// Writes an export.
///
/// # Errors
/// The store's or the disk's own; `no-quorum` if an erasure is younger than the checkpoint.
pub fn write(
    folded: &Folded,
    lists: &Lists<'_>,
    reader: &Reader,
    (ask, plan): (&Ask, &Plan),
    spool: &mut Spool,
) -> Result<Written, Fault> {
    let mut writing = Writing {
        folded,
        view: folded.view(),
        reader,
        plan,
        audience: ask.audience,
        telling: BTreeMap::new(),
        refs: plan.refs().into_iter().collect(),
        facts: BTreeSet::new(),
        records: BTreeSet::new(),
        written: Written::default(),
    };
    let head = writing.head(ask)?;
    let (mut stream, text) = Stream::begin(&head);
    spool.put(&text)?;
    let mut put = |piece: Piece<'_>| -> Result<(), Fault> {
        spool.put(&stream.put(piece).map_err(Fault::internal)?)
    };
    for list in &plan.lists {
        put(Piece::List(&writing.list_head(list)?))?;
        let size = folded.state_root().size.0;
        lists.walk(&list.row, size, |entries| {
            let indexes: Vec<EntryIndex> = entries.iter().map(|entry| entry.index).collect();
            let paths = folded.inclusions(&indexes)?;
            for (entry, path) in entries.iter().zip(paths) {
                put(Piece::Item(&writing.item(list, entry, path)?))?;
            }
            Ok(())
        })?;
    }
    if ask.binding.is_some() {
        // They name the keys that codes are evaluated with.
        let epochs = registry::oprf_epochs(folded.view())?.into_iter();
        let named = epochs.map(|(index, _)| index);
        let size = folded.state_root().size;
        writing
            .records
            .extend(named.filter(|index| index.0 < size.0));
    }
    let records = writing.records()?;
    for fact in writing.facts()? {
        put(Piece::Fact(&fact))?;
    }
    for record in &records {
        put(Piece::Record(record))?;
    }
    for member in &plan.not_opened {
        put(Piece::NotOpened(member))?;
    }
    for restricted in writing.restricted()? {
        put(Piece::Restricted(&restricted))?;
    }
    spool.put(&stream.end())?;
    Ok(writing.written)
}

struct Writing<'a> {
    folded: &'a Folded,
    view: &'a View,
    reader: &'a Reader,
    plan: &'a Plan,
    audience: Audience,
    /// By order of erasure: whether showing it would tell of a sealed entry.
    telling: BTreeMap<EntryIndex, bool>,
    refs: BTreeSet<Hash>,
    /// Keys of the facts that what is shown rests on.
    facts: BTreeSet<StateKey>,
    /// Entries that explain what is shown.
    records: BTreeSet<EntryIndex>,
    written: Written,
}

impl Writing<'_> {
    fn head(&mut self, ask: &Ask) -> Result<Head, Fault> {
        let root = self.folded.state_root();
        let note = &self.folded.published().note;
        let entry = StoredAt::read(self.view, root.index)?
            .ok_or_else(|| Fault::internal("the state-root entry is not there"))?;
        let path = self.folded.inclusion(root.index)?;
        let origin = note
            .lines()
            .next()
            .and_then(|line| KeyName::parse(line).ok());
        Ok(Head {
            origin: origin.ok_or_else(|| Fault::internal("the checkpoint names no origin"))?,
            audience: ask.audience,
            about: ask.about,
            binding: ask.binding,
            checkpoint: Note::parse(note.as_bytes()).map_err(Fault::internal)?,
            state_root: self.open(&entry, &Opening::nothing(), path)?,
        })
    }

    fn list_head(&self, list: &Planned) -> Result<ListHead, Fault> {
        let key = list_key(list.row.kind, &list.row.of);
        let (value, proof) = self.folded.prove(&key)?;
        let value = match value {
            Some(value) => Some(
                ListValue::decode(&value)
                    .ok_or_else(|| Fault::internal("a list's value is not one"))?,
            ),
            None => None,
        };
        Ok(ListHead {
            kind: list.row.kind,
            of: list.row.of,
            value,
            proof,
        })
    }

    fn item(&mut self, list: &Planned, entry: &StoredAt, path: Vec<Hash>) -> Result<Item, Fault> {
        let of = list.row.of;
        let withheld = |why| {
            Item::Withheld(Withheld {
                item: bytes::item(&entry.stored.meta_salt, &of, &entry.stored.leaf_hash()),
                why: Some(why),
            })
        };
        let Some(body) = entry.body().filter(|body| list.is_named_by(body)) else {
            let order = self.order(entry, &of)?;
            if self.tells_of_sealed(order.index)? || !self.sees(entry)? {
                return Ok(withheld(Why::Another));
            }
            return self
                .erased(entry, &order, path)
                .map(|erased| Item::Erased(Box::new(erased)));
        };
        if !list.counts(self.view, entry, body)? {
            return Ok(withheld(Why::OutsideMembership));
        }
        let Some(opening) = self.opening(entry, body)? else {
            return Ok(withheld(Why::Another));
        };
        self.written.opened.insert(entry.index);
        if let Some(released) = entry.releases() {
            self.records.insert(released.index);
        }
        // Members are missing from a composition by order alone.
        if list.row.kind == RowKind::Household {
            let orders = self.orders(entry)?;
            self.records.extend(orders.iter().map(|order| order.index));
        }
        self.open(entry, &opening, path)
            .map(|opened| Item::Opened(Box::new(opened)))
    }

    /// How far an entry is opened to whom the export is for.
    fn opening(&self, entry: &StoredAt, body: &Body) -> Result<Option<Opening>, Fault> {
        if let Some(citizen) = &self.plan.citizen {
            return Ok(Some(citizen.opening(&entry.at(), body)));
        }
        let signers = entry.signers(self.view)?;
        let entry_type = entry.stored.meta.entry_type;
        Ok(access::opening(
            self.reader,
            entry_type,
            Some(body),
            &signers,
        ))
    }

    /// The entry with its path, and with what it rests on noted down.
    fn open(
        &mut self,
        entry: &StoredAt,
        opening: &Opening,
        path: Vec<Hash>,
    ) -> Result<Opened, Fault> {
        let body = entry
            .body()
            .ok_or_else(|| Fault::internal("an erased entry cannot be opened"))?;
        let age_ms = now_ms().saturating_sub(entry.accepted_at_ms());
        let live_token = access::live_token(body, age_ms);
        let shows = |one: &Disclosure| {
            let digest = one.digest();
            opening.shows(&digest) && live_token != Some(digest)
        };
        self.written.shown.insert(entry.index);
        self.written.persons.extend(entry.persons_to_name(opening));
        if self.written.persons.len() > PERSONS_MAX {
            const { assert!(PERSONS_MAX == 40_000) };
            return Err(bad("subject", "entries that show at most 40000 persons"));
        }
        self.rest_on(entry, body)?;
        Opened::of(entry.index, &entry.stored, shows, path)
            .ok_or_else(|| Fault::internal("an erased entry cannot be opened"))
    }

    /// Notes down the facts under which an entry that is shown counts: who signed, for whom, on which consents.
    fn rest_on(&mut self, entry: &StoredAt, body: &Body) -> Result<(), Fault> {
        let sigs = entry.stored.body.iter().flat_map(|body| body.sigs.rows());
        for row in sigs {
            self.facts.insert(StateKey::key(&row.key_id));
            self.written.keys.insert(row.key_id);
        }
        let signers = entry.signers(self.view)?;
        let controller = &body.common.institution;
        if !signers.contains(controller) {
            let delegations = signers.iter();
            self.facts
                .extend(delegations.map(|signer| StateKey::delegation(controller, signer)));
        }
        let named = signers.iter().chain([controller]).cloned();
        let named: BTreeSet<InstitutionId> = named.chain(institutions(body)).collect();
        self.facts.extend(named.iter().map(StateKey::institution));
        if let Content::Access(access) = &body.content {
            self.rest_on_consents(access)?;
        }
        Ok(())
    }

    fn rest_on_consents(&mut self, access: &Access) -> Result<(), Fault> {
        let persons = access
            .subjects
            .iter()
            .filter_map(|subject| subject.value.as_ref())
            .filter(|subject| self.refs.contains(&subject.person));
        for subject in persons {
            let mut refs = registry::linked(self.view, &subject.person)?;
            refs.push(subject.person);
            for of in refs.iter().filter(|of| self.refs.contains(*of)) {
                let records = access.consent_refs.iter();
                self.facts
                    .extend(records.map(|record| StateKey::consent(of, record)));
            }
        }
        Ok(())
    }

    /// The orders that erased something of an entry. One that is younger than the checkpoint stands under the next one.
    fn orders(&self, entry: &StoredAt) -> Result<Vec<Order>, Fault> {
        let size = self.folded.published().size;
        let mut orders = Vec::with_capacity(entry.stored.erased.len());
        for index in &entry.stored.erased {
            let order = erasure::order(self.view, *index)?;
            orders.push(order.ok_or_else(|| Fault::internal("an order is not in the state"))?);
            if !size.holds(*index) {
                return Err(Fault::NoQuorum);
            }
        }
        Ok(orders)
    }

    /// The order that took an entry, or its disclosure of the list's ref, from a list.
    fn order(&self, entry: &StoredAt, of: &Hash) -> Result<Order, Fault> {
        let mut orders = self.orders(entry)?;
        orders.retain(|order| match &order.scope {
            Scope::Subject(_, person) => person == of,
            Scope::Entries(_) | Scope::Before(..) => true,
        });
        orders
            .pop()
            .ok_or_else(|| Fault::internal("no order erased what is gone"))
    }

    /// Whether the reader may know at all that an erased entry was there. A citizen may, of the own list.
    fn sees(&self, entry: &StoredAt) -> Result<bool, Fault> {
        Ok(self.plan.citizen.is_some() || plan::sees(self.view, self.reader, entry)?)
    }

    fn tells_of_sealed(&mut self, order: EntryIndex) -> Result<bool, Fault> {
        if let Some(told) = self.telling.get(&order) {
            return Ok(*told);
        }
        let told = plan::tells_of_sealed(self.view, self.reader, self.audience, order)?;
        self.telling.insert(order, told);
        Ok(told)
    }

    /// What is left of an entry whose body, or whose disclosure of the list's ref, was erased.
    fn erased(
        &mut self,
        entry: &StoredAt,
        order: &Order,
        path: Vec<Hash>,
    ) -> Result<Erased, Fault> {
        self.records.insert(order.index);
        Ok(Erased::of(
            entry.index,
            &entry.stored,
            path,
            order.index,
            Some(order.accepted_at_ms),
            Some(order.ground.as_str().to_owned()),
        ))
    }

    /// The entries that explain what the lists show: who the institutions are, what was released, who ordered an erasure.
    fn records(&mut self) -> Result<Vec<Opened>, Fault> {
        let mut shown = BTreeMap::new();
        loop {
            let institutions: Vec<StateKey> = self
                .facts
                .iter()
                .filter(|key| key.kind == kind::INSTITUTION)
                .cloned()
                .collect();
            for key in institutions {
                let (value, _) = self.folded.prove(&key)?;
                let registered = value.as_deref().and_then(decode_at);
                self.records.extend(registered.map(|at| at.index));
            }
            // What is shown names others in turn: registrations are signed by institutions.
            let next = self
                .records
                .iter()
                .find(|index| !shown.contains_key(*index));
            let Some(index) = next.copied() else {
                return Ok(shown.into_values().flatten().collect());
            };
            shown.insert(index, self.record(index)?);
        }
    }

    /// `None` for what is erased or not to be seen: it explains nothing.
    fn record(&mut self, index: EntryIndex) -> Result<Option<Opened>, Fault> {
        let Some(entry) = StoredAt::read(self.view, index)? else {
            return Ok(None);
        };
        let Some(body) = entry.body() else {
            return Ok(None);
        };
        let opening = match access::public_opening(entry.stored.meta.entry_type) {
            Some(opening) => opening,
            // An order of erasure is shown as the reason for what is not; it opens nobody.
            None if matches!(body.content, Content::Erasure(_)) => Opening::nothing(),
            None => match self.opening(&entry, body)? {
                Some(opening) => opening,
                None => return Ok(None),
            },
        };
        let path = self.folded.inclusion(index)?;
        self.open(&entry, &opening, path).map(Some)
    }

    fn facts(&mut self) -> Result<Vec<Fact>, Fault> {
        let nodes = registry::nodes(self.view)?;
        self.facts
            .extend(nodes.iter().map(|node| StateKey::node(node.node)));
        self.facts.extend([StateKey::rules(), StateKey::policy()]);
        let keys = std::mem::take(&mut self.facts);
        keys.into_iter()
            .map(|key| {
                let (value, proof) = self.folded.prove(&key)?;
                Ok(Fact { key, value, proof })
            })
            .collect()
    }

    /// What is kept from the citizen, as far as the authority that seals it decided that they may know.
    fn restricted(&self) -> Result<Vec<Restricted>, Fault> {
        let mut counted: BTreeMap<String, BTreeSet<EntryIndex>> = BTreeMap::new();
        let decisions = self
            .plan
            .citizen
            .iter()
            .flat_map(|citizen| citizen.decisions());
        for decision in decisions {
            let index = decision.target.index;
            let Some(sealed) = sealed::entry(self.view, index)? else {
                continue;
            };
            let tells = decision.opens.contains(&NoteOpens::Restriction)
                && decision.by == sealed.authority
                && sealed.persons.iter().any(|of| self.refs.contains(of));
            let entry = StoredAt::read(self.view, index)?.filter(|_| tells);
            if let Some(Content::Access(access)) = entry
                .as_ref()
                .and_then(|entry| entry.body())
                .map(|body| &body.content)
                && let Some(ground) = access.visibility.legal_reference()
            {
                counted.entry(ground.to_owned()).or_default().insert(index);
            }
        }
        let restricted = counted.into_iter().map(|(ground, entries)| Restricted {
            ground,
            count: entries.len() as u64,
        });
        Ok(restricted.collect())
    }
}

/// The institutions that an entry names beside its controller.
fn institutions(body: &Body) -> Vec<InstitutionId> {
    match &body.content {
        Content::Access(access) => vec![access.consumer.clone(), access.provider.clone()],
        Content::Consent(consent) => {
            let recipients = consent.recipients.iter().flatten();
            recipients
                .filter_map(|recipient| InstitutionId::parse(recipient))
                .collect()
        }
        Content::Read(read) => vec![read.institution.clone()],
        Content::Disclosure(disclosure) => vec![disclosure.institution.clone()],
        _ => Vec::new(),
    }
}
