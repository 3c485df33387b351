// SPDX-License-Identifier: EUPL-1.2
//! Writing an export, piece by piece.

use alloc::{
    borrow::Cow,
    string::{String, ToString},
};
use core::fmt;

use super::{Erased, Export, Fact, Head, Item, ListHead, NotOpened, Opened, Restricted, Withheld};
use crate::{
    base64,
    bytes::meta_encode,
    hash::Hash,
    json::{self, Value},
    time::format_timestamp,
};

/// Writes an export as its pieces come: each call answers with the text to send next. Pieces come in the order of the format: each list
/// followed by its items, then facts, records, members not opened, restrictions.
#[derive(Debug)]
pub struct Stream {
    part: Part,
    /// The part has no piece yet.
    empty: bool,
    /// A list is open, and has no item yet.
    list: Option<bool>,
}

/// The next piece of an export.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Piece<'a> {
    List(&'a ListHead),
    Item(&'a Item),
    Fact(&'a Fact),
    Record(&'a Opened),
    NotOpened(&'a NotOpened),
    Restricted(&'a Restricted),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Lists,
    Facts,
    Records,
    NotOpened,
    Restricted,
}

const PARTS: [(Part, &str); 5] = [
    (Part::Lists, "lists"),
    (Part::Facts, "facts"),
    (Part::Records, "records"),
    (Part::NotOpened, "notOpened"),
    (Part::Restricted, "restricted"),
];

/// A piece came after one that the format puts behind it, or an item before any list. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfOrder;

impl fmt::Display for OutOfOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a piece of an export out of its order")
    }
}

impl core::error::Error for OutOfOrder {}

impl Stream {
    /// Begins an export: all that stands before the lists.
    pub fn begin(head: &Head) -> (Stream, String) {
        let mut text = head_json(head);
        text.push_str(",\"lists\":[");
        let stream = Stream {
            part: Part::Lists,
            empty: true,
            list: None,
        };
        (stream, text)
    }

    /// The next piece.
    ///
    /// # Errors
    /// [`OutOfOrder`]: a mistake of the program that writes.
    pub fn put(&mut self, piece: Piece<'_>) -> Result<String, OutOfOrder> {
        let mut text = String::new();
        match piece {
            Piece::List(list) => {
                self.enter(Part::Lists, &mut text)?;
                self.close_list(&mut text);
                self.separate(&mut text);
                text.push_str(&list_json(list));
                self.list = Some(true);
            }
            Piece::Item(item) => {
                let empty = self.list.as_mut().ok_or(OutOfOrder)?;
                if !core::mem::take(empty) {
                    text.push(',');
                }
                text.push_str(&item.to_json());
            }
            Piece::Fact(fact) => {
                self.enter(Part::Facts, &mut text)?;
                self.separate(&mut text);
                text.push_str(&fact.to_json());
            }
            Piece::Record(record) => {
                self.enter(Part::Records, &mut text)?;
                self.separate(&mut text);
                text.push_str(&record.to_json());
            }
            Piece::NotOpened(member) => {
                self.enter(Part::NotOpened, &mut text)?;
                self.separate(&mut text);
                text.push_str(&json::format(&Value::object([
                    ("ref", binary(member.of.as_bytes())),
                    ("why", Value::text(member.why.as_str())),
                ])));
            }
            Piece::Restricted(restricted) => {
                self.enter(Part::Restricted, &mut text)?;
                self.separate(&mut text);
                text.push_str(&json::format(&Value::object([
                    ("ground", Value::text(restricted.ground.as_str())),
                    ("count", number(restricted.count)),
                ])));
            }
        }
        Ok(text)
    }

    /// All that stands after the last piece.
    pub fn end(mut self) -> String {
        let mut text = String::new();
        self.move_to(Part::Restricted, &mut text);
        text.push_str("]}");
        text
    }

    fn enter(&mut self, part: Part, text: &mut String) -> Result<(), OutOfOrder> {
        if part < self.part {
            return Err(OutOfOrder);
        }
        self.move_to(part, text);
        Ok(())
    }

    fn move_to(&mut self, part: Part, text: &mut String) {
        for (next, name) in PARTS {
            if next > self.part && next <= part {
                self.close_list(text);
                text.push_str("],\"");
                text.push_str(name);
                text.push_str("\":[");
                self.empty = true;
            }
        }
        self.part = part;
    }

    fn close_list(&mut self, text: &mut String) {
        if self.list.take().is_some() {
            text.push_str("]}");
        }
    }

    fn separate(&mut self, text: &mut String) {
        if !core::mem::take(&mut self.empty) {
            text.push(',');
        }
    }
}

impl Export {
    /// The whole export as one text. Parsed again it gives the same export.
    pub fn to_json(&self) -> String {
        let (mut stream, mut text) = Stream::begin(&self.head);
        let lists = self.lists.iter().flat_map(|list| {
            core::iter::once(Piece::List(&list.head)).chain(list.items.iter().map(Piece::Item))
        });
        let pieces = lists
            .chain(self.facts.iter().map(Piece::Fact))
            .chain(self.records.iter().map(Piece::Record))
            .chain(self.not_opened.iter().map(Piece::NotOpened))
            .chain(self.restricted.iter().map(Piece::Restricted));
        for piece in pieces {
            // They come in order.
            text.push_str(&stream.put(piece).unwrap_or_default());
        }
        text.push_str(&stream.end());
        text
    }
}

impl Item {
    /// The item as it stands in a list.
    pub fn to_json(&self) -> String {
        match self {
            Item::Opened(opened) => opened.to_json(),
            Item::Erased(erased) => erased.to_json(),
            Item::Withheld(withheld) => withheld.to_json(),
        }
    }
}

impl Opened {
    /// The entry as it stands in lists and records.
    pub fn to_json(&self) -> String {
        // Written as it goes, for most of an export is these.
        let mut text = String::from("{\"index\":");
        text.push_str(&self.index.to_string());
        text.push_str(",\"meta\":\"");
        base64::url_encode_onto(&meta_encode(&self.meta), &mut text);
        text.push_str("\",\"bodySalt\":\"");
        base64::url_encode_onto(&self.body_salt, &mut text);
        text.push_str("\",\"path\":[");
        for (at, hash) in self.path.iter().enumerate() {
            text.push_str(if at > 0 { ",\"" } else { "\"" });
            base64::url_encode_onto(hash.as_bytes(), &mut text);
            text.push('"');
        }
        text.push_str("],");
        // Its own members and those of the wire line are one object.
        self.entry.write_members(&mut text);
        text.push('}');
        text
    }
}

impl Erased {
    fn to_json(&self) -> String {
        let mut erased = alloc::vec::Vec::from([(Cow::Borrowed("by"), number(self.by.0))]);
        if let Some(on_ms) = self.on_ms {
            erased.push((Cow::Borrowed("on"), Value::text(format_timestamp(on_ms))));
        }
        if let Some(ground) = &self.ground {
            erased.push((Cow::Borrowed("ground"), Value::text(ground.as_str())));
        }
        json::format(&Value::object([
            ("index", number(self.index.0)),
            ("meta", binary(&meta_encode(&self.meta))),
            ("metaSalt", binary(self.meta_salt.as_bytes())),
            ("bodyCommit", binary(self.body_commit.as_bytes())),
            ("path", path(&self.path)),
            ("erased", Value::Object(erased)),
        ]))
    }
}

impl Withheld {
    fn to_json(self) -> String {
        let mut members =
            alloc::vec::Vec::from([(Cow::Borrowed("item"), binary(self.item.as_bytes()))]);
        if let Some(why) = self.why {
            members.push((Cow::Borrowed("why"), Value::text(why.as_str())));
        }
        json::format(&Value::Object(members))
    }
}

impl Fact {
    /// The fact as it stands in an export.
    pub fn to_json(&self) -> String {
        json::format(&Value::object([
            ("kind", number(u64::from(self.key.kind))),
            ("name", binary(&self.key.name)),
            ("value", self.value.as_deref().map_or(Value::Null, binary)),
            ("proof", binary(&self.proof.encode())),
        ]))
    }
}

fn head_json(head: &Head) -> String {
    let mut members = alloc::vec::Vec::from([
        (Cow::Borrowed("export"), Value::Int(1)),
        (Cow::Borrowed("origin"), Value::text(head.origin.as_str())),
        (
            Cow::Borrowed("audience"),
            Value::text(head.audience.as_str()),
        ),
        (
            Cow::Borrowed("about"),
            Value::object([
                ("kind", Value::text(head.about.kind.as_str())),
                ("ref", binary(head.about.of.as_bytes())),
            ]),
        ),
    ]);
    if let Some(of) = &head.binding {
        members.push((
            Cow::Borrowed("binding"),
            Value::object([
                ("kind", Value::text(of.kind.as_str())),
                ("blind", binary(&of.blind)),
                ("evaluated", binary(&of.evaluated)),
                ("proof", binary(&of.proof)),
            ]),
        ));
    }
    members.push((
        Cow::Borrowed("checkpoint"),
        Value::text(head.checkpoint.to_string()),
    ));
    let mut text = json::format(&Value::Object(members));
    text.pop();
    text.push_str(",\"stateRoot\":");
    text.push_str(&head.state_root.to_json());
    text
}

/// A list up to its first item.
fn list_json(list: &ListHead) -> String {
    let value = list
        .value
        .map_or(Value::Null, |value| binary(&value.encode()));
    let mut text = json::format(&Value::object([
        ("kind", number(u64::from(list.kind.code()))),
        ("ref", binary(list.of.as_bytes())),
        ("value", value),
        ("proof", binary(&list.proof.encode())),
    ]));
    text.pop();
    text.push_str(",\"items\":[");
    text
}

fn path(path: &[Hash]) -> Value<'static> {
    Value::List(path.iter().map(|hash| binary(hash.as_bytes())).collect())
}

fn binary(data: &[u8]) -> Value<'static> {
    Value::text(base64::url_encode(data))
}

/// Indexes and counts are far below the largest integer of I-JSON.
fn number(number: u64) -> Value<'static> {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}
