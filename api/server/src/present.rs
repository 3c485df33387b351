// SPDX-License-Identifier: EUPL-1.2
//! From stored entries to answers. What is personal is built only with a [`Recorded`] in hand.

use cluster::{Receipt, Said, View};
use ledger::{
    base64,
    body::{Body, Content, EntryType, Reference},
    bytes::{BODY_BYTES_MAX, BODY_DEPTH_MAX, PAYLOAD_TYPE},
    disclosure::{self, Disclosure},
    entry::{StoredBody, StoredEntry},
    export::persons_shown,
    finding::Findings,
    hash::Hash,
    id::{InstitutionId, KeyId},
    json::{self, Limits, Value},
    number::{EntryIndex, TreeSize},
    signature::{ALG_SINGLE, Signed},
    state::{State, StateKey, sealed},
    time,
};
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use wire::{
    entry::{Entry, Envelope, EnvelopeSignature, Submission},
    household::{Composition, HouseholdMember},
};

use crate::{
    access::{self, Opening},
    app::now_ms,
    auth::Reader,
    halves::in_halves,
    problem::Fault,
    release::Recorded,
    routes::erasures::{erased_by, took_part},
};

/// An entry as it is answered: the body as text, so that no tree is made of it.
pub type Shown = Entry<Box<RawValue>>;

/// An entry as it stands in the store, to choose and judge by, never to answer with.
pub struct StoredAt {
    /// Its place.
    pub index: EntryIndex,
    /// As stored.
    pub stored: StoredEntry,
    body: Option<Body>,
    /// Persons named in it who may not be told of it yet.
    sealed: Vec<Hash>,
}

impl StoredAt {
    /// The entry at an index, if it is there.
    ///
    /// # Errors
    /// The store's own.
    pub fn read(view: &View, index: EntryIndex) -> Result<Option<StoredAt>, Fault> {
        let stored = view.entry(index)?;
        stored
            .map(|stored| StoredAt::parse(view, index, stored))
            .transpose()
    }

    /// Entries in the order asked, as [`StoredAt::read`] gives them, read in one go.
    ///
    /// # Errors
    /// The store's own.
    pub fn read_all(view: &View, indexes: &[EntryIndex]) -> Result<Vec<Option<StoredAt>>, Fault> {
        let entries = indexes.iter().zip(view.entries(indexes)?);
        let state = view.fetched(indexes.iter().map(|index| StateKey::sealed_entry(*index)))?;
        entries
            .map(|(index, stored)| {
                stored
                    .map(|stored| StoredAt::parse(&state, *index, stored))
                    .transpose()
            })
            .collect()
    }

    fn parse(
        state: &impl State<Error = cluster::Error>,
        index: EntryIndex,
        stored: StoredEntry,
    ) -> Result<StoredAt, Fault> {
        let sealed = match stored.meta.entry_type {
            EntryType::Access | EntryType::Note | EntryType::Erasure => {
                sealed::entry(state, index)?
            }
            _ => None,
        };
        let body = stored.parse_body().map_err(|refused| {
            Fault::internal(format_args!("entry {index} in the store: {refused}"))
        })?;
        Ok(StoredAt {
            index,
            stored,
            body,
            sealed: sealed.map(|sealed| sealed.persons).unwrap_or_default(),
        })
    }

    /// The entry that this one releases.
    pub fn releases(&self) -> Option<Reference> {
        match self.body.as_ref() {
            Some(Body {
                common,
                content: Content::Release(_),
            }) => common.refers_to,
            _ => None,
        }
    }

    /// Whether its type is open to everybody.
    pub fn is_public(&self) -> bool {
        access::is_public(self.stored.meta.entry_type)
    }

    /// Its receipt, for whoever may see the entry. It names nobody.
    ///
    /// # Errors
    /// The store's own.
    pub fn receipt(&self, view: &View) -> Result<Option<Receipt>, Fault> {
        receipt(view, self.index, &self.stored)
    }

    /// Its place and leaf.
    pub fn at(&self) -> Reference {
        Reference {
            index: self.index,
            leaf: self.stored.leaf_hash(),
        }
    }

    /// The parsed body; absent once erased.
    pub fn body(&self) -> Option<&Body> {
        self.body.as_ref()
    }

    /// When the ledger accepted it, in milliseconds since the epoch.
    pub fn accepted_at_ms(&self) -> u64 {
        self.stored.meta.accepted_at_ms
    }

    /// Bytes of payload and disclosures as stored.
    pub fn bytes(&self) -> usize {
        bytes(&self.stored)
    }

