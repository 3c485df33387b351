// SPDX-License-Identifier: EUPL-1.2
//! Strict I-JSON (RFC 7493, narrower): the one parser of wire lines, bodies and disclosures, and a compact writer.
//!
//! Narrower than RFC 7493: integers only, no duplicate names, no noncharacters, bounded length and depth. Text that needs no unescaping is
//! borrowed from the input.

use alloc::{borrow::Cow, string::String, vec::Vec};

use crate::refusal::{Refusal, Refused};

/// Largest magnitude of an integer: 2^53 − 1.
pub const INTEGER_MAX: i64 = (1 << 53) - 1;

/// How much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest document in bytes.
    pub bytes_max: usize,
    /// Deepest nesting of objects and arrays; the outermost is 1.
    pub depth_max: usize,
}

/// A JSON value. Names of an object are distinct, in the order of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Text(Cow<'a, str>),
    List(Vec<Value<'a>>),
    Object(Vec<(Cow<'a, str>, Value<'a>)>),
}

impl<'a> Value<'a> {
    /// A text.
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Value::Text(text.into())
    }

    /// An object of members in this order; the caller gives each name once.
    pub fn object<const N: usize>(members: [(&'a str, Value<'a>); N]) -> Self {
        Value::Object(
            members
                .into_iter()
                .map(|(name, value)| (Cow::Borrowed(name), value))
                .collect(),
        )
    }

    /// A member of an object; `None` if this is no object or has none of that name.
    pub fn member(&self, name: &str) -> Option<&Value<'a>> {
        match self {
            Value::Object(members) => members
                .iter()
                .find(|(candidate, _)| candidate == name)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is an integer ≥ 0.
    pub fn as_count(&self) -> Option<u64> {
        match self {
            Value::Int(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }
}

/// Parses one document.
///
/// # Errors
/// `size`, `bom`, `utf-8`, `json`, `duplicate-key`, `number`, `code-point` or `depth`, with the pointer of the member where it was met.
pub fn parse(data: &[u8], limits: Limits) -> Result<Value<'_>, Refused> {
    parse_few(data, limits, usize::MAX)
}

/// As [`parse`], a document of at most so many values. Two bytes make a value that takes hundreds in memory, so this is for documents whose
/// sender nobody knows yet.
///
/// # Errors
/// As [`parse`]; `size` where the first value stands that is too many.
pub fn parse_few(data: &[u8], limits: Limits, values_max: usize) -> Result<Value<'_>, Refused> {
    if data.len() > limits.bytes_max {
        return Err(Refusal::Size.into());
    }
    if data.starts_with(b"\xef\xbb\xbf") {
        return Err(Refusal::Bom.into());
    }
    let text = core::str::from_utf8(data).map_err(|_| Refusal::Utf8)?;
    let mut parser = Parser {
        text,
        at: 0,
        depth_left: limits.depth_max,
        values_left: values_max,
    };
    parser.skip_space();
    let value = parser.value()?;
    parser.skip_space();
    if parser.at == text.len() {
        Ok(value)
    } else {
        Err(Refusal::Json.into())
    }
}

