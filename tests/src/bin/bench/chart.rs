// SPDX-License-Identifier: EUPL-1.2
//! Charts as SVG, by hand: horizontal bars with their spread, in the colours of the citizen's page, light or dark as the reader has it.

use std::fmt::Write;

use crate::stats::Spread;

const WIDTH: f64 = 820.0;
/// Where bars begin, and where they end at most: the names stand left of them, the figures right.
const LEFT: f64 = 290.0;
const RIGHT: f64 = 720.0;
const TOP: f64 = 74.0;
const ROW: f64 = 30.0;
const BAR: f64 = 18.0;

/// Whose bar it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Visto,
    Peer,
    Limit,
    Good,
    Bad,
}

impl Kind {
    fn class(self) -> &'static str {
        match self {
            Kind::Visto => "visto",
            Kind::Peer => "peer",
            Kind::Limit => "limit",
            Kind::Good => "good",
            Kind::Bad => "bad",
        }
    }
}

/// One bar: its median, with its least and greatest round as a line over it.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) kind: Kind,
    pub(crate) spread: Spread,
    /// The figure in words.
    pub(crate) text: String,
}

/// A chart of bars. `mark` is a value at which a line is drawn over all of them, with its name.
pub(crate) fn bars(title: &str, note: &str, bars: &[Bar], mark: Option<(f64, &str)>) -> String {
    let height = TOP + ROW * bars.len() as f64 + 34.0;
    let greatest = bars
        .iter()
        .map(|bar| bar.spread.max)
        .chain(mark.map(|(value, _)| value * 1.05))
        .filter(|value| value.is_finite())
        .fold(0.0, f64::max);
    let x = |value: f64| {
        let share = if greatest > 0.0 && value.is_finite() {
            (value / greatest).clamp(0.0, 1.0)
        } else {
            0.0
        };
        LEFT + (RIGHT - LEFT) * share
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\" aria-label=\"{}\">\n{STYLE}\n<title>{}</title>\n<rect class=\"page\" width=\"{WIDTH}\" height=\"{height}\"/>\n",
        escape(title),
        escape(title),
    );
    text(&mut svg, 20.0, 30.0, "heading", title);
    text(&mut svg, 20.0, 50.0, "note", note);
    for (row, bar) in bars.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        let middle = y + BAR / 2.0;
        text(&mut svg, LEFT - 10.0, middle + 4.5, "label", &bar.label);
        let length = (x(bar.spread.median) - LEFT).max(1.0);
        let _ = writeln!(
            svg,
            "<rect class=\"{}\" x=\"{LEFT}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{BAR}\" rx=\"2\"/>",
            bar.kind.class(),
        );
        let (low, high) = (x(bar.spread.min), x(bar.spread.max));
        if high - low >= 1.0 {
            let (top, bottom) = (middle - 5.0, middle + 5.0);
            let _ = writeln!(
                svg,
                "<path class=\"spread\" d=\"M{low:.1} {middle:.1}H{high:.1}M{low:.1} {top:.1}V{bottom:.1}M{high:.1} {top:.1}V{bottom:.1}\"/>",
            );
        }
        let end = (LEFT + length).max(high) + 8.0;
        text(&mut svg, end, middle + 4.5, "figure", &bar.text);
    }
    if let Some((value, name)) = mark {
        let (at, bottom) = (x(value), TOP + ROW * bars.len() as f64);
        let _ = writeln!(
            svg,
            "<path class=\"mark\" d=\"M{at:.1} {:.1}V{bottom:.1}\"/>",
            TOP - 8.0,
        );
        text(&mut svg, at, bottom + 16.0, "marked", name);
    }
    svg.push_str("</svg>\n");
    svg
}

/// House colours (`api/report/verifica/style.css`).
const STYLE: &str = "<style>
  text { font: 13px system-ui, sans-serif; fill: #17212b; }
  .page { fill: #ffffff; } .heading { font-size: 17px; font-weight: 600; } .note { fill: #495865; }
  .label { text-anchor: end; } .marked { text-anchor: middle; fill: #495865; }
  .visto { fill: #00529b; } .peer { fill: #b6c2cd; } .limit { fill: #7a4a00; } .good { fill: #0b6b3a; } .bad { fill: #a3161c; }
  .spread { stroke: #17212b; stroke-width: 1.5; fill: none; } .mark { stroke: #495865; stroke-dasharray: 4 3; fill: none; }
  @media (prefers-color-scheme: dark) {
    text { fill: #eef3f7; } .page { fill: #10161c; } .note, .marked { fill: #b4c2cf; }
    .visto { fill: #8cc4ff; } .peer { fill: #4b5b69; } .limit { fill: #ffd27a; } .good { fill: #7fdca6; } .bad { fill: #ff9a9a; }
    .spread { stroke: #eef3f7; } .mark { stroke: #b4c2cf; }
  }
</style>";

fn text(svg: &mut String, x: f64, y: f64, class: &str, text: &str) {
    let _ = writeln!(
        svg,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>",
        escape(text)
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// That every element is closed in order, every attribute quoted, and nothing stands bare that must be escaped.
    pub(crate) fn well_formed(svg: &str) -> Result<usize, String> {
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

    #[test]
    fn a_chart_is_well_formed_whatever_stands_in_it() {
        let bar = |label: &str, median, max| Bar {
            label: label.into(),
            kind: Kind::Visto,
            spread: Spread {
                median,
                min: 0.0,
                max,
            },
            text: "\"1\" < 2 & 3".into(),
        };
        let all = [
            bar("a < b & \"c\"", 10.0, 20.0),
            bar("none", 0.0, 0.0),
            bar("endless", f64::INFINITY, f64::INFINITY),
        ];
        let svg = bars("title & <more>", "note", &all, Some((15.0, "a > b")));
        let elements = well_formed(&svg).unwrap();
        assert!(elements > 12, "{elements}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        // The greatest bar's spread ends at the right edge, and its median half-way.
        assert!(svg.contains("H720.0") && svg.contains("width=\"215.0\""));
        well_formed(&bars("empty", "", &[], None)).unwrap();
    }
}
