//! Searching all runs: from the end that comes first, until no other run can hold anything nearer to it.

use rusqlite::Connection;

use super::run::Run;

/// One condition: any of these terms.
#[derive(Debug, Clone)]
pub(in super::super) enum Any {
    /// One of these.
    Of(Vec<Vec<u8>>),
    /// Any term that begins so.
    Begins(Vec<u8>),
}

/// What is looked for.
#[derive(Debug, Clone)]
pub(in super::super) struct Needle {
    /// Every one of these must hold. Not empty.
    pub(in super::super) all: Vec<Any>,
    /// The first and the last place.
    pub(in super::super) first: i64,
    pub(in super::super) last: i64,
    /// The last place comes first.
    pub(in super::super) down: bool,
    /// How many.
    pub(in super::super) limit: usize,
}

/// The places of the first narratives for which every condition and `holds` hold, in order.
pub(in super::super) fn find(
    connection: &Connection,
    needle: &Needle,
    holds: &mut dyn FnMut(i64) -> rusqlite::Result<bool>,
) -> rusqlite::Result<Vec<i64>> {
    let order = if needle.down { "high DESC" } else { "low" };
    let sql = format!("SELECT {} FROM runs WHERE high >= ?1 AND low <= ?2 ORDER BY {order}", Run::COLUMNS);
    let mut select = connection.prepare_cached(&sql)?;
    let runs: Vec<Run> =
        select.query_map([needle.first, needle.last], Run::read)?.collect::<rusqlite::Result<_>>()?;
    let mut found: Vec<i64> = Vec::new();
    for run in runs {
        // The place behind which nothing is wanted any more.
        let edge = (found.len() >= needle.limit).then(|| found.last().copied()).flatten();
        let nearest = if needle.down { run.high } else { run.low };
        let wanted =
            |place: i64| edge.is_none_or(|edge| if needle.down { place > edge } else { place < edge });
        if !wanted(nearest) {
            break;
        }
        let rows = matching(connection, &run, &needle.all)?;
        let mut places = run.places(connection, &rows)?;
        places.retain(|place| (needle.first..=needle.last).contains(place) && wanted(*place));
        sort(&mut places, needle.down);
        let mut taken = 0;
        for place in places {
            if taken == needle.limit {
                break;
            }
            if holds(place)? {
                found.push(place);
                taken += 1;
            }
        }
        sort(&mut found, needle.down);
        found.truncate(needle.limit);
    }
    Ok(found)
}

fn sort(places: &mut [i64], down: bool) {
    places.sort_unstable();
    if down {
        places.reverse();
    }
}

/// The narratives of a run for which every condition holds, rising.
fn matching(connection: &Connection, run: &Run, all: &[Any]) -> rusqlite::Result<Vec<u32>> {
    let mut matching: Option<Vec<u32>> = None;
    for any in all {
        let mut rows = Vec::new();
        match any {
            Any::Of(terms) => {
                for term in terms {
                    run.lookup(connection, term, false, &mut rows)?;
                }
            }
            Any::Begins(term) => run.lookup(connection, term, true, &mut rows)?,
        }
        if !rows.is_sorted() {
            rows.sort_unstable();
        }
        rows.dedup();
        let both = match matching {
            None => rows,
            Some(before) => intersect(&before, &rows),
        };
        if both.is_empty() {
            return Ok(both);
        }
        matching = Some(both);
    }
    Ok(matching.unwrap_or_default())
}

/// What is in both; both rise.
fn intersect(a: &[u32], b: &[u32]) -> Vec<u32> {
    let (few, many) = if a.len() < b.len() { (a, b) } else { (b, a) };
    let mut rest = many;
    let mut both = Vec::with_capacity(few.len());
    for row in few {
        // Galloping: a narrow list skips through a wide one.
        let mut step = 1;
        while rest.get(step).is_some_and(|next| next < row) {
            step *= 2;
        }
        let within = &rest[..rest.len().min(step + 1)];
        let at = within.partition_point(|next| next < row);
        rest = &rest[at..];
        if rest.first() == Some(row) {
            both.push(*row);
        }
    }
    both
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn intersection_is_that_of_sets(a in prop::collection::btree_set(0u32..200, 0..60), b in prop::collection::btree_set(0u32..200, 0..150)) {
            let list = |set: &BTreeSet<u32>| set.iter().copied().collect::<Vec<_>>();
            let expected: Vec<u32> = a.intersection(&b).copied().collect();
            prop_assert_eq!(intersect(&list(&a), &list(&b)), expected);
        }
    }
}