    /// Institutions whose keys signed; of an erased entry the first alone is known.
    ///
    /// # Errors
    /// The store's own.
    pub fn signers(&self, view: &View) -> Result<Vec<InstitutionId>, Fault> {
        let keys: Vec<KeyId> = match &self.stored.body {
            Some(body) => body.sigs.rows().iter().map(|row| row.key_id).collect(),
            None => vec![self.stored.meta.first_key],
        };
        let mut signers = Vec::with_capacity(keys.len());
        for key in keys {
            signers.extend(view.signer(&key)?);
        }
        Ok(signers)
    }

    /// The persons whom it names to whoever it is opened to so far, and who may be told of that.
    pub fn persons_to_name(&self, opening: &Opening) -> Vec<Hash> {
        persons_to_name(self.body.as_ref(), opening, &self.sealed)
    }

    /// The entry, if the reader may see it.
    ///
    /// # Errors
    /// The store's own.
    pub fn look(self, view: &View, reader: &Reader) -> Result<Option<Seen>, Fault> {
        let mut signers = self.signers(view)?;
        // The body is gone that named the other side; the index still knows it.
        if self.body.is_none() && took_part(view, reader.institution(), self.index)? {
            signers.push(reader.institution().clone());
        }
        let entry_type = self.stored.meta.entry_type;
        let opening = access::opening(reader, entry_type, self.body.as_ref(), &signers);
        Ok(opening.map(|opening| self.seen(opening)))
    }

    fn seen(self, opening: Opening) -> Seen {
        Seen {
            index: self.index,
            stored: self.stored,
            body: self.body,
            opening,
            sealed: self.sealed,
        }
    }
}

/// An entry that a reader may see, not yet shown. Made by [`StoredAt::look`] and [`Seen::look_public`] alone, which ask the rules of reading.
pub struct Seen {
    index: EntryIndex,
    stored: StoredEntry,
    body: Option<Body>,
    opening: Opening,
    /// Persons named in it who may not be told of it yet.
    sealed: Vec<Hash>,
}

impl Seen {
    /// The entry at an index, if it is there and the reader may see it.
    ///
    /// # Errors
    /// The store's own.
    pub fn look(view: &View, reader: &Reader, index: EntryIndex) -> Result<Option<Seen>, Fault> {
        match StoredAt::read(view, index)? {
            Some(entry) => entry.look(view, reader),
            None => Ok(None),
        }
    }

    /// The entry at an index, if it is there and open to everybody.
    ///
    /// # Errors
    /// The store's own.
    pub fn look_public(view: &View, index: EntryIndex) -> Result<Option<Seen>, Fault> {
        let Some(entry) = StoredAt::read(view, index)? else {
            return Ok(None);
        };
        let opening = access::public_opening(entry.stored.meta.entry_type);
        Ok(opening.map(|opening| entry.seen(opening)))
    }

    /// Its place.
    pub fn index(&self) -> EntryIndex {
        self.index
    }

    /// Its type.
    pub fn entry_type(&self) -> EntryType {
        self.stored.meta.entry_type
    }

    /// Its leaf, hashed.
    pub fn leaf_hash(&self) -> Hash {
        self.stored.leaf_hash()
    }

    /// When the ledger accepted it, in milliseconds since the epoch.
    pub fn accepted_at_ms(&self) -> u64 {
        self.stored.meta.accepted_at_ms
    }

    /// The judgement at acceptance.
    pub fn findings(&self) -> Findings {
        self.stored.meta.findings
    }

    /// The parsed body, to choose by, never to answer with; absent once erased.
    pub fn body(&self) -> Option<&Body> {
        self.body.as_ref()
    }

    /// The persons whose lists will show that this entry was read.
    pub fn persons_to_name(&self) -> Vec<Hash> {
        persons_to_name(self.body.as_ref(), &self.opening, &self.sealed)
    }

    /// Bytes of payload and disclosures as stored.
    pub fn bytes(&self) -> usize {
        bytes(&self.stored)
    }

    /// Its receipt. It names nobody.
    ///
    /// # Errors
    /// The store's own.
    pub fn receipt(&self, view: &View) -> Result<Option<Receipt>, Fault> {
        receipt(view, self.index, &self.stored)
    }

    /// The entry for its reader.
    ///
    /// # Errors
    /// The store's own.
    pub fn show(&self, view: &View, _recorded: &Recorded) -> Result<Shown, Fault> {
        self.build(view, self.receipt(view)?)
    }

    /// The entry for everybody, if its type is open to everybody; nobody is named in it, so no reading is recorded.
    ///
    /// # Errors
    /// `not-found` if it is not open, or the store's own.
    pub fn show_public(&self, view: &View) -> Result<Shown, Fault> {
        access::public_opening(self.entry_type()).ok_or(Fault::NotFound)?;
        self.build(view, self.receipt(view)?)
    }

