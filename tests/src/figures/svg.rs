// SPDX-License-Identifier: EUPL-1.2
//! The least of SVG that charts need, written by hand, in the colours of the citizen's page, light or dark as the reader has it.

use std::fmt::Write;

/// Width of every chart.
pub(super) const WIDTH: f64 = 820.0;

/// House colours (`api/report/verifica/style.css`).
const STYLE: &str = "<style>
  text { font: 13px system-ui, sans-serif; fill: #17212b; }
  .page { fill: #ffffff; } .heading { font-size: 17px; font-weight: 600; } .note { fill: #495865; }
  .label { text-anchor: end; } .marked { text-anchor: middle; fill: #495865; }
  .visto { fill: #00529b; } .peer { fill: #b6c2cd; } .limit { fill: #7a4a00; } .good { fill: #0b6b3a; } .bad { fill: #a3161c; }
  .spread { stroke: #17212b; stroke-width: 1.5; fill: none; } .mark { stroke: #495865; stroke-dasharray: 4 3; fill: none; }
  .grid { stroke: #b6c2cd; stroke-width: 0.5; } .line { fill: none; stroke-width: 2; }
  .c0 { stroke: #00529b; } .c1 { stroke: #0b6b3a; } .c2 { stroke: #7a4a00; } .c3 { stroke: #a3161c; }
  @media (prefers-color-scheme: dark) {
    text { fill: #eef3f7; } .page { fill: #10161c; } .note, .marked { fill: #b4c2cf; }
    .visto { fill: #8cc4ff; } .peer { fill: #4b5b69; } .limit { fill: #ffd27a; } .good { fill: #7fdca6; } .bad { fill: #ff9a9a; }
    .spread { stroke: #eef3f7; } .mark { stroke: #b4c2cf; } .grid { stroke: #4b5b69; }
    .c0 { stroke: #8cc4ff; } .c1 { stroke: #7fdca6; } .c2 { stroke: #ffd27a; } .c3 { stroke: #ff9a9a; }
  }
</style>";

/// The beginning of a chart: its page, title and note. It ends with `</svg>`.
pub(super) fn page(height: f64, title: &str, note: &str) -> String {
    let name = escape(title);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\" aria-label=\"{name}\">\n{STYLE}\n<title>{name}</title>\n<rect class=\"page\" width=\"{WIDTH}\" height=\"{height}\"/>\n",
    );
    text(&mut svg, 20.0, 30.0, "heading", title);
    text(&mut svg, 20.0, 50.0, "note", note);
    svg
}

/// Words at a place.
pub(super) fn text(svg: &mut String, x: f64, y: f64, class: &str, text: &str) {
    let _ = writeln!(
        svg,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>",
        escape(text)
    );
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// That every element is closed in order, every attribute quoted, and nothing stands bare that must be escaped; how many elements there are.
///
/// # Errors
/// What is wrong, in words.
pub fn well_formed(svg: &str) -> Result<usize, String> {
    let (mut open, mut elements, mut rest) = (Vec::new(), 0, svg);
    while let Some(start) = rest.find('<') {
        let (text, tag) = rest.split_at(start);
        if text.contains('>') || bare_ampersand(text) {
            return Err(format!("not escaped: {text}"));
        }
        let end = tag.find('>').ok_or("a tag without an end")?;
        let inside = &tag[1..end];
        rest = &tag[end + 1..];
        if let Some(name) = inside.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(format!("{name} closed out of turn"));
            }
            continue;
        }
        elements += 1;
        let (inside, closed) = match inside.strip_suffix('/') {
            Some(inside) => (inside, true),
            None => (inside, false),
        };
        let name = inside.split_whitespace().next().ok_or("no name")?;
        let attributes = &inside[name.len()..];
        // Outside quotes an attribute is a name and an equals sign.
        for (place, part) in attributes.split('"').enumerate() {
            let is_value = place % 2 == 1;
            let trimmed = part.trim();
            if is_value && bare_ampersand(part)
                || !is_value && !trimmed.is_empty() && !trimmed.ends_with('=')
            {
                return Err(format!("{name}: attribute {part}"));
            }
        }
        if attributes.split('"').count() % 2 == 0 {
            return Err(format!("{name}: an open quote"));
        }
        if !closed {
            open.push(name);
        }
    }
    match open.as_slice() {
        [] if rest.trim().is_empty() => Ok(elements),
        _ => Err(format!("left open: {open:?}, left over: {rest}")),
    }
}

fn bare_ampersand(text: &str) -> bool {
    text.match_indices('&').any(|(at, _)| {
        !["&amp;", "&lt;", "&gt;", "&quot;"]
            .iter()
            .any(|entity| text[at..].starts_with(entity))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_of_the_form_finds_what_is_wrong() {
        assert_eq!(well_formed("<a b=\"1\"><c/>x</a>"), Ok(2));
        for wrong in [
            "<a>",
            "<a></b>",
            "<a b=1/>",
            "<a b=\"1/>",
            "<a>&</a>",
            "<a>></a>",
            "x",
        ] {
            assert!(well_formed(wrong).is_err(), "{wrong}");
        }
    }
}
