// SPDX-License-Identifier: EUPL-1.2
//! The table of routes: which request belongs to which e-service, and whom it asks for.
//!
//! The gate must read a request as the service behind will, or one person could be shown to the gate and another one to the service. So a
//! target that can be read in two ways (dot segments, encoded slashes, what a URL parser would write otherwise) has no route, all values of a
//! repeated parameter count, and JSON with a name given twice is not read.

use std::{collections::BTreeSet, fmt, sync::Arc};

use bytes::Bytes;
use client::{
    gate::{Answering, CallFacts, Facts, Reason},
    pseudonym::{Code, Pseudonyms},
};
use http::{
    HeaderMap, Method, Uri,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
    request::Parts,
};
use ledger::{base64, bytes::CodeKind, hash::Hash};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use super::config::{PlaceIn, Route, Subject};

/// The routes, the first that fits counts, and what makes refs of codes.
#[derive(Clone, Debug)]
pub(super) struct Table {
    rows: Vec<Row>,
    pseudonyms: Option<Arc<Pseudonyms>>,
}

/// Whom a request asks for: by ref, or by code.
#[derive(Debug, Default)]
struct Asked {
    refs: Vec<Hash>,
    codes: Vec<Code>,
}

/// A route.
#[derive(Clone, Debug)]
pub(super) struct Row {
    segments: Vec<Segment>,
    methods: Vec<Method>,
    pub(super) route: Route,
}

#[derive(Clone, Debug)]
enum Segment {
    Fixed(String),
    Named(String),
}

impl Table {
    /// A table of what the configuration says.
    pub(super) fn new(routes: &[Route]) -> Result<Table, String> {
        if routes.is_empty() {
            return Err("routes: there is none".to_owned());
        }
        Ok(Table {
            rows: routes.iter().map(Row::new).collect::<Result<_, _>>()?,
            pseudonyms: None,
        })
    }

    /// Whether a route asks by code.
    pub(super) fn asks_by_code(&self) -> bool {
        let subjects = self.rows.iter().flat_map(|row| &row.route.subjects);
        subjects.into_iter().any(|subject| subject.code.is_some())
    }

    /// The same table, which makes refs of codes.
    pub(super) fn with_pseudonyms(self, pseudonyms: Pseudonyms) -> Table {
        Table {
            pseudonyms: Some(Arc::new(pseudonyms)),
            ..self
        }
    }

    /// The route of a request; none if no row takes it, or if it can be read in two ways.
    pub(super) fn find(&self, method: &Method, uri: &Uri) -> Option<&Row> {
        let path = uri.path();
        if is_ambiguous(uri) {
            return None;
        }
        let takes = |row: &&Row| {
            (row.methods.is_empty() || row.methods.contains(method)) && row.named(path).is_some()
        };
        self.rows.iter().find(takes)
    }
}

impl Row {
    fn new(route: &Route) -> Result<Row, String> {
        let wrong = |what: &str| Err(format!("routes: {}: {what}", route.path));
        let Some(path) = route.path.strip_prefix('/') else {
            return wrong("begins with a slash");
        };
        let segments: Vec<Segment> = path
            .split('/')
            .map(|text| {
                let named = text.strip_prefix('{').and_then(|it| it.strip_suffix('}'));
                named.map_or_else(
                    || Segment::Fixed(text.to_owned()),
                    |name| Segment::Named(name.to_owned()),
                )
            })
            .collect();
        if !route.open && route.subjects.is_empty() {
            return wrong("says neither whom it asks for (subjects) nor that it is open");
        }
        if route.open && !route.subjects.is_empty() {
            return wrong("is open and asks for persons");
        }
        for subject in &route.subjects {
            let there = segments
                .iter()
                .any(|it| matches!(it, Segment::Named(name) if *name == subject.name));
            if subject.place == PlaceIn::Path && !there {
                return wrong(&format!("has no segment {{{}}}", subject.name));
            }
            if let Some(kind) = &subject.code
                && CodeKind::parse(kind).is_none()
            {
                return wrong(&format!("{kind} is no kind of code"));
            }
            if subject.place == PlaceIn::Json && !subject.name.starts_with('/') {
                return wrong("a JSON pointer begins with a slash");
            }
        }
        let methods = route.methods.iter().map(|it| it.parse());
        let Ok(methods) = methods.collect::<Result<_, _>>() else {
            return wrong("no such method");
        };
        Ok(Row {
            segments,
            methods,
            route: route.clone(),
        })
    }