    /// A household's composition for its reader; none if this is not one.
    pub fn show_composition(
        &self,
        at_ms: u64,
        tree_size: TreeSize,
        checkpoint: Option<String>,
        _recorded: &Recorded,
    ) -> Option<Composition> {
        let Content::Household(household) = &self.body()?.content else {
            return None;
        };
        let members = household
            .members
            .iter()
            .filter_map(|member| member.value.as_ref());
        Some(Composition {
            household: hash_text(household.household.value.as_ref()?),
            kind: household.kind.as_str().to_owned(),
            at: time::format_timestamp(at_ms),
            valid_from: time::format_timestamp(household.valid_from_ms),
            index: self.index.0,
            members: members
                .map(|member| HouseholdMember {
                    person: hash_text(&member.person),
                    relation: member.relation.clone(),
                })
                .collect(),
            tree_size: tree_size.0,
            checkpoint,
        })
    }

    fn build(&self, view: &View, receipt: Option<Receipt>) -> Result<Shown, Fault> {
        let age_ms = now_ms().saturating_sub(self.accepted_at_ms());
        let live_token = self
            .body
            .as_ref()
            .and_then(|body| access::live_token(body, age_ms));
        let shows = |one: &&Disclosure| {
            let digest = one.digest();
            self.opening.shows(&digest) && live_token != Some(digest)
        };
        let opened: Vec<&Disclosure> = self.stored.disclosures.iter().filter(shows).collect();
        let withheld = self.stored.disclosures.len() - opened.len();
        let stored = self.stored.body.as_ref();
        let body = stored.map(|stored| readable(&stored.payload, &opened));
        let submission = stored.map(|stored| submission(stored, &opened));
        let meta = &self.stored.meta;
        Ok(Entry {
            index: self.index.0,
            leaf_hash: hash_text(&self.stored.leaf_hash()),
            kind: meta.entry_type.as_str().to_owned(),
            accepted_at: time::format_timestamp(meta.accepted_at_ms),
            findings: finding_names(meta.findings),
            rules: meta.rules,
            first_key: key_text(&meta.first_key),
            body: body.transpose()?,
            submission,
            erased: erased_by(view, &self.stored.erased)?,
            withheld: u32::try_from(withheld).unwrap_or(u32::MAX),
            receipt: receipt.map(|receipt| receipt.to_string()),
        })
    }
}

/// Entries for their reader, in their order.
///
/// # Errors
/// The store's own.
pub fn show_all(all: Vec<Seen>, view: &View, _recorded: &Recorded) -> Result<Vec<Shown>, Fault> {
    let view = view.clone();
    in_halves(all, move |some| show_some(&some, &view))
}

fn show_some(some: &[Seen], view: &View) -> Result<Vec<Shown>, Fault> {
    // Ascending: neighbours share checkpoints.
    let mut places: Vec<usize> = (0..some.len()).collect();
    places.sort_by_key(|place| some.get(*place).map(Seen::index));
    let ascending = places.iter().filter_map(|place| some.get(*place));
    let entries = ascending.map(|seen| (seen.index, Said::of(&seen.stored)));
    let receipts = view.receipts_of(entries)?;
    let mut receipts: Vec<(usize, Option<Receipt>)> = places.into_iter().zip(receipts).collect();
    receipts.sort_by_key(|(place, _)| *place);
    let shown = some.iter().zip(receipts);
    shown
        .map(|(seen, (_, receipt))| seen.build(view, receipt))
        .collect()
}

/// Who may not be told of an entry yet is not told that it was read either.
fn persons_to_name(body: Option<&Body>, opening: &Opening, sealed: &[Hash]) -> Vec<Hash> {
    let shown = |body| persons_shown(body, |digest| opening.shows(digest));
    let mut named = body.map(shown).unwrap_or_default();
    named.retain(|person| sealed.binary_search(person).is_err());
    named
}

fn bytes(stored: &StoredEntry) -> usize {
    let payload = stored.body.as_ref().map_or(0, |body| body.payload.len());
    let disclosures = stored.disclosures.iter().map(|one| one.text().len());
    payload + disclosures.sum::<usize>()
}

fn receipt(view: &View, index: EntryIndex, stored: &StoredEntry) -> Result<Option<Receipt>, Fault> {
    let mut receipts = view.receipts_of(std::iter::once((index, Said::of(stored))))?;
    Ok(receipts.pop().flatten())
}

/// What was sent, as it is answered: the same members as on the wire.
fn submission(entry: &StoredBody, opened: &[&Disclosure]) -> Submission {
    let signature = |row: &Signed| {
        let alg = row.signature.alg();
        EnvelopeSignature {
            keyid: row.key_id.to_string(),
            sig: base64::encode(&row.signature.encode()),
            alg: (alg != ALG_SINGLE).then_some(alg),
        }
    };
    Submission {
        envelope: Envelope {
            payload_type: PAYLOAD_TYPE.to_owned(),
            payload: base64::encode(&entry.payload),
            signatures: entry.sigs.rows().iter().map(signature).collect(),
        },
        disclosures: opened.iter().map(|one| one.text().to_owned()).collect(),
    }
}

