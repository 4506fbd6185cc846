//! Cuts a stream of bytes into lines of bounded length. Pure.
//!
//! A line that is longer than [`limits::LINE_BYTES`] comes out in pieces, each saying which piece it is, so that one
//! endless line costs no more memory than any other and nothing of it is lost.

use crate::limits;

/// Which part of a line a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// Its beginning.
    First,
    /// Neither its beginning nor its end.
    Middle,
    /// Its end.
    Last,
}

impl Part {
    /// What is written before a piece, so that readers see that it continues a line.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Whole | Self::First => "",
            Self::Middle | Self::Last => "[continued] ",
        }
    }

    /// What is written after a piece, so that readers see that the line goes on.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Whole | Self::Last => "",
            Self::First | Self::Middle => " [continues]",
        }
    }
}

/// The state between two reads of one stream.
#[derive(Debug, Default)]
pub struct LineSplitter {
    partial: Vec<u8>,
    /// Whether a piece of the current line has been given out.
    continued: bool,
}

impl LineSplitter {
    /// Takes the next bytes of the stream and gives out every piece that they complete, without its newline.
    pub fn push(&mut self, bytes: &[u8], emit: &mut impl FnMut(&[u8], Part)) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = &rest[..end];
            if self.partial.is_empty() && !self.continued && line.len() <= limits::LINE_BYTES {
                emit(line, Part::Whole);
            } else {
                self.extend(line, emit);
                self.end(emit);
            }
            rest = &rest[end + 1..];
        }
        self.extend(rest, emit);
    }

    /// Gives out what is left when the stream has ended without a newline.
    pub fn finish(&mut self, emit: &mut impl FnMut(&[u8], Part)) {
        if !self.partial.is_empty() {
            self.end(emit);
        }
    }

    fn extend(&mut self, mut bytes: &[u8], emit: &mut impl FnMut(&[u8], Part)) {
        loop {
            let room = limits::LINE_BYTES - self.partial.len();
            let (taken, left) = bytes.split_at(bytes.len().min(room));
            self.partial.extend_from_slice(taken);
            if left.is_empty() {
                return;
            }
            let cut = character_boundary(&self.partial);
            emit(&self.partial[..cut], if self.continued { Part::Middle } else { Part::First });
            self.partial.drain(..cut);
            self.continued = true;
            bytes = left;
        }
    }

    fn end(&mut self, emit: &mut impl FnMut(&[u8], Part)) {
        emit(&self.partial, if self.continued { Part::Last } else { Part::Whole });
        self.continued = false;
        // The buffer of one long line is not kept for ever: there may be hundreds of streams.
        self.partial = Vec::new();
    }
}

/// Where to cut so that no UTF-8 character is torn; the end, if the last bytes are no UTF-8 anyway.
fn character_boundary(bytes: &[u8]) -> usize {
    for back in 1..=4.min(bytes.len()) {
        let at = bytes.len() - back;
        let width = match bytes[at] {
            0x80..=0xBF => continue,
            0xC0..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF7 => 4,
            _ => 1,
        };
        return if width > back { at } else { bytes.len() };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<(Vec<u8>, Part)> {
        let mut pieces = Vec::new();
        let mut splitter = LineSplitter::default();
        let mut emit = |text: &[u8], part| pieces.push((text.to_vec(), part));
        for chunk in chunks {
            splitter.push(chunk, &mut emit);
        }
        splitter.finish(&mut emit);
        pieces
    }

    #[test]
    fn lines_come_out_as_they_were_written() {
        let pieces = split(&[b"one\ntw", b"o\n\nthree"]);
        let texts: Vec<&[u8]> = pieces.iter().map(|(t, _)| t.as_slice()).collect();
        assert_eq!(texts, [&b"one"[..], b"two", b"", b"three"]);
        assert!(pieces.iter().all(|(_, p)| *p == Part::Whole));
    }

    #[test]
    fn a_line_of_the_full_length_is_whole_and_one_byte_more_is_not() {
        let full = vec![b'x'; limits::LINE_BYTES];
        assert_eq!(split(&[&full, b"\n"]), [(full.clone(), Part::Whole)]);
        let pieces = split(&[&full, b"y\nz\n"]);
        let parts: Vec<_> = pieces.iter().map(|(t, p)| (t.len(), *p)).collect();
        assert_eq!(parts, [(limits::LINE_BYTES, Part::First), (1, Part::Last), (1, Part::Whole)]);
    }

    #[test]
    fn ten_megabytes_without_a_newline_are_cut_between_characters() {
        let text = "xé€😀".repeat(1 << 20);
        let pieces = split(&[text.as_bytes()]);
        assert_eq!(pieces.first().unwrap().1, Part::First);
        assert_eq!(pieces.last().unwrap().1, Part::Last);
        assert!(pieces.iter().all(|(t, _)| t.len() <= limits::LINE_BYTES && str::from_utf8(t).is_ok()));
        assert_eq!(pieces.concat_texts(), text.as_bytes());
    }

    trait ConcatTexts {
        fn concat_texts(&self) -> Vec<u8>;
    }
    impl ConcatTexts for Vec<(Vec<u8>, Part)> {
        fn concat_texts(&self) -> Vec<u8> {
            self.iter().flat_map(|(t, _)| t.clone()).collect()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn however_the_bytes_arrive_the_pieces_are_the_same(
            lines in prop::collection::vec((any::<u8>(), 0usize..200_000), 0..4),
            cuts in prop::collection::vec(0.0f64..1.0, 0..6),
        ) {
            let mut stream = Vec::new();
            for (byte, length) in lines {
                stream.extend(std::iter::repeat_n(byte, length));
                stream.push(b'\n');
            }
            let mut at: Vec<usize> = cuts.iter().map(|c| (c * stream.len() as f64) as usize).collect();
            at.extend([0, stream.len()]);
            at.sort_unstable();
            let chunks: Vec<&[u8]> = at.windows(2).map(|w| &stream[w[0]..w[1]]).collect();
            prop_assert_eq!(split(&chunks), split(&[&stream]));
        }
    }
}
