//! What the picture is made of, as SVG elements, one a line.
//!
//! SVG neither breaks lines nor tells how wide a text is. So widths are estimated, and each text is given the width
//! that was estimated (`textLength`): then it fits whatever the font.

use std::fmt::{Display, Write as _};

use super::text::{Look, Run, width};

const MENTION: &str = "#c9cdfb";
const MENTION_BACKGROUND: &str = "#3d4270";
const TIME_BACKGROUND: &str = "#41434a";

#[derive(Default)]
pub(super) struct Canvas(pub(super) String);

#[derive(Clone, Copy)]
pub(super) struct Font {
    pub(super) size: f64,
    pub(super) colour: &'static str,
    pub(super) bold: bool,
}

pub(super) const fn font(size: f64, colour: &'static str) -> Font {
    Font { size, colour, bold: false }
}

pub(super) const fn bold(size: f64, colour: &'static str) -> Font {
    Font { size, colour, bold: true }
}

impl Canvas {
    pub(super) fn element(&mut self, element: impl Display) {
        writeln!(self.0, "{element}").unwrap();
    }

    /// Returns where the text ends. SVG ignores the spaces around it.
    pub(super) fn text(&mut self, x: f64, y: f64, font: Font, text: &str) -> f64 {
        let Font { size, colour, bold } = font;
        let (end, weight) = (x + width(text, size, bold), if bold { r#" font-weight="600""# } else { "" });
        let start = end - width(text.trim_start(), size, bold);
        let (text, length) = (escape(text.trim()), width(text.trim(), size, bold));
        if !text.is_empty() {
            self.element(format_args!(
                r#"<text x="{start:.1}" y="{y}" font-size="{size}" fill="{colour}"{weight} textLength="{length:.1}">{text}</text>"#
            ));
        }
        end
    }

    pub(super) fn block(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), fill: &str) {
        self.element(format_args!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="4" fill="{fill}"/>"#
        ));
    }

    /// A circle with the name's initial.
    pub(super) fn avatar(&mut self, (x, y): (f64, f64), radius: f64, colour: &str, name: &str) {
        let (initial, size) = (name[..1].to_uppercase(), radius * 1.1);
        self.element(format_args!(
            r##"<circle cx="{x}" cy="{y}" r="{radius}" fill="{colour}"/><text x="{x}" y="{:.1}" font-size="{size:.1}" fill="#fff" text-anchor="middle">{initial}</text>"##,
            y + size * 0.36
        ));
    }

    /// A line of a message.
    pub(super) fn line(&mut self, mut x: f64, y: f64, font: Font, line: &[Run]) {
        for run in line {
            let (colour, background) = match run.look {
                Look::Mention => (MENTION, Some(MENTION_BACKGROUND)),
                Look::Time => (font.colour, Some(TIME_BACKGROUND)),
                Look::Plain | Look::Bold => (font.colour, None),
            };
            if let Some(background) = background {
                self.block((x - 1.5, y - font.size), (run.width(font.size) + 3.0, font.size * 1.3), background);
            }
            x = self.text(x, y, Font { colour, bold: run.look == Look::Bold, ..font }, &run.text);
        }
    }
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
