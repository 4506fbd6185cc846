//! What one shipper of a journal has read and the other one needs next, handed over: so a journal is read, and its chain hashed, once for both
//! sinks where they stand near each other.
//!
//! The two take turns at reading. What is read is kept for the other one only while its way leads there, four batches at most, and let
//! go of as it is taken: a sink that is away costs no memory, and one that is far behind reads for itself.

use std::collections::VecDeque;

use grace_types::{evidence::Source, time::Timestamp};

use super::{Sink, wire::Records};
use crate::limits::EVIDENCE_RELAYED;

/// Records that were read.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) records: Records,
    /// Whether more would not have fitted.
    pub(super) full: bool,
    /// Whether this process waited for processors then.
    pub(super) contended: bool,
    /// When the last record was decided.
    pub(super) last_time: Option<Timestamp>,
}

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Relay {
    /// What is kept, each for one sink, in the order in which it was read.
    kept: VecDeque<(Sink, Piece)>,
    /// Which record each sink needs next, as far as is known.
    needs: Vec<(Sink, Source, u64)>,
}

impl Relay {
    /// What lies here for `sink` from the record `from` on, in at most `most` bytes. A piece that is not full is of no use when the journal goes
    /// on behind it up to the record `written`.
    pub(super) fn take(
        &mut self,
        sink: Sink,
        source: &Source,
        from: u64,
        written: u64,
        most: usize,
    ) -> Option<Piece> {
        self.kept.retain(|(whose, piece)| {
            *whose != sink || (piece.records.source() == source && piece.records.end() > from)
        });
        let at =
            self.kept.iter().position(|(whose, piece)| *whose == sink && piece.records.first() <= from)?;
        let (_, piece) = self.kept.remove(at)?;
        let records = piece.records.from(from)?;
        let useful = records.size_bytes() <= most && (piece.full || written < records.end());
        useful.then_some(Piece { records, ..piece })
    }

    /// `sink` has read or taken this piece.
    pub(super) fn put(&mut self, sink: Sink, piece: &Piece) {
        let (source, end) = (piece.records.source(), piece.records.end());
        self.forget(sink);
        self.needs.push((sink, source.clone(), end));
        let others: Vec<Sink> =
            self.needs.iter().filter(|need| self.leads_there(need, piece)).map(|n| n.0).collect();
        self.kept.extend(others.into_iter().map(|other| (other, piece.clone())));
    }

    /// Whether a sink comes to this piece next, or after what lies here for it.
    fn leads_there(&self, (sink, source, next): &(Sink, Source, u64), piece: &Piece) -> bool {
        let records = &piece.records;
        let mut before =
            self.kept.iter().filter(|(whose, _)| whose == sink).map(|(_, piece)| piece.records.end());
        source == records.source()
            && *next < records.end()
            && (records.first() <= *next || before.any(|end| end == records.first()))
            && self.kept.iter().filter(|(whose, _)| whose == sink).count() < EVIDENCE_RELAYED
    }

    /// It is not known any more where `sink` stands.
    pub(super) fn forget(&mut self, sink: Sink) {
        self.needs.retain(|(whose, ..)| *whose != sink);
    }

    /// The same, and nothing is kept for it.
    pub(super) fn leave(&mut self, sink: Sink) {
        self.forget(sink);
        self.kept.retain(|(whose, _)| *whose != sink);
    }
}

#[cfg(test)]
mod tests {
    use grace_types::evidence::JournalId;

    use super::*;
    use crate::evidence::wire::{BatchWriter, Joined};

    const MOST: usize = usize::MAX;

    fn source(journal: u64) -> Source {
        Source::new("web", JournalId(journal)).unwrap()
    }

    fn piece(first: u64, count: u64, full: bool) -> Piece {
        let mut writer = BatchWriter::new(source(1), first);
        for n in first..first + count {
            assert_eq!(writer.join(format!("record {n}").as_bytes()), Joined::Yes);
        }
        Piece { records: writer.finish(), full, contended: false, last_time: None }
    }

    fn taken(relay: &mut Relay, sink: Sink, from: u64, written: u64) -> Option<(u64, u64, String)> {
        let piece = relay.take(sink, &source(1), from, written, MOST)?;
        let oldest = String::from_utf8(piece.records.oldest().unwrap().to_vec()).unwrap();
        Some((piece.records.first(), piece.records.end(), oldest))
    }

    /// Both have read the first record.
    fn relay() -> Relay {
        let mut relay = Relay::default();
        relay.put(Sink::Clarity, &piece(1, 1, false));
        relay.put(Sink::ImmutableLog, &piece(1, 1, false));
        relay
    }

    #[test]
    fn what_one_read_the_other_takes_once() {
        let mut relay = relay();
        relay.put(Sink::ImmutableLog, &piece(2, 3, true));
        relay.put(Sink::ImmutableLog, &piece(5, 2, false));
        let (log, clarity) = (Sink::ImmutableLog, Sink::Clarity);
        assert_eq!(taken(&mut relay, log, 7, 6), None, "it has these");
        assert_eq!(taken(&mut relay, clarity, 3, 6), Some((3, 5, "record 3".to_owned())));
        assert_eq!(taken(&mut relay, clarity, 3, 6), None, "it is gone");
        assert_eq!(taken(&mut relay, clarity, 5, 6), Some((5, 7, "record 5".to_owned())));
        assert!(relay.kept.is_empty());
    }

    #[test]
    fn what_is_of_no_use_is_let_go_of() {
        let mut relay = relay();
        let clarity = Sink::Clarity;
        relay.put(Sink::ImmutableLog, &piece(2, 2, false));
        assert_eq!(taken(&mut relay, clarity, 2, 9), None, "the journal has more by now");
        relay.put(Sink::ImmutableLog, &piece(4, 2, true));
        assert!(relay.take(clarity, &source(2), 4, 9, MOST).is_none(), "it is another journal's");
        assert!(relay.kept.is_empty());
        relay.put(clarity, &piece(2, 4, true));
        relay.put(Sink::ImmutableLog, &piece(6, 2, true));
        assert!(relay.take(clarity, &source(1), 6, 9, 10).is_none(), "the bus takes less");
        assert!(relay.kept.is_empty());
    }

    #[test]
    fn nothing_is_kept_for_one_that_is_away_or_far_behind_or_beyond_the_bound() {
        let mut relay = relay();
        relay.leave(Sink::Clarity);
        relay.put(Sink::ImmutableLog, &piece(2, 2, true));
        assert!(relay.kept.is_empty(), "nobody knows what it needs");
        relay.put(Sink::Clarity, &piece(1, 1, true));
        relay.kept.clear();
        relay.put(Sink::ImmutableLog, &piece(4, 2, true));
        assert!(relay.kept.is_empty(), "it needs 2 first");
        relay.put(Sink::Clarity, &piece(2, 2, true));
        relay.kept.clear();
        for n in 0..10 {
            relay.put(Sink::ImmutableLog, &piece(4 + 2 * n, 2, true));
        }
        assert_eq!(relay.kept.len(), EVIDENCE_RELAYED);
        relay.leave(Sink::Clarity);
        assert!(relay.kept.is_empty());
    }
}