    /// Names and values of the segments in braces; none if the path is another.
    fn named<'p>(&self, path: &'p str) -> Option<Vec<(&str, &'p str)>> {
        let mut given = path.strip_prefix('/')?.split('/');
        let mut named = Vec::new();
        for segment in &self.segments {
            let text = given.next()?;
            match segment {
                Segment::Fixed(fixed) if fixed == text => {}
                Segment::Named(name) if !text.is_empty() => named.push((name.as_str(), text)),
                _ => return None,
            }
        }
        given.next().is_none().then_some(named)
    }

    /// Whom a request of this route asks for.
    fn subjects(&self, head: &Parts, body: &[u8]) -> Option<Asked> {
        let mut asked = Asked::default();
        for Subject { place, name, code } in &self.route.subjects {
            let mut texts = Vec::new();
            match place {
                PlaceIn::Path => {
                    let named = self.named(head.uri.path())?;
                    let found = named.into_iter().filter(|(it, _)| it == name);
                    texts.extend(found.map(|(_, text)| text.to_owned()));
                }
                PlaceIn::Query => {
                    let query = head.uri.query().unwrap_or_default();
                    texts.extend(query_values(query, name)?);
                }
                PlaceIn::Header => {
                    for line in head.headers.get_all(name.as_str()) {
                        let parts = line.to_str().ok()?.split(',');
                        texts.extend(parts.map(|part| part.trim().to_owned()));
                    }
                }
                PlaceIn::Json => {
                    if !says_json(&head.headers) {
                        return None;
                    }
                    let Unique(value) = serde_json::from_slice(body).ok()?;
                    collect(&value, name.split('/').skip(1), &mut texts)?;
                }
            }
            if texts.is_empty() {
                return None;
            }
            for text in &texts {
                match code.as_deref().map(CodeKind::parse) {
                    None => asked.refs.push(Hash(base64::url_decode_array(text)?)),
                    Some(kind) => asked.codes.push(Code::parse(kind?, text).ok()?),
                }
            }
        }
        Some(asked)
    }
}

impl CallFacts for Table {
    fn facts<'a>(
        &'a self,
        head: &'a Parts,
        body: &'a Bytes,
    ) -> Answering<'a, Result<Facts, Reason>> {
        Box::pin(async move {
            let row = self.find(&head.method, &head.uri).ok_or(Reason::NoRoute)?;
            let asked = row.subjects(head, body).ok_or(Reason::FactsUnreadable)?;
            let mut subjects = asked.refs;
            if !asked.codes.is_empty() {
                let pseudonyms = self.pseudonyms.as_ref().ok_or(Reason::PseudonymAway)?;
                let refs = pseudonyms.refs(&asked.codes).await;
                subjects.extend(refs.map_err(|_| Reason::PseudonymAway)?);
            }
            subjects.sort_unstable();
            subjects.dedup();
            Ok(Facts {
                subjects,
                eservice_id: row.route.eservice.clone(),
                purposes: row.route.purposes.clone(),
                ..Facts::of_request(head, body)
            })
        })
    }
}

/// Whether two programs could read the target in two ways.
fn is_ambiguous(uri: &Uri) -> bool {
    let target = uri.path_and_query().map_or("", |it| it.as_str());
    let path = uri.path();
    let lower = path.to_ascii_lowercase();
    let encoded = ["%2f", "%5c", "%2e", "%00", "%3b", "%25"];
    if path.contains("//")
        || path.contains(['\\', ';'])
        || encoded.iter().any(|it| lower.contains(it))
    {
        return true;
    }
    // What is sent on is written by a URL parser: it must change nothing.
    let Ok(url) = reqwest::Url::parse(&format!("http://service{target}")) else {
        return true;
    };
    let written = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    written != target
}

/// Whether the head says that the body is JSON as it stands: said otherwise, the service could read other names in it.
fn says_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(line), None) = (types.next(), types.next()) else {
        return false;
    };
    let line = line.to_str().unwrap_or_default().to_ascii_lowercase();
    let mut parts = line.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|it| {
        let kind = it.strip_prefix("application/").unwrap_or_default();
        !it.contains(',') && (kind == "json" || kind.ends_with("+json"))
    });
    let mut charsets = parts
        .filter_map(|it| it.split_once('='))
        .filter(|(name, _)| name.trim() == "charset")
        .map(|(_, value)| value.trim().trim_matches('"'));
    is_json && charsets.all(|it| it == "utf-8") && !headers.contains_key(CONTENT_ENCODING)
}

