// SPDX-License-Identifier: EUPL-1.2
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
use alloc::{format, string::ToString};

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits {
    bytes_max: 1 << 20,
    depth_max: 16,
};

fn refusal(text: &str) -> Refusal {
    parse(text.as_bytes(), LIMITS).unwrap_err().refusal
}

#[test]
fn refusals_by_text() {
    for (text, expected) in [
        ("", Refusal::Json),
        ("{", Refusal::Json),
        ("[1", Refusal::Json),
        ("[1,]", Refusal::Json),
        ("{\"a\":1,}", Refusal::Json),
        ("{a:1}", Refusal::Json),
        ("{\"a\" 1}", Refusal::Json),
        ("[1 2]", Refusal::Json),
        ("1 2", Refusal::Json),
        ("tru", Refusal::Json),
        ("+1", Refusal::Json),
        ("-", Refusal::Json),
        ("01", Refusal::Json),
        ("-01", Refusal::Json),
        (".5", Refusal::Json),
        ("NaN", Refusal::Json),
        ("\"\\x\"", Refusal::Json),
        ("\"\\u12g4\"", Refusal::Json),
        ("\"a", Refusal::Json),
        ("\"\u{1}\"", Refusal::Json),
        ("\u{a0}1", Refusal::Json),
        ("-0", Refusal::Number),
        ("1.0", Refusal::Number),
        ("1e2", Refusal::Number),
        ("1E2", Refusal::Number),
        ("9007199254740992", Refusal::Number),
        ("-9007199254740992", Refusal::Number),
        ("99999999999999999999999999", Refusal::Number),
        ("\"\\ud800\"", Refusal::CodePoint),
        ("\"\\udc00\"", Refusal::CodePoint),
        ("\"\\ud800\\u0041\"", Refusal::CodePoint),
        ("\"\\ud800\\n\"", Refusal::CodePoint),
        ("\"\\uffff\"", Refusal::CodePoint),
        ("\"\u{ffff}\"", Refusal::CodePoint),
        ("\"\u{fdd0}\"", Refusal::CodePoint),
        ("\"\u{10fffe}\"", Refusal::CodePoint),
        ("\"\\ud83f\\udfff\"", Refusal::CodePoint),
        ("{\"a\":1,\"b\":2,\"\\u0061\":3}", Refusal::DuplicateKey),
        ("\u{feff}1", Refusal::Bom),
    ] {
        assert_eq!(refusal(text), expected, "{text}");
    }
    assert_eq!(
        parse(b"\"\xc3(\"", LIMITS).unwrap_err().refusal,
        Refusal::Utf8
    );
    assert_eq!(
        parse(b"\"\xed\xa0\x80\"", LIMITS).unwrap_err().refusal,
        Refusal::Utf8
    );
    assert_eq!(
        parse(
            b"12345",
            Limits {
                bytes_max: 4,
                depth_max: 1
            }
        )
        .unwrap_err()
        .refusal,
        Refusal::Size
    );
}

#[test]
fn depth_counts_objects_and_arrays() {
    let nest = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert!(parse(nest(16).as_bytes(), LIMITS).is_ok());
    assert_eq!(refusal(&nest(17)), Refusal::Depth);
    assert_eq!(refusal(&nest(100_000)), Refusal::Depth);
    // Depth is given back: many shallow ones beside each other are fine.
    let wide = format!("[{}]", ["[[]]"; 100].join(","));
    assert!(parse(wide.as_bytes(), LIMITS).is_ok());
}