/// A hash as it stands in answers.
pub fn hash_text(hash: &Hash) -> String {
    base64::url_encode(hash.as_bytes())
}

/// A key id as it stands in answers.
pub fn key_text(id: &KeyId) -> String {
    hash_text(&id.0)
}

/// Names of findings as they stand in answers.
pub fn finding_names(findings: Findings) -> Vec<String> {
    findings
        .iter()
        .map(|finding| finding.name().to_owned())
        .collect()
}

/// The payload as JSON with the opened disclosures in place of their digests, members in the order of their names.
fn readable(payload: &[u8], opened: &[&Disclosure]) -> Result<Box<RawValue>, Fault> {
    let limits = Limits {
        bytes_max: BODY_BYTES_MAX,
        depth_max: BODY_DEPTH_MAX,
    };
    let body = json::parse(payload, limits).map_err(Fault::internal)?;
    let mut values = Vec::with_capacity(opened.len());
    for one in opened {
        let decoded = one.decoded().unwrap_or_default();
        let value = disclosure::open(decoded).map_err(Fault::internal)?;
        values.push((hash_text(&one.digest()), value));
    }
    let readable = Readable {
        value: &body,
        opened: &values,
    };
    to_raw_value(&readable).map_err(Fault::internal)
}

/// A part of a body, and what is opened of it by digest. A body nests at most 16 deep, so the recursion is bounded.
struct Readable<'v> {
    value: &'v Value<'v>,
    opened: &'v [(String, Value<'v>)],
}

impl Serialize for Readable<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let of = |value| Readable {
            value,
            opened: self.opened,
        };
        match self.value {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(it) => serializer.serialize_bool(*it),
            Value::Int(number) => serializer.serialize_i64(*number),
            Value::Text(text) => serializer.serialize_str(text),
            Value::List(items) => serializer.collect_seq(items.iter().map(of)),
            Value::Object(members) => {
                if let [(name, Value::Text(digest))] = members.as_slice()
                    && name == "..."
                    && let Some((_, value)) = self.opened.iter().find(|(known, _)| known == digest)
                {
                    return of(value).serialize(serializer);
                }
                let mut members: Vec<_> = members.iter().collect();
                members.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
                serializer.collect_map(members.into_iter().map(|(name, value)| (name, of(value))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn what_was_sent_is_answered_as_it_is_on_the_wire() {
        use ledger::{
            bytes,
            entry::SubmittedEntry,
            key::SigningKey,
            signature::{Sigs, sign_batch},
        };
        let key = SigningKey::from_seed([7; 32]);
        let alone = SubmittedEntry::sign(b"{}", &[&key], vec!["WyIiXQ".into()]).unwrap();
        let pae = bytes::pae(b"{}");
        let batch = sign_batch(&key, &[&pae, &pae]).remove(1);
        let sigs = Sigs::new(vec![Signed {
            key_id: key.key_id(),
            signature: batch,
        }]);
        let batched = SubmittedEntry::new(b"{}", sigs.unwrap(), Vec::new()).unwrap();
        for entry in [alone, batched] {
            let wire: Submission = serde_json::from_str(&entry.to_wire()).unwrap();
            let stored = StoredBody {
                body_salt: [0; 32],
                payload: entry.payload().to_vec(),
                sigs: entry.sigs().clone(),
            };
            let opened = entry.disclosures().iter().cloned().map(Disclosure::new);
            let opened: Vec<Disclosure> = opened.collect();
            let opened: Vec<&Disclosure> = opened.iter().collect();
            assert_eq!(submission(&stored, &opened), wire);
        }
    }

    #[test]
    fn opened_disclosures_stand_in_place_and_closed_ones_stay_digests() {
        let text = |value: &str| disclosure::make(&[7; 16], &Value::text(value.to_owned()));
        let (open, closed) = (text("reason"), text("operator"));
        let digest = |text: &str| hash_text(&disclosure::digest(text));
        // The same value as its parser gives and writes it.
        let payload = format!(
            "{{\"z\": -7, \"a\": [null, true, {{}}], \"access\": {{\"userID\": [{{\"...\": {:?}}}], \"reason\": [{{\"...\": {:?}}}], \"action\": \"a\\u000a\\u0001\\/\\\"\\u00e8\"}} }}",
            digest(&closed),
            digest(&open),
        );
        let shown = readable(payload.as_bytes(), &[&Disclosure::new(open)]).unwrap();
        let closed = digest(&closed);
        let expected = serde_json::json!({
            "a": [null, true, {}],
            "access": {"action": "a\n\u{1}/\"è", "reason": ["reason"], "userID": [{"...": closed}]},
            "z": -7,
        });
        assert_eq!(shown.get(), expected.to_string());
    }
}