/// All values of a parameter; none if the query is not what forms write.
fn query_values(query: &str, name: &str) -> Option<Vec<String>> {
    let url = reqwest::Url::parse(&format!("http://service/?{query}")).ok()?;
    // Some services divide at semicolons too.
    if query.contains(';') {
        return None;
    }
    // Some services know `name[]`, `name[x]`, `NAME`, and `na.me` for `na_me`, as the same parameter.
    let fold = |it: &str| {
        let it = it.trim_start().to_uppercase().to_lowercase();
        it.replace([' ', '.', '+', '['], "_")
    };
    let cut = |it: &str| fold(it.split(['[', '\0']).next().unwrap_or_default());
    let same = |it: &str| cut(it) == cut(name) || fold(it) == fold(name);
    let mut values = Vec::new();
    for (it, value) in url.query_pairs() {
        if it == name {
            values.push(value.into_owned());
        } else if same(&it) {
            return None;
        }
    }
    Some(values)
}

/// The texts at a JSON pointer, `*` for every item of a list. A list at the end counts with all its items.
fn collect<'p>(
    value: &Value,
    mut pointer: impl Iterator<Item = &'p str> + Clone,
    texts: &mut Vec<String>,
) -> Option<()> {
    match (pointer.next(), value) {
        (None, Value::String(text)) => texts.push(text.clone()),
        (None, Value::Array(items)) => {
            for item in items {
                texts.push(item.as_str()?.to_owned());
            }
        }
        (Some("*"), Value::Array(items)) => {
            for item in items {
                collect(item, pointer.clone(), texts)?;
            }
        }
        (Some(name), Value::Object(members)) => {
            let name = name.replace("~1", "/").replace("~0", "~");
            collect(members.get(&name)?, pointer, texts)?;
        }
        _ => return None,
    }
    Some(())
}

/// JSON in which no object gives a name twice, be it in another case.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Unique, D::Error> {
        Seed.deserialize(from).map(Unique)
    }
}

struct Seed;

impl<'de> DeserializeSeed<'de> for Seed {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without a name given twice")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Seed)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let (mut map, mut folded) = (Map::new(), BTreeSet::new());
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(Seed)?;
            // Some services read names without case, by the simple folding of Unicode.
            if !folded.insert(name.to_uppercase().to_lowercase()) {
                return Err(A::Error::custom("a name is given twice"));
            }
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn table(path: &str, subjects: &[(PlaceIn, &str)]) -> Table {
        let subjects = subjects
            .iter()
            .map(|(place, name)| Subject {
                place: *place,
                name: (*name).to_owned(),
                code: None,
            })
            .collect();
        Table::new(&[Route {
            path: path.to_owned(),
            methods: vec!["GET".to_owned(), "POST".to_owned()],
            open: false,
            eservice: None,
            purposes: Vec::new(),
            subjects,
            result_count: None,
        }])
        .unwrap()
    }

    fn person(n: u8) -> String {
        base64::url_encode(&[n; 32])
    }

    fn asked(table: &Table, target: &str, body: &str) -> Result<Vec<u8>, Reason> {
        let request =
            http::Request::post(target).header("x-refs", format!("{}, {}", person(8), person(9)));
        let request = request.header(CONTENT_TYPE, "application/json; charset=UTF-8");
        let (head, ()) = request.body(()).unwrap().into_parts();
        let row = table.find(&head.method, &head.uri).ok_or(Reason::NoRoute)?;
        let refs = row.subjects(&head, body.as_bytes());
        let refs = refs.ok_or(Reason::FactsUnreadable)?;
        let mut refs = refs.refs;
        refs.sort_unstable();
        refs.dedup();
        Ok(refs
            .into_iter()
            .map(|it| it.0.first().copied().unwrap())
            .collect())
    }