#[test]
fn values_are_counted_where_they_are_few() {
    let of = |values_max| parse_few(br#"{"a":[1,{}],"b":"c"}"#, LIMITS, values_max);
    assert!(of(5).is_ok());
    let one_too_many = of(4).unwrap_err();
    assert_eq!(
        (one_too_many.refusal, &*one_too_many.pointer),
        (Refusal::Size, "/b")
    );
    assert_eq!(of(3).unwrap_err().pointer, "/a/1");
    assert_eq!(of(0).unwrap_err().pointer, "");
}

#[test]
fn what_is_empty_takes_no_memory_of_its_own() {
    for text in ["{}", "{ }", "[]"] {
        let room = match parse(text.as_bytes(), LIMITS).unwrap() {
            Value::Object(members) => members.capacity(),
            Value::List(values) => values.capacity(),
            other => panic!("{other:?}"),
        };
        assert_eq!(room, 0, "{text}");
    }
}

#[test]
fn values_by_text() {
    assert_eq!(
        parse(b" 9007199254740991 ", LIMITS),
        Ok(Value::Int(INTEGER_MAX))
    );
    assert_eq!(parse(b"-1", LIMITS), Ok(Value::Int(-1)));
    assert_eq!(parse(b"0", LIMITS), Ok(Value::Int(0)));
    assert_eq!(
        parse(br#""\u00e8\ud83d\ude00\/\b""#, LIMITS),
        Ok(Value::text("è😀/\u{8}"))
    );
    assert_eq!(
        parse("\"\u{ff5e}\u{fdf0}😀\"".as_bytes(), LIMITS),
        Ok(Value::text("\u{ff5e}\u{fdf0}😀"))
    );
    let borrowed = parse(b"\"plain\"", LIMITS).unwrap();
    assert!(matches!(borrowed, Value::Text(Cow::Borrowed("plain"))));
}

#[test]
fn every_byte_is_met_at_every_place() {
    for place in 0..24 {
        for byte in 0..=255u8 {
            let mut data = [b'a'; 26];
            (data[0], data[25]) = (b'"', b'"');
            data[1 + place] = byte;
            let expected = match byte {
                0..0x20 | b'"' | b'\\' => Err(Refusal::Json),
                0x80.. => Err(Refusal::Utf8),
                _ => Ok(()),
            };
            assert_eq!(
                parse(&data, LIMITS)
                    .map(|_| ())
                    .map_err(|refused| refused.refusal),
                expected,
                "{byte:#x} at {place}"
            );
        }
    }
}

#[test]
fn the_place_is_told() {
    assert_eq!(
        parse(br#"{"a":[1,{"b":1.5}]}"#, LIMITS)
            .unwrap_err()
            .pointer,
        "/a/1/b"
    );
    assert_eq!(
        parse(br#"{"a":{"b":1,"b":2}}"#, LIMITS)
            .unwrap_err()
            .pointer,
        "/a/b"
    );
}

#[test]
fn many_names_cost_no_square() {
    let mut text = "{".to_string();
    for n in 0..60_000 {
        text.push_str(&format!("\"{n}\":0,"));
    }
    let distinct = format!("{text}\"x\":0}}");
    assert!(parse(distinct.as_bytes(), LIMITS).is_ok());
    let repeated = format!("{text}\"30000\":0}}");
    assert_eq!(refusal(&repeated), Refusal::DuplicateKey);
}

fn value() -> impl Strategy<Value = Value<'static>> {
    let text = || {
        any::<alloc::string::String>().prop_map(|text| {
            text.chars()
                .filter(|&c| !is_noncharacter(c))
                .collect::<alloc::string::String>()
        })
    };
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-INTEGER_MAX..=INTEGER_MAX).prop_map(Value::Int),
        text().prop_map(|text| Value::Text(Cow::Owned(text))),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            prop::collection::btree_map(text(), inner, 0..6).prop_map(|map| Value::Object(
                map.into_iter()
                    .map(|(name, value)| (Cow::Owned(name), value))
                    .collect()
            )),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(value in value()) {
        let text = format(&value);
        prop_assert_eq!(parse(text.as_bytes(), LIMITS), Ok(value.clone()));
        // A second reader agrees.
        prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }

    #[test]
    fn never_panics(data in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&data, LIMITS);
    }

    #[test]
    fn never_panics_near_json(text in r#"[\[\]{}:,"\\u0-9a-f \-.eE]{0,60}"#) {
        // Whatever is accepted, a second reader accepts too.
        if parse(text.as_bytes(), LIMITS).is_ok() {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        }
    }
}
