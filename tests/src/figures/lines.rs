// SPDX-License-Identifier: EUPL-1.2
//! Charts of lines: one figure over another, the upright one by powers of ten.

use std::fmt::Write;

use super::svg::{escape, page, text};

const HEIGHT: f64 = 440.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 620.0;
const TOP: f64 = 98.0;
const BOTTOM: f64 = 382.0;
/// Where the names of the lines stand.
const NAMES: f64 = 640.0;

/// One line through its points, ascending in x.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// Its colour, by number: 0 to 3.
    pub colour: usize,
    /// Drawn with gaps.
    pub dashed: bool,
    /// x, and y above zero.
    pub points: Vec<(f64, f64)>,
}

/// What an axis is called, and how its figures are written.
pub struct Axis<'a> {
    /// With its unit.
    pub name: &'a str,
    /// A figure in words.
    pub words: fn(f64) -> String,
}

/// A chart of lines. `mark` is a height at which a line is drawn across, with its name.
pub fn line_chart(
    title: &str,
    note: &str,
    across: &Axis,
    upright: &Axis,
    lines: &[Line],
    mark: Option<(f64, &str)>,
) -> String {
    let mut svg = page(HEIGHT, title, note);
    let all = || {
        lines
            .iter()
            .flat_map(|line| &line.points)
            .filter(|(x, y)| x.is_finite() && y.is_finite() && *y > 0.0)
    };
    let (step, steps) = ticks(all().map(|(x, _)| *x).fold(0.0, f64::max));
    let most_across = step * f64::from(steps);
    let heights = || all().map(|(_, y)| *y).chain(mark.map(|(y, _)| y));
    // Whole decades, or halves of them (1, 3, 10, …).
    let low = heights().fold(f64::INFINITY, f64::min);
    let high = heights().fold(f64::NEG_INFINITY, f64::max);
    let (low, high) = if low.is_finite() && high > 0.0 {
        (
            (low.log10() * 2.0).floor() / 2.0,
            (high.log10() * 2.0).ceil() / 2.0,
        )
    } else {
        (0.0, 1.0)
    };
    let span = (high - low).max(0.5);
    let x = |value: f64| LEFT + (RIGHT - LEFT) * (value / most_across).clamp(0.0, 1.0);
    let y = |value: f64| {
        let share = (value.log10() - low) / span;
        BOTTOM - (BOTTOM - TOP) * share.clamp(0.0, 1.0)
    };
    let halves = (span * 2.0).round() as i32;
    for half in 0..=halves {
        let power = low + f64::from(half) / 2.0;
        let value = nice(power);
        let at = y(10f64.powf(power));
        let _ = writeln!(
            svg,
            "<path class=\"grid\" d=\"M{LEFT:.1} {at:.1}H{RIGHT:.1}\"/>"
        );
        text(
            &mut svg,
            LEFT - 8.0,
            at + 4.5,
            "label",
            &(upright.words)(value),
        );
    }
    for tick in 0..=steps {
        let value = step * f64::from(tick);
        let words = (across.words)(value);
        text(&mut svg, x(value), BOTTOM + 20.0, "marked", &words);
    }
    text(
        &mut svg,
        f64::midpoint(LEFT, RIGHT),
        BOTTOM + 42.0,
        "marked",
        across.name,
    );
    text(&mut svg, LEFT - 8.0, TOP - 16.0, "label", upright.name);
    if let Some((value, name)) = mark {
        let at = y(value);
        let _ = writeln!(
            svg,
            "<path class=\"mark\" d=\"M{LEFT:.1} {at:.1}H{RIGHT:.1}\"/>"
        );
        text(&mut svg, NAMES, at + 4.5, "note", name);
    }
    for (place, line) in lines.iter().enumerate() {
        let dashes = if line.dashed {
            " stroke-dasharray=\"6 4\""
        } else {
            ""
        };
        let class = format!("line c{}", line.colour % 4);
        let points: Vec<String> = line
            .points
            .iter()
            .filter(|(x, y)| x.is_finite() && y.is_finite() && *y > 0.0)
            .map(|(across, up)| format!("{:.1},{:.1}", x(*across), y(*up)))
            .collect();
        let _ = writeln!(
            svg,
            "<polyline class=\"{class}\"{dashes} points=\"{}\"><title>{}</title></polyline>",
            points.join(" "),
            escape(&line.name)
        );
        let at = TOP + 6.0 + 22.0 * place as f64;
        let _ = writeln!(
            svg,
            "<path class=\"{class}\"{dashes} d=\"M{NAMES:.1} {at:.1}h26\"/>"
        );
        text(&mut svg, NAMES + 34.0, at + 4.5, "name", &line.name);
    }
    svg.push_str("</svg>\n");
    svg
}

/// The step from tick to tick, 1, 2 or 5 and noughts, and how many of them reach so far: at least three, at most seven.
fn ticks(most: f64) -> (f64, u32) {
    let most = if most > 0.0 { most } else { 1.0 };
    let decade = 10f64.powf((most / 7.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|times| times * decade)
        .into_iter()
        .find(|step| most / step <= 7.0)
        .unwrap_or(most);
    // What lies a rounding error above a tick needs no further one.
    (step, (most / step - 1e-9).ceil().max(1.0) as u32)
}

/// 1 or 3 and noughts.
fn nice(power: f64) -> f64 {
    let whole = power.floor();
    let half = power - whole > 0.25;
    10f64.powf(whole) * if half { 3.0 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::{super::svg::well_formed, *};

    #[test]
    fn a_chart_is_well_formed_whatever_stands_in_it() {
        let axis = Axis {
            name: "a < b",
            words: |value| format!("{value}"),
        };
        let line = |name: &str, points: &[(f64, f64)]| Line {
            name: name.into(),
            colour: 5,
            dashed: true,
            points: points.to_vec(),
        };
        let all = [
            line("a & b", &[(0.0, 1.0), (10.0, 100.0)]),
            line("none", &[(1.0, 0.0), (f64::NAN, 2.0), (2.0, f64::INFINITY)]),
        ];
        let svg = line_chart("t & <u>", "n", &axis, &axis, &all, Some((50.0, "a > b")));
        assert!(well_formed(&svg).unwrap() > 15);
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        // From the foot at the left to the head at the right.
        assert!(svg.contains("points=\"84.0,382.0 620.0,98.0\""), "{svg}");
        assert_eq!(
            [95.0, 6.9, 10.0, 0.0, 7.0].map(ticks),
            [(20.0, 5), (1.0, 7), (2.0, 5), (0.2, 5), (1.0, 7)]
        );
        well_formed(&line_chart("empty", "", &axis, &axis, &[], None)).unwrap();
    }
}
