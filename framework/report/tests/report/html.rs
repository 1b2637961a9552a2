//! report.html as a browser reads it.

use std::collections::BTreeSet;

use mobillm_report::{Comparison, Target};
use quick_xml::escape::unescape;
use quick_xml::events::Event;
use quick_xml::reader::Reader;

use crate::samples::{MOBILLM, PAE, Plan, both, failed, machine, variant};

/// What a page is made of.
#[derive(Default)]
struct Page {
    /// Names of its elements, in their order.
    elements: Vec<String>,
    /// Every attribute: element, name, value.
    attributes: Vec<(String, String, String)>,
    /// Its text, style sheet included.
    text: String,
}

impl Page {
    /// Reads `html`, in which every element but the void ones is closed in its turn.
    fn parse(html: &str) -> Self {
        let mut reader = Reader::from_str(html);
        reader.config_mut().check_end_names = false;
        let mut page = Self::default();
        let mut open = Vec::new();
        loop {
            match reader.read_event().unwrap() {
                Event::Start(start) => {
                    let name = start.name().0.to_owned();
                    for attribute in start.html_attributes() {
                        let attribute = attribute.unwrap();
                        let value = unescape(&attribute.value).unwrap().into_owned();
                        page.attributes.push((name.clone(), attribute.key.0.to_owned(), value));
                    }
                    if name != "meta" {
                        open.push(name.clone());
                    }
                    page.elements.push(name);
                }
                Event::End(end) => {
                    assert_eq!(open.pop().as_deref(), Some(end.name().0));
                }
                Event::Text(text) => page.text += &text,
                Event::GeneralRef(entity) => {
                    page.text += &unescape(&format!("&{};", &*entity)).unwrap();
                }
                Event::DocType(_) => {}
                Event::Eof => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(open, Vec::<String>::new());
        page
    }

    fn values(&self, name: &str) -> Vec<&str> {
        let found = self.attributes.iter().filter(|(_, key, _)| key == name);
        found.map(|(_, _, value)| value.as_str()).collect()
    }
}

/// One comparison of each kind.
fn samples() -> Vec<Comparison> {
    let emulated = |plan: Plan| variant(&Plan { emulated: true, ..plan }, &[1, 2]);
    let mut broken = emulated(Plan { name: "pae-int8", ..PAE });
    broken.runs[0] = failed(1, "the disk is full");
    let four = vec![
        emulated(MOBILLM),
        emulated(PAE),
        broken,
        variant(&Plan { name: "in one process", peak_bytes: None, ..MOBILLM }, &[]),
    ];
    let one = vec![variant(&Plan { epochs: 1, ..MOBILLM }, &[7])];
    let of = |variants| Comparison::new(variants, Target::default(), machine());
    vec![both(&[1, 2, 3]), of(four), of(one), of(Vec::new())]
}

#[test]
fn every_page_is_well_formed() {
    for comparison in samples() {
        let page = Page::parse(&comparison.html());
        let ids = page.values("id");
        let distinct: BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(ids.len(), distinct.len(), "{ids:?}");
        for name in page.values("aria-labelledby").iter().flat_map(|names| names.split(' ')) {
            assert!(distinct.contains(name), "{name} is nowhere");
        }
        // Whoever hears the page hears what is drawn.
        let described = page.elements.iter().filter(|name| *name == "desc").count();
        assert_eq!(described, page.values("role").iter().filter(|role| **role == "img").count());
    }
}

#[test]
fn a_page_needs_nothing_from_elsewhere() {
    for comparison in samples() {
        let html = comparison.html();
        let page = Page::parse(&html);
        for element in ["script", "link", "img", "iframe", "object", "use", "image"] {
            assert!(!page.elements.iter().any(|name| name == element), "{element}");
        }
        for attribute in ["src", "href", "xlink:href", "style", "onload"] {
            assert_eq!(page.values(attribute), Vec::<&str>::new());
        }
        for reference in ["url(", "@import", "http:", "https:"] {
            assert!(!html.contains(reference), "{reference}");
        }
    }
}

#[test]
fn no_drawing_has_a_figure_that_is_none() {
    for comparison in samples() {
        for (element, name, value) in Page::parse(&comparison.html()).attributes {
            assert!(!value.contains("NaN") && !value.contains("inf"), "{element} {name}={value}");
        }
    }
}

#[test]
fn what_comes_from_outside_is_text() {
    const HOSTILE: &str = "</title><script>alert('1')</script><b a=\"&amp;\">";
    let mut variants = both(&[1, 2]).variants;
    for variant in &mut variants {
        variant.name = format!("{HOSTILE}{}", variant.name);
        variant.runs.push(failed(3, HOSTILE));
        variant.config["task"]["positive"] = HOSTILE.into();
    }
    variants[1].config[HOSTILE] = HOSTILE.into();
    let machine = mobillm_report::Machine { cores: 1, os: HOSTILE.into(), cpu: HOSTILE.into() };
    let hostile = Comparison::new(variants, Target::default(), machine);
    let page = Page::parse(&hostile.html());
    let elements: BTreeSet<String> = page.elements.into_iter().collect();
    let plain = samples().iter().flat_map(|sample| Page::parse(&sample.html()).elements).collect();
    assert!(elements.is_subset(&plain), "{:?}", elements.difference(&plain));
    let shown = page.text.matches(HOSTILE).count();
    assert!(shown >= 10, "shown {shown} times");
}

#[test]
fn axes_are_logarithmic_where_the_variants_are_far_apart() {
    let logarithmic = |comparison: &Comparison| comparison.html().contains("bytes up, logarithmic");
    assert!(logarithmic(&both(&[1])));
    let near = Plan { bytes_per_row: 20_000, ..MOBILLM };
    let variants = vec![variant(&MOBILLM, &[1]), variant(&near, &[1])];
    assert!(!logarithmic(&Comparison::new(variants, Target::default(), machine())));
}
