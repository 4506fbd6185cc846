//! The bytes of pages of terms.
//!
//! A page holds entries, in the order of their terms:
//!
//! ```text
//! bytes shared with the term before │ length of the rest │ the rest │ length of the list │ list
//! list: the first narrative, then the distance from each to the next
//! ```
//!
//! Numbers are varints (LEB128). The first entry of a page shares nothing. A list that grows long goes on in a further entry of the same term.

use super::damaged;
use crate::limits;

/// A page's bytes. With SQLite's own 35 it fills one of SQLite's pages of 4 KiB and needs no second one.
pub(super) const PAGE_BYTES: usize = 4000;
/// Bytes of one entry's list: eight fill a page.
const LIST_BYTES: usize = 470;

/// Adds a varint.
fn put(out: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a varint off the front.
fn take(bytes: &mut &[u8]) -> rusqlite::Result<u32> {
    let mut number = 0u64;
    for shift in (0..35).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or_else(|| damaged("a page is cut off"))?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return u32::try_from(number).map_err(|_| damaged("a number is too large"));
        }
    }
    Err(damaged("a number is too long"))
}

/// Takes `length` bytes off the front.
fn split<'a>(bytes: &mut &'a [u8], length: u32) -> rusqlite::Result<&'a [u8]> {
    let (part, rest) = bytes.split_at_checked(length as usize).ok_or_else(|| damaged("a page is cut off"))?;
    *bytes = rest;
    Ok(part)
}

/// The list of an entry in the making.
#[derive(Debug, Default)]
struct List {
    bytes: Vec<u8>,
    last: Option<u32>,
}

impl List {
    fn push(&mut self, row: u32) {
        put(&mut self.bytes, row.wrapping_sub(self.last.unwrap_or(0)));
        self.last = Some(row);
    }
}

/// Calls `visit` with every narrative of a list, each moved up by `offset`.
pub(super) fn each(
    mut list: &[u8],
    offset: u32,
    mut visit: impl FnMut(u32) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut row = offset;
    while !list.is_empty() {
        row = row.checked_add(take(&mut list)?).ok_or_else(|| damaged("a list runs over"))?;
        visit(row)?;
    }
    Ok(())
}

/// Makes pages of terms, which come in order, and hands each to `done`.
pub(super) struct Writer<F> {
    done: F,
    page: Vec<u8>,
    /// The last term on the page.
    before: Vec<u8>,
    term: Vec<u8>,
    list: List,
}

impl<F: FnMut(&[u8]) -> rusqlite::Result<()>> Writer<F> {
    pub(super) fn new(done: F) -> Self {
        Self {
            done,
            page: Vec::with_capacity(PAGE_BYTES),
            before: Vec::new(),
            term: Vec::new(),
            list: List::default(),
        }
    }

    /// The narratives that follow hold `term`, which is not less than the one before.
    pub(super) fn term(&mut self, term: &[u8]) -> rusqlite::Result<()> {
        if self.term != term {
            self.entry()?;
            self.term.clear();
            self.term.extend_from_slice(term);
        }
        Ok(())
    }

    /// Adds a narrative, behind the one before of this term.
    pub(super) fn row(&mut self, row: u32) -> rusqlite::Result<()> {
        self.list.push(row);
        if self.list.bytes.len() >= LIST_BYTES { self.entry() } else { Ok(()) }
    }

    /// Hands over what is left.
    pub(super) fn finish(mut self) -> rusqlite::Result<()> {
        self.entry()?;
        if self.page.is_empty() { Ok(()) } else { (self.done)(&self.page) }
    }

    fn entry(&mut self) -> rusqlite::Result<()> {
        if self.list.bytes.is_empty() {
            return Ok(());
        }
        let most = self.term.len() + self.list.bytes.len() + 8;
        if self.page.len() + most > PAGE_BYTES && !self.page.is_empty() {
            (self.done)(&self.page)?;
            self.page.clear();
            self.before.clear();
        }
        let shared = self.before.iter().zip(&self.term).take_while(|(a, b)| a == b).count();
        let rest = &self.term[shared..];
        put(&mut self.page, shared as u32);
        put(&mut self.page, rest.len() as u32);
        self.page.extend_from_slice(rest);
        put(&mut self.page, self.list.bytes.len() as u32);
        self.page.extend_from_slice(&self.list.bytes);
        self.before.clone_from(&self.term);
        self.list.bytes.clear();
        self.list.last = None;
        Ok(())
    }
}

/// Reads the entries of pages, one page after the other.
#[derive(Debug, Default)]
pub(super) struct Entries {
    page: Vec<u8>,
    at: usize,
    term: Vec<u8>,
    list: std::ops::Range<usize>,
}

impl Entries {
    /// Goes on with this page.
    pub(super) fn page(&mut self, page: &[u8]) {
        self.page.clear();
        self.page.extend_from_slice(page);
        self.at = 0;
        self.term.clear();
    }

    /// Goes to the next entry; false at the page's end.
    pub(super) fn step(&mut self) -> rusqlite::Result<bool> {
        let mut rest = &self.page[self.at..];
        if rest.is_empty() {
            return Ok(false);
        }
        let shared = take(&mut rest)? as usize;
        let length = take(&mut rest)?;
        let part = split(&mut rest, length)?;
        if shared > self.term.len() || shared + part.len() > limits::NARRATIVE_TERM_BYTES {
            return Err(damaged("a term does not go on from the one before"));
        }
        self.term.truncate(shared);
        self.term.extend_from_slice(part);
        let length = take(&mut rest)?;
        let start = self.page.len() - rest.len();
        split(&mut rest, length)?;
        self.at = self.page.len() - rest.len();
        self.list = start..self.at;
        Ok(true)
    }

    pub(super) fn term(&self) -> &[u8] {
        &self.term
    }

    pub(super) fn list(&self) -> &[u8] {
        &self.page[self.list.clone()]
    }
}

/// The first term of a page.
pub(super) fn first_term(mut page: &[u8]) -> rusqlite::Result<&[u8]> {
    take(&mut page)?;
    let length = take(&mut page)?;
    split(&mut page, length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(
            terms in prop::collection::btree_map(prop::collection::vec(0u8..4, 1..20), prop::collection::btree_set(0u32..70_000, 1..900), 0..40),
        ) {
            let mut pages = Vec::new();
            let mut writer = Writer::new(|page: &[u8]| { pages.push(page.to_vec()); Ok(()) });
            for (term, rows) in &terms {
                writer.term(term).unwrap();
                rows.iter().for_each(|row| writer.row(*row).unwrap());
            }
            writer.finish().unwrap();
            let mut read = std::collections::BTreeMap::<Vec<u8>, std::collections::BTreeSet<u32>>::new();
            let mut entries = Entries::default();
            for page in &pages {
                prop_assert!(page.len() <= PAGE_BYTES);
                entries.page(page);
                prop_assert!(entries.step().unwrap());
                prop_assert_eq!(first_term(page).unwrap(), entries.term());
                loop {
                    let rows = read.entry(entries.term().to_vec()).or_default();
                    each(entries.list(), 7, |row| { rows.insert(row - 7); Ok(()) }).unwrap();
                    if !entries.step().unwrap() { break }
                }
            }
            prop_assert_eq!(read, terms);
        }

        #[test]
        fn no_page_is_too_strange(page in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut entries = Entries::default();
            entries.page(&page);
            while entries.step().unwrap_or(false) {
                let _ = each(entries.list(), 5, |_| Ok(()));
            }
            let _ = first_term(&page);
        }
    }
}