/// Writes a value without white space, members in their order.
pub fn format(value: &Value<'_>) -> String {
    let mut out = String::new();
    write_value(value, &mut out);
    out
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth_left: usize,
    values_left: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Takes `byte` if it comes next.
    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn value(&mut self) -> Result<Value<'a>, Refused> {
        self.values_left = self.values_left.checked_sub(1).ok_or(Refusal::Size)?;
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                Ok(Value::Text(self.string()?))
            }
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::list),
            Some(b'-' | b'0'..=b'9') => Ok(Value::Int(self.integer()?)),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            _ => Err(Refusal::Json.into()),
        }
    }

    fn nested(
        &mut self,
        inner: fn(&mut Self) -> Result<Value<'a>, Refused>,
    ) -> Result<Value<'a>, Refused> {
        // Recursion ends here: no document can exhaust the stack.
        self.depth_left = self.depth_left.checked_sub(1).ok_or(Refusal::Depth)?;
        self.at += 1;
        self.skip_space();
        let value = inner(self)?;
        self.depth_left += 1;
        Ok(value)
    }

    fn object(&mut self) -> Result<Value<'a>, Refused> {
        if self.take(b'}') {
            return Ok(Value::Object(Vec::new()));
        }
        let mut members: Vec<(Cow<'a, str>, Value<'a>)> = Vec::with_capacity(8);
        loop {
            if !self.take(b'"') {
                return Err(Refusal::Json.into());
            }
            let name = self.string()?;
            self.skip_space();
            if !self.take(b':') {
                return Err(Refusal::Json.into());
            }
            self.skip_space();
            let value = self.value().map_err(|refused| refused.at(&name))?;
            members.push((name, value));
            self.skip_space();
            match self.next() {
                Some(b',') => self.skip_space(),
                Some(b'}') => break,
                _ => return Err(Refusal::Json.into()),
            }
        }
        match repeated_name(&members) {
            Some(name) => Err(Refused::from(Refusal::DuplicateKey).at(name)),
            None => Ok(Value::Object(members)),
        }
    }

    fn list(&mut self) -> Result<Value<'a>, Refused> {
        let mut values = Vec::new();
        if self.take(b']') {
            return Ok(Value::List(values));
        }
        loop {
            let value = self
                .value()
                .map_err(|refused| refused.at_index(values.len()))?;
            values.push(value);
            self.skip_space();
            match self.next() {
                Some(b',') => self.skip_space(),
                Some(b']') => return Ok(Value::List(values)),
                _ => return Err(Refusal::Json.into()),
            }
        }
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, Refused> {
        if self
            .text
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(word))
        {
            self.at += word.len();
            Ok(value)
        } else {
            Err(Refusal::Json.into())
        }
    }

    fn integer(&mut self) -> Result<i64, Refusal> {
        let negative = self.take(b'-');
        let from = self.at;
        let mut number: i64 = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            // Saturates far above the largest number allowed.
            number = number
                .saturating_mul(10)
                .saturating_add(i64::from(digit - b'0'));
            self.at += 1;
        }
        let digits = self.at - from;
        if digits == 0 || (digits > 1 && self.text.as_bytes().get(from) == Some(&b'0')) {
            return Err(Refusal::Json);
        }
        let fraction = matches!(self.peek(), Some(b'.' | b'e' | b'E'));
        if fraction || number > INTEGER_MAX || (negative && number == 0) {
            return Err(Refusal::Number);
        }
        Ok(if negative { -number } else { number })
    }

    /// The rest of a string, its opening quote taken.
    fn string(&mut self) -> Result<Cow<'a, str>, Refusal> {
        let mut built = String::new();
        let mut from = self.at;
        loop {
            self.at += plain_bytes(self.text.as_bytes().get(self.at..).unwrap_or_default());
            match self.next().ok_or(Refusal::Json)? {
                b'"' => {
                    let run = self.run(from, self.at - 1)?;
                    return Ok(if built.is_empty() {
                        Cow::Borrowed(run)
                    } else {
                        built.push_str(run);
                        Cow::Owned(built)
                    });
                }
                b'\\' => {
                    built.push_str(self.run(from, self.at - 1)?);
                    built.push(self.escape()?);
                    from = self.at;
                }
                0..0x20 => return Err(Refusal::Json),
                // Noncharacters begin with these bytes only; other text passes without being decoded.
                0xef..=0xf4 => {
                    let rest = self.text.get(self.at - 1..).ok_or(Refusal::Json)?;
                    if rest.chars().next().is_none_or(is_noncharacter) {
                        return Err(Refusal::CodePoint);
                    }
                }
                _ => {}
            }
        }
    }

    fn run(&self, from: usize, to: usize) -> Result<&'a str, Refusal> {
        self.text.get(from..to).ok_or(Refusal::Json)
    }

    /// The rest of an escape, its backslash taken.
    fn escape(&mut self) -> Result<char, Refusal> {
        Ok(match self.next().ok_or(Refusal::Json)? {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.hex4()?;
                let point = if (0xd800..0xdc00).contains(&unit) {
                    if !(self.take(b'\\') && self.take(b'u')) {
                        return Err(Refusal::CodePoint);
                    }
                    let low = self.hex4()?;
                    if !(0xdc00..0xe000).contains(&low) {
                        return Err(Refusal::CodePoint);
                    }
                    0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00)
                } else {
                    unit
                };
                char::from_u32(point)
                    .filter(|&c| !is_noncharacter(c))
                    .ok_or(Refusal::CodePoint)?
            }
            _ => return Err(Refusal::Json),
        })
    }

    fn hex4(&mut self) -> Result<u32, Refusal> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self
                .next()
                .and_then(|byte| char::from(byte).to_digit(16))
                .ok_or(Refusal::Json)?;
            unit = unit << 4 | digit;
        }
        Ok(unit)
    }
}

