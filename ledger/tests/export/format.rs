// SPDX-License-Identifier: EUPL-1.2
//! The format itself: what is written is read, and nothing else is.

use ledger::{
    export::{Export, OutOfOrder, Piece, Stream},
    refusal::Refusal,
};

use crate::{
    book::Wanted,
    story::{home, tell},
    town::person,
};

#[test]
fn what_is_written_is_read_again() {
    let book = tell(20);
    for wanted in [
        Wanted::subject(person("anna")),
        Wanted::subject(person("nobody")),
        Wanted::household(home(), &[person("bruno")]),
    ] {
        let export = book.export(&wanted);
        let text = export.to_json();
        assert_eq!(Export::parse(text.as_bytes()).as_ref(), Ok(&export));
    }
}

#[test]
fn pieces_come_in_order() {
    let export = tell(3).export(&Wanted::subject(person("anna")));
    let (mut stream, _) = Stream::begin(&export.head);
    let item = Piece::Item(&export.lists[0].items[0]);
    assert_eq!(stream.put(item), Err(OutOfOrder), "no list is open");
    stream.put(Piece::List(&export.lists[0].head)).unwrap();
    stream.put(item).unwrap();
    stream.put(Piece::Record(&export.records[0])).unwrap();
    assert_eq!(stream.put(item), Err(OutOfOrder), "the lists are closed");
    assert_eq!(stream.put(Piece::Fact(&export.facts[0])), Err(OutOfOrder));
}

#[test]
fn members_are_closed() {
    let text = tell(3).export(&Wanted::subject(person("anna"))).to_json();
    let refused = |text: &str| Export::parse(text.as_bytes()).unwrap_err();
    assert_eq!(
        refused(&text.replacen("{", "{\"more\":1,", 1)).refusal,
        Refusal::Members
    );
    let refused = refused(&text.replacen("\"path\":[\"", "\"path\":[\"A", 1));
    assert_eq!(refused.pointer, "/stateRoot/path/0");
}