    #[test]
    fn persons_are_found_where_the_table_says() {
        let all = [
            (PlaceIn::Path, "ref"),
            (PlaceIn::Query, "other"),
            (PlaceIn::Json, "/people/*/ref"),
            (PlaceIn::Header, "x-refs"),
        ];
        let table = table("/isee/{ref}/attestazioni", &all);
        let (a, b, c, d) = (person(1), person(2), person(3), person(4));
        let target = format!("/isee/{a}/attestazioni?x=1&other={b}&%6Fther={a}");
        let body = format!(r#"{{"people":[{{"ref":"{c}","x":1.5}},{{"ref":"{d}"}}]}}"#);
        assert_eq!(asked(&table, &target, &body), Ok(vec![1, 2, 3, 4, 8, 9]));
        // A place that names nobody, somebody who is no ref, a name given twice, a list that is none.
        let unread = Err(Reason::FactsUnreadable);
        assert_eq!(
            asked(&table, &format!("/isee/{a}/attestazioni"), &body),
            unread
        );
        assert_eq!(asked(&table, &target.replace(&b, "RSSMRA"), &body), unread);
        let twice = format!(r#"{{"people":[],"people":[{{"ref":"{c}"}}]}}"#);
        assert_eq!(asked(&table, &target, &twice), unread);
        for name in ["PEOPLE", "peop\\u004ce"] {
            let twice = body.replacen('{', &format!(r#"{{"{name}":[],"#), 1);
            assert_eq!(asked(&table, &target, &twice), unread, "{name}");
        }
        let none = format!(r#"{{"people":{{"ref":"{c}"}}}}"#);
        assert_eq!(asked(&table, &target, &none), unread);
    }

    #[test]
    fn what_can_be_read_in_two_ways_has_no_route() {
        let table = table(
            "/isee/{ref}",
            &[(PlaceIn::Path, "ref"), (PlaceIn::Query, "other")],
        );
        let (a, b) = (person(1), person(2));
        assert_eq!(
            asked(&table, &format!("/isee/{a}?other={b}&other={a}"), ""),
            Ok(vec![1, 2])
        );
        for target in [
            format!("/isee/x/../{a}?other={b}"),
            format!("/isee/%2e%2e?other={b}"),
            format!("/isee//{a}?other={b}"),
            format!("/isee/{a}%2fother?other={b}"),
            format!("/isee/{a};x=1?other={b}"),
            format!("/isee/{a}/?other={b}"),
            format!("/ISEE/{a}?other={b}"),
            format!("/isee/{a}%252f?other={b}"),
        ] {
            assert_eq!(asked(&table, &target, ""), Err(Reason::NoRoute), "{target}");
        }
        let both = format!("/isee/{a}?other={b};other={a}");
        assert_eq!(asked(&table, &both, ""), Err(Reason::FactsUnreadable));
        // A second spelling of a parameter, also alone.
        let other = "other_name";
        let table = self::table("/isee", &[(PlaceIn::Query, other)]);
        let plain = format!("/isee?{other}={a}");
        assert_eq!(asked(&table, &plain, ""), Ok(vec![1]));
        for name in [
            "other_name[]",
            "other_name[0]",
            "OTHER_name",
            "other.name",
            "other+name",
            "other%2Bname",
            "other[name",
            "+other_name",
        ] {
            let twice = format!("{plain}&{name}={b}");
            assert_eq!(
                asked(&table, &twice, ""),
                Err(Reason::FactsUnreadable),
                "{name}"
            );
        }
    }

    #[test]
    fn a_body_is_read_as_json_only_where_the_head_says_so() {
        let says = |lines: &[(http::HeaderName, &str)]| {
            let lines = lines
                .iter()
                .map(|(name, value)| (name.clone(), value.parse().unwrap()));
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(name, value);
            }
            says_json(&headers)
        };
        for (kind, is_json) in [
            ("application/json", true),
            ("application/json;charset=\"utf-8\"", true),
            ("Application/Problem+JSON; profile=x", true),
            ("application/json; charset=utf-16", false),
            ("application/json; charset=utf-8; Charset = utf-7", false),
            ("application/x-www-form-urlencoded", false),
            ("text/json", false),
            ("text/xml, application/json", false),
        ] {
            assert_eq!(says(&[(CONTENT_TYPE, kind)]), is_json, "{kind}");
        }
        let json = (CONTENT_TYPE, "application/json");
        assert!(!says(&[]));
        assert!(!says(&[json.clone(), json.clone()]));
        assert!(!says(&[json, (CONTENT_ENCODING, "gzip")]));
    }

    #[test]
    fn a_table_that_would_let_everybody_through_is_refused() {
        let mut route = Route {
            path: "/isee/{ref}".to_owned(),
            methods: Vec::new(),
            open: false,
            eservice: None,
            purposes: Vec::new(),
            subjects: Vec::new(),
            result_count: None,
        };
        assert!(Table::new(&[]).is_err());
        assert!(Table::new(&[route.clone()]).is_err());
        route.open = true;
        assert!(Table::new(&[route.clone()]).is_ok());
        let subject = |name: &str| Subject {
            place: PlaceIn::Path,
            name: name.to_owned(),
            code: None,
        };
        route.subjects = vec![subject("ref")];
        assert!(Table::new(&[route.clone()]).is_err());
        route.open = false;
        assert!(Table::new(&[route.clone()]).is_ok());
        route.subjects = vec![subject("other")];
        assert!(Table::new(&[route]).is_err());
    }
}
