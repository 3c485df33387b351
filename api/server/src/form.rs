// SPDX-License-Identifier: EUPL-1.2
//! Queries in JSON, read with the ledger's strict parser: each member is taken once by name and kind, and what is left over is refused. Every
//! complaint names the member by its JSON pointer.

use std::ops::RangeInclusive;

use ledger::{
    hash::Hash,
    json::{self, Limits, Value},
    time,
};

use crate::{
    body::QUERY_BYTES_MAX,
    problem::{Fault, RequestFault},
};

/// Longest text in a query, in bytes.
const TEXT_BYTES_MAX: usize = 512;

/// Members of a query that were not taken yet.
pub struct Form<'a>(Vec<(std::borrow::Cow<'a, str>, Value<'a>)>);

impl<'a> Form<'a> {
    /// Parses the body of a query.
    ///
    /// # Errors
    /// It is no JSON object.
    pub fn parse(body: &'a [u8]) -> Result<Form<'a>, Fault> {
        Form::parse_within(body, QUERY_BYTES_MAX)
    }

    /// Parses a body that may be longer than a query.
    ///
    /// # Errors
    /// It is no JSON object.
    pub fn parse_within(body: &'a [u8], bytes_max: usize) -> Result<Form<'a>, Fault> {
        let limits = Limits {
            bytes_max,
            depth_max: 4,
        };
        match json::parse(body, limits).map_err(RequestFault::Json)? {
            Value::Object(members) => Ok(Form(members)),
            _ => Err(RequestFault::Json(ledger::refusal::Refusal::Json.into()).into()),
        }
    }

    /// A text of 1 to 512 bytes.
    ///
    /// # Errors
    /// The member is something else.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, Fault> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Text(text)) if (1..=TEXT_BYTES_MAX).contains(&text.len()) => {
                Ok(Some(text.into_owned()))
            }
            Some(_) => Err(bad(name, "a text of 1 to 512 bytes")),
        }
    }

    /// 32 bytes in base64url.
    ///
    /// # Errors
    /// The member is something else.
    pub fn hash(&mut self, name: &str) -> Result<Option<Hash>, Fault> {
        const EXPECTED: &str = "32 bytes in base64url without padding";
        match self.take(name) {
            None => Ok(None),
            Some(Value::Text(text)) => ledger::base64::url_decode(&text)
                .and_then(|bytes| Hash::from_slice(&bytes))
                .map(Some)
                .ok_or_else(|| bad(name, EXPECTED)),
            Some(_) => Err(bad(name, EXPECTED)),
        }
    }

    /// A time, in milliseconds since the epoch.
    ///
    /// # Errors
    /// The member is something else.
    pub fn time(&mut self, name: &str) -> Result<Option<u64>, Fault> {
        const EXPECTED: &str = "a time as YYYY-MM-DDTHH:MM:SS[.sss]Z";
        match self.take(name) {
            None => Ok(None),
            Some(Value::Text(text)) => time::parse_timestamp(&text)
                .map(Some)
                .ok_or_else(|| bad(name, EXPECTED)),
            Some(_) => Err(bad(name, EXPECTED)),
        }
    }

    /// A number within a range.
    ///
    /// # Errors
    /// The member is something else.
    pub fn number(
        &mut self,
        name: &str,
        range: RangeInclusive<u32>,
        expected: &'static str,
    ) -> Result<Option<u32>, Fault> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Int(number)) => u32::try_from(number)
                .ok()
                .filter(|number| range.contains(number))
                .map(Some)
                .ok_or_else(|| bad(name, expected)),
            Some(_) => Err(bad(name, expected)),
        }
    }

    /// A list of 1 to 19 texts.
    ///
    /// # Errors
    /// The member is something else.
    pub fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>, Fault> {
        const EXPECTED: &str = "a list of 1 to 19 texts";
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let Value::List(items) = value else {
            return Err(bad(name, EXPECTED));
        };
        if !(1..=19).contains(&items.len()) {
            return Err(bad(name, EXPECTED));
        }
        let texts = items.into_iter().map(|item| match item {
            Value::Text(text) => Ok(text.into_owned()),
            _ => Err(bad(name, EXPECTED)),
        });
        texts.collect::<Result<_, _>>().map(Some)
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// The member is something else.
    pub fn flag(&mut self, name: &str) -> Result<Option<bool>, Fault> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(bad(name, "true or false")),
        }
    }

    /// An object.
    ///
    /// # Errors
    /// The member is something else.
    pub fn object(&mut self, name: &str) -> Result<Option<Form<'a>>, Fault> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(members)) => Ok(Some(Form(members))),
            Some(_) => Err(bad(name, "an object")),
        }
    }

    /// A list of 1 to 200 objects.
    ///
    /// # Errors
    /// The member is something else.
    pub fn objects(&mut self, name: &str) -> Result<Option<Vec<Form<'a>>>, Fault> {
        const EXPECTED: &str = "a list of 1 to 200 objects";
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let Value::List(items) = value else {
            return Err(bad(name, EXPECTED));
        };
        if !(1..=200).contains(&items.len()) {
            return Err(bad(name, EXPECTED));
        }
        let objects = items.into_iter().map(|item| match item {
            Value::Object(members) => Ok(Form(members)),
            _ => Err(bad(name, EXPECTED)),
        });
        objects.collect::<Result<_, _>>().map(Some)
    }

    /// A list of 1 to `max` texts, each 32 bytes in base64url; the first that is something else is named by its place.
    ///
    /// # Errors
    /// The member, or one of its items, is something else.
    pub fn list_of_32(
        &mut self,
        name: &str,
        max: usize,
        expected: &'static str,
    ) -> Result<Option<Vec<[u8; 32]>>, Fault> {
        const ITEM: &str = "32 bytes in base64url without padding";
        let items = match self.take(name) {
            None => return Ok(None),
            Some(Value::List(items)) if (1..=max).contains(&items.len()) => items,
            Some(_) => return Err(bad(name, expected)),
        };
        let read = |item: &Value<'_>| match item {
            Value::Text(text) => ledger::base64::url_decode_array(text),
            _ => None,
        };
        let items = items.iter().enumerate();
        let items =
            items.map(|(place, item)| read(item).ok_or_else(|| bad_item(name, place, ITEM)));
        items.collect::<Result<_, _>>().map(Some)
    }

    /// Ends the query: nothing may be left.
    ///
    /// # Errors
    /// There is a member that this query does not have.
    pub fn end(self) -> Result<(), Fault> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => {
                // An unknown name is the sender's text: it is cut, not echoed at length.
                let name: String = name.chars().take(64).collect();
                Err(bad(&name, "no such member"))
            }
        }
    }

    fn take(&mut self, name: &str) -> Option<Value<'a>> {
        let place = self.0.iter().position(|(candidate, _)| candidate == name)?;
        Some(self.0.swap_remove(place).1)
    }
}