/// How many bytes from the front are ASCII without meaning in a string, in steps of eight: most of every document is.
fn plain_bytes(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = ONES * 0x80;
    // The high bit of each byte that is zero; exact up to the lowest such byte, which is all that is asked.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let mut plain = 0;
    for chunk in bytes.as_chunks::<8>().0 {
        let word = u64::from_le_bytes(*chunk);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let special = (word & HIGHS)
            | control
            | zero(word ^ (ONES * u64::from(b'"')))
            | zero(word ^ (ONES * u64::from(b'\\')));
        if special != 0 {
            return plain + special.trailing_zeros() as usize / 8;
        }
        plain += 8;
    }
    plain
}

fn is_noncharacter(c: char) -> bool {
    let point = u32::from(c);
    (0xfdd0..0xfdf0).contains(&point) || point & 0xfffe == 0xfffe
}

/// A name that stands twice. Few names are compared pair by pair, many are sorted first: the cost is bounded for hostile documents too.
fn repeated_name<'v>(members: &'v [(Cow<'_, str>, Value<'_>)]) -> Option<&'v str> {
    if members.len() <= 32 {
        let mut rest = members;
        while let [(name, _), later @ ..] = rest {
            if later.iter().any(|(other, _)| other == name) {
                return Some(name);
            }
            rest = later;
        }
        return None;
    }
    let mut names: Vec<&str> = members.iter().map(|(name, _)| &**name).collect();
    names.sort_unstable();
    names
        .array_windows()
        .find(|[a, b]| a == b)
        .map(|[name, _]| *name)
}

fn write_value(value: &Value<'_>, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Int(number) => {
            // Writing to a String cannot fail.
            let _ = core::fmt::Write::write_fmt(out, format_args!("{number}"));
        }
        Value::Text(text) => write_text(text, out),
        Value::List(values) => {
            out.push('[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_value(value, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (at, (name, value)) in members.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_text(name, out);
                out.push(':');
                write_value(value, out);
            }
            out.push('}');
        }
    }
}

/// Where the first byte stands that a string may not hold as it is. Such a byte is a whole character.
fn first_escaped(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = bytes.get(at..)?;
        at += plain_bytes(rest);
        match bytes.get(at)? {
            0..0x20 | b'"' | b'\\' => return Some(at),
            // Not ASCII, or one of the last seven bytes.
            _ => at += 1,
        }
    }
}

/// Writes a string, quoted.
pub(crate) fn write_text(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = first_escaped(rest.as_bytes()) {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = special.chars();
        match chars.next() {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some(control) => {
                let _ =
                    core::fmt::Write::write_fmt(out, format_args!("\\u{:04x}", u32::from(control)));
            }
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

#[cfg(test)]
mod tests;
