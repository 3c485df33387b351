// SPDX-License-Identifier: EUPL-1.2
//! Charts of horizontal bars, with their spread.

use std::fmt::Write;

use super::{
    stats::Spread,
    svg::{page, text},
};

/// Where bars begin, and where they end at most: the names stand left of them, the figures right.
const LEFT: f64 = 290.0;
const RIGHT: f64 = 720.0;
const TOP: f64 = 74.0;
const ROW: f64 = 30.0;
const BAR: f64 = 18.0;

/// Whose bar it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Visto's.
    Visto,
    /// Another system's.
    Peer,
    /// What nobody can exceed.
    Limit,
    /// Reached.
    Good,
    /// Missed.
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
pub struct Bar {
    /// What stands left of it.
    pub label: String,
    /// Its colour.
    pub kind: Kind,
    /// How long it is.
    pub spread: Spread,
    /// The figure in words.
    pub text: String,
}

/// A chart of bars. `mark` is a value at which a line is drawn over all of them, with its name.
pub fn bar_chart(title: &str, note: &str, bars: &[Bar], mark: Option<(f64, &str)>) -> String {
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
    let mut svg = page(height, title, note);
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

#[cfg(test)]
mod tests {
    use super::{super::svg::well_formed, *};

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
        let svg = bar_chart("title & <more>", "note", &all, Some((15.0, "a > b")));
        let elements = well_formed(&svg).unwrap();
        assert!(elements > 12, "{elements}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        // The greatest bar's spread ends at the right edge, and its median half-way.
        assert!(svg.contains("H720.0") && svg.contains("width=\"215.0\""));
        well_formed(&bar_chart("empty", "", &[], None)).unwrap();
    }
}