/// A complaint about a member.
pub fn bad(name: &str, expected: &'static str) -> Fault {
    let name = name.replace('~', "~0").replace('/', "~1");
    RequestFault::Member(format!("/{name}"), expected).into()
}

/// A complaint about one item of a member.
pub fn bad_item(name: &str, place: usize, expected: &'static str) -> Fault {
    RequestFault::Member(format!("/{name}/{place}"), expected).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn members_are_taken_by_kind_and_none_is_left() {
        let body = br#"{"a":"x","t":"2026-01-02T03:04:05Z","n":7,"l":["p","q"],"h":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#;
        let mut form = Form::parse(body).unwrap();
        assert_eq!(form.text("a").unwrap().as_deref(), Some("x"));
        assert_eq!(form.text("a").unwrap(), None);
        assert_eq!(form.time("t").unwrap(), Some(1_767_323_045_000));
        assert_eq!(form.number("n", 1..=100, "").unwrap(), Some(7));
        assert_eq!(
            form.texts("l").unwrap(),
            Some(vec!["p".to_owned(), "q".to_owned()])
        );
        assert_eq!(form.hash("h").unwrap(), Some(Hash::ZERO));
        assert_eq!(form.end(), Ok(()));
    }

    #[test]
    fn complaints_name_the_member() {
        let pointer = |fault: Fault| {
            fault
                .problem()
                .errors
                .first()
                .map(|error| error.pointer.clone())
        };
        let mut form =
            Form::parse(br#"{"limit":101,"x/y":1,"at":"now","subject":"short"}"#).unwrap();
        let fault = form.number("limit", 1..=100, "less").expect_err("too many");
        assert_eq!(pointer(fault).as_deref(), Some("/limit"));
        assert_eq!(
            pointer(form.time("at").expect_err("no time")).as_deref(),
            Some("/at")
        );
        assert_eq!(
            pointer(form.hash("subject").expect_err("short")).as_deref(),
            Some("/subject")
        );
        assert_eq!(
            pointer(form.end().expect_err("left")).as_deref(),
            Some("/x~1y")
        );
        for bad in [
            &b"[]"[..],
            b"{",
            b"{\"a\":1,\"a\":2}",
            b"\"x\"",
            b"{\"a\":1.5}",
        ] {
            let fault = Form::parse(bad).err().expect("no object");
            assert_eq!(fault.code(), "request-json");
        }
    }
}
