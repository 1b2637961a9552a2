//! Where a piece of a config stands, for messages.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Longest line that is shown under a message.
const WIDEST_EXCERPT: usize = 120;

/// One text of a config: a file of the `extends` chain, or one `--set`.
#[derive(Debug)]
pub(super) struct Source {
    /// As messages show it.
    pub name: String,
    /// What relative paths in it are relative to.
    pub folder: PathBuf,
    /// The text that spans point into; a `--set` has none.
    pub text: Option<String>,
    /// Messages are sorted by it: the loaded file, its bases, then each `--set`.
    pub order: usize,
}

/// A file with line and column, or a `--set` of the command line.
#[derive(Debug, Clone)]
pub struct Place {
    pub(super) source: Arc<Source>,
    pub(super) span: Option<Range<usize>>,
}

impl Place {
    pub(super) fn whole(source: &Arc<Source>) -> Self {
        Self { source: Arc::clone(source), span: None }
    }

    pub(super) fn at(source: &Arc<Source>, span: Range<usize>) -> Self {
        Self { source: Arc::clone(source), span: Some(span) }
    }

    /// The file as it was named, or `--set KEY=VALUE`.
    pub fn name(&self) -> &str {
        &self.source.name
    }

    /// The folder that relative paths at this place start from.
    pub fn folder(&self) -> &Path {
        &self.source.folder
    }

    /// Line and column (in characters), both from 1; `None` for a `--set` or a whole file.
    pub fn line_and_column(&self) -> Option<(usize, usize)> {
        let before = self.source.text.as_deref()?.get(..self.span.as_ref()?.start)?;
        let start_of_line = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        Some((line, before[start_of_line..].chars().count() + 1))
    }

    pub(super) fn is_set(&self) -> bool {
        self.source.text.is_none()
    }

    pub(super) fn sort_key(&self) -> (usize, usize) {
        (self.source.order, self.span.as_ref().map_or(0, |span| span.start))
    }

    /// The source line with carets under this place; `None` if there is none or it is very long.
    pub(super) fn excerpt(&self) -> Option<String> {
        let text = self.source.text.as_deref()?;
        let span = self.span.clone()?;
        let start = text.get(..span.start)?.rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[start..].lines().next().filter(|line| !line.trim().is_empty())?;
        if line.chars().count() > WIDEST_EXCERPT {
            return None;
        }
        let indent = line.len() - line.trim_start().len();
        let before: String = line
            .get(indent..span.start - start)?
            .chars()
            .map(|character| if character == '\t' { '\t' } else { ' ' })
            .collect();
        let marked = line.get(span.start - start..line.len().min(span.end - start))?;
        let carets = "^".repeat(marked.chars().count().max(1));
        Some(format!("    {}\n    {before}{carets}", line.trim()))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line_and_column() {
            Some((line, column)) => write!(f, "{}:{line}:{column}", self.name()),
            None => f.write_str(self.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, span: Range<usize>) -> Place {
        let source = Source {
            name: "a.toml".into(),
            folder: PathBuf::new(),
            text: Some(text.into()),
            order: 0,
        };
        Place::at(&Arc::new(source), span)
    }

    #[test]
    fn columns_count_characters() {
        let text = "a = 1\n\"größe\" = oops\n";
        let start = text.find("oops").unwrap();
        let place = place(text, start..start + 4);
        assert_eq!(place.to_string(), "a.toml:2:11");
        assert_eq!(place.excerpt().unwrap(), "    \"größe\" = oops\n              ^^^^");
    }

    #[test]
    fn a_span_of_several_lines_marks_only_the_first() {
        let place = place("a = [\n1,\n2]", 4..11);
        assert_eq!(place.excerpt().unwrap(), "    a = [\n        ^");
    }

    #[test]
    fn the_end_of_the_text_is_a_place() {
        let place = place("a =", 3..3);
        assert_eq!(place.line_and_column(), Some((1, 4)));
        assert_eq!(place.excerpt().unwrap(), "    a =\n       ^");
    }
}
